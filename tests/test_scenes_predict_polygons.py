"""Polygons beside a class map: which, where, what the item says; refused before any work; made later by --resume."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pystac.validation.local_validator import LocalValidator
from scene_commands import invoke, read, refused
from scene_data import backscatter, reflectance, write
from small_downstream import describe, make, pretrained
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import save_pretrained
from msgfm.scenes import predict, work
from msgfm.scenes.parts import parts_beside
from msgfm.sensors import load_sensor

pytestmark = pytest.mark.filterwarnings("ignore:``LocalValidator``:DeprecationWarning")

S2 = load_sensor("sentinel2").band_names


def water() -> DownstreamModel:
    """A random model that gives each of its two classes about half of the pixels."""
    model = make("segmentation", ["sentinel1"])
    with torch.no_grad():
        logits = model({"sentinel1": torch.from_numpy(backscatter(75, 90))[None]})[0]
        bias = [parameter for parameter in model.head.parameters() if parameter.shape == (2,)][-1]
        bias[1] += (logits[0] - logits[1]).median()
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    made = {
        "water": water(),
        "copy": DownstreamModel(
            describe("restoration", ["sentinel2@cloudy"], backbone={"kind": "rule", "rule": "copy"})
        ),
        "labels": make("classification", ["sentinel1"]),
        "pretrained": pretrained("sentinel1", "sentinel2"),
    }
    for name, model in made.items():
        save_pretrained(model, folder / name)
    return {name: folder / name for name in made}


@pytest.fixture
def arguments(models, tmp_path) -> list[object]:
    radar = backscatter(75, 90)
    radar[:, :20, :30] = np.nan
    write(tmp_path / "s1.tif", radar, names=["VV", "VH"])
    return ["predict", models["water"], "--sentinel1", tmp_path / "s1.tif", "--window", 32]


def rows(path: Path) -> list[tuple[int, str, int, float]]:
    if path.suffix == ".parquet":
        table = pq.read_table(path, columns=["class", "name", "pixels", "area_m2"]).to_pydict()
        return sorted(zip(*table.values(), strict=True))
    with sqlite3.connect(path) as database:
        return sorted(database.execute("SELECT class, name, pixels, area_m2 FROM polygons"))


@pytest.mark.parametrize("name", ["shapes.gpkg", "shapes.parquet"])
def test_polygons_hold_the_pixels_of_the_map(arguments, tmp_path, name):
    out, shapes = tmp_path / "map.tif", tmp_path / "shapes" / name
    told = invoke(*arguments, "--out", out, "--polygons", shapes)
    assert told.split() == ["wrote", str(out), "wrote", str(shapes)]
    classes = read(out)
    found = rows(shapes)
    for value, label in enumerate("ab"):
        assert sum(pixels for number, name, pixels, _ in found if (number, name) == (value, label)) == (
            np.count_nonzero(classes == value)
        )
    assert [area for *_, area in found] == pytest.approx([pixels * 100 for *_, pixels, _ in found], rel=1e-3)
    assert len(found) > 2
    item = json.loads(out.with_suffix(".json").read_text())
    LocalValidator().item_validator("1.1.0").validate(item)
    asset = item["assets"]["polygons"]
    assert asset["href"] == f"shapes/{name}"
    assert asset["file:checksum"] == f"1220{hashlib.sha256(shapes.read_bytes()).hexdigest()}"


def test_small_ones_and_a_class_can_be_left_out(arguments, tmp_path):
    all_of, some = tmp_path / "all.parquet", tmp_path / "some.parquet"
    invoke(*arguments, "--out", tmp_path / "one.tif", "--polygons", all_of)
    invoke(*arguments, "--out", tmp_path / "two.tif", "--polygons", some, "--min-area", 1000, "--leave-out", "a")
    kept = [one for one in rows(all_of) if one[3] >= 1000 and one[1] == "b"]
    assert rows(some) == kept
    assert 0 < len(kept) < len(rows(all_of))


def test_what_has_no_polygons_is_told_before_any_work(arguments, models, tmp_path, monkeypatch):
    def no_work(*more, **options):
        raise AssertionError("work was begun")

    monkeypatch.setattr(predict, "open_job", no_work)
    write(tmp_path / "s2.tif", reflectance(40, 40, count=13), names=S2)
    optical = ["--sentinel2", tmp_path / "s2.tif", "--out", tmp_path / "x.tif", "--polygons", tmp_path / "x.gpkg"]
    assert "fine-tuned for restoration" in refused("predict", models["copy"], *optical)
    assert "a pretrained one has none" in refused("predict", models["pretrained"], *optical)
    out = ["--out", tmp_path / "x.tif"]
    assert "classes of windows" in refused(*arguments, "--out", tmp_path / "x.parquet", *optical[-2:])
    assert ".parquet or .gpkg" in refused(*arguments, *out, "--polygons", tmp_path / "x.shp")
    assert "no such class; there are a, b" in refused(*arguments, *out, *optical[-2:], "--leave-out", "water")
    assert "name their file" in refused(*arguments, *out, "--min-area", 5)
    (tmp_path / "x.gpkg").touch()
    assert "x.gpkg is there already" in refused(*arguments, *out, *optical[-2:])


def test_somebody_elses_file_is_not_replaced_by_a_run_that_goes_on(arguments, tmp_path):
    out, shapes = tmp_path / "map.tif", tmp_path / "other.gpkg"
    shapes.write_text("precious")
    assert "is there already, and not of" in refused(*arguments, "--out", out, "--polygons", shapes, "--resume")
    assert shapes.read_text() == "precious"
    assert not out.exists()
    invoke(*arguments, "--out", out, "--polygons", shapes, "--overwrite", "--entropy")
    assert rows(shapes)
    # what only the former result had does not stay beside the new one
    (tmp_path / "map_mine.tif").write_text("precious")
    told = invoke(*arguments, "--out", out, "--probabilities", "--overwrite")
    assert "other.gpkg holds the polygons of the result that was replaced" in " ".join(told.split())
    assert sorted(path.name for path in tmp_path.iterdir() if path.stem.startswith("map")) == [
        *("map.json", "map.qml", "map.tif", "map_mine.tif", "map_probabilities.qml", "map_probabilities.tif"),
    ]


def test_of_a_result_that_is_complete_they_are_made_later(arguments, tmp_path, monkeypatch):
    out, shapes = tmp_path / "map.tif", tmp_path / "map.gpkg"
    invoke(*arguments, "--out", out)
    before = out.read_bytes()
    more = ["--out", out, "--polygons", shapes]
    assert "is there already" in refused(*arguments, *more)
    with monkeypatch.context() as patched:
        patched.setattr(work, "write_part", None)  # nothing is predicted again
        invoke(*arguments, *more, "--resume")
    assert out.read_bytes() == before
    assert sum(pixels for *_, pixels, _ in rows(shapes)) == np.count_nonzero(read(out) != 255)
    assert "polygons" in json.loads(out.with_suffix(".json").read_text())["assets"]
    made = shapes.stat().st_mtime_ns
    invoke(*arguments, *more, "--resume")
    assert shapes.stat().st_mtime_ns == made
    other = refused(*arguments, *more, "--resume", "--min-area", 1000)
    assert "holds the polygons of 0 m2 and more; choose another name, or delete it" in other
    assert shapes.stat().st_mtime_ns == made
    # not of another plan, and not over another's file
    assert "of something else" in refused(*arguments[:-1], 40, *more, "--resume")
    (tmp_path / "other.gpkg").write_text("precious")
    assert "not of" in refused(*arguments, "--out", out, "--polygons", tmp_path / "other.gpkg", "--resume")
    assert (tmp_path / "other.gpkg").read_text() == "precious"
    assert "made of the same: nothing is left to resume" in refused(*arguments, "--out", out, "--resume")
    assert not parts_beside(out).exists()


def test_stopped_while_polygons_are_made_it_goes_on(arguments, tmp_path, monkeypatch):
    out, shapes = tmp_path / "map.tif", tmp_path / "map.parquet"

    def stopping(*more, **options):
        raise KeyboardInterrupt

    more = [*map(str, arguments), "--out", str(out), "--polygons", str(shapes)]
    with monkeypatch.context() as patched:
        patched.setattr(predict, "write_polygons", stopping)
        assert CliRunner().invoke(app, more).exit_code == 130
    before = out.read_bytes()  # complete, and says so
    assert "polygons" not in json.loads(out.with_suffix(".json").read_text())["assets"]
    assert not shapes.exists()
    invoke(*more, "--resume")
    assert out.read_bytes() == before
    assert sum(pixels for *_, pixels, _ in rows(shapes)) == np.count_nonzero(read(out) != 255)
    assert not parts_beside(out).exists()
