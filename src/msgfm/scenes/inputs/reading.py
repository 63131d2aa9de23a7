"""One file's bands on the scene's grid, window by window, in physical units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from msgfm.data.catalogue.storage import decibel_of, power_of
from msgfm.data.reader import physical_values
from msgfm.geo.grid import Grid
from msgfm.geo.source import RasterSource
from msgfm.geo.warp import footprint, shrinking, warp
from msgfm.sensors import Band

Image = NDArray[np.float32]
Window = tuple[int, int, int, int]
"""Row, column, height, width."""
Read = Callable[[Window], Image]
"""From a window of the grid to C x height x width, NaN where there is no data."""

# Pieces in which files on other grids are brought to the scene's: low and wide, as scenes are read from top to bottom.
_PIECE = (128, 2048)
# Where the grid's pixels are larger: how many rows and pixels of the file a piece is made of, but for its margin.
_FILE_ROWS, _FILE_PX = 1024, 2**20


def read_physical(source: RasterSource, file_bands: Sequence[int], bands: Sequence[Band], window: Window) -> Image:
    """A window of a file's own pixels, in the units of its bands (but linear power, where the file has that)."""
    return physical_values(source.read(file_bands, window), bands).astype(np.float32, copy=False)


class AlignedFile:
    """A file whose pixels are pixels of the grid: they are taken as they are.

    Args:
        source: the file.
        file_bands: positions counted from 1.
        bands: of the card, with the file's scale, offset and no-data number.
        offset: row and column on the grid of the file's first pixel.
        power: whether the file holds linear power.
    """

    def __init__(
        self,
        source: RasterSource,
        file_bands: Sequence[int],
        bands: Sequence[Band],
        offset: tuple[int, int],
        power: bool,
    ) -> None:
        self._source, self._file_bands, self._bands = source, tuple(file_bands), tuple(bands)
        self._offset, self._power = offset, power

    def __call__(self, window: Window) -> Image:
        """As `Read`."""
        row, column, height, width = window
        info, (first_row, first_column) = self._source.info, self._offset
        top, bottom = max(row, first_row), min(row + height, first_row + info.height)
        left, right = max(column, first_column), min(column + width, first_column + info.width)
        if top >= bottom or left >= right:
            return np.full((len(self._bands), height, width), np.nan, np.float32)
        part = (top - first_row, left - first_column, bottom - top, right - left)
        values = read_physical(self._source, self._file_bands, self._bands, part)
        if self._power:
            values = decibel_of(values)
        if part[2:] == (height, width):
            return values
        result = np.full((len(self._bands), height, width), np.nan, np.float32)
        result[:, top - row : bottom - row, left - column : right - column] = values
        return result


class WarpedFile:
    """A file on another grid: interpolated, decibels as the power that they stand for.

    It is done in pieces that do not depend on the windows that are asked for, so neither do the values. Of the pieces
    used last the lowest row is kept: a window further down begins in it.

    Args:
        source: the file.
        own: its grid.
        file_bands: positions counted from 1.
        bands: of the card, with the file's scale, offset and no-data number.
        grid: the scene's.
        power: whether the file holds linear power.
    """

    def __init__(
        self,
        source: RasterSource,
        own: Grid,
        file_bands: Sequence[int],
        bands: Sequence[Band],
        grid: Grid,
        power: bool,
    ) -> None:
        self._source, self._own, self._grid = source, own, grid
        self._file_bands, self._bands = tuple(file_bands), tuple(bands)
        self._power = power
        self._shrink = shrinking(grid, own)
        self._decibel = [i for i, band in enumerate(bands) if band.unit.lower() == "db"]
        self._size = piece_size(self._shrink)
        self._pieces: dict[tuple[int, int], Image] = {}

    def __call__(self, window: Window) -> Image:
        """As `Read`."""
        row, column, height, width = window
        result = np.full((len(self._bands), height, width), np.nan, np.float32)
        for number in self._numbers(window):
            piece = self._piece(number)
            top, left = number[0] * self._size[0], number[1] * self._size[1]
            bottom, right = top + piece.shape[1], left + piece.shape[2]
            first, end = max(top, row), min(bottom, row + height)
            begin, stop = max(left, column), min(right, column + width)
            result[:, first - row : end - row, begin - column : stop - column] = piece[
                :, first - top : end - top, begin - left : stop - left
            ]
            self._pieces = {old: kept for old, kept in self._pieces.items() if old[0] == number[0]}
        return result

    def _numbers(self, window: Window) -> Iterator[tuple[int, int]]:
        """The pieces that a window of the grid touches."""
        row, column, height, width = window
        bottom, right = min(row + height, self._grid.height), min(column + width, self._grid.width)
        for i in range(max(0, row) // self._size[0], -(-bottom // self._size[0])):
            for j in range(max(0, column) // self._size[1], -(-right // self._size[1])):
                yield i, j

    def _piece(self, number: tuple[int, int]) -> Image:
        if number not in self._pieces:
            row, column = number[0] * self._size[0], number[1] * self._size[1]
            height, width = min(self._size[0], self._grid.height - row), min(self._size[1], self._grid.width - column)
            self._pieces[number] = self._warp(self._grid.window(row, column, height, width))
        return self._pieces[number]

    def _warp(self, target: Grid) -> Image:
        window = footprint(target, self._own, self._shrink)
        if window is None:
            return np.full((len(self._bands), target.height, target.width), np.nan, np.float32)
        values = read_physical(self._source, self._file_bands, self._bands, window)
        if not self._power:
            values[self._decibel] = power_of(values[self._decibel])
        warped = warp(values, self._own.window(*window), target, self._shrink)
        warped[self._decibel] = decibel_of(warped[self._decibel])
        return warped


def piece_size(shrink: tuple[float, float]) -> tuple[int, int]:
    """Height and width of a piece on the grid, so small that what it is made of fits into memory.

    Args:
        shrink: how many of the file's pixels one of the grid's is long, down and across (`warp.shrinking`).
    """
    height = max(1, min(_PIECE[0], int(_FILE_ROWS / shrink[0])))
    return height, max(1, min(_PIECE[1], int(_FILE_PX / (height * shrink[0] * shrink[1]))))
