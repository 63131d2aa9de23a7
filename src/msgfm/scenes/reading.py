"""One file's bands on the scene's grid, window by window, in physical units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from msgfm.data.reader import physical_values
from msgfm.geo.source import RasterSource
from msgfm.sensors import Band

Image = NDArray[np.float32]
Window = tuple[int, int, int, int]
"""Row, column, height, width."""


class AlignedFile:
    """A file whose pixels are pixels of the grid: they are taken as they are.

    Args:
        source: the file.
        file_bands: positions counted from 1.
        bands: of the card, with the file's scale, offset and no-data number.
        offset: row and column on the grid of the file's first pixel.
    """

    def __init__(
        self, source: RasterSource, file_bands: Sequence[int], bands: Sequence[Band], offset: tuple[int, int]
    ) -> None:
        self._source, self._file_bands, self._bands = source, tuple(file_bands), tuple(bands)
        self._offset = offset

    def read(self, window: Window) -> Image:
        """C x height x width of a window of the grid; NaN where there is no data, and beyond the file's edges."""
        row, column, height, width = window
        info, (first_row, first_column) = self._source.info, self._offset
        top, bottom = max(row, first_row), min(row + height, first_row + info.height)
        left, right = max(column, first_column), min(column + width, first_column + info.width)
        if top >= bottom or left >= right:
            return np.full((len(self._bands), height, width), np.nan, np.float32)
        part = (top - first_row, left - first_column, bottom - top, right - left)
        stored = self._source.read(self._file_bands, part)
        values = physical_values(stored, self._bands).astype(np.float32, copy=False)
        if part[2:] == (height, width):
            return values
        result = np.full((len(self._bands), height, width), np.nan, np.float32)
        result[:, top - row : bottom - row, left - column : right - column] = values
        return result
