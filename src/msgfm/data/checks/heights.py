"""Heights: are they in metres?

Ground is only so steep. The slope that 5 % of the pixels exceed is at most about 1.1 (48 degrees) in elevation models
of 10 m and coarser, and about 6 in surface models of a metre and finer, where walls and trees stand on single pixels;
in centimetres it is a hundred times that. Ground without any slope tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredBand, StoredImage

# Slopes exceeded by 5 % of the pixels: up to the first it is metres, from the second on centimetres.
_FINE, _COARSE, _UNKNOWN = (8.0, 25.0), (1.2, 2.5), (8.0, 100.0)
_FINE_GSD_M = 5.0
_FLAT = 0.005


def height_findings(image: StoredImage) -> Iterator[Finding]:
    """Looks at bands whose unit is the metre and whose range is that of heights."""
    for one in image.bands:
        if one.band.unit == "m" and one.band.valid_range[1] > 50:
            yield from _slopes(image, one)


def _slopes(image: StoredImage, one: StoredBand) -> Iterator[Finding]:
    gsd = image.gsd_m or one.band.gsd_m
    heights = np.where(one.valid, one.physical(one.stored.astype(np.float64)), np.nan)
    steps = np.abs(np.concatenate([np.diff(heights, axis=0).ravel(), np.diff(heights, axis=1).ravel()]))
    steps = steps[np.isfinite(steps)]
    if steps.size < 16:
        return
    slope = float(np.quantile(steps[:: max(1, steps.size // 20000)], 0.95)) / (gsd or 1.0)
    metres, centimetres = _UNKNOWN if gsd is None else _FINE if gsd < _FINE_GSD_M else _COARSE
    if _FLAT <= slope <= metres:
        return
    what = f"a slope of {slope:.3g}" if gsd else f"steps of {slope:.3g} a pixel"
    yield Finding(
        kind="centimetres",
        severity="error" if slope >= centimetres else "undecided",
        file=one.file,
        bands=(one.band.name,),
        seen=f"{what} exceeded by 5 % of the pixels" if slope >= _FLAT else "no slope at all",
        expected=f"at most {metres:g} in metres" if slope >= _FLAT else "some slope, to tell metres by",
        confidence=0.95 if slope >= centimetres else 0.5,
        remedy=f"--set {image.sensor.name}.scale={one.band.scale / 100:g} if the files are in centimetres "
        f"({one.band.scale / 1000:g} if in millimetres)",
    )
