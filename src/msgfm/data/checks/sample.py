"""One sample of a manifest held against the cards of its sensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredBand, StoredImage
from msgfm.data.checks.units import unit_findings
from msgfm.data.records import RasterFile, Sample, SensorImage
from msgfm.errors import InputError
from msgfm.geo.raster import read_bands
from msgfm.sensors import Sensor


def check_sample(root: Path, sample: Sample, sensors: Mapping[str, Sensor]) -> list[Finding]:
    """Holds all images of a sample against their cards and against each other.

    What takes several samples to see (duplicates, a mixed offset) is `check_manifest`'s.

    Args:
        root: the folder that the manifest's paths start from.
        sample: the sample.
        sensors: cards by name (`Manifest.sensors`).

    Returns:
        Everything found, worst first; nothing for a sample that keeps to its cards. A file that cannot be read is a
        finding, not an exception. `require_no_errors` turns errors into one `InputError`.
    """
    found: list[Finding] = []
    for image in sample.images:
        try:
            stored = read_stored(root, image, sensors[image.sensor], sample=sample.sample)
        except InputError as error:
            found.append(_unreadable(str(root / image.files[0].path), error))
        else:
            found.extend(check_image(stored))
    return _sorted(replace(finding, sample=sample.sample) for finding in found)


def check_image(image: StoredImage) -> list[Finding]:
    """Holds one image against its card. `stored_image` makes one of an array in memory."""
    return _sorted(iter(list(unit_findings(image))))


def read_stored(root: Path, image: SensorImage, sensor: Sensor, *, sample: str = "") -> StoredImage:
    """Reads one sensor's files as they are stored.

    Raises:
        InputError: a file is missing, truncated, or lacks a band or window.
    """
    bands = [band for file in image.files for band in _stored_bands(root, file, sensor)]
    return StoredImage(sensor=sensor, bands=tuple(bands), sample=sample)


def _stored_bands(root: Path, file: RasterFile, sensor: Sensor) -> Iterator[StoredBand]:
    path = root / file.path
    stored = read_bands(path, file.file_bands, file.window)
    mask = np.ma.getmaskarray(stored)
    for name, values, tagged in zip(file.bands, stored.data, mask, strict=True):
        yield StoredBand(band=sensor.bands[sensor.index_of(name)], file=str(path), stored=values, tagged=tagged)


def _unreadable(file: str, error: InputError) -> Finding:
    return Finding(
        kind="unreadable",
        severity="error",
        file=file,
        seen=str(error),
        expected="a whole file with the bands and pixels that the manifest lists",
        confidence=1.0,
        remedy="fetch the file again, or leave it out when indexing (--skip-bad)",
    )


def _sorted(findings: Iterator[Finding]) -> list[Finding]:
    ranks = ("error", "warning", "undecided")
    return sorted(findings, key=lambda finding: (ranks.index(finding.severity), -finding.confidence))
