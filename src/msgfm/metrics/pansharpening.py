"""Metrics of pan-sharpening: ERGAS against a reference, QNR without one."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from msgfm.metrics.images import Compared
from msgfm.metrics.metric_set import Scores, mean_of_known
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


NO_REFERENCE = ("d_lambda", "d_s", "qnr")
"""Metrics at full resolution."""


class SharpeningMetrics:
    """`d_lambda`, `d_s`, `qnr` of each image at full resolution, without a reference, then the mean over images.

    `scored` is the share of the panchromatic image's pixels for which the prediction has all bands: what is missing
    there is in no window, so that a prediction could hide its worst pixels.

    Attributes:
        scores: per metric the scores of the images, in the order of the updates.
    """

    def __init__(self) -> None:
        self.scores: dict[str, list[float]] = defaultdict(list)

    def update(self, prediction: Tensor, coarse: Tensor, pan: Tensor) -> None:
        """Scores the images of a batch.

        Args:
            prediction: (B, C, H, W) in the unit of `coarse`, NaN (or infinite) where there is no data.
            coarse: (B, C, h, w) the multispectral images on their own grid.
            pan: (B, 1, H, W) the panchromatic images.

        Raises:
            ValueError: numbers of bands or grids do not go together.
        """
        fine, bands = prediction.shape[-2:], prediction.shape[1]
        if coarse.shape[1] != bands or pan.shape[1:] != (1, *fine) or coarse.shape[-1] >= fine[1]:
            raise ValueError(
                f"predictions {tuple(prediction.shape)}, coarse images {tuple(coarse.shape)} and panchromatic ones "
                f"{tuple(pan.shape)} should be (B, C, H, W), (B, C, h, w) of a coarser grid, and (B, 1, H, W)"
            )
        for sharp, multispectral, grey in zip(prediction, coarse, pan, strict=True):
            ratio = multispectral.shape[-1] / fine[1]
            there = ~grey[0].isnan()
            known = there & sharp.isfinite().all(0)
            scores = vars(quality_without_reference(sharp, multispectral, grey, ratio))
            scores = scores | {"scored": int(known.sum()) / int(there.sum()) if there.any() else math.nan}
            for name, value in scores.items():
                self.scores[name].append(value)

    def compute(self) -> Scores:
        """Means over the images so far."""
        return {name: mean_of_known(values) for name, values in self.scores.items()}


def quality_without_reference(sharp: Tensor, coarse: Tensor, pan: Tensor, ratio: float) -> NoReference:
    """QNR = (1 - D_lambda)^a (1 - D_s)^b with a = b = p = q = 1 (Alparone et al., 2008), at full resolution.

    D_lambda is how far Q between two bands changes by sharpening, D_s how far Q between a band and the panchromatic
    image does; both are means of absolute differences. The panchromatic image is brought to the coarse grid by
    averaging areas. Q takes windows of 8 px on the coarse grid and of the same ground on the fine one (32 px for
    WorldView-3). Values are not clipped: Q needs no range. Windows that touch no-data in any band are left out.

    Args:
        sharp: (C, H, W), NaN where there is no data.
        coarse: (C, h, w) the multispectral image on its own grid.
        pan: (1, H, W).
        ratio: h/l as in `ergas`.
    """
    sharp, coarse, pan = sharp.double(), coarse.double(), pan.double()
    # averages of areas; there is no data where any of an area has none
    coarse_side = _between_bands(coarse, F.adaptive_avg_pool2d(pan, (coarse.shape[1], coarse.shape[2])), Q_WINDOW)
    sharp_side = _between_bands(sharp, pan, round(Q_WINDOW / ratio))
    change = (sharp_side - coarse_side).abs()
    d_s = float(change[0, 1:].mean())
    pairs = torch.triu(torch.ones_like(change, dtype=torch.bool), 1)[1:, 1:]
    d_lambda = float(change[1:, 1:][pairs].mean()) if pairs.any() else 0.0
    return NoReference(d_lambda=d_lambda, d_s=d_s, qnr=(1 - d_lambda) * (1 - d_s))


def _between_bands(image: Tensor, pan: Tensor, window: int) -> Tensor:
    """Q of each band with each later one, (1 + C, 1 + C) with the panchromatic image first; 0 elsewhere."""
    bands = torch.cat([pan, image])
    valid = bands.isfinite().all(0)
    bands = bands.where(valid, 0)
    table = bands.new_zeros(len(bands), len(bands))
    for first in range(len(bands) - 1):
        later = bands[first + 1 :]
        table[first, first + 1 :] = universal_quality(bands[first].expand_as(later), later, valid, window)
    return table
