"""Small pictures of large rasters: read through their overviews, brought to one grid, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform
from rasterio.windows import Window

from msgfm.errors import InputError
from msgfm.geo.align import crs_name
from msgfm.geo.facts import RasterFacts, facts_of
from msgfm.geo.grid import Grid
from msgfm.geo.source import RasterSource

_LON_LAT = "EPSG:4326"
_CACHE = 64 * 2**20  # bytes of decoded blocks
# An image that lies on another grid is read this much finer than that before it is moved there.
_FINER = 2.0
_AT_ONCE = 1024  # pixels a side of what is read at once: blocks of all bands of so much fit into the cache
_ROUNDING = 0.01  # of a pixel, that coordinates may differ by
_OUTLINE = 21  # points along each edge of a grid, as lines bend between coordinate systems


def overview_grid(facts: RasterFacts, longest: int) -> Grid:
    """The grid of a file's ground with at most `longest` pixels a side: north up, in the file's own CRS.

    The pixels are the file's own where it is small enough and lies north up.
    """
    factor = max(1.0, max(facts.height, facts.width) / longest)
    if not facts.crs:
        height, width = (max(1, round(side / factor)) for side in (facts.height, facts.width))
        return Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, height=height, width=width)
    corners = _corners(facts)
    left, right = min(x for x, _ in corners), max(x for x, _ in corners)
    bottom, top = min(y for _, y in corners), max(y for _, y in corners)
    a, b, _, d, e, _ = facts.transform
    width = max(1, round((right - left) / math.hypot(a, d) / factor))
    height = max(1, round((top - bottom) / math.hypot(b, e) / factor))
    return Grid(
        crs=facts.crs,
        left=left,
        top=top,
        pixel_width=(right - left) / width,
        pixel_height=(top - bottom) / height,
        height=height,
        width=width,
    )


def lon_lat(grid: Grid, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitude and latitude of places on a grid, 2 x the shape of both.

    Args:
        grid: with a CRS.
        rows: counted from the upper edge, so that 0.5 is the middle of the first row.
        columns: likewise.
    """
    x, y = grid.left + columns.ravel() * grid.pixel_width, grid.top - rows.ravel() * grid.pixel_height
    return np.array(transform(grid.crs, _LON_LAT, x, y)).reshape(2, *rows.shape)


def has_grid_of(one: RasterFacts, other: RasterFacts) -> bool:
    """Whether the pixels of two files lie on each other, but for what rounding of coordinates moves them by."""
    if (one.crs, one.height, one.width) != (other.crs, other.height, other.width):
        return False
    rounding = _ROUNDING * min(abs(one.transform[0]), abs(one.transform[4]))
    return bool(np.allclose(_corners(one), _corners(other), rtol=0, atol=rounding))


def _corners(facts: RasterFacts) -> list[tuple[float, float]]:
    """Map coordinates of the four corners of a file."""
    to_map = Affine(*facts.transform)
    return [to_map @ (x, y) for x in (0, facts.width) for y in (0, facts.height)]


