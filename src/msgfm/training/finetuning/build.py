"""The model of a recipe: sensors of its data, encoder of its pretrained model, and what is frozen of it."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from msgfm.config import config_from_dict, config_to_dict
from msgfm.data.tasks import TaskData
from msgfm.errors import InputError
from msgfm.models.baselines.simmim import load_swin
from msgfm.models.baselines.timm_trunk import TimmBackbone
from msgfm.models.downstream import Backbone, DownstreamConfig, DownstreamModel, build_downstream
from msgfm.models.msgfm import MsGFM
from msgfm.models.patch_embed import PatchEmbedConfig
from msgfm.models.pretrained import load_msgfm
from msgfm.models.swin import EncoderConfig
from msgfm.models.tasks import Restoration, Task
from msgfm.models.transfer import TransferReport
from msgfm.sensors import Sensor
from msgfm.training.finetuning.config import FinetuneConfig


def load_init(config: FinetuneConfig) -> MsGFM | None:
    """The pretrained model of a recipe, a folder of ours or a file of Swin weights; None starts at random.

    Raises:
        InputError: no such folder or file, or a model that was fine-tuned already.
    """
    if config.init is None:
        return None
    try:
        return load_swin(config.init) if config.init.is_file() else load_msgfm(config.init)
    except InputError as error:
        raise InputError(f"init: {error}") from error


def build_model(
    config: FinetuneConfig, data: TaskData, pretrained: MsGFM | None, seed: int
) -> tuple[DownstreamModel, TransferReport]:
    """A new model; what is not pretrained in it follows from the seed.

    Raises:
        InputError: cards without mean and std, or a pretrained model that does not fit.
    """
    encoder = pretrained.config.encoder if pretrained else config.encoder or EncoderConfig()
    changes = {"drop_path_rate": config.drop_path_rate, "window_size": config.window_size}
    tree = {
        "sensors": needed_cards(config, data),
        "inputs": config.inputs,
        "transfer": config.transfer,
        "encoder": config_to_dict(encoder) | {key: value for key, value in changes.items() if value is not None},
        "patch_embed": pretrained.config.patch_embed if pretrained else config.patch_embed or PatchEmbedConfig(),
        "task": with_classes(config.task, data),
        "backbone": backbone_of(config),
    }
    torch.manual_seed(seed)
    return build_downstream(config_from_dict(DownstreamConfig, tree, "recipe"), pretrained)


def backbone_of(config: FinetuneConfig) -> Backbone:
    """The recipe's backbone, with the recipe's stochastic depth where timm's encoder takes it."""
    if isinstance(config.backbone, TimmBackbone) and config.drop_path_rate is not None:
        return config.backbone.model_copy(update={"drop_path_rate": config.drop_path_rate})
    return config.backbone


def with_classes(task: Task, data: TaskData) -> Task:
    """The task with the data's classes."""
    return task if isinstance(task, Restoration) else task.model_copy(update={"classes": data.classes})


def needed_cards(config: FinetuneConfig, data: TaskData) -> tuple[Sensor, ...]:
    """The cards of the sensors that the model takes and gives.

    Raises:
        InputError: a card lacks mean and std.
    """
    target = [config.task.target] if isinstance(config.task, Restoration) else []
    cards = [data.cards[name] for name in dict.fromkeys(image.sensor for image in (*config.inputs, *target))]
    for card in cards:
        card.require_statistics()
    return tuple(cards)


def require_same_bands(card: Sensor, own: Sensor, whose: str) -> None:
    """Refuses a card under which the numbers of images are not those that the model knows.

    Args:
        card: of the images, with the bands that are used.
        own: the model's, likewise.
        whose: the card is, as `the data`.

    Raises:
        InputError: names bands, units or polarisations.
    """
    if card.band_names != own.band_names:
        raise InputError(
            f"sensor {own.name}: the model has the bands {', '.join(own.band_names)}, {whose} "
            f"{', '.join(card.band_names)}"
        )
    for band, known in zip(card.bands, own.bands, strict=True):
        for what, one, other in (
            ("unit", band.unit, known.unit),
            ("polarisation", band.polarisation, known.polarisation),
        ):
            if one != other:
                raise InputError(
                    f"sensor {own.name}, band {known.name}: the model has the {what} {other}, {whose} {one}; its "
                    f"numbers mean something else there"
                )


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
