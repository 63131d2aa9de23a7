"""What fine-tuning makes small, for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgfm.data.masks import UNLABELLED
from msgfm.errors import InputError
from msgfm.models.masking import masked_l1
from msgfm.models.tasks import Classification, Restoration, Task
from msgfm.sensors import Sensor
from msgfm.training.finetuning.config import LossConfig


class TaskModel(Protocol):
    """What a loss needs of a model."""

    auxiliary: Tensor

    def __call__(self, images: Mapping[str, Tensor]) -> Tensor:
        """The output of `DownstreamModel.forward`."""


class Losses(NamedTuple):
    """One pass: `loss` is what is made small, the task's own loss and the mixtures' weighted balancing loss."""

    loss: Tensor
    task: Tensor
    auxiliary: Tensor


class LossOfModel(nn.Module):
    """A model with the loss of its task, as one module, so that all of it runs inside what Fabric wraps."""

    def __init__(self, model: nn.Module, config: LossConfig, task: Task, target: Sensor | None) -> None:
        super().__init__()
        self.model = model
        self.task = TaskLoss(config, task, target)
        self.auxiliary_weight = config.auxiliary_weight

    def forward(self, images: Mapping[str, Tensor], target: Tensor) -> Losses:
        """The losses of a batch: images by key, target as in `TaskBatch`."""
        output = self.model(images)
        task = self.task(output.float(), target)
        auxiliary = cast("TaskModel", self.model).auxiliary.to(task.device)
        return Losses(task + self.auxiliary_weight * auxiliary, task.detach(), auxiliary.detach())


class TaskLoss(nn.Module):
    """The loss of one task, in float32.

    Args:
        config: what is added to the task's first loss.
        task: with its classes.
        target: of a restoration, the card of the image that is predicted, with the bands that are.
    """

    std: Tensor
    weights: Tensor | None

    def __init__(self, config: LossConfig, task: Task, target: Sensor | None) -> None:
        super().__init__()
        self.config, self.task = config, task
        self.register_buffer("weights", _class_weights(config, task), persistent=False)
        if target is not None:
            std = torch.tensor([band.std for band in target.bands]).view(-1, 1, 1)
            self.register_buffer("std", std, persistent=False)
        self.added = nn.ModuleDict(_region_losses(config))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            output: of `DownstreamModel.forward`, float32.
            target: as in `TaskBatch`. Pixels that are not labelled, or have no data, do not count.
        """
        if isinstance(self.task, Restoration):
            everywhere = torch.ones_like(target[:, :1], dtype=torch.bool)
            loss = masked_l1(output / self.std, target / self.std, everywhere).mean()
            if self.config.spectral_angle:
                loss = loss + self.config.spectral_angle * spectral_angle(output, target)
            return loss
        if isinstance(self.task, Classification) and self.task.multilabel:
            return F.binary_cross_entropy_with_logits(output, target, weight=self.weights)
        if not (target != UNLABELLED).any():
            return (output * 0).sum()  # cross entropy over nothing is NaN
        loss = F.cross_entropy(output, target, weight=self.weights, ignore_index=UNLABELLED)
        for name, added in self.added.items():
            loss = loss + getattr(self.config, name) * added(output, target)
        return loss


def _class_weights(config: LossConfig, task: Task) -> Tensor | None:
    if config.class_weights is None or isinstance(task, Restoration):
        return None
    classes: Sequence[str] = task.classes
    if unknown := [name for name in config.class_weights if name not in classes]:
        raise InputError(f"loss.class_weights: no class {unknown[0]!r}; the classes are {', '.join(classes)}")
    return torch.tensor([config.class_weights.get(name, 1.0) for name in classes])


def _region_losses(config: LossConfig) -> dict[str, nn.Module]:
    if not (config.dice or config.focal):
        return {}
    # it imports every encoder that it knows: seconds, which runs without these losses need not wait for
    from segmentation_models_pytorch.losses import DiceLoss, FocalLoss

    losses: dict[str, Any] = {"dice": DiceLoss, "focal": FocalLoss}
    return {
        name: loss(mode="multiclass", ignore_index=UNLABELLED) for name, loss in losses.items() if getattr(config, name)
    }


def spectral_angle(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean angle between predicted and true spectra in radians, over pixels of which all bands are there.

    Spectra are the physical values. The angle is taken from its tangent, whose gradient stays finite where the two
    agree; a spectrum of zeros has no direction, and does not count.

    Args:
        prediction: (B, C, H, W) in physical units.
        target: likewise, NaN where there is no data.
    """
    true = target.nan_to_num(nan=0.0)
    norm, true_norm = prediction.norm(dim=1), true.norm(dim=1)
    there = target.isfinite().all(1) & (true_norm > 0) & (norm.detach() > 0)
    unit = prediction / norm.clamp_min(1e-12)[:, None]
    true_unit = true / true_norm.clamp_min(1e-12)[:, None]
    # Kahan: 2 atan2(|u - v|, |u + v|)
    apart = ((unit - true_unit).square().sum(1) + 1e-12).sqrt()
    together = ((unit + true_unit).square().sum(1) + 1e-12).sqrt()
    angle = 2 * torch.atan2(apart, together)
    return cast(Tensor, torch.where(there, angle, 0).sum() / there.sum().clamp_min(1))
