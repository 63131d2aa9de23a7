"""What a result's file says of its pixels: bands, units, no data, classes; and values as it stores them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.display import Colour
from msgfm.errors import InputError
from msgfm.geo.grid import Grid

_CLASS_TAG = "class_"  # and the value: GeoTIFF itself has colours of classes, but no names


@dataclass(frozen=True, kw_only=True)
class StoredBand:
    """One band of a file; `(stored + offset) * scale` are its physical values, as on a sensor's card.

    Args:
        name: what GIS programs call the band.
        unit: of the physical values; empty where they have none.
        scale: by which what is stored is multiplied.
        offset: counted in stored numbers.
    """

    name: str
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        assert self.scale != 0, f"band {self.name}: scale 0"


@dataclass(frozen=True, kw_only=True)
class RasterClass:
    """What a value of a class map means, and its colour."""

    value: int
    name: str
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class RasterSpec:
    """All of a raster but its numbers.

    Args:
        grid: where the pixels lie.
        dtype: numpy's name of the stored type.
        bands: in the order of the file.
        nodata: the stored number that means "no data", of all bands (GeoTIFF has one for all); of floating point NaN.
            None where every pixel has a value.
        classes: of the first and only band; empty where its values are measurements.
    """

    grid: Grid
    dtype: str
    bands: tuple[StoredBand, ...]
    nodata: float | None = None
    classes: tuple[RasterClass, ...] = ()

    def __post_init__(self) -> None:
        assert self.bands, "a raster has a band"
        assert not self.classes or len(self.bands) == 1, "classes lie in one band"
        assert self.nodata is None or np.dtype(self.dtype).kind != "f" or math.isnan(self.nodata), "NaN says it"
        if self.nodata is not None and not _holds(self.dtype, self.nodata):
            raise InputError(
                f"no data is {self.nodata:g}, which {self.dtype} cannot hold; choose another number or type"
            )
        if beyond := [one for one in self.classes if not _holds(self.dtype, one.value) or one.value == self.nodata]:
            raise InputError(
                f"class {beyond[0].name} is {beyond[0].value}, which {self.dtype} cannot hold or means no data; "
                f"choose a larger type"
            )

    @property
    def bytes_per_pixel(self) -> int:
        """Of all bands, before compression."""
        return np.dtype(self.dtype).itemsize * len(self.bands)

    def encode(self, values: NDArray[Any]) -> NDArray[Any]:
        """Physical values as they are stored.

        Integers are rounded to the nearest, and clipped to what their type holds; a value that would be stored as
        the no-data number gets the next one.

        Args:
            values: (bands, h, w), NaN where there is no data.

        Returns:
            Of the stored type, in the same shape.

        Raises:
            InputError: there is no data somewhere, and no number that says so.
        """
        assert len(values) == len(self.bands), f"{len(values)} bands of values, {len(self.bands)} in the file"
        stored = np.empty(values.shape, self.dtype)
        for band, image, target in zip(self.bands, values, stored, strict=True):
            target[...] = self._encode_band(band, image)
        return stored

    def _encode_band(self, band: StoredBand, image: NDArray[Any]) -> NDArray[Any]:
        exact = image.astype(np.float64) / band.scale - band.offset
        missing = np.isnan(exact)
        kind = np.dtype(self.dtype)
        if kind.kind == "f":
            return exact.astype(kind)
        if self.nodata is None and missing.any():
            raise InputError(
                f"band {band.name}: {int(missing.sum())} pixels have no data, and {self.dtype} has no number for it; "
                f"name one, or choose float32"
            )
        limits = np.iinfo(kind)
        # 64-bit integers beyond 2**53 are no floats; nothing here stores them
        found = np.clip(np.rint(np.where(missing, 0.0, exact)), limits.min, limits.max).astype(kind)
        if self.nodata is not None:
            self._evade(found, exact, limits)
            found[missing] = int(self.nodata)
        return found

    def _evade(self, found: NDArray[Any], exact: NDArray[np.float64], limits: Any) -> None:
        """Moves values off the no-data number: to its neighbour on the side where the value lay."""
        assert self.nodata is not None
        nodata = int(self.nodata)
        hit = found == nodata
        if nodata == limits.min:
            below = np.zeros(int(hit.sum()), bool)
        else:
            below = (exact[hit] < nodata) | (nodata == limits.max)
        found[hit] = np.where(below, nodata - 1, nodata + 1)


def _holds(dtype: str, value: float) -> bool:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    return float(value).is_integer() and np.iinfo(kind).min <= value <= np.iinfo(kind).max


def class_tags(classes: Sequence[RasterClass]) -> dict[str, str]:
    """The tags in which a file keeps the names of its classes."""
    return {f"{_CLASS_TAG}{one.value}": one.name for one in classes}


def tagged_classes(tags: Mapping[str, str]) -> dict[int, str]:
    """Names of classes by value, as a file's tags have them."""
    numbered = {key.removeprefix(_CLASS_TAG): name for key, name in tags.items() if key.startswith(_CLASS_TAG)}
    return {int(number): name for number, name in numbered.items() if number.isdecimal()}
