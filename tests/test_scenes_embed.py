"""Tables of windows: classes, features, and which windows look like one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio.warp
import torch
from scene_commands import invoke, refused
from scene_data import LEFT, TOP, UTM, backscatter, reflectance, write
from small_downstream import make, pretrained
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.errors import InputError
from msgfm.geo.grid import Grid
from msgfm.geo.tiling import Tiling
from msgfm.models.pretrained import load_downstream, load_msgfm, save_pretrained
from msgfm.scenes import vectors
from msgfm.scenes.parts import parts_beside
from msgfm.scenes.similar import find_similar
from msgfm.scenes.vectors import kept_windows, rows_file
from msgfm.scenes.windows_table import Windows, WindowsInfo, open_windows_table, read_windows, read_windows_info
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").band_names


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    found = list(read_windows(path))
    return tuple(np.concatenate([getattr(one, name) for one in found]) for name in ("areas", "values"))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    made = {
        "labels": make("classification"),
        "water": make("segmentation", ["sentinel1", "sentinel2"]),
        "pretrained": pretrained("sentinel1", "sentinel2"),
    }
    for name, model in made.items():
        save_pretrained(model, folder / name)
    return {name: folder / name for name in made}


@pytest.fixture
def scene(tmp_path) -> dict[str, np.ndarray]:
    optical, radar = reflectance(64, 96, count=13), backscatter(64, 96)
    optical[:, :32, :32] = 0
    write(tmp_path / "s1.tif", radar, names=["VV", "VH"])
    write(tmp_path / "s2.tif", optical, names=S2, nodata=0)
    physical = optical.astype(np.float32) * np.float32(1e-4)
    physical[:, optical[0] == 0] = np.nan
    return {"sentinel1": radar, "sentinel2": physical}


def given(folder: Path) -> list[object]:
    return ["--sentinel1", folder / "s1.tif", "--sentinel2", folder / "s2.tif", "--window", 32]


def cut(scene: dict[str, np.ndarray], area: np.ndarray) -> dict[str, torch.Tensor]:
    row, column, height, width = area
    return {
        key: torch.from_numpy(image[None, :, row : row + height, column : column + width].copy())
        for key, image in scene.items()
    }


def test_classes_of_windows_are_what_the_model_says_of_each(models, scene, tmp_path):
    out = tmp_path / "labels.parquet"
    invoke("predict", models["labels"], *given(tmp_path), "--out", out, "--batch-size", 2)
    areas, values = read(out)
    # the first window has no Sentinel-2 at all
    assert areas.tolist() == [[0, 32, 32, 32], [0, 64, 32, 32], [32, 0, 32, 32], [32, 32, 32, 32], [32, 64, 32, 32]]
    assert read_windows_info(out).names == ("a", "b", "c")
    model = load_downstream(models["labels"])
    for area, probabilities in zip(areas, values, strict=True):
        np.testing.assert_allclose(probabilities, model.predict(cut(scene, area))[0].numpy(), atol=1e-5)
    assert not parts_beside(out).exists()
    assert "--out NAME.tif" in refused("predict", models["water"], *given(tmp_path), "--out", tmp_path / "x.parquet")
    assert "no further layers" in refused(
        "predict", models["labels"], *given(tmp_path), "--out", tmp_path / "x.parquet", "--entropy"
    )
    for how in (("--workers", 2), ("--dask", "local")):
        told = refused("predict", models["labels"], *given(tmp_path), "--out", tmp_path / "x.parquet", *how)
        assert "made by one process" in told


@pytest.mark.parametrize("stage", [1, 4])
def test_features_of_windows_are_the_means_of_the_maps(models, scene, tmp_path, stage):
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    invoke(
        "embed",
        models["pretrained"],
        "--sentinel1",
        tmp_path / "s1.tif",
        "--window",
        32,
        "--stage",
        stage,
        "--out",
        one,
    )
    invoke("embed", models["pretrained"], *given(tmp_path), "--stage", stage, "--out", two)
    model = load_msgfm(models["pretrained"])
    areas, values = read(one)
    assert len(areas) == 6
    for area, vector in zip(areas, values, strict=True):
        image = {"sentinel1": cut(scene, area)["sentinel1"]}
        expected = model.encode(image)["sentinel1"][stage - 1].mean((2, 3))[0]
        np.testing.assert_allclose(vector, expected.detach().numpy(), atol=1e-4)
    areas, values = read(two)
    for area, vector in zip(areas, values, strict=True):
        maps = model.encode(cut(scene, area))
        expected = (maps["sentinel1"][stage - 1] + maps["sentinel2"][stage - 1]).mean((2, 3))[0] / 2
        np.testing.assert_allclose(vector, expected.detach().numpy(), atol=1e-4)
    assert "the stages 1 to 4" in refused(
        "embed", models["pretrained"], *given(tmp_path), "--stage", 5, "--out", tmp_path / "x.parquet"
    )


def test_features_of_a_model_for_a_task(models, scene, tmp_path):
    out = tmp_path / "features.parquet"
    invoke("embed", models["water"], *given(tmp_path), "--stage", 2, "--out", out)
    areas, values = read(out)
    model = load_downstream(models["water"])
    with torch.no_grad():
        expected = model.features(cut(scene, areas[0]))[1].mean((2, 3))[0].numpy()
    np.testing.assert_allclose(values[0], expected, atol=1e-4)


def test_stopped_and_resumed(models, scene, tmp_path, monkeypatch):
    arguments = ["embed", models["pretrained"], *given(tmp_path), "--out"]
    invoke(*arguments, tmp_path / "whole.parquet")
    out, keep, kept = tmp_path / "stopped.parquet", vectors._keep, []

    def stopping(path, areas, values):
        if kept:
            raise KeyboardInterrupt
        kept.append(path)
        keep(path, areas, values)

    with monkeypatch.context() as patched:
        patched.setattr(vectors, "_keep", stopping)
        assert CliRunner().invoke(app, [*map(str, arguments), str(out)]).exit_code == 130
    assert not out.exists()
    assert [path.name for path in parts_beside(out).glob("*.npz")] == [kept[0].name]
    assert "--resume" in refused(*arguments, out)
    invoke(*arguments, out, "--resume")
    for one, other in zip(read(out), read(tmp_path / "whole.parquet"), strict=True):
        assert (one == other).all()


@pytest.mark.parametrize("length", [0, 10, 100])
def test_windows_that_were_kept_and_damaged_are_told(tmp_path, length):
    tiling, path = Tiling(height=8, width=8, window=8, overlap=0), rows_file(tmp_path, 0, 0)
    np.savez(path, areas=np.array([[0, 0, 8, 8]]), values=np.ones((1, 4), np.float32))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"cannot read \S+\.npz .*begin anew with --overwrite"):
        list(kept_windows(tiling, tmp_path))


def test_windows_that_look_like_the_one_at_a_place(models, scene, tmp_path):
    table, out = tmp_path / "features.parquet", tmp_path / "alike.parquet"
    invoke("embed", models["pretrained"], "--sentinel1", tmp_path / "s1.tif", "--window", 16, "--out", table)
    areas, values = read(table)
    chosen = 7
    row, column, height, width = areas[chosen]
    x, y = LEFT + 10 * (column + width / 2), TOP - 10 * (row + height / 2)
    (longitude,), (latitude,) = rasterio.warp.transform(UTM, "EPSG:4326", [x], [y])
    values = values - values.mean(0)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    expected = unit @ unit[chosen]
    found = find_similar(table, (longitude, latitude), 5, out)
    assert [match.area for match in found] == [tuple(areas[i]) for i in np.argsort(-expected, kind="stable")[:5]]
    np.testing.assert_allclose([match.similarity for match in found], np.sort(expected)[::-1][:5], atol=1e-5)
    assert found[0].middle == pytest.approx((longitude, latitude), abs=1e-6)
    np.testing.assert_allclose(read(out)[1][:, 0], expected, atol=1e-5)
    told = invoke("similar", table, "--at", f"{longitude},{latitude}", "--top", 2)
    assert "1.0000" in told
    own, before = table.read_bytes(), out.read_bytes()
    place = f"{longitude},{latitude}"
    assert "one of the inputs" in refused("similar", table, "--at", place, "--out", table, "--overwrite")
    assert "is there already" in refused("similar", table, "--at", place, "--out", out)
    assert (table.read_bytes(), out.read_bytes()) == (own, before)
    invoke("similar", table, "--at", place, "--out", out, "--overwrite")
    assert "no window" in refused("similar", table, "--at", "13.4,52.5")
    assert "write longitude and latitude" in refused("similar", table, "--at", "here")
    assert "no features" in refused("similar", out, "--at", f"{longitude},{latitude}")


def table_of(path: Path, values: np.ndarray) -> tuple[Path, tuple[float, float]]:
    """A table of windows with these vectors, side by side, and the place of the first."""
    grid = Grid(crs="EPSG:4326", left=10, top=50, pixel_width=0.1, pixel_height=0.1, height=1, width=len(values))
    areas = np.array([(0, i, 1, 1) for i in range(len(values))])
    with open_windows_table(path, WindowsInfo(grid=grid, size=values.shape[1])) as table:
        table.add(Windows(areas=areas, values=values.astype(np.float32)))
    return path, (10.05, 49.95)


def test_a_place_beyond_the_antimeridian_is_found_by_both_of_its_names(tmp_path):
    grid = Grid(crs="EPSG:4326", left=179.9, top=50, pixel_width=0.1, pixel_height=0.1, height=1, width=3)
    values = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    with open_windows_table(tmp_path / "x.parquet", WindowsInfo(grid=grid, size=8)) as table:
        table.add(Windows(areas=np.array([(0, i, 1, 1) for i in range(3)]), values=values))
    for i, longitude in enumerate((179.95, -179.95, -179.85)):
        best = find_similar(tmp_path / "x.parquet", (longitude, 49.95), 1)[0]
        assert best.area[1] == i
        assert best.middle == pytest.approx((longitude, 49.95))


def similarities(path: Path, values: np.ndarray) -> list[float]:
    """Of the windows with the first, in their order."""
    found = {match.area[1]: match.similarity for match in find_similar(*table_of(path, values), len(values))}
    return [found[i] for i in range(len(values))]


def test_what_all_windows_have_in_common_does_not_count(tmp_path):
    own = np.random.default_rng(0).normal(size=(50, 8))
    own -= own.mean(0)
    plain = similarities(tmp_path / "plain.parquet", own)
    common = similarities(tmp_path / "common.parquet", own + 100)
    assert common == pytest.approx(plain, abs=1e-4)
    assert min(common) < -0.3 and common[0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[3, 4]], [1]),
        ([[3, 4], [4, 3]], [1, 0.96]),  # less their mean they would be opposites
        ([[3, 4], [3, 4], [3, 4]], [1, 1, 1]),
        ([[3, 4], [2, 4], [4, 4]], [1, 22 / (5 * 20**0.5), 28 / (5 * 32**0.5)]),  # the first is the mean
    ],
)
def test_few_or_equal_windows_are_compared_as_they_are(tmp_path, values, expected):
    assert similarities(tmp_path / "few.parquet", np.array(values)) == pytest.approx(expected, abs=1e-6)
