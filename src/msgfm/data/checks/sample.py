"""One image, or one sample of a manifest, held against the cards of its sensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from msgfm.data.checks.colour import colour_finding, colour_odds
from msgfm.data.checks.duplicates import fingerprint
from msgfm.data.checks.files import grid_findings, name_findings, read_headers, read_stored, resolution_findings
from msgfm.data.checks.findings import Finding, sort_findings
from msgfm.data.checks.heights import height_findings
from msgfm.data.checks.holes import blank_findings, hole_findings
from msgfm.data.checks.images import StoredImage
from msgfm.data.checks.pairs import shift_findings
from msgfm.data.checks.radar import polarisation_findings
from msgfm.data.checks.sentinel2 import OFFSET, OffsetEvidence, offset_evidence, offset_finding
from msgfm.data.checks.spectral import OrderEvidence, order_evidence, order_finding
from msgfm.data.checks.units import COMPLEX, intensity_remedy, unit_findings
from msgfm.data.records import Sample
from msgfm.errors import InputError
from msgfm.geo.raster import RasterInfo
from msgfm.sensors import Sensor


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one image says where only several together may decide.

    Args:
        file: of the image.
        offset: of Sentinel-2.
        order: of optical bands.
        odds: log-odds that a picture's red and blue are in place.
        bands: names as listed.
        types: of the stored numbers, numpy's names.
    """

    file: str
    bands: tuple[str, ...]
    types: tuple[str, ...]
    offset: OffsetEvidence | None = None
    order: OrderEvidence | None = None
    odds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What one sample gave.

    Args:
        findings: worst first.
        fingerprints: of its images, by their place in the sample.
        evidence: by `SensorImage.key`.
    """

    findings: tuple[Finding, ...]
    fingerprints: Mapping[int, int] = field(default_factory=dict)
    evidence: Mapping[str, Evidence] = field(default_factory=dict)


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
    return list(examine_sample(root, sample, sensors).findings)


def check_image(image: StoredImage) -> list[Finding]:
    """Holds one image against its card. `stored_image` makes one of an array in memory."""
    return examine_image(image)[0]


def examine_sample(root: Path, sample: Sample, sensors: Mapping[str, Sensor]) -> Examination:
    """As `check_sample`, with what the whole manifest's checks need."""
    found: list[Finding] = []
    images: list[StoredImage] = []
    fingerprints: dict[int, int] = {}
    evidence: dict[str, Evidence] = {}
    headers: dict[str, RasterInfo] = {}
    for i, image in enumerate(sample.images):
        sensor = sensors[image.sensor]
        try:
            headers |= read_headers(root, image)
            stored = read_stored(root, image, sensor, headers, sample=sample.sample)
        except InputError as error:
            found.append(_unreadable(str(root / image.files[0].path), image.key, error))
            continue
        seen, evidence[image.key] = examine_image(stored)
        seen += [*name_findings(root, image, sensor, headers), *resolution_findings(root, image, sensor, headers)]
        found.extend(replace(finding, image=image.key) for finding in seen)
        if not stored.of_complex:  # nor can the others be compared with such a one
            images.append(stored)
        if (one := fingerprint(stored)) is not None:
            fingerprints[i] = one
    found.extend(grid_findings(root, sample, headers))
    found.extend(shift_findings(images))
    return Examination(
        findings=tuple(replace(finding, sample=sample.sample) for finding in sort_findings(found)),
        fingerprints=fingerprints,
        evidence=evidence,
    )


def examine_image(image: StoredImage) -> tuple[list[Finding], Evidence]:
    """As `check_image`, with what the whole manifest's checks need.

    What is told first hides the rest: under a wrong unit no level means anything, and a border of zeros looks like
    shade. Once it is mended, the next check sees what lay behind it.
    """
    types = tuple(sorted({str(one.stored.dtype) for one in image.bands}))
    evidence = Evidence(file=image.file, bands=image.names, types=types)
    found = [*_structure(image), *blank_findings(image)] or list(unit_findings(image))
    if any(one.severity == "error" for one in found):
        return sort_findings(found), evidence
    offset = offset_evidence(image)
    if offset is None or offset.state != "clipped":  # where zeros come from is known then
        found += hole_findings(image)
    found += offset_finding(image, offset)
    if any(one.severity == "error" and one.kind != "offset-present" for one in found):
        return sort_findings(found), evidence
    order = order_evidence(image, OFFSET if offset is not None and offset.state == "present" else 0.0)
    odds = colour_odds(image)
    found += order_finding(image, order)
    found += colour_finding(image, odds)
    found += polarisation_findings(image)
    found += height_findings(image)
    return sort_findings(found), replace(evidence, offset=offset, order=order, odds=odds)


def _structure(image: StoredImage) -> Iterator[Finding]:
    """Band count and type."""
    if image.surplus:
        there, listed = len(image.bands) + max(image.surplus, 0), len(image.bands) - min(image.surplus, 0)
        yield Finding(
            kind="band-count",
            severity="error",
            file=image.file,
            seen=f"{there} bands",
            expected=f"the {listed} of sensor {image.sensor.name}",
            confidence=1.0,
            remedy=f"--sensor {image.sensor.name}:BAND,...=PATTERN with the bands that there are"
            + (f", or PATTERN@1-{listed} for the first {listed}" if there > listed else ""),
        )
    if image.of_complex:
        yield Finding(
            kind="data-type",
            severity="error",
            file=image.file,
            bands=tuple(one.band.name for one in image.bands if one.stored.dtype.kind == "c"),
            seen=COMPLEX,
            expected=f"real numbers in {image.bands[0].band.unit}",
            confidence=1.0,
            remedy=intensity_remedy(image.bands[0].band),
        )


def _unreadable(file: str, key: str, error: InputError) -> Finding:
    return Finding(
        kind="unreadable",
        severity="error",
        file=file,
        seen=str(error),
        expected="a whole file with the bands and pixels that the manifest lists",
        confidence=1.0,
        remedy="mend or replace the file, or leave it out when indexing (--skip-bad)",
        image=key,
    )
