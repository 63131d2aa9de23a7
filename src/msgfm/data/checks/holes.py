"""Where there is no data: bands without any, bands of one value, and borders of a number that nobody declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from msgfm.data.checks.findings import Finding, Severity
from msgfm.data.checks.images import StoredBand, StoredImage

# So few pixels may well have one value; and so few, as the sensor has them, where the band is a coarse one. Of 614
# windows of 28 such pixels of B09 of the real pack one is constant, of larger ones none.
_ONE_VALUE = 16
_FEW = 256
# A border smaller than this share of the image is let pass.
_SHARE = 0.01
_SOLID_EDGE = 0.08
# Zeros of a JPEG spread by its compression.
_LOSSY = 3
# How far the ground beside a border is from the border's number, in terms of how far all ground is: shade, and outside.
_STEP = (0.25, 0.5)
# Heights: so far, in terms of the spread of the others, that it is no lake.
_GAP = 0.5


def hole_findings(image: StoredImage) -> Iterator[Finding]:
    """Empty bands, constant bands, borders."""
    yield from _empty(image)
    yield from _constant(image)
    yield from _border(image)


def blank_findings(image: StoredImage) -> list[Finding]:
    """Those of an image that shows nothing in any band (`Finding.blank`): of its unit nothing can be said then."""
    return [one for one in (*_empty(image), *_constant(image)) if one.blank]


def _empty(image: StoredImage) -> Iterator[Finding]:
    empty = tuple(one for one in image.bands if not one.valid.any())
    if empty:
        yield Finding(
            kind="empty-band",
            severity="error",
            file=empty[0].file,
            bands=_some(image, empty),
            seen="no pixel has data",
            expected="data in every band that is listed",
            confidence=1.0,
            remedy=_without(image, {one.band.name for one in empty}),
        )


def _constant(image: StoredImage) -> Iterator[Finding]:
    """Bands of one value: errors before warnings."""
    flat = [one for one in image.bands if one.numbers.size > _ONE_VALUE and one.numbers[0] == one.numbers[-1]]
    flat = [one for one in flat if image.native_pixels(one) > _ONE_VALUE]
    # Open sea is flat in an elevation model, a few pixels of cirrus (B10) or aerosol (B01) are alike by chance.
    plausible = [one for one in flat if one.band.unit == "m" or image.native_pixels(one) < _FEW]
    if len(flat) == len(image.bands) and any(one.band.unit != "m" for one in flat):
        plausible = []  # but not all bands at once
    wrong = [one for one in flat if one not in plausible]
    grades: tuple[tuple[Severity, float, list[StoredBand]], ...] = (("error", 0.99, wrong), ("warning", 0.5, plausible))
    for severity, confidence, bands in grades:
        if bands:
            yield Finding(
                kind="constant-band",
                severity=severity,
                file=bands[0].file,
                bands=_some(image, bands),
                seen=f"every pixel is {bands[0].numbers[0]:g}",
                expected="more than one value",
                confidence=confidence,
                remedy=_without(image, {one.band.name for one in bands}),
            )


def _some(image: StoredImage, bands: Sequence[StoredBand]) -> tuple[str, ...]:
    """Their names; none where they are all that the image has."""
    return tuple(one.band.name for one in bands) if len(bands) < len(image.bands) else ()


def _without(image: StoredImage, names: set[str]) -> str:
    """The option that lists the other bands alone."""
    rest = [(name, i + 1) for i, name in enumerate(image.names) if name not in names]
    if not rest:
        return "leave the file out"
    if len({one.file for one in image.bands}) > 1:
        return f"leave out the files of {', '.join(sorted(names))}"
    bands, places = (",".join(str(pair[k]) for pair in rest) for k in (0, 1))
    return f"--sensor {image.sensor.name}:{bands}=PATTERN@{places}"


def _border(image: StoredImage) -> Iterator[Finding]:
    """One finding for the largest border, declared (a warning) or not (an error)."""
    finest = max(image.bands, key=lambda one: one.stored.size)
    same = [one for one in image.bands if one.stored.shape == finest.stored.shape and one.valid.any()]
    if not same:
        return
    missing = np.all([~one.valid for one in same], axis=0)
    declared = float(_reached_from_edges(missing).mean()) if missing.any() else 0.0
    if declared >= _SHARE:
        yield Finding(
            kind="nan-border",
            severity="warning",
            file=finest.file,
            seen=f"{declared:.1%} of the image is a border without data",
            expected="data up to the edge; what is declared as no data is left out everywhere",
            confidence=0.99,
            remedy="nothing to mend; leave the sample out where too little is left",
        )
    tolerance = _LOSSY if finest.file.lower().endswith((".jpg", ".jpeg")) else 0
    for value in [0.0] if tolerance else _candidates(same):
        alike = np.all([one.valid & (np.abs(one.stored - value) <= tolerance) for one in same], axis=0)
        border = _reached_from_edges(alike)
        share = float(border.mean())
        if share < _SHARE or _longest_edge(border) < _SOLID_EDGE:
            continue
        sure = _is_outside(same[0], border, value)
        if sure is None:
            continue
        yield Finding(
            kind="no-data-border",
            severity="error" if sure else "undecided",
            file=finest.file,
            seen=f"{share:.1%} of the image, from its edges inwards, is {value:g} in every band",
            expected="measurements, or a number that file or card calls no data",
            confidence=0.9 if sure else 0.5,
            remedy=f"--set {image.sensor.name}.nodata={value:.9g}" + ("" if sure else " if it means no data"),
        )
        return


def _is_outside(one: StoredBand, border: NDArray[np.bool_], value: float) -> bool | None:
    """Whether a border is no data (True), may be (False), or is ground (None).

    Beside what lies outside an image the ground is as bright as elsewhere; beside deep shade it is dark, and beside a
    lake it lies little higher.
    """
    distance = np.abs(one.stored - np.asarray(value, np.float64))
    # Not the next pixel: resampling and compression blend it with what lies outside.
    ring = _grown(border, 4) & ~_grown(border, 1) & one.valid
    rest = one.valid & ~border
    if not ring.any():
        return False
    step = float(np.median(distance[ring]) / max(float(np.median(distance[rest])), 1e-9))
    if step < _STEP[0]:
        return False if _longest_edge(border) > 0.5 else None
    if one.band.unit == "m" and _gap(one, value) < _GAP:
        return False if value == 0 else None
    return step >= _STEP[1] and not (value == np.iinfo(np.uint8).max and one.stored.dtype == np.uint8)


def _grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """The mask and so many pixels around it."""
    grown = mask.copy()
    for _ in range(by):
        wider = grown.copy()
        wider[1:] |= grown[:-1]
        wider[:-1] |= grown[1:]
        wider[:, 1:] |= grown[:, :-1]
        wider[:, :-1] |= grown[:, 1:]
        grown = wider
    return grown


def _candidates(bands: list[StoredBand]) -> list[float]:
    """Numbers that stand along the edges in all bands: the most frequent one, and zero."""
    first = bands[0]
    edge = np.concatenate([first.stored[0], first.stored[-1], first.stored[:, 0], first.stored[:, -1]])
    valid = np.concatenate([first.valid[0], first.valid[-1], first.valid[:, 0], first.valid[:, -1]])
    values, counts = np.unique(edge[valid], return_counts=True)
    frequent = [float(values[counts.argmax()])] if values.size and counts.max() >= 0.05 * edge.size else []
    return list(dict.fromkeys([*frequent, *([0.0] if (edge[valid] == 0).any() else [])]))


def _gap(one: StoredBand, value: float) -> float:
    """How far a number lies from all others, in terms of the others' spread."""
    rest = one.numbers[one.numbers != value]
    if rest.size < 16:
        return 0.0
    low, high = np.quantile(rest, (0.01, 0.99))
    return float(max(low - value, value - high) / max(high - low, 1e-9))


def _reached_from_edges(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask with nothing but mask between them and an edge, straight up, down, left or right."""
    along: NDArray[np.bool_] = np.zeros_like(mask)
    for axis in (0, 1):
        along |= np.logical_and.accumulate(mask, axis=axis)
        along |= np.flip(np.logical_and.accumulate(np.flip(mask, axis), axis=axis), axis)
    return along


def _longest_edge(border: NDArray[np.bool_]) -> float:
    """The share of one edge that is border, of the edge that has most: specks in dark woods reach no edge together."""
    return max(float(edge.mean()) for edge in (border[0], border[-1], border[:, 0], border[:, -1]))
