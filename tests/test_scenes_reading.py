"""Scenes: windows of files on one grid, in physical units."""

from __future__ import annotations

import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from scene_data import LEFT, TOP, UTM, at, backscatter, reflectance, write

from msgfm.data.reader import read_sensor_image, resample
from msgfm.data.records import RasterFile, SensorImage
from msgfm.errors import InputError
from msgfm.geo.grid import Grid
from msgfm.scenes.inputs import reading
from msgfm.scenes.inputs.files import make_request
from msgfm.scenes.inputs.scene import _LEAST_CACHE, _MOST_CACHE, Scene, cache_bytes, open_scene
from msgfm.sensors import Sensor, load_sensor

S1, S2 = load_sensor("sentinel1"), load_sensor("sentinel2")
THREE = S2.select(["B04", "B03", "B08"])


def read_all(scene: Scene) -> dict[str, np.ndarray]:
    return scene.read(0, 0, scene.grid.height, scene.grid.width)


def like(path: Path, grid: Grid) -> Path:
    """A raster of this grid."""
    empty = np.zeros((1, grid.height, grid.width), np.uint8)
    return write(path, empty, crs=grid.crs, transform=grid.transform)


def test_a_file_on_the_grid_is_read_bit_for_bit_as_data_sets_are(tmp_path):
    stored = reflectance(70, 90, count=3)
    stored[:, :9, :20] = 0  # the card's no data
    stored[1, 30, 40] = 65535  # the file's own
    path = write(tmp_path / "s2.tif", stored, names=["B08", "B04", "B03"], nodata=65535)
    file = RasterFile(path=path.name, bands=("B08", "B04", "B03"), file_bands=(1, 2, 3))
    image = SensorImage(sensor="sentinel2", height=70, width=90, files=(file,))
    expected = read_sensor_image(tmp_path, image, S2)[list(S2.indices_of(THREE.band_names))]
    with open_scene(make_request({"sentinel2": THREE}, {"sentinel2": [str(path)]})) as scene:
        found = read_all(scene)["sentinel2"]
    assert found.dtype == np.float32
    assert np.array_equal(found, expected, equal_nan=True)
    assert np.isnan(found[:, :9, :20]).all() and np.isnan(found).sum() == 3 * 180 + 1


@pytest.mark.real_data
def test_a_real_image_is_read_as_data_sets_are(real_data):
    path = next((real_data / "SEN12MS-CR").glob("ROIs1970_fall_s2_cloudy/*/*.tif"))
    file = RasterFile(path=str(path), bands=S2.band_names, file_bands=tuple(range(1, 14)))
    image = SensorImage(sensor="sentinel2", height=256, width=256, files=(file,))
    request = make_request({"sentinel2": S2}, {"sentinel2": [str(path)]}, {"sentinel2": S2.band_names})
    with open_scene(request) as scene:
        assert np.array_equal(read_all(scene)["sentinel2"], read_sensor_image(Path("/"), image, S2), equal_nan=True)


def scene_of_several_grids(folder: Path) -> Scene:
    """Sentinel-2 at 10 and 20 m; radar in the next zone, covering most of it."""
    fine = write(folder / "fine.tif", reflectance(300, 500, count=2), names=["B04", "B03"])
    nir = reflectance(151, 251, seed=3)
    nir[0, 20:40, 20:60] = 0
    coarse = write(folder / "coarse.tif", nir, names=["B08"], transform=at(20, top=TOP + 7))
    left, _, _, top = transform_bounds(UTM, "EPSG:32632", LEFT, TOP - 3000, LEFT + 5000, TOP)
    radar = write(
        folder / "vv_vh.tif",
        backscatter(400, 480),
        names=["VV", "VH"],
        crs="EPSG:32632",
        transform=at(left=left, top=top),
    )
    given = {"sentinel1": [str(radar)], "sentinel2": [str(fine), str(coarse)]}
    return open_scene(make_request({"sentinel1": S1, "sentinel2": THREE}, given, first="sentinel2"))


