"""Reads what a manifest lists: stored numbers become physical ones, what has no data becomes NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.data.checks.units import check_units
from msgfm.data.records import RasterFile, Sample, SensorImage
from msgfm.data.shards.chunks import is_place
from msgfm.data.shards.read import DamagedShardError
from msgfm.data.stored import read_stored
from msgfm.errors import InputError
from msgfm.sensors import Band, Sensor
from msgfm.sensors.sensor import is_no_data

Image = NDArray[np.float32]


def read_sample(root: Path, sample: Sample, sensors: Mapping[str, Sensor]) -> dict[str, Image]:
    """Reads all sensors of a sample on one grid, that of the finest.

    Args:
        root: the folder that the manifest's paths start from.
        sample: the sample.
        sensors: cards by name (`Manifest.sensors`).

    Returns:
        By `SensorImage.key` (the sensor, and its role if it has one) C x H x W, float32, in physical units, NaN where
        there is no data.

    Raises:
        InputError: as `read_sensor_image`.
    """
    finest = max(sample.images, key=lambda image: image.height * image.width)
    size = (finest.height, finest.width)
    try:
        return {image.key: read_sensor_image(root, image, sensors[image.sensor], size) for image in sample.images}
    except DamagedShardError as error:
        raise InputError(f"sample {sample.sample}: {error}") from error


def read_sensor_image(root: Path, image: SensorImage, sensor: Sensor, size: tuple[int, int] | None = None) -> Image:
    """Reads one sensor's image.

    Args:
        root: the folder that the manifest's paths start from.
        image: files and bands.
        sensor: the card.
        size: height and width wanted; None is the grid of the finest band.

    Returns:
        C x H x W, float32, in physical units, all bands of the card in its order; NaN where there is no data, and
        in all of a band that no file holds.

    Raises:
        InputError: a file is missing, truncated or of another shape than the manifest's, nothing but no data, or
            values that do not fit the card's units.
    """
    height, width = size or (image.height, image.width)
    read = [(sensor.indices_of(file.bands), _read_file(root, file, sensor)) for file in image.files]
    finest = max(values.shape[1:] for _, values in read)
    if finest != (image.height, image.width):
        raise InputError(
            f"{root / image.files[0].path}: {finest[0]} x {finest[1]} pixels, the manifest says "
            f"{image.height} x {image.width}; the files were changed since: index the data set again"
        )
    indices, values = read[0]
    if indices == tuple(range(len(sensor.bands))):  # one file with all bands, as most are: nothing to put together
        result = resample(values, (height, width))
    else:
        result = np.full((len(sensor.bands), height, width), np.nan, np.float32)
        for indices, values in read:
            result[list(indices)] = resample(values, (height, width))
    # a look at some pixels spares most images the look at all
    if not np.isfinite(result[:, ::16, ::16]).any() and not np.isfinite(result).any():
        names = ", ".join(str(root / file.path) for file in image.files)
        raise InputError(f"{names}: every value is no data (NaN or the no-data number); leave the sample out")
    return result


def _read_file(root: Path, file: RasterFile, sensor: Sensor) -> Image:
    """Bands of one file, C x h x w in its own grid, in physical units."""
    stored = read_stored(root, file)
    bands = [sensor.bands[i] for i in sensor.indices_of(file.bands)]
    physical = physical_values(stored, bands)
    if not is_place(file.path):  # what is in shards was checked when it was written
        for i, band in enumerate(bands):
            check_units(root / file.path, sensor, band, np.ma.getdata(stored)[i], physical[i])
    return physical.astype(np.float32, copy=False)


def physical_values(stored: np.ma.MaskedArray[Any, Any], bands: Sequence[Band]) -> NDArray[np.floating[Any]]:
    """Stored numbers in the units of their bands.

    Args:
        stored: C x h x w, masked where the file itself says that it has no data.
        bands: of the card, C of them.

    Returns:
        C x h x w, NaN where there is no data; float64 where float32 would lose what is stored (int32, float64).
    """
    numbers = np.ma.getdata(stored)
    physical = numbers.astype(np.result_type(numbers.dtype, np.float32))
    missing = _missing(stored, bands)
    if len({(band.offset, band.scale) for band in bands}) == 1:
        _to_physical(physical, bands[0])
    else:
        for i, band in enumerate(bands):
            _to_physical(physical[i], band)
    if missing is not None:
        physical[missing] = np.nan
    return physical


def _missing(stored: np.ma.MaskedArray[Any, Any], bands: Sequence[Band]) -> NDArray[np.bool_] | None:
    """Where there is no data; None is nowhere."""
    numbers = np.ma.getdata(stored)
    parts = [np.ma.getmaskarray(stored)] if np.ma.is_masked(stored) else []
    if numbers.dtype.kind not in "iub" and not (finite := np.isfinite(numbers)).all():
        parts.append(~finite)
    marks = [band.nodata for band in bands if is_no_data(band.nodata)]
    if marks and marks == [marks[0]] * len(bands):
        parts.append(_equals(numbers, marks[0]))
    elif marks:
        no_band = np.zeros(numbers.shape[1:], bool)
        each = zip(numbers, bands, strict=True)
        parts.append(np.stack([_equals(n, b.nodata) if is_no_data(b.nodata) else no_band for n, b in each]))
    if not parts:
        return None
    missing = parts[0] if len(parts) == 1 else np.logical_or.reduce(parts)
    return missing if missing.any() else None


def _equals(numbers: NDArray[Any], mark: float | None) -> NDArray[np.bool_]:
    """Where stored numbers are the card's mark; integers are compared as such, which is several times faster."""
    whole = numbers.dtype.kind in "iu" and mark is not None and float(mark).is_integer()
    return np.asarray(numbers == (int(mark) if whole and mark is not None else mark))


