"""`msgfm embed --per-pixel`: a raster of features, whatever the windows, where the tokens lie."""

from __future__ import annotations

import json

import numpy as np
import pystac
import pytest
import rasterio
import torch
from pystac.validation.local_validator import LocalValidator
from rio_cogeo.cogeo import cog_validate
from scene_commands import invoke, read, refused
from scene_data import at, backscatter, reflectance, write
from small_downstream import describe, make, pretrained
from stac_model.schema import MLModelProperties
from torch import nn

from msgfm.geo.grid import Grid
from msgfm.geo.tiling import Area, Tiling
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import load_downstream, load_msgfm, save_pretrained
from msgfm.scenes.encoding import Stage
from msgfm.scenes.engine import sweep
from msgfm.scenes.features import FeatureMap, fold, unfold
from msgfm.sensors import load_sensor

pytestmark = pytest.mark.filterwarnings("ignore:``LocalValidator``:DeprecationWarning")

S2 = load_sensor("sentinel2").band_names


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = {
        "pretrained": pretrained("sentinel1", "sentinel2"),
        "water": make("segmentation", ["sentinel1", "sentinel2"]),
        "copy": DownstreamModel(
            describe("restoration", ["sentinel2@cloudy"], backbone={"kind": "rule", "rule": "copy"})
        ),
    }
    for name, model in made.items():
        save_pretrained(model, folder / name)
    return {name: folder / name for name in made}


@pytest.fixture
def scene(tmp_path):
    """70 x 90 pixels, neither of which is a multiple of a token of 8; a corner of Sentinel-2 has no data."""
    radar, optical = backscatter(70, 90), reflectance(70, 90, count=13)
    optical[:, :20, :30] = 0
    write(tmp_path / "s1.tif", radar, names=["VV", "VH"])
    write(tmp_path / "s2.tif", optical, names=S2, nodata=0)
    physical = optical.astype(np.float32) * np.float32(1e-4)
    physical[:, optical[0] == 0] = np.nan
    return {"sentinel1": torch.from_numpy(radar)[None], "sentinel2": torch.from_numpy(physical)[None]}


def given(folder):
    return ["--sentinel1", folder / "s1.tif", "--sentinel2", folder / "s2.tif"]


def test_blocks_become_channels_and_back():
    image = np.random.default_rng(0).normal(size=(2, 3, 8, 12)).astype(np.float32)
    blocks = np.stack([fold(one, 4) for one in image])
    assert blocks.shape == (2, 3 * 16, 2, 3)
    assert (unfold(blocks, 4) == image).all()
    assert sorted(blocks[1, :16, 1, 2]) == sorted(image[1, 0, 4:8, 8:12].ravel())


