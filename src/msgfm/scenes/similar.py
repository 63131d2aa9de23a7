"""`msgfm similar`: which windows of a scene look like the one at a place, by their features.

All features of an encoder point much the same way: of plain cosines most are nearly 1. The mean of the table is what
its windows have in common; what is left when it is taken away tells them apart.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msgfm.errors import InputError
from msgfm.files import require_none_read, require_suffix
from msgfm.scenes.windows_table import Windows, WindowsInfo, open_windows_table, read_windows, read_windows_info

_FEWEST = 3  # vectors of which a mean is taken: two less their mean are always opposites
_ROUNDING = 1e-6  # of the length of a vector, float32


@dataclass(frozen=True, kw_only=True)
class Match:
    """A window, and how alike it is.

    Args:
        similarity: cosine of the two vectors less the mean of all, -1 to 1.
        area: first row and column, height, width in pixels of the scene.
        middle: longitude and latitude of its middle.
    """

    similarity: float
    area: tuple[int, int, int, int]
    middle: tuple[float, float]


def find_similar(
    table: Path, place: tuple[float, float], top: int, out: Path | None = None, *, overwrite: bool = False
) -> list[Match]:
    """The windows whose vectors have the largest cosine with that of the window at a place, which comes first.

    Of each vector the mean of all is taken away before, unless there are fewer than three, or the window at the place
    has just that mean: nothing would be left to compare. The table is read row group by row group.

    Args:
        table: of `msgfm embed`.
        place: longitude and latitude.
        top: how many.
        out: a table, `.parquet`, that gets every window with its similarity.
        overwrite: whether a file of that name is replaced, if it is not the table itself.

    Raises:
        InputError: no table of vectors, or no window at the place; or the file is there already.
    """
    if out is not None:
        require_suffix(out, ".parquet")
        require_none_read([out], [table])
        if out.exists() and not overwrite:
            raise InputError(f"{out} is there already; choose another name, or replace it with --overwrite")
    info = read_windows_info(table)
    if info.names:
        raise InputError(
            f"{table} holds {', '.join(info.names)} of each window, and no features; msgfm embed makes these"
        )
    if not info.grid.crs:
        raise InputError(
            f"{table} is of a scene without a coordinate system: nothing in it has a longitude and latitude"
        )
    wanted = vector_at(table, place)
    centre = centre_for(table, wanted)
    best: list[tuple[float, int, Match]] = []
    count = 0
    for windows in read_windows(table):
        alike = cosines(windows.values, wanted, centre)
        assert windows.corners is not None
        for i in np.argsort(-alike, kind="stable")[:top]:
            middle = windows.corners[i].mean(0)
            row, column, height, width = windows.areas[i].tolist()
            match = Match(
                similarity=float(alike[i]),
                area=(row, column, height, width),
                middle=(float(middle[0]) - (360 if middle[0] > 180 else 0), float(middle[1])),
            )
            heapq.heappush(best, (match.similarity, -(count + int(i)), match))
            if len(best) > top:
                heapq.heappop(best)
        count += len(alike)
    if out is not None:
        _write(table, info, wanted, centre, out)
    return [match for _, _, match in sorted(best, reverse=True)]


def vector_at(table: Path, place: tuple[float, float]) -> NDArray[np.float32]:
    """The vector of the window at a place; where windows overlap, of the one whose middle is nearest.

    Longitudes of a window that crosses the antimeridian go on beyond 180 degrees.

    Raises:
        InputError: no window is there.
    """
    nearest = np.inf
    found: NDArray[np.float32] | None = None
    for windows in read_windows(table):
        assert windows.corners is not None
        for turn in (0, 360, -360):
            there = (place[0] + turn, place[1])
            inside = np.flatnonzero(holds(windows.corners, there))
            distance = np.linalg.norm(windows.corners[inside].mean(1) - there, axis=1)
            if len(inside) and distance.min() < nearest:
                nearest, found = float(distance.min()), windows.values[inside[distance.argmin()]]
    if found is None:
        west, south, east, north = read_windows_info(table).grid.lon_lat_bounds()
        raise InputError(
            f"--at {place[0]:g},{place[1]:g}: no window of {table} is there, or it had no data; its scene reaches from "
            f"{west:.5g},{south:.5g} to {east:.5g},{north:.5g} (longitude, latitude)"
        )
    return found


def holds(corners: NDArray[np.float64], place: tuple[float, float]) -> NDArray[np.bool_]:
    """Which quadrangles (N, 4, 2), against the clock, hold a place: it lies left of each of their sides."""
    start, end = corners, np.roll(corners, -1, axis=1)
    along, to = end - start, np.asarray(place) - start
    return np.asarray((along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0] >= 0).all(1))


def centre_for(table: Path, wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """What is taken away from the vectors of a table before they are compared with one: their mean, or zeros."""
    total, count = np.zeros(wanted.shape), 0
    for windows in read_windows(table):
        total += windows.values.sum(0, dtype=np.float64)
        count += len(windows.values)
    centre = total / count
    is_mean = np.linalg.norm(wanted - centre) <= _ROUNDING * np.linalg.norm(wanted)
    return np.zeros(wanted.shape) if count < _FEWEST or is_mean else centre


def cosines(
    values: NDArray[np.float32], wanted: NDArray[np.float32], centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of vectors (N, size) with one, less a centre; 0 for a vector that is the centre."""
    vectors, one = values - centre, wanted - centre
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(one)
    products: NDArray[np.float64] = vectors @ one
    return products / np.where(lengths > 0, lengths, 1)


def _write(table: Path, info: WindowsInfo, wanted: NDArray[np.float32], centre: NDArray[np.float64], out: Path) -> None:
    told = WindowsInfo(grid=info.grid, size=1, names=("similarity",), facts=info.facts)
    with open_windows_table(out, told) as written:
        for windows in read_windows(table):
            alike = cosines(windows.values, wanted, centre).astype(np.float32)
            written.add(Windows(areas=windows.areas, values=alike[:, None]))