def _to_physical(numbers: NDArray[Any], band: Band) -> None:
    """Stored numbers to the card's unit, in place."""
    if band.offset:
        numbers += band.offset
    if band.scale != 1:
        numbers *= band.scale


def resample(image: Image, size: tuple[int, int]) -> Image:
    """Brings an image to another grid of the same extent, aligned at the outer edges, with holes kept.

    Bilinear when it gets finer; a triangle as wide as the new pixel when it gets coarser (as torch's `interpolate`
    with `antialias`). Only pixels with data count; a new pixel has data where at least half of its area had.

    Args:
        image: C x h x w, NaN where there is no data.
        size: the new height and width.

    Returns:
        C x H x W.
    """
    if image.shape[1:] == size:
        return image
    rows, columns = _triangle(image.shape[1], size[0]), _triangle(image.shape[2], size[1])
    valid = np.isfinite(image)
    if valid.all():
        return np.asarray(rows @ image @ columns.T)
    weight = rows @ valid.astype(np.float32) @ columns.T
    total = rows @ np.where(valid, image, np.float32(0)) @ columns.T
    area = _overlap(image.shape[1], size[0]) @ valid.astype(np.float32) @ _overlap(image.shape[2], size[1]).T
    has_data = (area >= 0.5 - 1e-4) & (weight > 1e-6)
    return np.asarray(np.where(has_data, total / np.where(has_data, weight, np.float32(1)), np.float32(np.nan)))


@lru_cache(maxsize=64)
def _triangle(old: int, new: int) -> Image:
    """Matrix, new x old: weights of the old pixels in each new one, by the distance of their centres."""
    step = old / new
    centres = (np.arange(new) + 0.5) * step
    distance = np.abs(np.arange(old) + 0.5 - centres[:, None]) / max(step, 1.0)
    return _normalised(np.clip(1 - distance, 0, None))


@lru_cache(maxsize=64)
def _overlap(old: int, new: int) -> Image:
    """Matrix, new x old: the share of each new pixel's length that lies in each old one."""
    edges = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return _normalised(np.clip(covered, 0, None))


def _normalised(weights: NDArray[np.float64]) -> Image:
    matrix: Image = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    matrix.setflags(write=False)
    return matrix
