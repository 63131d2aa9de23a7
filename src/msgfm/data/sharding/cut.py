"""Cuts large images into tiles, as windows of their files, so that a tile is a sample like any other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from msgfm.data.records import Manifest, RasterFile, Sample
from msgfm.data.shards.chunks import is_place
from msgfm.errors import InputError
from msgfm.geo.raster import raster_info
from msgfm.progress import track

NO_DATA = "a tile without data"
"""What is said of a tile that is left out since one of its images has no data in it."""


def cut_manifest(manifest: Manifest, size: int) -> Manifest:
    """Every sample whose finest image is larger than `size` pixels becomes several, named `sample#row,column`.

    Tiles lie side by side from the upper left corner; the last of a row or column is moved back to end at the image's
    edge, so it may overlap the one before. All tiles of a sample keep its scene and split. A tile of a sample on
    several grids covers whole pixels of all of them.

    Args:
        manifest: of files.
        size: side of a tile, in pixels of the sample's finest image.

    Raises:
        InputError: a tile would cut through the pixels of a coarser file of the sample.
    """
    chosen = [
        tile
        for sample in track(manifest.samples, "cutting", len(manifest.samples))
        for tile in _tiles(manifest, sample, size)
    ]
    return replace(manifest, samples=tuple(chosen))


def name_of_whole(tile: Sample) -> str:
    """The name of the sample that a tile was cut from."""
    return tile.sample.rpartition("#")[0]


def _tiles(manifest: Manifest, sample: Sample, size: int) -> Iterator[Sample]:
    height = max(image.height for image in sample.images)
    width = max(image.width for image in sample.images)
    if height <= size and width <= size:
        yield sample
        return
    if any(is_place(file.path) for image in sample.images for file in image.files):
        raise InputError(f"sample {sample.sample} is in shards already; cut when making them from files")
    grids = _grids(manifest, sample)
    rows = _starts(sample, height, size, [grid[0] for grid in grids.values()])
    columns = _starts(sample, width, size, [grid[1] for grid in grids.values()])
    for row in rows:
        for column in columns:
            area = (row / height, column / width, min(size, height) / height, min(size, width) / width)
            images = tuple(
                replace(
                    image,
                    height=round(area[2] * image.height),
                    width=round(area[3] * image.width),
                    files=tuple(_window(file, grids[file], area) for file in image.files),
                )
                for image in sample.images
            )
            mask = sample.mask and _window(sample.mask, grids[sample.mask], area)
            yield replace(sample, sample=f"{sample.sample}#{row},{column}", images=images, mask=mask)


def _grids(manifest: Manifest, sample: Sample) -> dict[RasterFile, tuple[int, int]]:
    """Rows and columns of each file, or of its window."""
    grids = {}
    for file in sample.files:
        if file.window is not None:
            grids[file] = file.window[2:]
        else:
            info = raster_info(manifest.root / file.path)
            grids[file] = (info.height, info.width)
    return grids


def _starts(sample: Sample, length: int, size: int, sides: list[int]) -> list[int]:
    """Where tiles begin along a side: multiples of `size`, and what ends at the edge."""
    if length <= size:
        return [0]
    # pixels of the finest grid after which the pixels of all grids begin together
    step = math.lcm(*(length // math.gcd(length, side) for side in sides))
    if size % step:
        raise InputError(
            f"sample {sample.sample}: tiles of {size} px cut through pixels of its coarser files; use a multiple of "
            f"{step}"
        )
    return [min(start, length - size) for start in range(0, length, size)]


def _window(file: RasterFile, grid: tuple[int, int], area: tuple[float, float, float, float]) -> RasterFile:
    """The part of a file, or of its window, that shows a share of the ground."""
    row, column, height, width = (round(share * side) for share, side in zip(area, (*grid, *grid), strict=True))
    above, left = file.window[:2] if file.window else (0, 0)
    return replace(file, window=(above + row, left + column, height, width))
