"""What is summed up of one band, how two sums are merged, and what comes out of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msgfm.data.statistics.quantiles import QuantileSketch, merge_sketches, sketch
from msgfm.sensors import Band, Sensor

PERCENTILES = (1, 2, 5, 25, 50, 75, 95, 98, 99)


@dataclass(frozen=True, kw_only=True)
class BandStatistics:
    """One band over many images, in the card's unit; NaN where no pixel has data.

    Args:
        mean: of the values as the model sees them: clipped and centred where the card says so.
        std: of the same values, over all pixels.
        minimum: of the values before clipping and centring.
        maximum: likewise.
        percentiles: likewise, by `PERCENTILES`; `QuantileSketch` states how exact they are.
        count: pixels with data.
        valid_share: of all pixels of the images.
        in_files: whether any file holds the band.
    """

    mean: float
    std: float
    minimum: float
    maximum: float
    percentiles: dict[int, float]
    count: int
    valid_share: float
    in_files: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class BandSums:
    """Of some pixels of one band.

    Args:
        pixels: with and without data.
        mean: of the values as the model sees them, float64.
        squares: sum of their squared deviations from it. Sums of squares would lose a metre's spread on three thousand
            metres of altitude.
        values: those with data, before clipping and centring.
        in_files: whether any file holds the band.
    """

    pixels: int
    mean: float
    squares: float
    values: QuantileSketch
    in_files: bool


def sum_band(image: NDArray[np.float32], band: Band, sensor: Sensor, in_files: bool) -> BandSums:
    """Sums of one image's band, h x w in physical units, NaN where there is no data."""
    values = image[np.isfinite(image)]
    seen = values.astype(np.float64)
    # The model takes the mean before it clips (models/normalize.py).
    own_mean = seen.mean() if sensor.centre == "image" and seen.size else 0.0
    if sensor.clip:
        seen = np.clip(seen, *band.valid_range)
    seen -= own_mean
    mean = float(seen.mean()) if seen.size else 0.0
    return BandSums(
        pixels=image.size,
        mean=mean,
        squares=float(((seen - mean) ** 2).sum()),
        values=sketch(values, band.valid_range),
        in_files=in_files,
    )


def merge_bands(a: BandSums, b: BandSums) -> BandSums:
    """Sums of the pixels of both (Chan, Golub and LeVeque, 1979); in any grouping the same but for rounding."""
    count, step = a.values.count + b.values.count, b.mean - a.mean
    share = b.values.count / max(count, 1)
    return BandSums(
        pixels=a.pixels + b.pixels,
        mean=a.mean + step * share,
        squares=a.squares + b.squares + step**2 * a.values.count * share,
        values=merge_sketches(a.values, b.values),
        in_files=a.in_files or b.in_files,
    )


def band_statistics(sums: BandSums) -> BandStatistics:
    """What the sums say."""
    count = sums.values.count
    return BandStatistics(
        mean=sums.mean if count else math.nan,
        std=math.sqrt(sums.squares / count) if count else math.nan,
        minimum=sums.values.minimum,
        maximum=sums.values.maximum,
        percentiles=dict(zip(PERCENTILES, sums.values.percentiles(PERCENTILES).tolist(), strict=True)),
        count=count,
        valid_share=count / sums.pixels,
        in_files=sums.in_files,
    )
