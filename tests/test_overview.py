"""Small pictures of large rasters: `geo.overview`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.warp import transform
from scene_data import UTM, at, write

from msgfm.errors import InputError
from msgfm.geo.grid import Grid
from msgfm.geo.network import Network
from msgfm.geo.overview import OverviewSource, has_grid_of, lon_lat, overview_grid

TEN = at()


def opened(place: Path) -> OverviewSource:
    return OverviewSource(str(place), Network())


def test_a_coarse_pixel_is_the_mean_of_what_it_covers(tmp_path):
    array = np.random.default_rng(0).integers(0, 4000, (2, 60, 90), np.uint16)
    with opened(write(tmp_path / "a.tif", array)) as source:
        grid = overview_grid(source.facts(), 30)
        assert (grid.height, grid.width, grid.pixel_width) == (20, 30, 30)
        seen = source.read_overview([2, 1], grid)
    expected = array[::-1].reshape(2, 20, 3, 30, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(seen, expected, atol=0.51)  # GDAL rounds to whole numbers, as the file has them


def test_a_large_file_is_read_in_parts_that_fit_together(tmp_path):
    array = np.random.default_rng(0).integers(0, 4000, (1, 2300, 2100), np.uint16)  # more than is read at once
    with opened(write(tmp_path / "a.tif", array)) as source:
        seen = source.read_overview([1], overview_grid(source.facts(), 230))
    np.testing.assert_allclose(seen[0], array[0].reshape(230, 10, 210, 10).mean(axis=(1, 3)), atol=0.51)


def test_a_small_file_is_not_enlarged_and_its_values_stand(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    with opened(write(tmp_path / "a.tif", array)) as source:
        grid = overview_grid(source.facts(), 1600)
        assert (grid.height, grid.width) == (3, 4)
        np.testing.assert_array_equal(source.read_overview([1], grid), array)


def test_of_classes_the_most_frequent_is_shown_and_never_one_between(tmp_path):
    array = np.full((1, 40, 40), 1, np.uint8)
    array[:, :, 20:] = 9
    array[:, ::4, ::4] = 5  # rare
    with opened(write(tmp_path / "a.tif", array)) as source:
        seen = source.read_overview([1], overview_grid(source.facts(), 10), classes=True)
    assert set(np.unique(seen)) == {1, 9}


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("float32", np.nan), ("float32", None)])
def test_no_data_does_not_spread(tmp_path, dtype, nodata):
    array = np.full((1, 40, 40), 7, dtype)
    array[:, :, 20:] = 0 if dtype == "uint16" else np.nan
    array[:, 1, 1] = array[0, 0, -1]  # one pixel of no data within a coarse one
    with opened(write(tmp_path / "a.tif", array, nodata=nodata)) as source:
        seen = source.read_overview([1], overview_grid(source.facts(), 10))
    assert (seen[0, :, :5] == 7).all()
    assert np.isnan(seen[0, :, 5:]).all()


def test_stored_numbers_become_values(tmp_path):
    place = write(tmp_path / "a.tif", np.full((1, 4, 4), 3000, np.uint16))
    with rasterio.open(place, "r+") as target:
        target.scales, target.offsets = [0.0001], [-0.1]
    with opened(place) as source:
        np.testing.assert_allclose(source.read_overview([1], overview_grid(source.facts(), 4)), 0.2, rtol=1e-6)


@pytest.mark.parametrize("crs", ["EPSG:32634", "EPSG:4326", "EPSG:3857"])
@pytest.mark.parametrize("longest", [400, 100])
def test_a_bright_square_stays_where_it_is_on_the_ground_in_another_crs(tmp_path, crs, longest):
    first = write(tmp_path / "first.tif", np.zeros((1, 400, 400), np.float32))
    x, y = 502_340.0, 4_998_120.0  # in the first's CRS
    (there_x,), (there_y,) = transform(UTM, crs, [x], [y])
    side = 1e-4 if crs == "EPSG:4326" else 10.0
    array = np.zeros((1, 900, 900), np.float32)
    array[:, 447:454, 447:454] = 1  # around the middle of pixel 450, 450
    there = Affine(side, 0, there_x - 450.5 * side, 0, -side, there_y + 450.5 * side)
    with opened(first) as source:
        grid = overview_grid(source.facts(), longest)
    with opened(write(tmp_path / "second.tif", array, crs=crs, transform=there)) as source:
        seen = np.nan_to_num(source.read_overview([1], grid)[0])
    rows, columns = np.mgrid[: grid.height, : grid.width] + 0.5
    centre_x = grid.left + (columns * seen).sum() / seen.sum() * grid.pixel_width
    centre_y = grid.top - (rows * seen).sum() / seen.sum() * grid.pixel_height
    assert abs(centre_x - x) < 0.3 * grid.pixel_width
    assert abs(centre_y - y) < 0.3 * grid.pixel_height


def test_beyond_the_second_file_there_is_no_data(tmp_path):
    with opened(write(tmp_path / "a.tif", np.zeros((1, 40, 40), np.uint8))) as source:
        grid = overview_grid(source.facts(), 40)
    half = write(tmp_path / "b.tif", np.ones((1, 40, 20), np.uint8), transform=TEN @ Affine.translation(20, 0))
    with opened(half) as source:
        seen = source.read_overview([1], grid)
    assert np.isnan(seen[0, :, :20]).all()
    assert (seen[0, :, 20:] == 1).all()


@pytest.mark.parametrize("crs", [UTM, "EPSG:32640"])
def test_files_of_other_places_are_refused(tmp_path, crs):
    with opened(write(tmp_path / "a.tif", np.zeros((1, 40, 40), np.uint8))) as source:
        grid = overview_grid(source.facts(), 40)
    away = write(
        tmp_path / "b.tif", np.ones((1, 40, 40), np.uint8), crs=crs, transform=TEN @ Affine.translation(4000, 0)
    )
    with opened(away) as source, pytest.raises(InputError, match=r"b\.tif shows another place"):
        source.read_overview([1], grid)


def test_a_rotated_file_is_shown_north_up(tmp_path):
    turned = TEN @ Affine.rotation(30)
    array = np.ones((1, 60, 60), np.uint8)
    with opened(write(tmp_path / "a.tif", array, transform=turned)) as source:
        grid = overview_grid(source.facts(), 100)
        seen = source.read_overview([1], grid)[0]
    assert np.isnan(seen[0, 0]) and np.isnan(seen[-1, -1])  # the corners of the box around it
    covered = np.isfinite(seen).sum() * grid.pixel_width * grid.pixel_height
    assert covered == pytest.approx(60 * 60 * 100, rel=0.05)


def test_a_file_without_coordinates_is_laid_over_the_first(tmp_path):
    with opened(write(tmp_path / "a.tif", np.zeros((1, 40, 40), np.uint8))) as source:
        grid = overview_grid(source.facts(), 40)
    array = np.arange(400, dtype=np.float32).reshape(1, 20, 20)
    with opened(write(tmp_path / "b.tif", array, crs=None)) as source:
        np.testing.assert_array_equal(source.read_overview([1], grid), array.repeat(2, 1).repeat(2, 2))


def test_longitude_and_latitude_of_known_places():
    grid = Grid(crs=UTM, left=500_000, top=5_000_000, pixel_width=10, pixel_height=10, height=100, width=100)
    (longitude,), (latitude,) = lon_lat(grid, np.array([0.0]), np.array([0.0]))
    assert longitude == pytest.approx(15)  # the zone's central meridian
    assert latitude == pytest.approx(45.153, abs=1e-3)


def test_rounding_of_coordinates_makes_no_other_grid(tmp_path):
    array = np.zeros((1, 40, 40), np.uint8)
    places = [
        write(tmp_path / f"{i}.tif", array, transform=Affine.translation(shift, 0) @ TEN)
        for i, shift in enumerate((0, 1e-6, 3))
    ]
    facts = []
    for place in places:
        with opened(place) as source:
            facts.append(source.facts())
    assert has_grid_of(facts[0], facts[1])
    assert not has_grid_of(facts[0], facts[2])
