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


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4258"])
def test_an_outline_in_degrees_has_four_corners(crs):
    grid = Grid(crs=crs, left=12.5, top=48, pixel_width=1e-4, pixel_height=2e-4, height=500, width=1000)
    outline, box = footprint(grid)
    assert np.array(outline["coordinates"][0]) == pytest.approx(
        np.array([(12.5, 48), (12.5, 47.9), (12.6, 47.9), (12.6, 48), (12.5, 48)])
    )
    assert box == pytest.approx([12.5, 47.9, 12.6, 48])


def test_an_outline_in_degrees_over_the_antimeridian_is_cut_there():
    grid = Grid(crs="EPSG:4326", left=179, top=-16, pixel_width=0.01, pixel_height=0.01, height=100, width=300)
    outline, box = footprint(grid)
    east, west = (np.array(part[0]) for part in outline["coordinates"])
    assert [east[:, 0].min(), east[:, 0].max(), west[:, 0].min(), west[:, 0].max()] == pytest.approx(
        [179, 180, -180, -178]
    )
    assert box == pytest.approx([179, -17, -178, -16])


def test_an_outline_of_more_than_half_the_globe_is_whole():
    grid = Grid(crs="EPSG:4326", left=-180, top=90, pixel_width=1, pixel_height=1, height=180, width=360)
    outline, box = footprint(grid)
    assert outline["type"] == "Polygon"
    assert box == pytest.approx([-180, -90, 180, 90])