class OverviewSource(RasterSource):
    """A raster of which a small picture is to be had; see `RasterSource`."""

    def __enter__(self) -> OverviewSource:
        return self

    def facts(self) -> RasterFacts:
        """What it says of itself."""
        return facts_of(self._dataset, self.place)

    def read_overview(self, file_bands: Sequence[int], grid: Grid, *, classes: bool = False) -> NDArray[np.float32]:
        """Reads bands on a coarse grid.

        A file without a CRS, or on a grid without one, is laid over the whole grid.

        Args:
            file_bands: positions counted from 1.
            grid: of the picture.
            classes: whether the numbers are names, of which no mean can be taken: the most frequent one is shown.

        Returns:
            C x height x width values (stored * scale + offset); NaN where there is no data. Where the grid is coarser
            than the file a value is a mean, where it is finer the value of the pixel that lies there.

        Raises:
            InputError: they do not overlap, or a part of the file cannot be read.
        """
        self.limit_cache(_CACHE)
        with self._clear_errors("a reduced image of it"):
            stored = self._on_grid(list(file_bands), grid, classes)
        place = [band - 1 for band in file_bands]
        scales, offsets = (
            np.array([numbers[i] for i in place], np.float32)[:, None, None]
            for numbers in (self._dataset.scales, self._dataset.offsets)
        )
        return stored * scales + offsets

    def _on_grid(self, bands: list[int], grid: Grid, classes: bool) -> NDArray[np.float32]:
        source = self._dataset
        whole = Window(0, 0, source.width, source.height)
        if not grid.crs or source.crs is None:
            return self._decimated(bands, whole, (grid.height, grid.width), classes)
        window, ratio = self._window_of(grid)
        own = source.transform
        corners, wanted = [own @ (0, 0), own @ (source.width, source.height)], [grid.bounds[::3], grid.bounds[2:0:-1]]
        alike = np.allclose(corners, wanted, rtol=0, atol=_ROUNDING * min(abs(own.a), abs(own.e)))
        if alike and not (own.b or own.d) and crs_name(source.crs) == grid.crs:
            return self._decimated(bands, whole, (grid.height, grid.width), classes)
        factor = max(1.0, ratio / _FINER)
        shape = math.ceil(window.height / factor), math.ceil(window.width / factor)
        part = self._decimated(bands, window, shape, classes)
        stretch = Affine.scale(window.width / shape[1], window.height / shape[0])
        moved = np.full((len(bands), grid.height, grid.width), np.nan, np.float32)
        kind = Resampling.mode if classes else Resampling.average
        reproject(
            part,
            moved,
            src_transform=own @ Affine.translation(window.col_off, window.row_off) @ stretch,
            src_crs=source.crs,
            dst_transform=grid.transform,
            dst_crs=grid.crs,
            src_nodata=np.nan,
            dst_nodata=np.nan,
            resampling=kind if ratio > 1 else Resampling.nearest,
        )
        return moved

    def _window_of(self, grid: Grid) -> tuple[Window, float]:
        """The part of the file that the grid shows, and how many of its pixels fit along one of the grid's."""
        source, edge = self._dataset, np.linspace(0, 1, _OUTLINE)
        left, bottom, right, top = grid.bounds
        x = np.concatenate([left + (right - left) * part for part in (edge, edge, 0 * edge, 0 * edge + 1)])
        y = np.concatenate([bottom + (top - bottom) * part for part in (0 * edge, 0 * edge + 1, edge, edge)])
        columns, rows = ~source.transform @ np.array(transform(grid.crs, source.crs, x, y))
        apart = InputError(
            f"{self.place} shows another place than the first image, and they do not overlap; give images of one place"
        )
        if not (np.isfinite(columns).all() and np.isfinite(rows).all()):
            raise apart
        # two pixels more, which interpolation at the edge takes
        first_row, first_column = max(0, math.floor(rows.min()) - 2), max(0, math.floor(columns.min()) - 2)
        height = min(source.height, math.ceil(rows.max()) + 2) - first_row
        width = min(source.width, math.ceil(columns.max()) + 2) - first_column
        if rows.max() <= 0 or columns.max() <= 0 or rows.min() >= source.height or columns.min() >= source.width:
            raise apart
        ratio = math.sqrt(np.ptp(rows) * np.ptp(columns) / (grid.height * grid.width))
        return Window(first_column, first_row, width, height), ratio

    def _decimated(
        self, bands: list[int], window: Window, shape: tuple[int, int], classes: bool
    ) -> NDArray[np.float32]:
        """A part of the file in so many pixels, NaN where there is no data."""
        down, across = window.height / shape[0], window.width / shape[1]  # of its pixels in one
        height, width = (max(1, int(_AT_ONCE / pixels)) for pixels in (down, across))
        values = np.empty((len(bands), *shape), np.float32)
        for row in range(0, shape[0], height):
            for column in range(0, shape[1], width):
                part = values[:, row : row + height, column : column + width]
                rows, columns = part.shape[1:]
                place = window.col_off + column * across, window.row_off + row * down
                self._read_into(part, bands, Window(*place, columns * across, rows * down), classes)
        return values

    def _read_into(self, part: NDArray[np.float32], bands: list[int], window: Window, classes: bool) -> None:
        def read(kind: Resampling) -> NDArray[np.float32]:
            stored = self._dataset.read(
                bands, window=window, out_shape=part.shape, resampling=kind, masked=True, out_dtype="float32"
            )
            values: NDArray[np.float32] = stored.filled(np.nan)
            return values

        if part.shape[1] >= window.height and part.shape[2] >= window.width:
            part[:] = read(Resampling.nearest)
        elif classes:
            part[:] = read(Resampling.mode)
        else:
            part[:] = read(Resampling.average)
            # Where a file does not name NaN its no-data number, the mean of whatever holds one is NaN.
            if (missing := np.isnan(part)).any():
                part[missing] = read(Resampling.nearest)[missing]
