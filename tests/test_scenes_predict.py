"""`msgfm predict` and `translate` from files to files: values, layers, no data, resuming, workers, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rio_cogeo.cogeo import cog_validate
from scene_commands import cut_small, invoke, read, refused
from scene_data import UTM, at, backscatter, reflectance, write
from small_downstream import describe, make, pretrained
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import load_downstream, save_pretrained
from msgfm.scenes import work
from msgfm.scenes.parts import parts_beside
from msgfm.scenes.products import likeliest
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").band_names
COPY = {"backbone": {"kind": "rule", "rule": "copy"}}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    made = {
        "copy": DownstreamModel(describe("restoration", ["sentinel2@cloudy"], **COPY)),
        "clouds": make("restoration"),
        "water": make("segmentation", ["sentinel1", "sentinel2"]),
        "labels": make("classification"),
        "pretrained": pretrained("sentinel1", "sentinel2"),
    }
    for name, model in made.items():
        save_pretrained(model, folder / name)
    return {name: folder / name for name in made}


@pytest.fixture
def scene(tmp_path) -> dict[str, Path]:
    """Sentinel-1 and -2 of one place; a corner of the latter has no data."""
    optical = reflectance(75, 90, count=13)
    optical[:, :20, :30] = 0
    return {
        "sentinel1": write(tmp_path / "s1.tif", backscatter(75, 90), names=["VV", "VH"]),
        "sentinel2": write(tmp_path / "s2.tif", optical, names=S2, nodata=0),
    }


def given(scene: dict[str, Path], optical: str = "sentinel2") -> list[object]:
    return ["--sentinel1", scene["sentinel1"], f"--{optical}", scene["sentinel2"], "--window", 32]


@pytest.mark.parametrize("classes", [1, 2, 10, 300])
def test_the_likeliest_class_is_the_first_of_the_largest(classes):
    values = np.random.default_rng(classes).random((classes, 7, 50), np.float32).round(1)  # with equals
    np.testing.assert_array_equal(likeliest(values), values.argmax(0))


def test_a_model_that_copies_its_input_gives_the_file_back(models, scene, tmp_path):
    out = tmp_path / "same.tif"
    invoke("predict", models["copy"], "--sentinel2", scene["sentinel2"], "--window", 32, "--overlap", 9, "--out", out)
    with rasterio.open(scene["sentinel2"]) as before, rasterio.open(out) as after:
        assert (after.read() == before.read()).all()
        assert (after.crs, after.transform, after.shape) == (before.crs, before.transform, before.shape)
        assert after.dtypes == before.dtypes
        assert after.descriptions == S2
        assert after.nodata == 0
        assert after.scales[0] == pytest.approx(1e-4)
    assert cog_validate(out, strict=True, quiet=True)[0]
    assert not parts_beside(out).exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("same")) == [
        *("same.json", "same.qml", "same.tif"),
    ]


def test_one_window_is_what_the_model_says(models, scene, tmp_path):
    out = tmp_path / "water.tif"
    more = ["--probabilities", "--entropy", "--window", 96]
    invoke("predict", models["water"], *given(scene)[:4], *more, "--out", out)
    images = {
        "sentinel1": torch.from_numpy(read(scene["sentinel1"]))[None],
        "sentinel2": torch.from_numpy(read(scene["sentinel2"]).astype(np.float32) * np.float32(1e-4))[None],
    }
    empty = read(scene["sentinel2"])[0] == 0
    images["sentinel2"][:, :, torch.from_numpy(empty)] = torch.nan
    model = load_downstream(models["water"])
    with torch.no_grad():
        expected = model(images).softmax(1)[0].numpy()
    classes, probabilities, entropy = (
        read(out.with_name(f"water{layer}.tif")) for layer in ("", "_probabilities", "_entropy")
    )
    assert (classes[0][empty] == 255).all()
    assert np.isnan(probabilities[:, empty]).all()
    np.testing.assert_allclose(probabilities[:, ~empty], expected[:, ~empty], atol=1e-5)
    sure = np.abs(expected[0] - expected[1]) > 1e-4
    assert (classes[0] == expected.argmax(0))[~empty & sure].all()
    known = -(expected * np.log(expected)).sum(0) / np.log(2)
    np.testing.assert_allclose(entropy[0][~empty], known[~empty], atol=1e-4)
    with rasterio.open(out) as source:
        assert source.colormap(1)[0][3] == 255
        assert source.tags()["class_1"] == "b"


def test_where_one_input_has_no_data_it_may_be_filled(models, scene, tmp_path):
    out = tmp_path / "filled.tif"
    invoke("predict", models["water"], *given(scene), "--out", out, "--fill-nodata")
    assert (read(out) != 255).all()


def test_restoration_tells_what_it_changed_and_how_sure_it_is(models, scene, tmp_path):
    out = tmp_path / "clear.tif"
    invoke(
        *("predict", models["clouds"], *given(scene, "sentinel2@cloudy"), "--out", out),
        *("--synthesised", "--uncertainty", "--fill-nodata"),
    )
    before, after = read(scene["sentinel2"]).astype(float), read(out).astype(float)
    origin, deviation = read(tmp_path / "clear_synthesised.tif")[0], read(tmp_path / "clear_uncertainty.tif")
    empty = before[0] == 0
    std = np.array([band.std for band in load_sensor("sentinel2").bands]).reshape(-1, 1, 1)
    change = np.abs(after - before).__mul__(1e-4).__truediv__(std).max(0)
    assert (origin[empty] == 1).all()
    certain = ~empty & (np.abs(change - 0.25) > 0.02)  # windows fade into each other, and numbers are rounded
    assert (origin == (change > 0.25))[certain].mean() > 0.99
    assert np.isfinite(deviation).all()
    assert (deviation >= 0).all()
    assert deviation.max() > 0


def test_a_pretrained_model_translates(models, scene, tmp_path):
    out = tmp_path / "like.tif"
    arguments = ("--from", "sentinel1", "--to", "sentinel2", "--window", 32, "--out", out)
    invoke("translate", models["pretrained"], scene["sentinel1"], *arguments)
    with rasterio.open(out) as source:
        assert source.descriptions == S2
        assert source.dtypes[0] == "uint16"
        assert source.scales[0] == pytest.approx(1e-4)
        assert source.crs == rasterio.CRS.from_string(UTM)
        assert source.transform == at()
    told = refused(
        "translate", models["pretrained"], scene["sentinel1"], *arguments[:-1], tmp_path / "x.tif", "--entropy"
    )
    assert "no such option: --entropy" in told
    assert "no sensor 'dsm'" in refused(
        "translate", models["pretrained"], scene["sentinel1"], "--from", "sentinel1", "--to", "dsm", "--out", out
    )


@pytest.fixture
def in_small_parts(monkeypatch):
    cut_small(monkeypatch)


@pytest.mark.parametrize("after", [0, 1, 4, 11])
def test_stopped_and_resumed_it_has_the_same_bytes(models, scene, tmp_path, monkeypatch, in_small_parts, after):
    invoke("predict", models["water"], *given(scene), "--out", tmp_path / "whole.tif", "--probabilities")
    out = tmp_path / "stopped.tif"
    write_part, written = work.write_part, []

    def stopping(path, array):
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(path)
        write_part(path, array)

    arguments = ["predict", models["water"], *given(scene), "--out", out, "--probabilities"]
    with monkeypatch.context() as patched:
        patched.setattr(work, "write_part", stopping)
        assert CliRunner().invoke(app, [str(argument) for argument in arguments]).exit_code == 130
    assert not out.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in parts_beside(out).glob("*.tif")}
    assert len(kept) == after
    if after:  # there is something to lose
        assert "--resume" in refused(*arguments)
        assert "window was 32, is 40" in refused(*arguments, "--window", 40, "--resume")
    invoke(*arguments, "--resume")
    for layer in ("", "_probabilities"):
        same = tmp_path / f"whole{layer}.tif"
        assert (tmp_path / f"stopped{layer}.tif").read_bytes() == same.read_bytes()
    assert not parts_beside(out).exists()


def test_begun_anew(models, scene, tmp_path):
    out = tmp_path / "water.tif"
    parts_beside(out).mkdir()
    (parts_beside(out) / "plan.json").write_text(json.dumps({"model": "another"}))
    (parts_beside(out) / "result_0000000_0000000.tif").write_bytes(b"of another")
    arguments = ["predict", models["water"], *given(scene), "--out", out]
    assert "--overwrite" in refused(*arguments)
    invoke(*arguments, "--overwrite")
    first = out.read_bytes()
    assert "is there already" in refused(*arguments)
    invoke(*arguments, "--overwrite")
    assert out.read_bytes() == first


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--workers", 2], ["--dask", "local", "--workers", 2]])
def test_several_processes_give_what_one_gives(models, scene, tmp_path, how, in_small_parts, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    invoke("predict", models["water"], *given(scene), "--out", tmp_path / "one.tif", "--probabilities")
    invoke("predict", models["water"], *given(scene), "--out", tmp_path / "two.tif", "--probabilities", *how)
    assert (read(tmp_path / "one.tif") == read(tmp_path / "two.tif")).all()
    one, two = (read(tmp_path / f"{name}_probabilities.tif") for name in ("one", "two"))
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_what_is_wrong_is_told_and_leaves_nothing(models, scene, tmp_path):
    out = tmp_path / "bad.tif"
    assert "no image of sentinel2" in refused(
        "predict", models["water"], "--sentinel1", scene["sentinel1"], "--out", out
    )
    assert "no input 'landsat8'" in refused("predict", models["water"], *given(scene), "--landsat8", "x", "--out", out)
    assert "ends in .tif" in refused("predict", models["water"], *given(scene), "--out", tmp_path / "bad.png")
    assert "a vector for each window" in refused("predict", models["labels"], *given(scene), "--out", out)
    assert "gives classes" in refused("predict", models["water"], *given(scene), "--out", out, "--uncertainty")
    assert "msgfm translate" in refused("predict", models["pretrained"], *given(scene), "--out", out)
    assert "overlap by 0 to 31" in refused("predict", models["water"], *given(scene), "--out", out, "--overlap", 32)
    assert "give the model first" in refused("predict", "--sentinel1", scene["sentinel1"], "--out", out)
    assert "--device nowhere" in refused("predict", models["water"], *given(scene), "--out", out, "--device", "nowhere")
    far = write(tmp_path / "far.tif", backscatter(75, 90), names=["VV", "VH"], transform=at(left=900_000.0))
    assert "none of the ground" in refused(
        "predict", models["water"], "--sentinel1", far, "--sentinel2", scene["sentinel2"], "--out", out
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far.tif", "s1.tif", "s2.tif"]


def test_input_that_breaks_the_contract_is_refused_unless_forced(models, scene, tmp_path):
    out = tmp_path / "water.tif"
    power = (10 ** (read(scene["sentinel1"]) / 10)).astype(np.float32)
    scene["sentinel1"] = write(tmp_path / "power.tif", power, names=["VV", "VH"])
    told = refused("predict", models["water"], *given(scene), "--out", out)
    assert "power.tif" in told
    assert "linear" in told
    assert not out.exists()
    invoke("predict", models["water"], *given(scene), "--out", out, "--force", "linear-power")
    assert out.is_file()
