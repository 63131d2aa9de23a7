"""Does Sentinel-2 still hold the 1000 of processing baseline 04.00, or was it taken away twice?

Since 25 January 2022 ESA stores reflectance * 10000 + 1000 (`RADIO_ADD_OFFSET`, `BOA_ADD_OFFSET`), so that what is
darker than nothing, after the correction of noise and atmosphere, stays positive. Forgotten, it adds 0.1 to every
reflectance.

What tells: B10 of Level-1C sees cirrus only, and lies near 0 over most of the Earth, hence near 1000 where the offset
is in; and the darkest pixels of an image over all bands (water, shade, and snow in the short-wave infrared) lie within
a few hundred of 0 or of 1000. A scene without anything dark is undecided.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredBand, StoredImage
from msgfm.data.layouts.listing import SENTINEL2_L1C
from msgfm.sensors import Sensor

OFFSET = 1000.0
_QUANTUM = 1e-4
# Digital numbers after the card's offset, between what 20 real images have with the offset and without.
_FLOOR = (950.0, 1300.0)
_DARK = 850.0
_NEGATIVE = -100.0
_SHARE = 0.05
State = Literal["absent", "present", "removed twice", "clipped", "undecided"]


@dataclass(frozen=True, kw_only=True)
class OffsetEvidence:
    """What one image says about the offset.

    Args:
        state: after the card's own offset.
        seen: the numbers it rests on.
        confidence: 0..1.
    """

    state: State
    seen: str
    confidence: float


def is_sentinel2(sensor: Sensor) -> bool:
    """Whether a card describes Sentinel-2 as ESA scales it: its band names, and reflectance in steps of 0.0001."""
    steps = all(band.unit == "reflectance" and np.isclose(band.scale, _QUANTUM) for band in sensor.bands)
    return steps and set(SENTINEL2_L1C).issuperset(sensor.band_names)


def offset_evidence(image: StoredImage) -> OffsetEvidence | None:
    """Reads the offset off one image; None where the card is not Sentinel-2's or there is no data."""
    if not is_sentinel2(image.sensor):
        return None
    bands = [one for one in image.bands if one.numbers.size]
    if not bands:
        return None
    return _removed_twice(image, bands) or _still_in(image, bands)


def _removed_twice(image: StoredImage, bands: list[StoredBand]) -> OffsetEvidence | None:
    """Numbers below zero, or zeros where they were cut off."""
    negative = max(bands, key=_negative_share)
    if (share := _negative_share(negative)) > _SHARE:
        seen = f"{share:.0%} of band {negative.band.name} below {_NEGATIVE:.0f} after the card's offset"
        return OffsetEvidence(state="removed twice", seen=seen, confidence=0.97)
    clipped = [one.band.name for one in image.bands if _lone_zero_share(image, one) > 0.01]
    if len(clipped) >= 2:
        seen = f"zeros where other bands have data, in {', '.join(clipped)}"
        return OffsetEvidence(state="clipped", seen=seen, confidence=0.9)
    return None


def _still_in(image: StoredImage, bands: list[StoredBand]) -> OffsetEvidence:
    """Where the darkest pixels lie, and cirrus."""
    darkest = {one.band.name: _digital_number(one, one.quantile(0.001)) for one in bands}
    name = min(darkest, key=darkest.__getitem__)
    floor = darkest[name]
    seen = f"darkest pixels at {floor:.0f} (band {name}) after the card's offset"
    if floor < _DARK:
        return OffsetEvidence(state="absent", seen=seen, confidence=0.95)
    cirrus = image.get("B10")
    if cirrus is not None and cirrus.numbers.size:
        low = _digital_number(cirrus, cirrus.quantile(0.05))
        if _FLOOR[0] <= low <= _FLOOR[1] and floor >= _FLOOR[0]:
            return OffsetEvidence(state="present", seen=f"B10 (cirrus) starts at {low:.0f}", confidence=0.98)
    elif sum(_FLOOR[0] <= value <= _FLOOR[1] + 50 for value in darkest.values()) >= min(3, len(bands)):
        return OffsetEvidence(state="present", seen=seen + ", and three bands within 350 of it", confidence=0.9)
    return OffsetEvidence(state="undecided", seen=seen, confidence=0.5)


def offset_finding(image: StoredImage, evidence: OffsetEvidence | None) -> Iterable[Finding]:
    """The finding that follows from the evidence, if any."""
    if evidence is None or evidence.state == "absent":
        return
    offset = image.sensor.bands[0].offset
    wrong = {
        "present": ("offset-present", "error", f"--set {image.sensor.name}.offset={offset - OFFSET:g}"),
        "removed twice": ("offset-removed-twice", "error", f"--set {image.sensor.name}.offset={offset + OFFSET:g}"),
        "clipped": ("offset-removed-twice", "error", "fetch the files again: what was cut off at 0 is lost"),
        "undecided": (
            "offset-present",
            "undecided",
            f"--set {image.sensor.name}.offset={offset - OFFSET:g} if the product's baseline is 04.00 or later",
        ),
    }
    kind, severity, remedy = wrong[evidence.state]
    yield Finding(
        kind=kind,
        severity="undecided" if severity == "undecided" else "error",
        file=image.file,
        seen=evidence.seen,
        expected="dark pixels (B10 of Level-1C; water, shade) near 0",
        confidence=evidence.confidence,
        remedy=remedy,
    )


def _digital_number(one: StoredBand, stored: float) -> float:
    return float(one.physical(stored)) / _QUANTUM


def _negative_share(one: StoredBand) -> float:
    """Pixels clearly below zero after the card's offset."""
    limit = _NEGATIVE * _QUANTUM / one.band.scale - one.band.offset
    return float(np.searchsorted(one.numbers, limit) / one.numbers.size)


def _lone_zero_share(image: StoredImage, one: StoredBand) -> float:
    """Pixels stored as 0 in this band while the image's brightest band has data: cut off, not outside."""
    zeros = one.stored == 0
    if not zeros.any():
        return 0.0
    others = [other for other in image.bands if other.stored.shape == one.stored.shape]
    inside = np.any([other.stored > 0 for other in others], axis=0)
    return float((zeros & inside).mean())
