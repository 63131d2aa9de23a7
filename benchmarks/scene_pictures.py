"""No benchmark itself: real scenes as msgfm reads them, and pictures of them side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as Pillow

from msgfm.display import COLOURS, colour, stretch_of
from msgfm.files import write_atomically
from msgfm.geo.grid import Grid
from msgfm.scenes.inputs.files import make_request
from msgfm.scenes.inputs.scene import open_scene
from msgfm.sensors import Sensor

Image = NDArray[np.float32]
Stretch = tuple[NDArray[np.float32], NDArray[np.float32]]
UNIT: Stretch = np.zeros(1, np.float32), np.ones(1, np.float32)
"""Shares from 0 to 1."""
Panel = tuple[str, Image]
"""A title, and H x W x 3 in 0..1."""

_COLOURS_KEPT = 200  # of a picture that is to stay small
_INCH = 2.6


def read_scene(
    card: Sensor, places: Sequence[Path], bands: Sequence[str] = (), like: Path | None = None
) -> tuple[Image, Grid]:
    """C x H x W in the card's units, NaN where there is no data, as `msgfm predict` reads it; and the grid.

    Args:
        card: of the sensor.
        places: files.
        bands: names of the files' bands, where they do not say them.
        like: a raster whose grid is taken.
    """
    names = {card.name: bands} if bands else {}
    request = make_request({card.name: card}, {card.name: [str(place) for place in places]}, names, like)
    with open_scene(request) as scene:
        return scene.read(0, 0, scene.grid.height, scene.grid.width)[card.name], scene.grid


def stretch(image: Image) -> Stretch:
    """The 2nd and 98th percentile of each channel."""
    ends = np.array([stretch_of(channel) for channel in image], np.float32)
    return ends[:, 0], ends[:, 1]


def shown(image: Image, ends: Stretch | None = None) -> Image:
    """One or three channels as a picture, by default in their own stretch."""
    return colour(np.moveaxis(image, 0, -1), *(ends or stretch(image)))


def radar(image: Image) -> Image:
    """VV and VH in dB as red and green, their difference as blue, as `msgfm preview` shows them."""
    return shown(np.concatenate([image[:2], image[:1] - image[1:2]]))


def classes(numbers: NDArray[np.integer], colours: Sequence[str]) -> Image:
    """A map of numbers, H x W, in these colours (`#rrggbb`); what is below 0 is black."""
    table = np.array([list(bytes.fromhex(text[1:])) for text in colours], np.float32) / 255
    return np.where((numbers >= 0)[..., None], table[np.maximum(numbers, 0)], np.float32(0))


def right_and_wrong(predicted: NDArray[np.integer], truth: NDArray[np.integer]) -> Image:
    """Of two classes: found, not there, missed, false; black where there is no label."""
    kind = np.where(truth == 1, np.where(predicted == 1, 1, 2), np.where(predicted == 1, 3, 0))
    return classes(np.where(truth < 0, -1, kind), ("#ffffff", COLOURS[0], COLOURS[4], COLOURS[3]))


RIGHT_AND_WRONG = "blue found, orange missed, pink false"


def draw_panels(path: Path, rows: Sequence[Sequence[Panel]]) -> None:
    """Draws panels in rows; as PNG with few colours, which is a third of the size and looks the same."""
    tallest = [max(len(picture) / picture.shape[1] for _, picture in row) for row in rows]
    columns = max(map(len, rows))
    figure = Figure(figsize=(_INCH * columns, sum(_INCH * share + 0.35 for share in tallest)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(rows), columns, height_ratios=tallest)
    for i, row in enumerate(rows):
        for j, (title, picture) in enumerate(row):
            axis = figure.add_subplot(grid[i, j])
            axis.imshow(picture, interpolation="nearest" if len(picture) < 400 else "antialiased")
            axis.set_title(title, fontsize=7)
            axis.set_axis_off()
    with io.BytesIO() as memory:
        figure.savefig(memory, format="png", dpi=100)
        drawn = Pillow.open(memory).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as temporary:
        drawn.quantize(_COLOURS_KEPT, dither=Pillow.Dither.NONE).save(temporary, format="PNG", optimize=True)
