"""Metrics of pan-sharpening: ERGAS against a reference, QNR without one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from msgfm.metrics.images import Compared
from msgfm.metrics.windows import Q_WINDOW, universal_quality


def ergas(images: Compared, ratio: float) -> float:
    """Relative global error 100 h/l sqrt(mean over bands of (RMSE / mean of the target)^2) (Wald, 2000); 0 is best.

    Args:
        images: prediction and target.
        ratio: h/l, the pixel size of the sharp image over that of the coarse one: 0.25 for WorldView-3.

    Returns:
        NaN without a valid pixel, or if a band of the target is 0 on average.
    """
    predicted, true = images.prediction[:, images.valid], images.target[:, images.valid]
    mean = true.mean(1)
    squares = (predicted - true).square().mean(1) / mean.where(mean > 0, torch.nan) ** 2
    return 100 * ratio * float(squares.mean().sqrt())


@dataclass(frozen=True, kw_only=True)
class NoReference:
    """Quality without reference (Alparone et al., 2008).

    Attributes:
        d_lambda: spectral distortion, 0 is best.
        d_s: spatial distortion, 0 is best.
        qnr: (1 - d_lambda) (1 - d_s), 1 is best.
    """

    d_lambda: float
    d_s: float
    qnr: float


def quality_without_reference(sharp: Tensor, coarse: Tensor, pan: Tensor, ratio: float) -> NoReference:
    """QNR = (1 - D_lambda)^a (1 - D_s)^b with a = b = p = q = 1 (Alparone et al., 2008), at full resolution.

    D_lambda is how far Q between two bands changes by sharpening, D_s how far Q between a band and the panchromatic
    image does; both are means of absolute differences. The panchromatic image is brought to the coarse grid by
    averaging areas. Q takes windows of 8 px on the coarse grid and of the same ground on the fine one (32 px for
    WorldView-3). Values are not clipped: Q needs no range. Windows that touch no-data in any band are left out.

    Args:
        sharp: (C, H, W), NaN where there is no data.
        coarse: (C, h, w) the multispectral image; or (C, H, W), resampled to the fine grid; averages undo that.
        pan: (1, H, W).
        ratio: h/l as in `ergas`.
    """
    height, width = coarse.shape[1:]
    small = (round(height * ratio), round(width * ratio)) if coarse.shape == sharp.shape else (height, width)
    sharp, coarse, pan = sharp.double(), _reduce(coarse.double(), small), pan.double()
    coarse_side = _between_bands(coarse, _reduce(pan, small), Q_WINDOW)
    sharp_side = _between_bands(sharp, pan, round(Q_WINDOW / ratio))
    change = (sharp_side - coarse_side).abs()
    d_s = float(change[0, 1:].mean())
    pairs = torch.triu(torch.ones_like(change, dtype=torch.bool), 1)[1:, 1:]
    d_lambda = float(change[1:, 1:][pairs].mean()) if pairs.any() else 0.0
    return NoReference(d_lambda=d_lambda, d_s=d_s, qnr=(1 - d_lambda) * (1 - d_s))


def _between_bands(image: Tensor, pan: Tensor, window: int) -> Tensor:
    """Q of each band with each later one, (1 + C, 1 + C) with the panchromatic image first; 0 elsewhere."""
    bands = torch.cat([pan, image])
    valid = ~bands.isnan().any(0)
    bands = bands.where(valid, 0)
    table = bands.new_zeros(len(bands), len(bands))
    for first in range(len(bands) - 1):
        later = bands[first + 1 :]
        table[first, first + 1 :] = universal_quality(bands[first].expand_as(later), later, valid, window)
    return table


def _reduce(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages areas to a coarser grid; no data where any of an area has none."""
    return F.adaptive_avg_pool2d(image, size) if image.shape[1:] != size else image