def test_what_a_window_holds_does_not_depend_on_the_window(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_PIECE", (32, 128))
    draw = np.random.default_rng(0)
    with scene_of_several_grids(tmp_path) as scene:
        whole = read_all(scene)
        assert 0.01 < np.isnan(whole["sentinel1"]).mean() < 0.5
        for _ in range(25):
            row, column = draw.integers(-20, 300), draw.integers(-20, 500)
            height, width = draw.integers(1, 80, 2)
            part = scene.read(row, column, height, width)
            for key, image in whole.items():
                inside = np.full((image.shape[0], 500, 700), np.nan, np.float32)
                inside[:, 100:400, 100:600] = image
                expected = inside[:, row + 100 : row + 100 + height, column + 100 : column + 100 + width]
                assert np.array_equal(part[key], expected, equal_nan=True), (key, row, column, height, width)


@pytest.mark.parametrize("times", [3, 30, 300])
def test_of_a_coarse_grid_a_bounded_part_of_the_file_is_read_at_once(tmp_path, monkeypatch, times):
    height, width = 1300, 2500
    radar = write(tmp_path / "s1.tif", backscatter(height, width), names=["VV", "VH"], block=256)
    grid = Grid(
        crs=UTM,
        left=LEFT - 40,
        top=TOP + 70,
        pixel_width=10 * times,
        pixel_height=10 * times,
        height=height // times + 2,
        width=width // times + 2,
    )
    request = make_request({"sentinel1": S1}, {"sentinel1": [str(radar)]}, like=like(tmp_path / "like.tif", grid))
    sizes = []

    def read(source, file_bands, bands, window):
        sizes.append(window[2:])
        return of_file(source, file_bands, bands, window)

    of_file = reading.read_physical
    monkeypatch.setattr(reading, "read_physical", read)
    found = {}
    for limit in (2**16, 2**40):
        monkeypatch.setattr(reading, "_FILE_ROWS", math.isqrt(limit))
        monkeypatch.setattr(reading, "_FILE_PX", limit)
        sizes.clear()
        with open_scene(request) as scene:
            found[limit] = read_all(scene)["sentinel1"]
            halves = [scene.read(row, 0, scene.grid.height // 2 + 1, scene.grid.width)["sentinel1"] for row in (0, 1)]
            assert all(
                np.array_equal(half, found[limit][:, row : row + half.shape[1]], equal_nan=True)
                for row, half in enumerate(halves)
            )
        side = max(256, times)  # of the part that is a piece's own; beside it lies the kernel's margin
        assert (max(h * w for h, w in sizes) <= (side + 2 * times + 6) ** 2) == (limit == 2**16)
    np.testing.assert_allclose(*found.values(), atol=1e-3)


def test_another_grid_is_read_as_gdal_warps_it(tmp_path):
    with scene_of_several_grids(tmp_path) as scene:
        found, grid = read_all(scene), scene.grid
    on_grid = {"crs": grid.crs, "transform": grid.transform, "height": grid.height, "width": grid.width}
    how = {
        "resampling": Resampling.bilinear,
        "dtype": "float32",
        "tolerance": 0.001,
        "INIT_DEST": "NO_DATA",
        "XSCALE": 1,
        "YSCALE": 1,
    }
    with (
        rasterio.open(tmp_path / "coarse.tif") as source,
        WarpedVRT(source, **on_grid, **how, src_nodata=0, nodata=math.nan) as warped,
    ):
        nir = warped.read(1) * np.float32(1e-4)
    np.testing.assert_allclose(found["sentinel2"][2], nir, atol=2e-7)
    power = np.power(10, backscatter(400, 480).astype(np.float64) / 10).astype(np.float32)
    with rasterio.open(tmp_path / "vv_vh.tif") as source:
        where = source.transform
    write(tmp_path / "power.tif", power, crs="EPSG:32632", transform=where)
    with (
        rasterio.open(tmp_path / "power.tif") as source,
        WarpedVRT(source, **on_grid, **how, src_nodata=math.nan, nodata=math.nan) as warped,
    ):
        decibel = 10 * np.log10(warped.read())
    both = np.isfinite(decibel) & np.isfinite(found["sentinel1"])
    assert both.sum() > 0.999 * np.isfinite(decibel).sum()
    np.testing.assert_allclose(found["sentinel1"][both], decibel[both], atol=0.01)


def test_a_coarser_grid_averages_as_data_sets_do(tmp_path):
    path = write(tmp_path / "s2.tif", reflectance(240, 180), names=["B04"])
    coarse = Grid(crs=UTM, left=LEFT, top=TOP, pixel_width=30, pixel_height=30, height=80, width=60)
    request = make_request(
        {"sentinel2": S2.select(["B04"])}, {"sentinel2": [str(path)]}, like=like(tmp_path / "l.tif", coarse)
    )
    with open_scene(request) as scene:
        assert scene.grid == coarse
        expected = resample(reflectance(240, 180).astype(np.float32), (80, 60)) * 1e-4
        np.testing.assert_allclose(read_all(scene)["sentinel2"], expected, atol=1e-6)


def test_pieces_beyond_a_file_have_no_data_and_holes_stay_in_their_band(tmp_path):
    stored = reflectance(60, 60, count=2)
    stored[0, 20:30, 20:30] = 0
    path = write(tmp_path / "two.tif", stored, names=["B04", "B03"], transform=at(left=LEFT + 103, top=TOP - 98))
    grid = Grid(crs=UTM, left=LEFT, top=TOP, pixel_width=10, pixel_height=10, height=90, width=90)
    request = make_request(
        {"sentinel2": S2.select(["B04", "B03"])}, {"sentinel2": [str(path)]}, like=like(tmp_path / "l.tif", grid)
    )
    with open_scene(request) as scene:
        red, green = read_all(scene)["sentinel2"]
    assert np.isnan(red[:9]).all() and np.isnan(red[:, :9]).all() and np.isnan(green[72:]).all()
    assert np.isnan(red[32:38, 32:38]).all() and np.isfinite(green[12:68, 12:68]).all()
    assert np.nanmin(red) >= 0.05  # no zero was mixed in


def test_linear_power_becomes_decibel(tmp_path):
    decibel = backscatter(50, 60)
    path = write(tmp_path / "rtc.tif", np.power(10, decibel / 10), names=["VV", "VH"])
    request = make_request({"sentinel1": S1}, {"sentinel1": [str(path)]}, power="linear")
    assert request.images[0].power
    with open_scene(request) as scene:
        np.testing.assert_allclose(read_all(scene)["sentinel1"], decibel, atol=1e-4)


def test_a_request_travels_and_says_whether_its_files_changed(tmp_path):
    with scene_of_several_grids(tmp_path) as scene:
        request, before = scene.request, scene.digest
        whole = read_all(scene)
    again = pickle.loads(pickle.dumps(request))
    assert again == request
    assert json.loads(json.dumps(request.describe())) == again.describe()
    with open_scene(again) as scene:
        assert scene.digest == before
        assert all(np.array_equal(image, whole[key], equal_nan=True) for key, image in read_all(scene).items())
    path = tmp_path / "fine.tif"
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    assert request.digest() != before


def test_an_unreadable_block_is_named(tmp_path):
    path = write(tmp_path / "s2.tif", reflectance(1024, 512), names=["B04"], block=256, compress="deflate")
    with rasterio.open(path) as source:
        assert source.block_shapes == [(256, 256)]
    request = make_request({"sentinel2": S2.select(["B04"])}, {"sentinel2": [str(path)]})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(InputError, match=r"s2\.tif") as error, open_scene(request) as scene:
        scene.read(0, 0, 64, 64)
        scene.read(960, 0, 64, 512)
    assert "cannot read" in str(error.value)


def test_what_gdal_keeps_is_a_row_of_blocks_within_limits(tmp_path):
    class Header:
        count, dtype = 13, "uint16"
        height = 10980

        def __init__(self, width: int, block: tuple[int, int]) -> None:
            self.width, self.block = width, block

    assert cache_bytes([Header(256, (256, 256))]) == _LEAST_CACHE
    assert cache_bytes([Header(40960, (512, 512))]) == cache_bytes([Header(10980, (512, 512))]) < _MOST_CACHE
    assert cache_bytes([Header(4096, (512, 512))]) > 4096 * 512 * 13 * 2
    assert cache_bytes([Header(10980, (4096, 4096))]) == _MOST_CACHE


def test_cards_of_one_band_and_selection_keep_their_order(tmp_path):
    path = write(tmp_path / "s2.tif", reflectance(20, 20, count=3), names=["B03", "B04", "B08"])
    card: Sensor = S2.select(["B08", "B03"])
    with open_scene(make_request({"sentinel2@cloudy": card}, {"sentinel2": [str(path)]})) as scene:
        assert scene.keys == ("sentinel2@cloudy",)
        expected = reflectance(20, 20, count=3)[[2, 0]] * np.float32(1e-4)
        assert np.array_equal(scene.read(0, 0, 20, 20)["sentinel2@cloudy"], expected)
        assert [band.dtype for band in scene.request.images[0].storage] == ["uint16", "uint16"]
        assert scene.request.images[0].storage[0].nodata == 0
