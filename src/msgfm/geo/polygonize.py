"""Polygons of classes, row band by row band: what is complete is handed on, and only what goes on below is held.

GDAL finds the polygons of a band; pieces that meet at the seam between two bands are joined here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.features import shapes

from msgfm.geo.geometry import twice_area

Corners = NDArray[np.int64]
"""(n, 2) column and row of corners of pixels, the last the first again."""
Band = tuple[int, NDArray[Any], NDArray[np.bool_]]
"""First row, values (h, w), and where they count."""


class ClassPolygon(NamedTuple):
    """Pixels of one value that share edges.

    value: the class. rings: the outer one first, clockwise on a picture whose rows go down; holes the other way.
    """

    value: int
    rings: tuple[Corners, ...]

    @property
    def pixels(self) -> int:
        """How many it is made of."""
        return round(abs(sum(_twice(ring) for ring in self.rings)) / 2)


@dataclass(eq=False)
class _Open:
    """A polygon that is not complete: pieces of bands, and the rows of the seams between them.

    Args:
        value: the class.
        rings: those that reach the edge of their band.
        holes: the others, packed: what surrounds all else has very many. Points of several, and where each ends.
        seams: rows.
    """

    value: int
    rings: list[Corners]
    holes: list[tuple[NDArray[np.int32], NDArray[np.int64]]] = field(default_factory=list)
    seams: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, value: int, rings: list[Corners], top: int, bottom: int) -> _Open:
        """From the rings of a band's piece."""
        reaching = [ring[:, 1].min() == top or ring[:, 1].max() == bottom for ring in rings]
        inner = [ring for ring, reaches in zip(rings, reaching, strict=True) if not reaches]
        packed = [(np.concatenate(inner).astype(np.int32), np.cumsum([len(ring) for ring in inner]))] if inner else []
        return cls(value, [ring for ring, reaches in zip(rings, reaching, strict=True) if reaches], packed)

    def inner_holes(self) -> list[Corners]:
        """The packed ones."""
        return [ring for points, ends in self.holes for ring in np.split(points.astype(np.int64), ends[:-1])]


class _Edge(NamedTuple):
    """A stretch of a polygon's outline on a seam."""

    start: int
    end: int
    owner: _Open


def polygonize(bands: Iterable[Band]) -> Iterator[ClassPolygon]:
    """Finds the polygons of a raster; pixels that touch at a corner alone are two.

    Args:
        bands: that follow each other from the first row to the last, all as wide; values are integers.

    Yields:
        Each polygon once, after the band in which it ends. Corners are counted from the raster's first.
    """
    frontier: list[_Edge] = []
    merged: dict[_Open, _Open] = {}

    def root(one: _Open) -> _Open:
        while one in merged:
            one = merged[one]
        return one

    for top, values, counts in bands:
        bottom = top + len(values)
        above, below = [], []
        for value, rings in _pieces(top, values, counts):
            on_top, at_bottom = (_on_row(rings, row) for row in (top, bottom))
            if not at_bottom and not (frontier and on_top):
                yield ClassPolygon(value, tuple(rings))
                continue
            piece = _Open.of(value, rings, top, bottom)
            above += [_Edge(start, end, piece) for start, end in on_top]
            below += [_Edge(start, end, piece) for start, end in at_bottom]
        waiting = dict.fromkeys([*(root(edge.owner) for edge in frontier), *(edge.owner for edge in above)])
        for one, other in _meeting(frontier, above):
            _join(root(one), root(other), top, merged)
        frontier = sorted((_Edge(start, end, root(owner)) for start, end, owner in below), key=lambda edge: edge.start)
        going_on = {edge.owner for edge in frontier}
        for one in dict.fromkeys(map(root, waiting)):
            if one not in going_on:
                yield _closed(one)
        merged.clear()
    for one in dict.fromkeys(edge.owner for edge in frontier):
        yield _closed(one)


def _pieces(top: int, values: NDArray[Any], counts: NDArray[np.bool_]) -> Iterator[tuple[int, list[Corners]]]:
    found = shapes(values.astype(np.int32), mask=counts, connectivity=4)
    for shape, value in found:
        rings = [np.array(ring).astype(np.int64) + np.array((0, top)) for ring in shape["coordinates"]]
        # GDAL may give either direction
        rings = [ring if (_twice(ring) > 0) == (i == 0) else ring[::-1] for i, ring in enumerate(rings)]
        yield int(value), rings


def _twice(ring: Corners) -> float:
    return twice_area(ring[:, 0], ring[:, 1])


def _on_row(rings: list[Corners], row: int) -> list[tuple[int, int]]:
    """Where outlines run along a row of corners: from and to which column."""
    if not rings[0][:, 1].min() <= row <= rings[0][:, 1].max():
        return []
    points = np.concatenate(rings)
    level = points[:, 1] == row
    along = level[:-1] & level[1:]
    along[np.cumsum([len(ring) for ring in rings])[:-1] - 1] = False  # from the end of a ring to the next
    ends = np.sort(np.stack([points[:-1, 0][along], points[1:, 0][along]], axis=1), axis=1)
    return [(start, end) for start, end in ends.tolist()]


