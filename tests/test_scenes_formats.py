"""Every kind of raster that commands on scenes write is what rio-cogeo and gdalinfo call a sound one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate
from scene_commands import invoke
from scene_data import LEFT, TOP, backscatter, reflectance, write
from small_downstream import make, pretrained

from msgfm.models.pretrained import save_pretrained
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").band_names
HEIGHT, WIDTH = 300, 530  # enough for overviews

KINDS = {
    "segmentation": (["predict", "water", "--probabilities", "--entropy"], ["", "_probabilities", "_entropy"]),
    "restoration": (["predict", "clouds", "--uncertainty", "--synthesised"], ["", "_uncertainty", "_synthesised"]),
    "translation": (["translate", "pretrained", "--from", "sentinel1", "--to", "sentinel2"], [""]),
    "features": (["embed", "pretrained", "--per-pixel", "--stage", "2"], [""]),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, list[Path]]:
    """By kind, the rasters of one scene."""
    folder = tmp_path_factory.mktemp("kinds")
    for name, model in {
        "water": make("segmentation", ["sentinel1", "sentinel2"]),
        "clouds": make("restoration"),
        "pretrained": pretrained("sentinel1", "sentinel2"),
    }.items():
        save_pretrained(model, folder / name)
    optical = reflectance(HEIGHT, WIDTH, count=13)
    optical[:, :40, :60] = 0
    radar = write(folder / "s1.tif", backscatter(HEIGHT, WIDTH), names=["VV", "VH"])
    stored = write(folder / "s2.tif", optical, names=S2, nodata=0)
    found = {}
    for kind, ((command, model, *options), layers) in KINDS.items():
        out = folder / f"{kind}.tif"
        given: list[object] = ["--sentinel1", radar]
        if kind == "translation":
            given = [radar]
        elif kind != "features":
            given += ["--sentinel2@cloudy" if kind == "restoration" else "--sentinel2", stored]
        invoke(command, folder / model, *given, *options, "--window", 128, "--overlap", 16, "--out", out)
        found[kind] = [out.with_name(f"{kind}{layer}.tif") for layer in layers]
    return found


@pytest.mark.parametrize("kind", list(KINDS))
def test_rio_cogeo_takes_it_without_a_warning(written, kind):
    for path in written[kind]:
        valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
        assert valid, (path.name, errors, warnings)
        assert not warnings, (path.name, warnings)


def gdalinfo(path: Path) -> dict[str, Any]:
    """What the program says of a file, of which it looks at every pixel."""
    done = subprocess.run(
        ["gdalinfo", "-json", "-checksum", "-stats", "--config", "GDAL_PAM_ENABLED", "NO", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not done.stderr.strip(), done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="no gdalinfo here (Debian: gdal-bin)")
@pytest.mark.parametrize("kind", list(KINDS))
def test_gdalinfo_reads_all_of_it_and_finds_what_rasterio_finds(written, kind):
    for path in written[kind]:
        told = gdalinfo(path)
        step = 8 if kind == "features" else 1
        assert told["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
        assert told["geoTransform"] == [LEFT, 10.0 * step, 0.0, TOP, 0.0, -10.0 * step]
        assert told["stac"]["proj:epsg"] == 32633
        with rasterio.open(path) as source:
            assert told["size"] == [source.width, source.height]
            assert [band.get("description") for band in told["bands"]] == list(source.descriptions)
            numbers = source.read(1, masked=True)
        first = told["bands"][0]
        exact = {key: float(text) for key, text in first["metadata"][""].items() if key.startswith("STATISTICS_M")}
        known = numbers.compressed()[np.isfinite(numbers.compressed())]
        assert exact["STATISTICS_MINIMUM"] == pytest.approx(float(known.min()), rel=1e-5)
        assert exact["STATISTICS_MAXIMUM"] == pytest.approx(float(known.max()), rel=1e-5)
        assert all("checksum" in band for band in told["bands"])
        if min(told["size"]) > 256:
            assert first["overviews"]
