"""Metrics of restored images: cloud removal, translation and pan-sharpening."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from msgfm.metrics.images import Compared, absolute_errors, compare, psnr, spectral_angle, squared_error
from msgfm.metrics.metric_set import MetricSet, Scores, mean_of_known
from msgfm.metrics.pansharpening import ergas
from msgfm.metrics.windows import ssim, universal_quality

CLOUD_BINS = ("0-20", "20-40", "40-60", "60-80", "80-100")
"""Percent of an image under cloud; a limit belongs to the bin above it, 100 to the last."""


class RestorationMetrics(MetricSet):
    """`mae`, `psnr`, `ssim`, `sam` (degrees) of each image, then the mean over images; with a ratio `ergas` and `q`.

    Both images are clipped to the value range, which is then scaled to 0-1. Heights have no such range: nothing is
    clipped or scaled; there are `mae` and `rmse`, in the unit of the images. A pixel without data in any band of the
    prediction or the target (NaN; infinite values are none either) is left out; bands that the target of an image lacks
    altogether are left out of that image.
    `scored` is the share of the target's pixels that were compared: below 1 the prediction has holes. An image of which
    nothing can be compared has NaN and is left out of means. Few numbers are kept for each image.

    Attributes:
        scores: per metric the scores of the images, in the order of the updates.
    """

    def __init__(
        self, bands: Sequence[str], *, value_range: tuple[float, float] | None = (0, 1), ratio: float | None = None
    ) -> None:
        """Prepares.

        Args:
            bands: names of the target's bands.
            value_range: least and greatest value of the target's unit; (0, 1) for reflectance; None for heights.
            ratio: pixel size of the sharp image over that of the coarse one (h/l), for pan-sharpening.
        """
        self.bands, self.value_range, self.ratio = tuple(bands), value_range, ratio
        self.scores: dict[str, list[float]] = defaultdict(list)
        self._band_errors: list[Tensor] = []
        self._clouds: list[float] = []

    def update(self, prediction: Tensor, target: Tensor, clouds: Tensor | None = None) -> None:
        """Scores the images of a batch.

        Args:
            prediction: (B, C, H, W) in the target's unit, NaN where there is no data.
            target: (B, C, H, W), NaN where there is no data.
            clouds: (B,) share of each image under cloud in 0-1, NaN where it is not known.

        Raises:
            ValueError: shapes differ or are not of these bands, or a share under cloud is not in 0-1.
        """
        if prediction.shape != target.shape or target.shape[1] != len(self.bands):
            shapes = f"predictions {tuple(prediction.shape)} and targets {tuple(target.shape)}"
            raise ValueError(f"{shapes} should both be (B, {len(self.bands)}, H, W)")
        covers = [math.nan] * len(target) if clouds is None else clouds.tolist()
        if odd := [cover for cover in covers if cover < 0 or cover > 1]:
            raise ValueError(f"a share under cloud of {odd[0]:g}; it is in 0-1, not percent")
        self._clouds += covers
        for i in range(len(target)):
            self._keep(self._scores_of(prediction[i], target[i]))

    def compute(self) -> Scores:
        """Means over the images so far; `mae_per_band`; by cloud cover where any is known."""
        scores: Scores = {name: mean_of_known(values) for name, values in self.scores.items()}
        columns = torch.stack(self._band_errors, dim=1).tolist() if self._band_errors else [[] for _ in self.bands]
        scores["mae_per_band"] = {band: mean_of_known(errors) for band, errors in zip(self.bands, columns, strict=True)}
        scores["images"] = float(len(self._clouds))
        return scores | self._by_clouds()

    def _scores_of(self, prediction: Tensor, target: Tensor) -> dict[str, float]:
        """Scores of one image, of the bands that its target has."""
        has_band = target.isfinite().flatten(1).any(1)
        if not has_band.any():
            has_band[:] = True  # then no pixel is valid
        images = compare(prediction[has_band], target[has_band], self.value_range)
        errors = images.target.new_full((len(self.bands),), math.nan)
        errors[has_band] = absolute_errors(images)
        self._band_errors.append(errors.cpu())
        there = int(target[has_band].isfinite().all(0).sum())
        scores = {"mae": float(errors[has_band].mean())}
        if self.value_range is None:
            scores |= {"rmse": math.sqrt(squared_error(images))}
        else:
            scores |= {"psnr": psnr(images), "ssim": ssim(images)} | self._spectral(images)
        return scores | {"scored": int(images.valid.sum()) / there if there else math.nan}

    def _spectral(self, images: Compared) -> dict[str, float]:
        """Scores that are about ratios of values, so that 0 must mean nothing: of reflectance, not of decibels."""
        if self.value_range is None or self.value_range[0] != 0:
            return {}
        scores = {"sam": spectral_angle(images)} if len(self.bands) > 1 else {}
        if self.ratio is not None:
            q = universal_quality(images.prediction, images.target, images.valid)
            scores |= {"ergas": ergas(images, self.ratio), "q": float(q.mean())}
        return scores

    def _keep(self, scores: Mapping[str, float]) -> None:
        for name, value in scores.items():
            self.scores[name].append(value)

    def _by_clouds(self) -> Scores:
        """`mae_by_clouds` and so on, and how many images each bin has; nothing if no cloud cover is known."""
        bins = [min(int(share * 5), 4) if not math.isnan(share) else -1 for share in self._clouds]
        if not any(number >= 0 for number in bins):
            return {}
        members = {name: [i for i, number in enumerate(bins) if number == k] for k, name in enumerate(CLOUD_BINS)}
        scores: Scores = {
            f"{metric}_by_clouds": {name: mean_of_known(values[i] for i in chosen) for name, chosen in members.items()}
            for metric, values in self.scores.items()
        }
        return scores | {"images_by_clouds": {name: float(len(chosen)) for name, chosen in members.items()}}
