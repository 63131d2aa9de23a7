"""Where on the earth a grid lies, as GeoJSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from rasterio.crs import CRS

from msgfm.geo.grid import Grid
from msgfm.geo.overview import lon_lat

_POINTS = 9  # along each edge where there is a projection, since what is straight in it is not so in degrees
_DIGITS = 7  # of degrees: about a centimetre
Point = tuple[float, float]


def footprint(grid: Grid) -> tuple[dict[str, Any], list[float]]:
    """The outline of a grid in degrees, and its box: west, south, east, north.

    Where it crosses the antimeridian the outline is cut there, and west is larger than east (RFC 7946).

    Args:
        grid: with a CRS.
    """
    geographic = CRS.from_user_input(grid.crs).is_geographic
    points = 2 if geographic else _POINTS
    down, across = np.linspace(0, grid.height, points), np.linspace(0, grid.width, points)
    none, rows, columns = np.zeros(points), np.full(points, grid.height), np.full(points, grid.width)
    # against the clock: down the left side, along the bottom, up, and back
    sides = [(down, none), (rows, across), (down[::-1], columns), (none, across[::-1])]
    longitudes, latitudes = lon_lat(
        grid, np.concatenate([row[:-1] for row, _ in sides]), np.concatenate([column[:-1] for _, column in sides])
    )
    south, north = float(latitudes.min()), float(latitudes.max())
    left, _, right, _ = grid.bounds
    wide = geographic and left >= -180 and right <= 180  # half the globe and more, and not over its seam
    if longitudes.min() >= -180 and longitudes.max() <= 180 and (wide or np.ptp(longitudes) <= 180):
        west, east = float(longitudes.min()), float(longitudes.max())
        ring = list(zip(longitudes.tolist(), latitudes.tolist(), strict=True))
        return {"type": "Polygon", "coordinates": [_closed(ring, 0)]}, _rounded([west, south, east, north])
    longitudes = np.where(longitudes < 0, longitudes + 360, longitudes)
    ring = list(zip(longitudes.tolist(), latitudes.tolist(), strict=True))
    parts = [_closed(_clipped(ring, keep_west=True), 0), _closed(_clipped(ring, keep_west=False), -360)]
    box = [float(longitudes.min()), south, float(longitudes.max()) - 360, north]
    return {"type": "MultiPolygon", "coordinates": [[part] for part in parts]}, _rounded(box)


def _clipped(ring: list[Point], *, keep_west: bool) -> list[Point]:
    """The part of an outline on one side of the antimeridian."""
    kept: list[Point] = []
    for (x, y), (next_x, next_y) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if (x <= 180) == keep_west:
            kept.append((x, y))
        if (x <= 180) != (next_x <= 180):
            kept.append((180.0, y + (next_y - y) * (180 - x) / (next_x - x)))
    return kept


def _closed(ring: list[Point], shift: float) -> list[list[float]]:
    return [_rounded([x + shift, y]) for x, y in [*ring, ring[0]]]


def _rounded(numbers: list[float]) -> list[float]:
    return [round(number, _DIGITS) for number in numbers]
