"""Where on Earth a grid lies, for people and for the page's script."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msgfm.geo.grid import Grid
from msgfm.geo.overview import lon_lat

NODES = 17
"""Places along each side of a scene whose longitude and latitude are told exactly; between them it is interpolated."""

_METRES_A_DEGREE = 6371008.8 * math.pi / 180  # of the mean radius (IUGG)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a grid lies.

    Args:
        nodes: 2 x NODES x NODES longitudes and latitudes, evenly from edge to edge; longitudes go on beyond 180
            where the grid does.
        pixel_width: of the grid's middle in metres.
        pixel_height: likewise.
    """

    nodes: NDArray[np.float64]
    pixel_width: float
    pixel_height: float

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the middle."""
        longitude, latitude = self.nodes[:, NODES // 2, NODES // 2].tolist()
        return within(longitude), latitude

    @property
    def corners(self) -> dict[str, tuple[float, float]]:
        """Longitude and latitude of the outer corners."""
        where = {"upper left": (0, 0), "upper right": (0, -1), "lower right": (-1, -1), "lower left": (-1, 0)}
        return {
            name: (within(float(self.nodes[0, row, column])), float(self.nodes[1, row, column]))
            for name, (row, column) in where.items()
        }


def place_of(grid: Grid) -> Place:
    """Where a grid with a CRS lies."""
    steps = np.linspace(0, 1, NODES)
    rows, columns = np.meshgrid(steps * grid.height, steps * grid.width, indexing="ij")
    nodes = lon_lat(grid, rows, columns)
    nodes[0] = np.unwrap(np.unwrap(nodes[0], period=360, axis=1), period=360, axis=0)
    middle = grid.height / 2, grid.width / 2
    around = np.array([[middle[0], middle[0], middle[0] + 1], [middle[1], middle[1] + 1, middle[1]]])
    (lon, right, below), (lat, right_lat, below_lat) = lon_lat(grid, *around)
    return Place(
        nodes=nodes,
        pixel_width=_metres(lon, lat, right, right_lat),
        pixel_height=_metres(lon, lat, below, below_lat),
    )


def _metres(longitude: float, latitude: float, other_longitude: float, other_latitude: float) -> float:
    """Between two near places on a sphere."""
    east = within(other_longitude - longitude) * math.cos(math.radians(latitude))
    return math.hypot(east, other_latitude - latitude) * _METRES_A_DEGREE


def within(longitude: float) -> float:
    """The same longitude, -180 to 180."""
    return (longitude + 180) % 360 - 180


def in_words(longitude: float, latitude: float, digits: int = 5) -> str:
    """As `12.34567° N, 1.23456° W`."""
    return (
        f"{abs(latitude):.{digits}f}° {'N' if latitude >= 0 else 'S'}, "
        f"{abs(longitude):.{digits}f}° {'E' if longitude >= 0 else 'W'}"
    )
