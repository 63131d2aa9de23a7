"""How much of a result has data: inputs may overlap by their corners while their data lie apart, as swaths do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from msgfm.errors import InputError, InputWarning
from msgfm.geo.network import Network
from msgfm.geo.overview import OverviewSource, overview_grid
from msgfm.geo.source import RasterSource
from msgfm.geo.spec import RasterSpec

_LONGEST = 512  # pixels of the small picture that is looked at
_ROWS = 512  # at once, of a result's blocks
_FEW = 0.1
"""Where less than that of a scene has data in all of several inputs, the user is told."""


def share_with_data(raster: Path, spec: RasterSpec) -> float:
    """About which share of a result's pixels has data; 0 where really none has."""
    with OverviewSource(str(raster), Network()) as source:
        picture = source.read_overview([1], overview_grid(source.facts(), _LONGEST), classes=bool(spec.classes))
    return float(np.isfinite(picture).mean()) or _counted(raster)  # a small picture loses what is smaller still


def _counted(raster: Path) -> float:
    """The share, pixel by pixel."""
    with RasterSource(str(raster), Network()) as source:
        height, width = source.info.height, source.info.width
        known = 0
        for top in range(0, height, _ROWS):
            stored = source.read([1], (top, 0, min(_ROWS, height - top), width))
            known += int((np.isfinite(stored.data) & ~np.ma.getmaskarray(stored)).sum())
    return known / (height * width)


def require_data(share: float, keys: Sequence[str], *, fill: bool, what: str = "pixels") -> None:
    """Refuses a result without any data; tells where inputs have little in common.

    Args:
        share: of the scene that has data.
        keys: of the inputs.
        fill: whether one input with data was enough.
        what: was counted.

    Raises:
        InputError: nothing has data.
    """
    several = len(keys) > 1 and not fill
    where = f"in all of {', '.join(keys)}" if several else f"in {' or '.join(keys)}"
    remedy = "; --fill-nodata predicts where any of them has data" if several else ""
    if share == 0:
        raise InputError(f"none of the {what} has data {where}{remedy or '; give images that have some there'}")
    if several and share < _FEW:
        warnings.warn(
            f"only {max(share, 0.001):.1%} of the {what} have data {where}{remedy}", InputWarning, stacklevel=5
        )
