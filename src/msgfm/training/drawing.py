"""Pictures of many images in one: rows of titled cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from msgfm.display import Picture
from msgfm.files import write_atomically

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
