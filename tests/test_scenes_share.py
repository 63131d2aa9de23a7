"""Inputs that overlap by their corners while their data lie apart, as swaths do."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from scene_commands import invoke, read, refused
from scene_data import LEFT, TOP, UTM, backscatter, reflectance, write
from small_downstream import make, pretrained

from msgfm.geo.grid import Grid
from msgfm.geo.spec import RasterClass, RasterSpec, StoredBand
from msgfm.models.pretrained import save_pretrained
from msgfm.scenes.parts import parts_beside
from msgfm.scenes.share import share_with_data
from msgfm.scenes.windows_table import read_windows
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").band_names
SIDE = 160


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_pretrained(make("segmentation", ["sentinel1", "sentinel2"]), folder / "water")
    save_pretrained(pretrained("sentinel1", "sentinel2"), folder / "pretrained")
    return folder


def scene(folder, shared):
    """Sentinel-1 has data left of a column, Sentinel-2 from so many columns left of it on."""
    optical, radar = reflectance(SIDE, SIDE, count=13), backscatter(SIDE, SIDE)
    radar[:, :, 80:] = np.nan
    optical[:, :, : 80 - shared] = 0
    write(folder / "s1.tif", radar, names=["VV", "VH"])
    write(folder / "s2.tif", optical, names=S2, nodata=0)
    return ["--sentinel1", folder / "s1.tif", "--sentinel2", folder / "s2.tif", "--window", 32]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_result_without_any_data_is_refused_and_leaves_nothing(models, tmp_path, workers):
    given, out = scene(tmp_path, 0), tmp_path / "water.tif"
    told = refused("predict", models / "water", *given, "--out", out, "--workers", workers)
    assert "none of the pixels has data in all of sentinel1, sentinel2; --fill-nodata predicts where any" in told
    assert not out.exists() and not parts_beside(out).exists()
    if workers == 1:
        assert "warning:" not in invoke("predict", models / "water", *given, "--out", out, "--fill-nodata")
        assert (read(out) != 255).all()


def test_a_table_without_any_window_is_refused(models, tmp_path):
    given, out = scene(tmp_path, 0), tmp_path / "features.parquet"
    told = refused("embed", models / "pretrained", *given, "--out", out)
    assert "none of the windows has data in all of sentinel1, sentinel2; --fill-nodata" in told
    assert not out.exists() and not parts_beside(out).exists()
    invoke("embed", models / "pretrained", *given, "--out", out, "--fill-nodata")
    assert sum(len(windows.areas) for windows in read_windows(out)) == 25


@pytest.mark.parametrize(("shared", "told"), [(8, True), (32, False)])
def test_inputs_with_little_in_common_are_told(models, tmp_path, shared, told):
    said = invoke("predict", models / "water", *scene(tmp_path, shared), "--out", tmp_path / "water.tif")
    assert (read(tmp_path / "water.tif") != 255).sum() == SIDE * shared
    warned = [line for line in said.splitlines() if line.startswith("warning:") and "have data" in line]
    assert len(warned) == told
    if told:
        assert "only 5.0% of the pixels have data in all of sentinel1, sentinel2" in warned[0]


@pytest.mark.parametrize("marked", [1, 0])
def test_one_pixel_of_a_large_scene_counts(tmp_path, marked):
    classes = np.full((1, 1500, 1500), 255, np.uint8)
    classes[0, 777, 1234] = 1 if marked else 255
    raster = write(tmp_path / "classes.tif", classes, nodata=255)
    grid = Grid(crs=UTM, left=LEFT, top=TOP, pixel_width=10, pixel_height=10, height=1500, width=1500)
    named = (RasterClass(value=1, name="water", colour=(0, 0, 1)),)
    spec = RasterSpec(grid=grid, dtype="uint8", bands=(StoredBand(name="class"),), nodata=255, classes=named)
    with rasterio.open(raster, "r+") as file:
        file.build_overviews([2, 4], Resampling.nearest)
        assert not (file.read(out_shape=(1, 375, 375)) != 255).any(), "the overview lost it"
    assert share_with_data(raster, spec) == marked / 1500**2
