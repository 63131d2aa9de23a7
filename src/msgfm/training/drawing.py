"""Pictures of many images in one: rows of titled cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from msgfm.files import write_atomically

Picture = NDArray[np.float32]
"""H x W x 1 or 3."""

_CELL_INCHES = 1.6
_GAP, _TITLE = 0.04, 0.15  # between cells and above each, in sides of a cell


def draw_cells(rows: Sequence[Sequence[tuple[str, Picture]]], path: Path) -> None:
    """Draws rows of cells, each a title and a picture of values 0..1, as a PNG."""
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(columns * (1 + _GAP) * _CELL_INCHES, len(rows) * (1 + _TITLE) * _CELL_INCHES))
    FigureCanvasAgg(figure)
    # one axes for all cells, in units of a cell's side: an axes per cell takes seconds to draw
    axis = figure.add_axes((0, 0, 1, 1))
    for i, row in enumerate(rows):
        for j, (title, picture) in enumerate(row):
            top, left = i * (1 + _TITLE) + _TITLE, j * (1 + _GAP) + _GAP / 2
            axis.imshow(picture, interpolation="nearest", extent=(left, left + 1, top + 1, top))
            axis.text(left + 0.5, top - 0.04, title, fontsize=7, ha="center", va="bottom")
    axis.set(xlim=(0, columns * (1 + _GAP)), ylim=(len(rows) * (1 + _TITLE), 0), aspect="auto")
    axis.axis("off")
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def stretch_of(truth: Picture) -> tuple[float, float]:
    """The 2nd and 98th percentile of what is there."""
    values = truth[np.isfinite(truth)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (2, 98))
    return float(low), float(max(high, low + 1e-6))


def colour(picture: Picture, low: float, high: float) -> Picture:
    """0..1 for display, three channels; no data is black."""
    scaled = np.clip((picture - low) / (high - low), 0, 1)
    return np.repeat(np.nan_to_num(scaled), 3 // scaled.shape[2], axis=2)
