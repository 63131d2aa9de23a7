"""Where windows lie on a scene, what each of them counts at a pixel, and their sum row by row. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Windows along one side of a scene.

    They overlap by at least `overlap` pixels, all by about the same: none is pushed back far over its neighbour, and
    none leaves the scene. A scene that is smaller than a window is one window.

    Args:
        length: of the scene in pixels.
        window: of a window in pixels.
        overlap: pixels, at least 0 and less than the window.
    """

    length: int
    window: int
    overlap: int

    def __post_init__(self) -> None:
        if self.length < 1 or self.window < 1:
            raise ValueError(f"a side of {self.length} pixels in windows of {self.window}; both are 1 at least")
        if not 0 <= self.overlap < self.window:
            raise ValueError(f"windows of {self.window} pixels cannot overlap by {self.overlap}")

    @property
    def size(self) -> int:
        """Of every window: `window`, or the length where that is less."""
        return min(self.window, self.length)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first pixel of each window."""
        free = self.length - self.size
        steps = -(-free // (self.window - self.overlap))
        return tuple(round(i * free / steps) for i in range(steps + 1)) if steps else (0,)

    @cached_property
    def shares(self) -> Image:
        """What each window counts at each of its pixels, (windows, size); at every pixel of the scene they sum to 1.

        Where windows overlap, they fade into each other by a raised cosine, so that neither values nor slopes jump. The
        outer quarter of the overlap counts nothing: there a model has seen least of what lies around. A window that
        begins or ends the scene does not fade there.
        """
        inside = np.arange(self.size) + 0.5
        rise = _fade(inside / self.overlap) if self.overlap else np.ones(self.size)
        last = len(self.starts) - 1
        ramps = [(rise if k else 1) * (rise[::-1] if k < last else 1) * np.ones(self.size) for k in range(last + 1)]
        total = np.zeros(self.length)
        for start, ramp in zip(self.starts, ramps, strict=True):
            total[start : start + self.size] += ramp
        shares = [ramp / total[start : start + self.size] for start, ramp in zip(self.starts, ramps, strict=True)]
        return np.stack(shares).astype(np.float32)

    def over(self, first: int, end: int) -> range:
        """The windows (their numbers) that reach into the pixels from `first` to before `end`."""
        starts = np.asarray(self.starts)
        return range(int(np.searchsorted(starts + self.size, first, "right")), int(np.searchsorted(starts, end)))


def _fade(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 up to a quarter of the overlap to 1 from three quarters on; of a place and of 1 - place they sum to 1."""
    fade: NDArray[np.float64] = np.sin(np.pi / 2 * np.clip(2 * place - 0.5, 0, 1)) ** 2
    return fade


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Windows over a scene, in rows and columns.

    Args:
        height: of the scene in pixels.
        width: likewise.
        window: side of a window in pixels.
        overlap: of neighbours in pixels, at least.
    """

    height: int
    width: int
    window: int
    overlap: int

    @cached_property
    def rows(self) -> Axis:
        """From top to bottom."""
        return Axis(length=self.height, window=self.window, overlap=self.overlap)

    @cached_property
    def columns(self) -> Axis:
        """From left to right."""
        return Axis(length=self.width, window=self.window, overlap=self.overlap)


@dataclass(frozen=True, kw_only=True)
class Area:
    """Pixels of a scene: rows from `top` to before `bottom`, columns from `left` to before `right`."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Windows that lie side by side: some rows of them, and of each the same columns.

    Args:
        tiling: of the scene.
        rows: numbers of the rows of windows.
        columns: numbers of the columns.
    """

    tiling: Tiling
    rows: range
    columns: range

    @classmethod
    def of_area(cls, tiling: Tiling, area: Area) -> Coverage:
        """All windows that reach into an area."""
        rows, columns = tiling.rows.over(area.top, area.bottom), tiling.columns.over(area.left, area.right)
        return cls(tiling=tiling, rows=rows, columns=columns)

    @property
    def left(self) -> int:
        """The first column of pixels."""
        return self.tiling.columns.starts[self.columns[0]]

    @property
    def width(self) -> int:
        """Columns of pixels."""
        axis = self.tiling.columns
        return axis.starts[self.columns[-1]] + axis.size - self.left

    def place(self, column: int) -> slice:
        """The columns of pixels of a window, counted from `left`."""
        start = self.tiling.columns.starts[column] - self.left
        return slice(start, start + self.tiling.columns.size)


class Blender:
    """Adds windows of an area up, one row of windows after the other, and gives the rows that are complete.

    Holds one row of windows. What comes out does not depend on where the area begins: a row of pixels is the sum of
    the same windows in the same order, to the last bit.
    """

    def __init__(self, tiling: Tiling, area: Area, channels: int) -> None:
        self.tiling, self.area = tiling, area
        self.coverage = Coverage.of_area(tiling, area)
        self._top = tiling.rows.starts[self.coverage.rows[0]]
        self._sum = np.zeros((channels, tiling.rows.size, self.coverage.width), dtype=np.float32)

    def add(self, row: int, column: int, values: Image) -> None:
        """Adds the window of these numbers, (C, size, size). Rows of windows come in order."""
        share = self.tiling.rows.shares[row][:, None] * self.tiling.columns.shares[column]
        self._sum[:, :, self.coverage.place(column)] += values * share

    def complete(self, row: int) -> tuple[Area, Image]:
        """After the last window of a row: the pixels of the area that no later window reaches, and their values."""
        starts, size = self.tiling.rows.starts, self.tiling.rows.size
        end = starts[row + 1] if row + 1 < len(starts) else self.tiling.height
        top = max(self._top, self.area.top)
        area = replace(self.area, top=top, bottom=max(top, min(end, self.area.bottom)))
        columns = slice(area.left - self.coverage.left, area.right - self.coverage.left)
        done = self._sum[:, area.top - self._top : area.bottom - self._top, columns].copy()
        gone = end - self._top
        for channel in self._sum:  # one by one: of overlapping arrays NumPy makes a copy
            channel[: size - gone] = channel[gone:]
        self._sum[:, size - gone :] = 0
        self._top = end
        return area, done
