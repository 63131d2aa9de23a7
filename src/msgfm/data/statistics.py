"""Mean, standard deviation and range of each band of a data set, as a sensor card states them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msgfm.data.reader import read_sensor_image
from msgfm.data.records import Manifest
from msgfm.errors import InputError
from msgfm.progress import track
from msgfm.sensors import Sensor


@dataclass(frozen=True, kw_only=True)
class BandStatistics:
    """One band over many images, in the card's unit; NaN where no pixel has data.

    Args:
        mean: of the values as the model sees them: clipped and centred where the card says so.
        std: of the same values, over all pixels.
        minimum: of the values before clipping and centring.
        maximum: likewise.
        valid_share: pixels with data, of all pixels of the images.
    """

    mean: float
    std: float
    minimum: float
    maximum: float
    valid_share: float


class _Running:
    """Mean and squared deviations, merged image by image (Chan, Golub and LeVeque, 1979).

    Sums of squares would lose a metre's spread on three thousand metres of altitude.
    """

    def __init__(self) -> None:
        self.pixels = self.count = 0
        self.mean = self.squares = 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, band: NDArray[np.float32], clip: tuple[float, float] | None, centre: bool) -> None:
        self.pixels += band.size
        values = band[np.isfinite(band)].astype(np.float64)
        if values.size == 0:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        # The model takes the mean before it clips (models/normalize.py).
        own_mean = values.mean() if centre else 0.0
        values = (np.clip(values, *clip) if clip else values) - own_mean
        mean = float(values.mean())
        total, step = self.count + values.size, mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + step**2 * self.count * values.size / total
        self.mean += step * values.size / total
        self.count = total

    def result(self) -> BandStatistics:
        if self.count == 0:
            nan = math.nan
            return BandStatistics(mean=nan, std=nan, minimum=nan, maximum=nan, valid_share=0.0)
        return BandStatistics(
            mean=self.mean,
            std=math.sqrt(self.squares / self.count),
            minimum=self.low,
            maximum=self.high,
            valid_share=self.count / self.pixels,
        )


def band_statistics(*manifests: Manifest, split: str = "train") -> dict[str, dict[str, BandStatistics]]:
    """Reads every image of a split once and measures each band, in float64.

    Args:
        *manifests: one or several; a sensor that several have must have one card.
        split: `train`, `val`, `test`, or `all`.

    Returns:
        By sensor, then by band name in the card's order.

    Raises:
        InputError: no such split, two cards for one sensor, or an image that cannot be read (`read_sensor_image`).
    """
    sensors: dict[str, Sensor] = {}
    for manifest in manifests:
        for name, sensor in manifest.sensors.items():
            if sensors.setdefault(name, sensor) != sensor:
                raise InputError(f"sensor {name} has another card in each manifest; measure them one by one")
    running = {name: [_Running() for _ in sensor.bands] for name, sensor in sensors.items()}
    for manifest in manifests:
        samples = manifest.only(split).samples
        for sample in track(samples, "measuring", len(samples)):
            for image in sample.images:
                sensor = manifest.sensors[image.sensor]
                array = read_sensor_image(manifest.root, image, sensor)
                for band, values, sums in zip(sensor.bands, array, running[image.sensor], strict=True):
                    sums.add(values, band.valid_range if sensor.clip else None, sensor.centre == "image")
    return {
        name: {band: sums.result() for band, sums in zip(sensor.band_names, running[name], strict=True)}
        for name, sensor in sensors.items()
    }


def card_lines(sensor: Sensor, statistics: dict[str, BandStatistics]) -> str:
    """The statistics as lines for the card's `bands`; bands without data are left out."""
    lines = [
        f"  - {{name: {name}, mean: {found.mean:.6g}, std: {found.std:.6g}}}"
        for name, found in ((name, statistics[name]) for name in sensor.band_names)
        if found.valid_share > 0 and found.std > 0
    ]
    return "\n".join(["bands:", *lines])
