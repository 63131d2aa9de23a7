"""What masked image modelling hides (SimMIM, Xie et al. 2021): squares of an image, alike for all bands."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def random_patch_mask(rows: int, cols: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Hides `ceil(ratio * rows * cols)` squares drawn without replacement.

    Args:
        rows: squares along the height.
        cols: squares along the width.
        ratio: share to hide, 0..1.
        generator: where the randomness comes from; the sample's own, so that workers and ranks change nothing.

    Returns:
        (rows, cols) bool, True where hidden.
    """
    hidden = torch.zeros(rows * cols, dtype=torch.bool)
    hidden[torch.randperm(rows * cols, generator=generator)[: math.ceil(ratio * rows * cols)]] = True
    return hidden.view(rows, cols)


def upsample_mask(hidden: Tensor, factor: int) -> Tensor:
    """Repeats every entry `factor` times along both axes: (B, h, w) to (B, h * factor, w * factor)."""
    return hidden.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)


def masked_l1(prediction: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Mean absolute error over the hidden pixels that have data, for each image.

    SimMIM's loss, except that pixels without data count neither above nor below the line; float32 whatever comes in.

    Args:
        prediction: (B, C, H, W).
        target: (B, C, H, W) normalised, NaN where there is no data.
        hidden: (B, 1, H, W) bool.

    Returns:
        (B,); 0 for an image without a hidden pixel that has data.
    """
    counted = target.isfinite() & hidden
    error = (prediction.float() - torch.where(counted, target, 0)).abs() * counted
    return error.sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3)).clamp_min(1)


def masked_mean(image: Tensor, where: Tensor) -> Tensor:
    """Mean of each image and band over its data within `where`, float32; 0 where there is none.

    Args:
        image: (B, C, H, W), NaN where there is no data.
        where: (B, 1, H, W) bool.

    Returns:
        (B, C, 1, 1).
    """
    counted = image.isfinite() & where
    total = torch.where(counted, image, 0).sum(dim=(2, 3), keepdim=True, dtype=torch.float32)
    return total / counted.sum(dim=(2, 3), keepdim=True).clamp_min(1)
