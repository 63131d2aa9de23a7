"""`geo/spec.py`: physical values as a file stores them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgfm.errors import InputError
from msgfm.geo.grid import Grid
from msgfm.geo.spec import RasterClass, RasterSpec, StoredBand

GRID = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, height=1, width=1)


def spec(dtype, nodata, *scaled, **changes):
    bands = tuple(StoredBand(name=f"b{i}", scale=scale, offset=offset) for i, (scale, offset) in enumerate(scaled))
    return RasterSpec(grid=GRID, dtype=dtype, bands=bands, nodata=nodata, **changes)


def row(*values):
    return np.array([[values]], np.float32)


def test_reflectance_of_a_new_baseline_is_stored_as_esa_stores_it():
    stored = spec("uint16", 0, (1e-4, -1000)).encode(row(0.0, 0.25, -0.05, math.nan))
    assert stored.dtype == np.uint16
    assert stored.tolist() == [[[1000, 3500, 500, 0]]]


def test_each_band_has_its_own_scale():
    stored = spec("int16", -32768, (1e-4, 0), (0.01, 20000)).encode(np.array([[[0.5]], [[300.0]]], np.float32))
    assert stored.ravel().tolist() == [5000, 10000]


def test_values_beyond_the_type_are_clipped():
    assert spec("uint8", None, (1, 0)).encode(row(-5, 300, math.inf, -math.inf)).ravel().tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize(
    ("nodata", "values", "stored"),
    [
        (0, (0.2, -3.0, 0.0), [1, 1, 1]),
        (255, (254.8, 300.0, 255.0), [254, 254, 254]),
        (100, (99.8, 100.2, 100.0), [99, 101, 101]),
    ],
)
def test_a_value_never_becomes_the_no_data_number(nodata, values, stored):
    assert spec("uint8", nodata, (1, 0)).encode(row(*values)).ravel().tolist() == stored


def test_no_data_without_a_number_for_it_is_refused():
    with pytest.raises(InputError, match=r"band b0: 1 pixels have no data, and uint16 has no number"):
        spec("uint16", None, (1, 0)).encode(row(1, math.nan))


def test_floating_point_keeps_nan():
    stored = spec("float32", math.nan, (0.1, 0)).encode(row(math.nan, 1.0))
    assert np.isnan(stored[0, 0, 0])
    assert stored[0, 0, 1] == pytest.approx(10)


@given(
    dtype=st.sampled_from(["uint8", "int8", "uint16", "int16", "int32"]),
    scale=st.sampled_from([1e-4, 0.01, 1.0, 3.0]),
    offset=st.sampled_from([-1000.0, 0.0, 0.5, 20.0]),
    seed=st.integers(0, 1000),
)
def test_what_was_stored_is_stored_alike_again(dtype, scale, offset, seed):
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    nodata = int(rng.integers(limits.min, limits.max, endpoint=True))
    # 2**20: beyond, float32 has no room for every integer
    stored = rng.integers(max(limits.min, -(2**20)), min(limits.max, 2**20), (1, 1, 50), endpoint=True).astype(dtype)
    physical = ((stored.astype(np.float64) + offset) * scale).astype(np.float32)
    physical[stored == nodata] = np.nan
    np.testing.assert_array_equal(spec(dtype, nodata, (scale, offset)).encode(physical), stored)


def test_what_a_type_cannot_hold_is_refused():
    with pytest.raises(InputError, match=r"no data is -9999, which uint16 cannot hold"):
        spec("uint16", -9999, (1, 0))
    with pytest.raises(InputError, match=r"class water is 255, which uint8 cannot hold or means no data"):
        spec("uint8", 255, (1, 0), classes=(RasterClass(value=255, name="water", colour=(0, 0, 0)),))
