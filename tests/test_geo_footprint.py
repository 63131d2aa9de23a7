"""`geo/footprint.py`: outlines in degrees."""

import numpy as np
import pytest
from pyproj import Transformer

from msgfm.geo.footprint import footprint
from msgfm.geo.grid import Grid


def test_an_outline_is_that_of_the_grid_against_the_clock():
    grid = Grid(crs="EPSG:32633", left=500_000, top=5_200_000, pixel_width=10, pixel_height=20, height=500, width=1000)
    outline, box = footprint(grid)
    ring = np.array(outline["coordinates"][0])
    assert outline["type"] == "Polygon"
    assert ring[0].tolist() == ring[-1].tolist()
    back = Transformer.from_crs(4326, 32633, always_xy=True)
    x, y = back.transform(ring[:, 0], ring[:, 1])
    on_edge = np.isclose(x, 500_000, atol=0.1) | np.isclose(x, 510_000, atol=0.1)
    on_edge |= np.isclose(y, 5_200_000, atol=0.1) | np.isclose(y, 5_190_000, atol=0.1)
    assert on_edge.all()
    area = np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2
    assert area == pytest.approx(10_000 * 10_000, rel=1e-4)
    west, south = ring.min(axis=0)
    east, north = ring.max(axis=0)
    assert box == pytest.approx([west, south, east, north])


def test_an_outline_over_the_antimeridian_is_cut_there():
    # zone 60 at latitude 52: 180 degrees east lie 206 km right of the middle meridian
    grid = Grid(crs="EPSG:32660", left=700_000, top=5_800_000, pixel_width=10, pixel_height=10, height=1000, width=2000)
    outline, box = footprint(grid)
    east, west = (np.array(part[0]) for part in outline["coordinates"])
    assert outline["type"] == "MultiPolygon"
    assert east[:, 0].min() > 179
    assert east[:, 0].max() == 180
    assert west[:, 0].min() == -180
    assert west[:, 0].max() < -179
    assert box[0] == pytest.approx(east[:, 0].min())
    assert box[2] == pytest.approx(west[:, 0].max())
    assert box[0] > box[2]
