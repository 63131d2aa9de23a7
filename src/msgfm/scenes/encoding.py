"""Feature maps of a stage of a model's encoder, pretrained or of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from msgfm.errors import InputError
from msgfm.models.downstream import DownstreamModel
from msgfm.models.msgfm import MsGFM


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of an encoder.

    Args:
        run: from images by key (B, C, h, w) in physical units to its map (B, dim, ceil(h / step), ceil(w / step)).
        dim: channels of the map.
        step: pixels along one side of a token.
        widest: of the tokens of the last stage: images whose sides are multiples of it are not padded.
    """

    run: Callable[[Mapping[str, Tensor]], Tensor]
    dim: int
    step: int
    widest: int


def feature_stage(model: MsGFM | DownstreamModel, stage: int, bands: Mapping[str, Sequence[str]]) -> Stage:
    """A stage of a model.

    Of several sensors of a pretrained model its map is the mean of those that an image has, of two dates the mean.

    Args:
        model: pretrained, or of a task.
        stage: of the encoder, from 1.
        bands: of each image, for a pretrained model.

    Raises:
        InputError: there is no such stage.
    """
    if isinstance(model, MsGFM):
        dims = model.config.encoder.stage_dims
        steps = tuple(model.config.patch_embed.patch_size * 2**i for i in range(len(dims)))
        run = partial(_pretrained_map, model, stage, bands)
    else:
        dims, steps = tuple(model.trunk.dims), tuple(model.trunk.strides)
        run = partial(_task_map, model, stage)
    if not dims:
        raise InputError("the model is a rule, which makes no features; give one with an encoder")
    if not 1 <= stage <= len(dims):
        raise InputError(f"--stage {stage}: the encoder has the stages 1 to {len(dims)}, of {dims} channels")
    return Stage(run=run, dim=dims[stage - 1], step=steps[stage - 1], widest=max(steps))


def _pretrained_map(
    model: MsGFM, stage: int, bands: Mapping[str, Sequence[str]], images: Mapping[str, Tensor]
) -> Tensor:
    maps = torch.stack([maps[stage - 1] for maps in model.encode(images, bands, checked=True).values()])
    present = torch.stack([image.isfinite().flatten(1).any(1) for image in images.values()]).float()
    weights = present / present.sum(0).clamp(min=1)
    return (maps * weights[:, :, None, None, None]).sum(0)


def _task_map(model: DownstreamModel, stage: int, images: Mapping[str, Tensor]) -> Tensor:
    found: Tensor = model.features(images)[stage - 1].unflatten(0, (len(model.config.dates), -1))
    return found.mean(0)
