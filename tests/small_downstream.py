"""Small models for tasks, pretrained ones to start them from, and images for them."""

from __future__ import annotations

from typing import Any

import torch
from small_swins import randomised
from torch import Tensor

from msgfm.models.downstream import DownstreamConfig, DownstreamModel
from msgfm.models.msgfm import MsGFM, MsGFMConfig
from msgfm.sensors import Sensor, load_sensor

ENCODER = {"embed_dim": 8, "depths": [1, 1, 2, 1], "num_heads": [1, 1, 2, 2], "window_size": 4, "moe": None}
MIXTURE = ENCODER | {"moe": {"blocks": [1], "num_experts": 3}}
CARDS = tuple(load_sensor(name) for name in ("sentinel1", "sentinel2", "dsm", "rgb", "worldview3"))

TASKS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "classification": ({"kind": "classification", "classes": ["a", "b", "c"]}, ["sentinel1", "sentinel2"]),
    "segmentation": ({"kind": "segmentation", "classes": ["a", "b"]}, ["dsm", "rgb"]),
    "restoration": (
        {"kind": "restoration", "target": "sentinel2", "over": "sentinel2@cloudy"},
        ["sentinel1", "sentinel2@cloudy"],
    ),
    "change_detection": (
        {"kind": "change_detection"},
        ["sentinel1@before", "sentinel2@before", "sentinel1@after", "sentinel2@after"],
    ),
}
"""Each kind of task with inputs for it."""


def describe(task: str | dict[str, Any], inputs: list[Any] | None = None, **settings: Any) -> DownstreamConfig:
    """The configuration of a small model for a task, or for one of `TASKS`."""
    if isinstance(task, str):
        task, usual = TASKS[task]
        inputs = inputs or usual
    tree = {"sensors": CARDS, "inputs": inputs, "task": task, "encoder": ENCODER, "patch_embed": {"conv_channels": 4}}
    return DownstreamConfig.model_validate(tree | settings)


def make(task: str | dict[str, Any], inputs: list[Any] | None = None, **settings: Any) -> DownstreamModel:
    """A small model whose parameters are all random: zeros and ones would hide a mix-up."""
    torch.manual_seed(0)
    model: DownstreamModel = randomised(DownstreamModel(describe(task, inputs, **settings)))
    return model


def pretrained(*sensors: str | Sensor, kind: str = "conv", **encoder: Any) -> MsGFM:
    """A small pretrained model, likewise."""
    torch.manual_seed(1)
    cards = [load_sensor(sensor) if isinstance(sensor, str) else sensor for sensor in sensors]
    patch_embed = {"kind": kind, "conv_channels": 4}
    config = {"sensors": cards, "encoder": ENCODER | encoder, "patch_embed": patch_embed}
    model: MsGFM = randomised(MsGFM(MsGFMConfig.model_validate(config)))
    return model


def photograph(card: Sensor, batch: int = 2, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    """An image whose values are plausible for the card's bands."""
    noise = torch.randn(batch, len(card.bands), height, width, generator=torch.Generator().manual_seed(seed))
    mean = torch.tensor([band.mean for band in card.bands]).view(-1, 1, 1)
    std = torch.tensor([band.std for band in card.bands]).view(-1, 1, 1)
    return mean + std * noise + (1500 if card.centre == "image" else 0)


def images_for(model: DownstreamModel, batch: int = 2, height: int = 32, width: int = 32) -> dict[str, Tensor]:
    """An image for each of the model's inputs."""
    return {
        key: photograph(card, batch, height, width, seed) for seed, (key, card) in enumerate(model.inputs.cards.items())
    }
