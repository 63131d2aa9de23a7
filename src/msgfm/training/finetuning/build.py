"""The model of a recipe: sensors of its data, encoder of its pretrained model, and what is frozen of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import nn

from msgfm.config import config_from_dict, config_to_dict
from msgfm.data.tasks import TaskData
from msgfm.errors import InputError
from msgfm.models.downstream import DownstreamConfig, DownstreamModel, build_downstream
from msgfm.models.inputs import InputImage
from msgfm.models.msgfm import MsGFM
from msgfm.models.patch_embed import PatchEmbedConfig
from msgfm.models.pretrained import from_pretrained
from msgfm.models.swin import EncoderConfig
from msgfm.models.tasks import Restoration, Task
from msgfm.models.transfer import TransferReport
from msgfm.sensors import Sensor
from msgfm.training.finetuning.config import FinetuneConfig


def load_init(config: FinetuneConfig) -> MsGFM | None:
    """The pretrained model of a recipe; None starts at random.

    Raises:
        InputError: no such folder, or a model that was fine-tuned already.
    """
    if config.init is None:
        return None
    model = from_pretrained(config.init, window_size=config.window_size)
    if not isinstance(model, MsGFM):
        raise InputError(f"init: {config.init} holds a fine-tuned model; give the folder of a pretrained one")
    return model


def describe_model(config: FinetuneConfig, data: TaskData, pretrained: MsGFM | None) -> DownstreamConfig:
    """The model's configuration: what the recipe says, the data's classes, cards as in pretraining."""
    encoder = pretrained.config.encoder if pretrained else config.encoder or EncoderConfig()
    changes = {"drop_path_rate": config.drop_path_rate, "window_size": config.window_size}
    changed = config_to_dict(encoder) | {key: value for key, value in changes.items() if value is not None}
    return DownstreamConfig(
        sensors=choose_cards(data.cards, pretrained, config.inputs, config.task),
        inputs=config.inputs,
        transfer=config.transfer,
        encoder=config_from_dict(EncoderConfig, changed, "encoder"),
        patch_embed=pretrained.config.patch_embed if pretrained else config.patch_embed or PatchEmbedConfig(),
        task=with_classes(config.task, data),
        backbone=config.backbone,
    )


def with_classes(task: Task, data: TaskData) -> Task:
    """The task with the data's classes."""
    return task if isinstance(task, Restoration) else task.model_copy(update={"classes": data.classes})


def choose_cards(
    cards: Mapping[str, Sensor], pretrained: MsGFM | None, inputs: tuple[InputImage, ...], task: Task
) -> tuple[Sensor, ...]:
    """The cards that the model normalises by: of a pretrained sensor that model's, else the data's.

    Weights fit the mean and standard deviation that they were pretrained with, not those of another data set.

    Raises:
        InputError: a pretrained sensor has other bands or units, or a card lacks mean and std.
    """
    images = [*inputs, *([task.target] if isinstance(task, Restoration) else [])]
    chosen = {}
    for name in dict.fromkeys(image.sensor for image in images):
        card = cards[name]
        if pretrained and name in pretrained.sensors:
            ours = pretrained.sensors[name]
            if ours.band_names != card.band_names or [b.unit for b in ours.bands] != [b.unit for b in card.bands]:
                raise InputError(
                    f"sensor {name} of the data is not the pretrained model's: bands {', '.join(card.band_names)} in "
                    f"{card.bands[0].unit}, the model has {', '.join(ours.band_names)} in {ours.bands[0].unit}; index "
                    f"the data set with the model's card, or give its sensor another name"
                )
            card = ours
        card.require_statistics()
        chosen[name] = card
    return tuple(chosen.values())


def build_model(model_config: DownstreamConfig, pretrained: MsGFM | None, seed: int) -> tuple[DownstreamModel, TransferReport]:
    """A new model; what is not pretrained in it follows from the seed."""
    torch.manual_seed(seed)
    return build_downstream(model_config, pretrained)


def freeze_below_head(model: DownstreamModel) -> None:
    """Linear probing: no parameter but the last layer's is trained."""
    head = {id(parameter) for parameter in model.layers()[-1]}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in head)


def set_training(model: nn.Module) -> None:
    """Training mode for the modules that are trained; frozen ones stay as in evaluation: no noise, no dropped path."""
    model.eval()
    for module in cast("list[nn.Module]", list(model.modules())):
        parameters = list(module.parameters())
        if parameters and all(parameter.requires_grad for parameter in parameters):
            module.train()
