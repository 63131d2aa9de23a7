"""No result replaces what it is made of, by whatever name that goes, and whatever `--overwrite` says."""

from __future__ import annotations

import json
import os

import pytest
import rasterio.shutil
from scene_commands import invoke, refused
from scene_data import backscatter, reflectance, write
from small_downstream import make, pretrained

from msgfm.files import require_none_read
from msgfm.models.pretrained import save_pretrained
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").band_names


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_pretrained(make("segmentation", ["sentinel1"]), folder / "water")
    save_pretrained(pretrained("sentinel1", "sentinel2"), folder / "pretrained")
    return folder


@pytest.fixture
def radar(tmp_path):
    return write(tmp_path / "s1.tif", backscatter(40, 40), names=["VV", "VH"])


def stays(folder, *command):
    """What a command says that is refused; every file remains what it was."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    told = refused(*command, "--overwrite")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return told


def predict(models, source, out, *more):
    return ["predict", models / "water", "--sentinel1", source, "--window", 32, "--out", out, *more]


def test_the_image_itself_or_under_another_name(models, radar, tmp_path):
    assert "one of the inputs" in stays(tmp_path, *predict(models, radar, radar))
    os.link(radar, tmp_path / "hard.tif")
    assert "one of the inputs" in stays(tmp_path, *predict(models, radar, tmp_path / "hard.tif"))
    (tmp_path / "soft.tif").symlink_to("s1.tif")
    assert "one of the inputs" in stays(tmp_path, *predict(models, tmp_path / "soft.tif", radar))
    rasterio.shutil.copy(radar, tmp_path / "virtual.vrt", driver="VRT")
    assert "one of the inputs" in stays(tmp_path, *predict(models, tmp_path / "virtual.vrt", radar))


@pytest.mark.parametrize("name", ["water.json", "water_entropy.tif", "shapes.gpkg"])
def test_what_lies_beside_the_result(models, radar, tmp_path, name):
    out, used = tmp_path / "water.tif", tmp_path / name
    more = ["--entropy", "--polygons", tmp_path / "shapes.gpkg"]
    if name == "water.json":
        assets = {band: {"href": f"{band}.tif", "raster:bands": [{"unit": "dB"}]} for band in ("vv", "vh")}
        for band, array in zip(assets, backscatter(40, 40), strict=True):
            write(tmp_path / f"{band}.tif", array[None])
        used.write_text(json.dumps({"type": "Feature", "assets": assets, "properties": {}, "links": []}))
    elif name.endswith(".gpkg"):
        pixels = reflectance(40, 40, count=3).astype("uint8")
        write(used, pixels, driver="GPKG")
        more += ["--like", used]
    else:
        radar.rename(used)
    source = used if not name.endswith(".gpkg") else radar
    assert "one of the inputs" in stays(tmp_path, *predict(models, source, out, *more))


def test_of_other_commands(models, radar, tmp_path):
    how = ["--window", 32, "--out", radar]
    assert "one of the inputs" in stays(
        tmp_path, "translate", models / "pretrained", radar, "--from", "sentinel1", "--to", "sentinel2", *how
    )
    assert "one of the inputs" in stays(
        tmp_path, "embed", models / "pretrained", "--sentinel1", radar, "--per-pixel", "--stage", 1, *how
    )
    page = radar.rename(tmp_path / "s1.html")
    before = page.read_bytes()
    assert "one of the inputs" in refused("preview", page, "--out", page)
    assert page.read_bytes() == before


def test_long_addresses_are_no_files(radar):
    require_none_read([radar], [f"https://example.org/{'x' * 300}"])


def test_another_result_is_replaced_when_that_is_wanted(models, radar, tmp_path):
    out = tmp_path / "water.tif"
    invoke(*predict(models, radar, out))
    invoke(*predict(models, radar, out, "--overwrite"))
