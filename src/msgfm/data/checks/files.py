"""From a manifest's files to stored images, and what their headers say about bands and places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredBand, StoredImage
from msgfm.data.layouts.listing import card_band
from msgfm.data.records import RasterFile, Sample, SensorImage
from msgfm.data.shards.chunks import is_place
from msgfm.data.stored import read_stored as read_file
from msgfm.errors import InputError
from msgfm.geo.raster import RasterInfo, extent_of, raster_info
from msgfm.sensors import Sensor

_DEGREE_M = 111_320.0
# Pixels so much coarser than a band's, or finer than the sensor's finest, were resampled.
_RESAMPLED = 1.5


Headers = Mapping[str, RasterInfo]


def read_headers(root: Path, image: SensorImage) -> dict[str, RasterInfo]:
    """Headers of an image's files, by path; places in shards have none.

    Raises:
        InputError: a file is missing, a folder, or no raster.
    """
    paths = [file.path for file in image.files if not is_place(file.path)]
    if folder := next((root / path for path in paths if (root / path).is_dir()), None):
        raise InputError(f"{folder} is a folder, where the manifest lists an image file; index the data set again")
    return {path: raster_info(root / path) for path in paths}


def read_stored(root: Path, image: SensorImage, sensor: Sensor, headers: Headers, *, sample: str = "") -> StoredImage:
    """Reads one sensor's files as they are stored.

    Raises:
        InputError: a file is missing, truncated, or lacks a band or window.
    """
    bands = [band for file in image.files for band in _stored_bands(root, file, sensor)]
    known = [headers[file.path] for file in image.files if file.path in headers]
    gsd = [size for header in known if (size := _gsd(header)) is not None]
    return StoredImage(sensor=sensor, bands=tuple(bands), sample=sample, gsd_m=min(gsd) if gsd else None)


def name_findings(root: Path, image: SensorImage, sensor: Sensor, headers: Headers) -> Iterator[Finding]:
    """Files whose own names of bands contradict the manifest."""
    for file in image.files:
        if file.path not in headers:
            continue
        info = headers[file.path]
        written = (info.descriptions[position - 1] for position in file.file_bands)
        said = [card_band(name, sensor) if name else None for name in written]
        wrong = [name for name, other in zip(file.bands, said, strict=True) if other not in (None, name)]
        if wrong:
            order = ",".join(other or name for name, other in zip(file.bands, said, strict=True))
            yield Finding(
                kind="band-name",
                severity="error",
                file=str(root / file.path),
                bands=tuple(wrong),
                seen=f"the file names its bands {order}",
                expected=",".join(file.bands),
                confidence=0.99,
                remedy=f"--sensor {sensor.name}:{order}=PATTERN",
            )


def resolution_findings(root: Path, image: SensorImage, sensor: Sensor, headers: Headers) -> Iterator[Finding]:
    """Files whose pixels are coarser than their bands are, or finer than the sensor's finest band."""
    finest = min((band.gsd_m for band in sensor.bands if band.gsd_m), default=None)
    for file in image.files:
        pixel = _gsd(headers[file.path]) if file.path in headers else None
        native = [band.gsd_m for name in file.bands if (band := sensor.bands[sensor.index_of(name)]).gsd_m]
        if pixel is None or finest is None or not native:
            continue
        if pixel > _RESAMPLED * max(native):
            expected = f"at most the {max(native):g} m of its bands"
        elif pixel < finest / _RESAMPLED:
            expected = f"no finer than the {finest:g} m of the sensor's finest band"
        else:
            continue
        yield Finding(
            kind="resolution",
            severity="warning",
            file=str(root / file.path),
            bands=file.bands,
            seen=f"pixels of {pixel:.3g} m",
            expected=expected,
            confidence=0.9,
            remedy=f"--set {sensor.name}.gsd_m={pixel:.3g} if that is meant; else warp the files to the native grid",
        )


def grid_findings(root: Path, sample: Sample, headers: Headers) -> Iterator[Finding]:
    """Images of a sample whose coordinates contradict each other."""
    placed = []
    for image in sample.images:
        first = image.files[0]
        if first.path in headers and (extent := extent_of(headers[first.path], first.window)) is not None:
            placed.append((root / first.path, image.key, extent))
    for path, key, extent in placed[1:]:
        other, _, reference = placed[0]
        if extent.is_ground_of(reference):
            continue
        yield Finding(
            kind="pair-grid",
            severity="error",
            file=str(path),
            seen=f"{extent}, where {other} has {reference}",
            expected="one coordinate system and the same ground for all images of a sample",
            confidence=0.99,
            remedy=f"warp the file to the grid of {other}, or correct the PATTERN that pairs them",
            image=key,
        )


def _stored_bands(root: Path, file: RasterFile, sensor: Sensor) -> Iterator[StoredBand]:
    path = root / file.path
    stored = read_file(root, file)
    mask = np.ma.getmaskarray(stored) if np.ma.is_masked(stored) else None
    for i, name in enumerate(file.bands):
        yield StoredBand(
            band=sensor.bands[sensor.index_of(name)],
            file=str(path),
            stored=stored.data[i],
            tagged=None if mask is None else mask[i],
        )


def _gsd(info: RasterInfo) -> float | None:
    """Size of a pixel in metres, north to south."""
    if info.crs is None or info.transform.is_identity:
        return None
    size = float(np.hypot(info.transform.b, info.transform.e))
    if info.crs.is_geographic:
        return size * _DEGREE_M
    return size * float(info.crs.linear_units_factor[1])
