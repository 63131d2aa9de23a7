"""`geo/polygonize.py`: polygons found band by band are those of the whole, found at once."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize, shapes

from msgfm.geo.polygonize import polygonize


def bands_of(values, counts, rows):
    return [(top, values[top : top + rows], counts[top : top + rows]) for top in range(0, len(values), rows)]


def at_once(values, counts):
    found = shapes(values.astype(np.int32), mask=counts, connectivity=4)
    return sorted((int(value), shapely.normalize(shapely.geometry.shape(shape)).wkt) for shape, value in found)


def in_bands(values, counts, rows):
    return [
        (one.value, shapely.Polygon(one.rings[0], one.rings[1:]), one)
        for one in polygonize(bands_of(values, counts, rows))
    ]


def blotched(rng, height, width, classes, coarse):
    small = rng.integers(0, classes, (height // coarse + 1, width // coarse + 1))
    return small.repeat(coarse, axis=0).repeat(coarse, axis=1)[:height, :width]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    rows=st.integers(1, 24),
    classes=st.integers(1, 4),
    coarse=st.integers(1, 3),
    missing=st.sampled_from([0.0, 0.2, 0.6]),
)
def test_bands_make_no_difference(seed, height, width, rows, classes, coarse, missing):
    rng = np.random.default_rng(seed)
    values = blotched(rng, height, width, classes, coarse).astype(np.uint8)
    counts = rng.random((height, width)) >= missing
    found = in_bands(values, counts, rows)
    assert sorted((value, shapely.normalize(polygon).wkt) for value, polygon, _ in found) == at_once(values, counts)
    for value, polygon, one in found:
        assert polygon.is_valid
        assert one.pixels == polygon.area
        assert value in values
        # the outer ring goes clockwise where rows go down, holes the other way
        assert shapely.LinearRing(one.rings[0]).is_ccw
        assert not any(shapely.LinearRing(hole).is_ccw for hole in one.rings[1:])


@pytest.mark.parametrize("rows", [1, 3, 7, 64])
def test_polygons_drawn_again_are_the_map(rows):
    rng = np.random.default_rng(1)
    values = blotched(rng, 64, 90, 3, 2) + 1
    found = in_bands(values, np.ones_like(values, bool), rows)
    assert sum(one.pixels for *_, one in found) == values.size
    drawn = rasterize([(polygon, value) for value, polygon, _ in found], values.shape)
    np.testing.assert_array_equal(drawn, values)


def test_a_spiral_over_many_bands_is_one_polygon():
    values = np.zeros((41, 41), np.uint8)
    row = column = 0
    turns = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    length, way = 40, 0
    values[0, 0] = 1
    while length > 0:
        for _ in range(2 if length < 40 else 3):
            for _ in range(length):
                row, column = row + turns[way][0], column + turns[way][1]
                values[row, column] = 1
            way = (way + 1) % 4
        length -= 2
    found = in_bands(values, values == 1, 4)
    assert len(found) == 1
    assert found[0][2].pixels == values.sum()


def test_a_polygon_comes_as_soon_as_it_ends():
    values = np.zeros((100, 10), np.uint8)
    values[0:3, 0:3] = 1
    read = []

    def bands():
        for band in bands_of(values, values == 1, 10):
            read.append(band[0])
            yield band

    next(polygonize(bands()))
    assert read == [0]
