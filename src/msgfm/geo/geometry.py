"""Polygons as GIS files hold them: well-known binary (WKB), and what they say of their coordinate system."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS

from msgfm.geo.grid import Grid

Ring = NDArray[np.float64]
"""(n, 2) x and y, the last point the first again."""

_POLYGON = 3
_AUTHALIC_RADIUS_M = 6_371_007.2  # of the sphere with the earth's area
# little endian, polygon, one ring of five points
_RECTANGLE = np.dtype([("head", "V13"), ("points", "<f8", (5, 2))])
_RECTANGLE_HEAD = struct.pack("<BIII", 1, _POLYGON, 1, 5)


def wkb_of(rings: Sequence[Ring]) -> bytes:
    """A polygon's well-known binary: the outer ring first."""
    parts = [struct.pack("<BII", 1, _POLYGON, len(rings))]
    for ring in rings:
        parts += [struct.pack("<I", len(ring)), ring.astype("<f8").tobytes()]
    return b"".join(parts)


def wkb_of_quadrangles(corners: NDArray[np.float64]) -> list[bytes]:
    """The same of many quadrangles at once, from (N, 4, 2) corners against the clock."""
    packed = np.empty(len(corners), _RECTANGLE)
    packed["head"] = np.void(_RECTANGLE_HEAD)
    packed["points"][:, :4], packed["points"][:, 4] = corners, corners[:, 0]
    content = packed.tobytes()
    return [content[at : at + _RECTANGLE.itemsize] for at in range(0, len(content), _RECTANGLE.itemsize)]


def quadrangles_of_wkb(content: bytes) -> NDArray[np.float64]:
    """The corners (N, 4, 2) back, from what `wkb_of_quadrangles` made, joined."""
    corners: NDArray[np.float64] = np.frombuffer(content, _RECTANGLE)["points"][:, :4]
    return corners


def place(grid: Grid, ring: NDArray[np.int64]) -> Ring:
    """Map coordinates of corners of pixels (n, 2), column and row; without a CRS the row counts downwards from 0."""
    width, height = (grid.pixel_width, grid.pixel_height) if grid.crs else (1.0, 1.0)
    left, top = (grid.left, grid.top) if grid.crs else (0.0, 0.0)
    placed: Ring = ring * np.array((width, -height)) + np.array((left, top))
    return placed


def area_m2(grid: Grid, rings: Sequence[NDArray[np.int64]], pixels: int) -> float:
    """The area of a polygon along a grid's pixels, in square metres; of degrees on a sphere of the earth's area.

    Args:
        grid: with a CRS.
        rings: columns and rows of corners, holes against the direction of the outer one.
        pixels: that it is made of.
    """
    geographic, unit = _units(grid.crs)
    if not geographic:
        return pixels * grid.pixel_width * grid.pixel_height * unit
    twice = 0.0
    for ring in rings:
        # Lambert's cylindrical projection keeps areas, and parallels and meridians are straight in it
        x, y = np.radians(place(grid, ring).T)
        twice += twice_area(x - x[0], np.sin(y) - np.sin(y[0]))
    return abs(twice) / 2 * unit


@lru_cache
def _units(name: str) -> tuple[bool, float]:
    """Whether a CRS has degrees, and how many square metres a unit of area is (on the unit sphere for degrees)."""
    crs = CRS.from_user_input(name)
    return crs.is_geographic, _AUTHALIC_RADIUS_M**2 if crs.is_geographic else float(crs.linear_units_factor[1]) ** 2


def twice_area(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Of a closed ring; above 0 against the clock where y points up."""
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1])


def projjson_of(crs: str) -> dict[str, Any] | None:
    """What GeoParquet says of a CRS; None where there is none."""
    if not crs:
        return None
    told: dict[str, Any] = CRS.from_user_input(crs).to_dict(projjson=True)
    return told
