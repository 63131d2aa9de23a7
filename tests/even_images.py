"""Images whose bands have one value each, and what a layout lists of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from msgfm.data.layouts import IndexResult, LayoutOptions, index_layout
from msgfm.data.reader import read_sample
from msgfm.geo.raster import write_geotiff

S2_DN = 1500


def tif(path: Path, count: int = 1, size: int | tuple[int, int] = 8, value: float = S2_DN, **more: object) -> None:
    """A GeoTIFF whose band k holds `value + k`, k from 0; integers for Sentinel-2's numbers, else floats."""
    shape = (count, size, size) if isinstance(size, int) else (count, *size)
    bands = np.arange(count).reshape(-1, 1, 1) + np.full(shape, value)
    write_geotiff(path, bands.astype(np.uint16 if value >= 1 else np.float32), **more)  # type: ignore[arg-type]


def picture(path: Path, count: int = 3, size: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(np.full((size, size, count)[: 3 if count > 1 else 2], 100, np.uint8)).save(path)


def index(layout: str, root: Path, *sensors: str, **more: object) -> IndexResult:
    fields = {key: more.pop(key) for key in ("scenes", "product", "tile_size") if key in more}
    return index_layout(layout, root, LayoutOptions(sensors=sensors, **fields), **more)  # type: ignore[arg-type]


def names(result: IndexResult) -> list[str]:
    return [sample.sample for sample in result.manifest.samples]


def read(result: IndexResult, sample: str) -> dict[str, np.ndarray]:
    found = next(one for one in result.manifest.samples if one.sample == sample)
    return read_sample(result.manifest.root, found, result.manifest.sensors)