@pytest.mark.parametrize(("window", "overlap", "batch"), [(16, 12, 1), (13, 8, 3), (40, 20, 100), (9, 8, 2)])
def test_of_an_encoder_that_shifts_with_its_image_the_features_do_not_depend_on_the_windows(window, overlap, batch):
    """Tokens of 4 x 4 pixels that look one token far to each side."""
    torch.manual_seed(0)
    encoder = nn.Conv2d(2, 5, kernel_size=12, stride=4, padding=4, padding_mode="replicate")
    stage = Stage(run=lambda images: encoder(images["x"]), dim=5, step=4, widest=4)
    image = np.random.default_rng(1).normal(size=(2, 37 * 4, 53 * 4)).astype(np.float32)
    grid = Grid(crs="EPSG:32633", left=0, top=0, pixel_width=10, pixel_height=10, height=148, width=212)
    product = FeatureMap(stage, torch.device("cpu"), grid)

    def read_scene(row, column, height, width):
        return {"x": image[:, row : row + height, column : column + width]}

    tiling = Tiling(height=37, width=53, window=window, overlap=overlap)
    found = np.full((5, 37, 53), np.inf, np.float32)
    for left, right in ((0, 20), (20, 53)):
        area = Area(top=0, bottom=37, left=left, right=right)
        for piece in sweep(product.reads(read_scene), product.predict, tiling, area, channels=5, batch_size=batch):
            found[:, piece.area.top : piece.area.bottom, left:right] = product.encode(piece)["result"]
    with torch.no_grad():
        expected = encoder(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize(("stage", "step"), [(1, 4), (2, 8), (4, 32)])
def test_one_window_is_the_map_of_the_model_and_lies_where_its_tokens_do(models, scene, tmp_path, stage, step):
    out = tmp_path / "features.tif"
    more = ["--per-pixel", "--stage", stage, "--window", 96, "--fill-nodata"]
    invoke("embed", models["pretrained"], *given(tmp_path), *more, "--out", out)
    model = load_msgfm(models["pretrained"])
    with torch.no_grad():
        maps = model.encode(scene)
    expected = (maps["sentinel1"][stage - 1] + maps["sentinel2"][stage - 1])[0].numpy() / 2
    np.testing.assert_allclose(read(out), expected, atol=1e-4)
    with rasterio.open(out) as source:
        assert source.transform == at(10.0 * step)
        assert source.shape == (-(-70 // step), -(-90 // step))
        assert source.descriptions == tuple(f"f{i}" for i in range(8 * 2 ** (stage - 1)))
        assert source.dtypes[0] == "float32"
        assert np.isnan(source.nodata)
        assert source.crs == rasterio.CRS.from_epsg(32633)
    assert cog_validate(out, strict=True, quiet=True)[0]


def test_a_token_has_data_where_any_of_its_pixels_has(models, scene, tmp_path):
    out = tmp_path / "features.tif"
    invoke("embed", models["water"], *given(tmp_path), "--per-pixel", "--stage", 2, "--window", 64, "--out", out)
    empty = np.zeros((9, 12), bool)
    empty[:2, :3] = True  # of 20 x 30 pixels, tokens of 8 x 8
    assert (np.isnan(read(out)) == empty).all()


def test_a_model_for_a_task_has_features_too(models, scene, tmp_path):
    out = tmp_path / "features.tif"
    more = ["--per-pixel", "--stage", 3, "--window", 96, "--fill-nodata"]
    invoke("embed", models["water"], *given(tmp_path), *more, "--out", out)
    with torch.no_grad():
        expected = load_downstream(models["water"]).features(scene)[2][0].numpy()
    np.testing.assert_allclose(read(out), expected, atol=1e-4)


def test_its_item_keeps_to_the_standards(models, scene, tmp_path):
    out = tmp_path / "features.tif"
    arguments = ["--sentinel1", tmp_path / "s1.tif", "--per-pixel", "--stage", 1, "--window", 32]
    invoke("embed", models["pretrained"], *arguments, "--out", out)
    item = json.loads(out.with_suffix(".json").read_text())
    LocalValidator().item_validator("1.1.0").validate(item)
    properties = MLModelProperties.model_validate(item["properties"])
    assert properties.output[0].result.shape == [-1, 8, -1, -1]
    assert item["properties"]["mlm:hyperparameters"] == {"window": 32, "overlap": 8, "stage": 1}
    assert item["properties"]["proj:transform"] == list(at(40.0))[:6]
    assert len(pystac.Item.from_dict(item).assets["result"].extra_fields["bands"]) == 8


def test_windows_are_whole_tokens(models, scene, tmp_path):
    arguments = ["embed", models["pretrained"], "--sentinel1", tmp_path / "s1.tif", "--out", tmp_path / "x.tif"]
    assert "give 48" in refused(*arguments, "--per-pixel", "--stage", 3, "--window", 40)
    assert "the stages 1 to 4" in refused(*arguments, "--per-pixel", "--stage", 5)
    assert "ends in .tif" in refused(*arguments, "--per-pixel", "--out", tmp_path / "x.parquet")
    assert "--per-pixel" in refused(*arguments, "--out", tmp_path / "x.parquet", "--workers", 2)
    rule = ["embed", models["copy"], "--sentinel2", tmp_path / "s2.tif", "--per-pixel", "--out", tmp_path / "x.tif"]
    assert "makes no features" in refused(*rule)


@pytest.mark.slow
def test_several_processes_give_what_one_gives(models, scene, tmp_path, monkeypatch):
    monkeypatch.setattr("msgfm.scenes.parts._PART_ROWS", 16)
    monkeypatch.setattr("msgfm.scenes.parts._PART_BYTES", 1)
    monkeypatch.setattr("msgfm.scenes.parts._STRIPE_PX", 64)
    monkeypatch.setattr("msgfm.scenes.parts._COARSE_BLOCK_PX", 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write(tmp_path / "large.tif", backscatter(300, 200), names=["VV", "VH"])
    arguments = ["embed", models["pretrained"], "--sentinel1", tmp_path / "large.tif", "--per-pixel"]
    more = ["--stage", 1, "--window", 32, "--out"]
    invoke(*arguments, *more, tmp_path / "one.tif")
    invoke(*arguments, "--workers", 2, *more, tmp_path / "two.tif")
    np.testing.assert_allclose(read(tmp_path / "one.tif"), read(tmp_path / "two.tif"), atol=1e-6)
