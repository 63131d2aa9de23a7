"""A batch of a downstream task."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TaskBatch:
    """What a downstream model takes, and what it should give.

    Args:
        images: by key (B, C of the input's bands, H, W), physical units, NaN where there is no data and in all of an
            image that the sample lacks.
        target: (B, K) float, 0 or 1, of several labels an image; (B,) int64 of one; (B, H, W) int64 of masks,
            `UNLABELLED` where there is none; (B, C, H, W) float of an image in physical units, NaN for no data.
        names: of the samples; `sample#row,column` for a window of one.
        bad: messages of samples that could not be read and were replaced by the next.
        clouds: (B,) share of the image to restore that is under clouds, 0-1, of the whole image for each of its
            windows; NaN where it cannot be told (`clouds.py`), and in training; None where the task is no restoration.
    """

    images: dict[str, Tensor]
    target: Tensor
    names: list[str]
    bad: list[str] = field(default_factory=list)
    clouds: Tensor | None = None

    def to(self, device: torch.device) -> TaskBatch:
        """The same batch on a device."""
        return TaskBatch(
            images={key: image.to(device, non_blocking=True) for key, image in self.images.items()},
            target=self.target.to(device, non_blocking=True),
            names=self.names,
            bad=self.bad,
            clouds=None if self.clouds is None else self.clouds.to(device, non_blocking=True),
        )

    def __len__(self) -> int:
        return len(self.names)