def _meeting(upper: list[_Edge], lower: list[_Edge]) -> Iterator[tuple[_Open, _Open]]:
    """Owners of stretches of one value that overlap; stretches of one side do not overlap each other."""
    lower = sorted(lower, key=lambda edge: edge.start)
    i = j = 0
    while i < len(upper) and j < len(lower):
        one, other = upper[i], lower[j]
        if max(one.start, other.start) < min(one.end, other.end) and one.owner.value == other.owner.value:
            yield one.owner, other.owner
        if one.end <= other.end:
            i += 1
        else:
            j += 1


def _join(one: _Open, other: _Open, seam: int, merged: dict[_Open, _Open]) -> None:
    if one is not other:
        large, small = (
            (one, other) if len(one.rings) + len(one.holes) >= len(other.rings) + len(other.holes) else (other, one)
        )
        large.rings += small.rings
        large.holes += small.holes
        large.seams |= small.seams
        merged[small] = large
        one = large
    one.seams.add(seam)


def _closed(one: _Open) -> ClassPolygon:
    """The polygon of all its pieces: without the stretches of seams at which they meet."""
    if not one.seams:
        return ClassPolygon(one.value, (*one.rings, *one.inner_holes()))
    whole, chains = [], []
    seams = np.array(sorted(one.seams))
    cut: list[Corners] = []
    for ring in one.rings:
        level = (ring[:-1, 1] == ring[1:, 1]) & np.isin(ring[:-1, 1], seams)
        if not level.any():
            whole.append(ring)
            continue
        first = int(np.flatnonzero(level)[0])  # begin with a stretch of a seam, so that no chain goes over the end
        turned = np.concatenate([ring[first:-1], ring[: first + 1]])
        level = np.roll(level, -first)
        cut.append(np.concatenate([turned[:-1][level], turned[1:][level]], axis=1))
        edges = np.flatnonzero(np.diff(np.concatenate([[True], level, [True]]).astype(np.int8)))
        chains += [turned[start : end + 1] for start, end in edges.reshape(-1, 2)]
    chains += _left_of_seams(np.concatenate(cut))
    rings = [*whole, *(ring for loop in _loops(chains) for ring in _simple(_straightened(loop)))]
    outer = [ring for ring in rings if _twice(ring) > 0]
    assert len(outer) == 1, "a polygon has one outer ring"
    holes = [ring for ring in rings if _twice(ring) < 0]
    return ClassPolygon(one.value, (outer[0], *holes, *one.inner_holes()))


def _left_of_seams(cut: Corners) -> list[Corners]:
    """What is left of stretches (x0, y, x1, y) where those that run both ways along a seam cancel."""
    left: list[Corners] = []
    for row in np.unique(cut[:, 1]):
        ends = cut[cut[:, 1] == row][:, [0, 2]]
        points, places = np.unique(ends, return_inverse=True)
        places = places.reshape(ends.shape)
        direction = np.sign(ends[:, 1] - ends[:, 0])
        change = np.zeros(len(points), np.int64)
        np.add.at(change, places.min(axis=1), direction)
        np.add.at(change, places.max(axis=1), -direction)
        running = np.cumsum(change)[:-1]
        for i in np.flatnonzero(running):
            step = [points[i], points[i + 1]][:: int(running[i])]
            left.append(np.array([(step[0], row), (step[1], row)], np.int64))
    return left


def _loops(chains: list[Corners]) -> Iterator[Corners]:
    """Closed outlines of chains, each of which begins where another ends."""
    following: dict[tuple[int, int], list[Corners]] = {}
    for chain in chains:
        following.setdefault(_key(chain[0]), []).append(chain)
    for chain in chains:
        begin = _key(chain[0])
        if not following[begin]:
            continue
        loop, at = [], begin
        while True:
            step = following[at].pop()
            loop.append(step[:-1])
            at = _key(step[-1])
            if at == begin:
                break
        yield np.concatenate([*loop, loop[0][:1]])


def _key(corner: Corners) -> tuple[int, int]:
    return int(corner[0]), int(corner[1])


def _straightened(loop: Corners) -> Corners:
    """Without corners at which it goes straight on."""
    points = loop[:-1]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    bends = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    kept = points[bends]
    return np.concatenate([kept, kept[:1]])


def _simple(loop: Corners) -> Iterator[Corners]:
    """Cuts an outline that comes to a corner twice into outlines that come to each once."""
    points = loop[:-1]
    if len(np.unique(points, axis=0)) == len(points):
        yield loop
        return
    path: list[tuple[int, int]] = []
    at: dict[tuple[int, int], int] = {}
    for corner in map(_key, loop):
        if corner in at:
            start = at[corner]
            for passed in path[start + 1 :]:
                del at[passed]
            yield np.array([*path[start:], corner], np.int64)
            del path[start + 1 :]
        else:
            at[corner] = len(path)
            path.append(corner)
