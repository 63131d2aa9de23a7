"""The input contract on a scene: some of its windows are held against the sensors' cards before a model sees it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.data.catalogue.storage import decibel_of
from msgfm.data.checks import (
    Finding,
    StoredBand,
    StoredImage,
    check_image,
    require_kinds,
    require_no_errors,
    stored_image,
)
from msgfm.data.checks.findings import sort_findings
from msgfm.data.checks.pairs import shift_findings
from msgfm.errors import InputError
from msgfm.geo.align import grid_of
from msgfm.geo.grid import Grid
from msgfm.geo.warp import Window, footprint
from msgfm.progress import track
from msgfm.scenes.inputs.request import SceneImage
from msgfm.scenes.inputs.scene import Scene

# Windows of a scene that are looked at, and their side in pixels of the grid.
_WINDOWS, _SIDE = 9, 256
# Where they lie, as shares of what is left beside a window: some corner to corner, then more where these were empty.
_PLACES = tuple(product((0.0, 0.5, 1.0), repeat=2)) + tuple(product(np.linspace(0.06, 0.94, 8).tolist(), repeat=2))
# Where images are compared with each other.
_PAIR_PLACES = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.75), (0.25, 0.75), (0.75, 0.25))
# Of linear power so much may be negative, where noise was taken away.
_NEGATIVE = 0.01
# Grids so much coarser or finer than the finest band are another resolution.
_RESAMPLED = 1.5
# What pictures alone can seldom tell, and names do.
_SAID_BY_NAMES = {("undecided", kind) for kind in ("band-order", "rgb-order", "polarisation-swapped")}
# So many windows must show a shift.
_AGREEING = 2

Stored = np.ma.MaskedArray[Any, Any]


def require_contract(scene: Scene, force: Collection[str] = ()) -> list[Finding]:
    """Fails closed where a scene's images do not fit their cards.

    Args:
        scene: to be looked at.
        force: kinds of findings that are let through.

    Returns:
        All else that was found, worst first: errors that were let through, warnings, what is undecided; not whether
        bands are in order where nothing speaks against it, as files or the user say it of every scene.

    Raises:
        InputError: an error of another kind, or no such kind.
    """
    require_kinds(force)
    findings = check_scene(scene)
    require_no_errors(findings, force, option="--force")
    return [one for one in findings if (one.severity, one.kind) not in _SAID_BY_NAMES]


def check_scene(scene: Scene) -> list[Finding]:
    """Holds windows of a scene, spread over it, against the cards of its sensors and against each other.

    Returns:
        What was found, worst first.

    Raises:
        InputError: a window cannot be read.
    """
    found: list[Finding] = []
    for image in track(scene.request.images, "looking at the images", len(scene.request.images)):
        converted, wrong = _decibel_findings(image, sampled(scene, image))
        # of windows side by side nothing can be said of borders that are declared
        findings = wrong or [finding for finding in check_image(converted) if finding.kind != "nan-border"]
        found += [replace(finding, image=image.key, remedy=_for_scenes(finding)) for finding in findings]
    found += _resolution_findings(scene)
    found += _shift_findings(scene)
    return sort_findings(found)


def sampled(scene: Scene, image: SceneImage) -> StoredImage:
    """Windows of one input as its files store them, side by side as one image: of every file the same ground.

    Windows without data are passed over where others have some.
    """
    grids = {file.place: grid_of(scene.sources[file.place].info, file.place) for file in image.files}
    region = _common(scene.grid, grids.values())
    if region is None:
        raise InputError(f"{image.key}: the files {', '.join(grids)} have no ground in common on the scene's grid")
    chosen: list[dict[str, Stored]] = []
    empty: list[dict[str, Stored]] = []
    for window in _windows(region, _PLACES):
        target = scene.grid.window(*window)
        read = {
            file.place: scene.sources[file.place].read(file.file_bands, _own_window(target, grids[file.place]))
            for file in image.files
        }
        has_data = any(one.valid.any() for one in _stored_bands(image, [read]))
        (chosen if has_data else empty).append(read)
        if len(chosen) == _WINDOWS:
            break
    gsd = min(grid.pixel_m() for grid in grids.values()) if scene.grid.crs else None
    return StoredImage(sensor=image.card, bands=tuple(_stored_bands(image, chosen or empty[:1])), gsd_m=gsd)


def _common(grid: Grid, files: Iterable[Grid]) -> Window | None:
    """The part of a grid that all files cover; None where there is none."""
    top, left, bottom, right = 0, 0, grid.height, grid.width
    for own in files if grid.crs else ():
        covered = footprint(own, grid)
        if covered is None:
            return None
        row, column, height, width = covered
        top, left = max(top, row), max(left, column)
        bottom, right = min(bottom, row + height), min(right, column + width)
    return (top, left, bottom - top, right - left) if top < bottom and left < right else None


def _windows(region: Window, places: Iterable[tuple[float, float]]) -> list[Window]:
    """Windows of a part of the grid at these shares of what is left beside a window, each once."""
    row, column, height, width = region
    high, wide = min(_SIDE, height), min(_SIDE, width)
    starts = ((row + round(down * (height - high)), column + round(right * (width - wide))) for down, right in places)
    return [(*start, high, wide) for start in dict.fromkeys(starts)]


def _own_window(target: Grid, own: Grid) -> Window:
    """The window of a file that shows the ground of a target; of one size for all targets of one size."""
    found = footprint(target, own) if own.crs else (round(-target.top), round(target.left), 0, 0)
    row, column = found[:2] if found is not None else (0, 0)
    height = min(own.height, max(1, round(target.height * target.pixel_height / own.pixel_height)))
    width = min(own.width, max(1, round(target.width * target.pixel_width / own.pixel_width)))
    return min(row, own.height - height), min(column, own.width - width), height, width


def _stored_bands(image: SceneImage, windows: Sequence[Mapping[str, Stored]]) -> list[StoredBand]:
    """The bands of an input in windows that were read by file, put side by side in rows and columns."""
    columns = math.isqrt(len(windows))
    rows = len(windows) // columns
    found = []
    for file in image.files:
        read = [one[file.place] for one in windows[: rows * columns]]
        stored = _side_by_side([np.ma.getdata(one) for one in read], columns)
        masked = any(np.ma.is_masked(one) for one in read)
        mask = _side_by_side([np.ma.getmaskarray(one) for one in read], columns) if masked else None
        for i, band in enumerate(image.card.indices_of(file.bands)):
            found.append(
                StoredBand(
                    band=image.card.bands[band],
                    file=file.place,
                    stored=stored[i],
                    tagged=None if mask is None else mask[i],
                )
            )
    return found


def _side_by_side(windows: Sequence[NDArray[Any]], columns: int) -> NDArray[Any]:
    """(C, h, w) each, in rows of so many."""
    rows = [np.concatenate(windows[i : i + columns], axis=2) for i in range(0, len(windows), columns)]
    return np.concatenate(rows, axis=1)


def _decibel_findings(image: SceneImage, seen: StoredImage) -> tuple[StoredImage, list[Finding]]:
    """An image as the card has it, where its files have linear power; and what says that they have not."""
    if not image.power:
        return seen, []
    findings = []
    for one in seen.bands:
        values = one.stored[one.valid]
        if values.size and (negative := float((values < 0).mean())) > _NEGATIVE:
            findings.append(
                Finding(
                    kind="decibel",
                    severity="error",
                    file=one.file,
                    bands=(one.band.name,),
                    seen=f"{negative:.0%} of the values are negative (median {np.median(values):.4g})",
                    expected="linear power, of which decibels are made",
                    confidence=0.97,
                    remedy="--power db",
                )
            )
    bands = (
        replace(one, stored=decibel_of(np.where(one.valid, one.physical(one.stored), np.nan).astype(np.float32)))
        for one in seen.bands
    )
    plain = image.card.without_storage()
    converted = tuple(replace(one, band=plain.bands[plain.index_of(one.band.name)]) for one in bands)
    return replace(seen, sensor=plain, bands=converted), findings


def _shift_findings(scene: Scene) -> list[Finding]:
    """Images that lie beside each other: told where windows say so, and more of them than say the contrary."""
    if len(scene.keys) < 2:
        return []
    files = {file.place: file for image in scene.request.images for file in image.files}
    grids = [grid_of(scene.sources[place].info, place) for place in files]
    region = _common(scene.grid, grids)
    if region is None:
        return []
    windows = _windows(region, _PAIR_PLACES)
    shifted: dict[str, list[Finding]] = {}
    in_place: Counter[str] = Counter()
    for window in windows:
        read = scene.read(*window)
        images = [
            stored_image(read[image.key], image.card.without_storage(), file=image.key)
            for image in scene.request.images
        ]
        told = {finding.file: finding for finding in shift_findings(images)}
        for key in scene.keys[1:]:
            if key not in told:
                in_place[key] += 1
            elif told[key].severity == "error":
                shifted.setdefault(key, []).append(told[key])
    return [
        replace(findings[0], image=key, remedy="register the two images")
        for key, findings in shifted.items()
        if len(findings) >= min(_AGREEING, len(windows)) and len(findings) > in_place[key]
    ]


def _resolution_findings(scene: Scene) -> list[Finding]:
    """A grid that is far from what the sensors have: a model saw the finest of them while it was trained."""
    finest = min(
        (band.gsd_m for image in scene.request.images for band in image.card.bands if band.gsd_m), default=None
    )
    pixel = scene.grid.pixel_m()
    if not scene.grid.crs or finest is None or finest / _RESAMPLED <= pixel <= finest * _RESAMPLED:
        return []
    return [
        Finding(
            kind="resolution",
            severity="warning",
            file="the scene's grid",
            seen=f"pixels of {pixel:.3g} m",
            expected=f"about the {finest:g} m of the finest band, as the model was trained with",
            confidence=0.9,
            remedy="--like FILE with such a grid, unless the model was trained so",
        )
    ]


def _for_scenes(finding: Finding) -> str:
    """A finding's remedy as the commands on scenes have it, where it is one for `data index`."""
    if finding.kind == "linear-power":
        return "--power linear if it is that; of amplitudes, square them first"
    if finding.kind in ("empty-band", "constant-band"):
        which = f"another file of {', '.join(finding.bands)}" if finding.bands else "another file"
        return f"give {which}, as the model takes every band (numbers that were divided and rounded may be all 0)"
    told, named = re.subn(r"--sensor (\w+):(\S+?)=PATTERN(@[\d,-]+)?", r"--bands \1=\2", finding.remedy)
    return f"{told} (a file that names its bands itself: name them rightly there)" if named else told
