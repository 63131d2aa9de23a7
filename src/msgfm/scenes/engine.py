"""A model over a scene: reading, model and blending at once, in memory that does not grow with the scene."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from msgfm.geo.tiling import Area, Blender, Coverage, Tiling

Image = NDArray[np.float32]
Images = Mapping[str, Image]
Read = Callable[[int, int, int, int], Images]
"""From row, column, height and width on the scene to (C, height, width) by key, in physical units, NaN without data."""
Predict = Callable[[Images], Image]
"""From (B, C, h, w) by key to (B, K, h, w)."""

Batch = tuple[Sequence[int], Image]
"""Windows of a row: the numbers of their columns, and what was predicted."""

T = TypeVar("T")


@dataclass(kw_only=True)
class Clock:
    """Seconds that each stage was at work, of all its threads; they may add up to more than the total."""

    seconds: dict[str, float] = field(default_factory=dict)
    windows: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Adds what the block takes."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begun
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def count(self, windows: int) -> None:
        """Adds windows that were run."""
        with self._lock:
            self.windows += windows


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Rows of a scene that are complete.

    Args:
        area: where.
        values: (K, h, w); of no meaning where there is no data.
        valid: (h, w), whether there is data.
    """

    area: Area
    values: Image
    valid: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One row of windows.

    Args:
        row: its number.
        top: its first row of pixels.
        valid: (h, w), whether there is data, as wide as the area and what windows need beside it.
    """

    row: int
    top: int
    valid: NDArray[np.bool_]


def sweep(
    read: Read,
    predict: Predict,
    tiling: Tiling,
    area: Area,
    *,
    channels: int,
    batch_size: int,
    fill: bool = False,
    threads: int = 1,
    clock: Clock | None = None,
) -> Iterator[Piece]:
    """Predicts an area from top to bottom.

    What comes out of an area does not depend on where others begin or end. Windows without any data are not run.

    Args:
        read: called in this thread.
        predict: called by `threads` threads at once.
        tiling: windows of the whole scene.
        area: what is wanted of it.
        channels: K of `predict`.
        batch_size: windows at once; of one row of windows.
        fill: whether one input with data is enough; else a pixel that lacks any of them has no data.
        threads: that run the model.
        clock: where times are noted.
    """
    clock = clock or Clock()
    blender = Blender(tiling, area, channels)
    coverage = blender.coverage

    def blend(strip: Strip, batches: Iterator[Batch]) -> Piece:
        for columns, predicted in batches:
            with clock.measure("blending"):
                for column, values in zip(columns, predicted, strict=True):
                    blender.add(strip.row, column, values)
        with clock.measure("blending"):
            done, values = blender.complete(strip.row)
        valid = strip.valid[done.top - strip.top : done.bottom - strip.top, area.left - coverage.left :]
        return Piece(area=done, values=values, valid=valid[:, : done.right - done.left])

    for strip, batches in run_strips(read, predict, coverage, batch_size, fill, threads, clock):
        yield blend(strip, batches)


def run_strips(
    read: Read, predict: Predict, coverage: Coverage, batch_size: int, fill: bool, threads: int, clock: Clock
) -> Iterator[tuple[Strip, Iterator[Batch]]]:
    """Runs the rows of windows one after the other; gives each with what was predicted of its windows, in order.

    The next strip is read while one is run, and its first windows are run before the last ones of the strip before are
    used: the images of two are held.
    """

    def run(images: Images, columns: Sequence[int]) -> Batch:
        places = [coverage.place(column) for column in columns]
        windows = {key: np.stack([image[:, :, place] for place in places]) for key, image in images.items()}
        with clock.measure("model"):
            predicted = predict(windows)
        clock.count(len(columns))
        return columns, predicted

    def begin(pool: Executor) -> Iterator[tuple[Strip, deque[Future[Batch]]]]:
        for strip, images in read_strips(read, coverage, fill, clock):
            wanted = [column for column in coverage.columns if strip.valid[:, coverage.place(column)].any()]
            groups = [wanted[first : first + batch_size] for first in range(0, len(wanted), batch_size)]
            yield strip, deque(pool.submit(run, images, columns) for columns in groups)

    with ThreadPoolExecutor(threads) as pool:
        try:
            for strip, batches in one_ahead(begin(pool)):
                yield strip, _results(batches)
        finally:
            pool.shutdown(cancel_futures=True)


def _results(batches: deque[Future[Batch]]) -> Iterator[Batch]:
    while batches:  # none is held longer than it is used
        yield batches.popleft().result()


def read_strips(read: Read, coverage: Coverage, fill: bool, clock: Clock) -> Iterator[tuple[Strip, Images]]:
    """The rows of windows, and their images (C, h, w) by key; every row of pixels is read once."""
    rows, left, width = coverage.tiling.rows, coverage.left, coverage.width
    images: Images = {}
    end = 0
    for row in coverage.rows:
        top = rows.starts[row]
        with clock.measure("reading"):
            if not images:
                images = read(top, left, rows.size, width)
            else:
                images = _further_down(images, read(end, left, top + rows.size - end, width))
            valid = has_data(images, fill)
        end = top + rows.size
        yield Strip(row=row, top=top, valid=valid), images


def _further_down(images: Images, below: Images) -> Images:
    """As many rows, of which the last are those below."""
    return {key: np.concatenate([image[:, below[key].shape[1] :], below[key]], axis=1) for key, image in images.items()}


def has_data(images: Images, fill: bool) -> NDArray[np.bool_]:
    """Where (h, w) every image has a value in some band; with `fill`, where some image has."""
    known = [np.isfinite(image).any(axis=0) for image in images.values()]
    combined: NDArray[np.bool_] = (np.logical_or if fill else np.logical_and).reduce(known)
    return combined


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Makes the next item before the last one is used."""
    before: list[T] = []
    for item in items:
        yield from before
        before = [item]
    yield from before


def behind(items: Iterator[T], use: Callable[[T], None]) -> Iterator[T]:
    """Uses each item in a thread while the next one is made; gives it on."""
    with ThreadPoolExecutor(1) as pool:
        pending = None
        for item in items:
            if pending is not None:
                pending.result()
            pending = pool.submit(use, item)
            yield item
        if pending is not None:
            pending.result()
