"""An image as its files store it, beside its card: what all checks look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.sensors import Band, Sensor
from msgfm.sensors.sensor import is_no_data

# Distributions are measured on at most this many pixels of a band, evenly spread: the rest changes no decision.
_SAMPLE_SIDE = 128
# And relations between bands on a common grid of this side.
_COMMON_SIDE = 64


@dataclass(frozen=True, kw_only=True)
class StoredBand:
    """One band of one file.

    Args:
        band: on the card.
        file: the file's path, or what the caller calls the image.
        stored: h x w, as the file has it.
        tagged: h x w, where the file itself says that it has no data; None is nowhere.
    """

    band: Band
    file: str
    stored: NDArray[Any]
    tagged: NDArray[np.bool_] | None = None

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """Where there is data: finite, and no-data neither to the file nor to the card."""
        valid: NDArray[np.bool_] = np.isfinite(self.stored)
        if self.tagged is not None:
            valid &= ~self.tagged
        if is_no_data(self.band.nodata):
            valid &= self.stored != self.band.nodata
        return valid

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """Stored numbers of the pixels with data, at most 128 x 128 of them, sorted."""
        step = (slice(None, None, _step(side, _SAMPLE_SIDE)) for side in self.stored.shape)
        thinned = tuple(step)
        return np.sort(self.stored[thinned][self.valid[thinned]].real.astype(np.float64))

    def quantile(self, share: float) -> float:
        """Of the stored numbers with data; NaN where there are none."""
        numbers = self.numbers
        return float(numbers[min(int(share * numbers.size), numbers.size - 1)]) if numbers.size else float("nan")

    def physical(self, stored: float | NDArray[Any]) -> Any:
        """Stored numbers in the card's unit."""
        return (stored + self.band.offset) * self.band.scale


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """One sensor's image: the bands that its files hold, in any order and each on its own grid.

    Args:
        sensor: the card.
        bands: those that there are.
        sample: of the manifest; empty where there is none.
        gsd_m: size of the finest band's pixels in metres; None where the file has no coordinates.
        surplus: channels of the array beyond its bands (negative: bands without a channel).
    """

    sensor: Sensor
    bands: tuple[StoredBand, ...]
    sample: str = ""
    gsd_m: float | None = None
    surplus: int = 0

    @property
    def file(self) -> str:
        """Of the first band."""
        return self.bands[0].file

    @property
    def names(self) -> tuple[str, ...]:
        """Of its bands, in the order of `bands`."""
        return tuple(one.band.name for one in self.bands)

    def get(self, name: str) -> StoredBand | None:
        """A band by name; None where the files lack it."""
        return next((one for one in self.bands if one.band.name == name), None)

    @cached_property
    def common(self) -> NDArray[np.float64]:
        """C x N, physical values of the pixels that have data in all bands, on one grid of at most 64 x 64."""
        side = min(_COMMON_SIDE, *(min(one.stored.shape) for one in self.bands))
        values, valid = [], np.ones((side, side), bool)
        for one in self.bands:
            rows, columns = (((np.arange(side) + 0.5) * size / side).astype(int) for size in one.stored.shape)
            grid = np.ix_(rows, columns)
            values.append(one.physical(one.stored[grid].real.astype(np.float64)))
            valid &= one.valid[grid]
        return np.stack([value[valid] for value in values])

    @property
    def of_complex(self) -> bool:
        """Whether any band has complex numbers."""
        return any(one.stored.dtype.kind == "c" for one in self.bands)

    def native_pixels(self, one: StoredBand) -> float:
        """Pixels of a band before it was repeated or interpolated to the grid that it has here."""
        listed = [other.band.gsd_m for other in self.bands if other.band.gsd_m]
        pixel = self.gsd_m or (min(listed) if listed else None)
        if pixel is None or not one.band.gsd_m:
            return float(one.stored.size)
        finest = max(max(other.stored.shape) for other in self.bands)
        coarseness = one.band.gsd_m / (pixel * finest / max(one.stored.shape))
        return float(one.stored.size / max(1.0, coarseness) ** 2)

    @property
    def of_integers(self) -> bool:
        """Whether all stored numbers are whole, in whatever type."""
        return all(
            one.stored.dtype.kind in "iu" or bool((one.numbers == np.round(one.numbers)).all()) for one in self.bands
        )


def stored_image(
    stored: NDArray[Any] | np.ma.MaskedArray[Any, Any],
    sensor: Sensor,
    *,
    bands: Sequence[str] | None = None,
    file: str = "image",
    sample: str = "",
    gsd_m: float | None = None,
) -> StoredImage:
    """An image in memory.

    Args:
        stored: C x H x W as the file has it; a mask says where the file has no data.
        sensor: the card.
        bands: what the channels are, in the array's order; None is all of the card's.
        file: what to call it in findings.
        sample: of the manifest.
        gsd_m: size of a pixel in metres, where it is known.

    Raises:
        InputError: a band that the card does not have.
    """
    names = sensor.band_names if bands is None else tuple(bands)
    mask = np.ma.getmaskarray(stored) if np.ma.is_masked(stored) else None
    values = np.ma.getdata(stored)
    return StoredImage(
        sensor=sensor,
        bands=tuple(
            StoredBand(
                band=sensor.bands[sensor.index_of(name)],
                file=file,
                stored=values[i],
                tagged=None if mask is None else mask[i],
            )
            for i, name in enumerate(names[: len(values)])
        ),
        sample=sample,
        gsd_m=gsd_m,
        surplus=len(values) - len(names),
    )


def _step(side: int, at_most: int) -> int:
    return max(1, -(-side // at_most))
