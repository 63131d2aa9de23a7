"""README.md of a fine-tuned model: what it says is what the model does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from finetuned_runs import LABELS, TASK, write_missing_sensors, write_seed

import msgfm
from msgfm.config import config_from_dict
from msgfm.models.downstream import DownstreamConfig, DownstreamModel
from msgfm.models.pretrained import save_pretrained
from msgfm.sensors import load_sensor
from msgfm.training.finetuning.card import write_model_card
from msgfm.training.finetuning.results import read_missing_sensors, read_scores, split_scores, write_scores

ENCODER = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_size": 2, "moe": None}


def save_model(folder: Path, task: dict[str, Any], *inputs: str) -> None:
    sensors = [load_sensor(name).model_dump() for name in sorted({text.split("@")[0].split(":")[0] for text in inputs})]
    settings = {"sensors": sensors, "inputs": list(inputs), "encoder": ENCODER, "task": task}
    save_pretrained(DownstreamModel(config_from_dict(DownstreamConfig, settings, "test")), folder)


def rows_of(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write_seed(
        tmp_path / "run",
        1,
        {"accuracy": 0.875, "f1_macro": None},
        per_class={"forest": {"f1": 0.75}, "water": {"f1": None}},
        recipe={
            "paper": {"accuracy": 0.9},
            "init": "somewhere/else/pretrained",
            "data": {"manifest": ["somewhere/both.parquet"]},
        },
    )
    save_model(made, TASK, "sentinel1", "sentinel2@cloudy:B04,B03")
    return made


def test_its_lines_of_python_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model_card(folder)
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert code
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(0)
    names: dict[str, Any] = {
        "sentinel1": rng.normal(-12, 2, (2, 2, 40, 32)).astype(np.float32),
        "sentinel2_cloudy": rng.random((2, 2, 40, 32), dtype=np.float32),
    }
    exec(code[1], names)
    assert names["prediction"].shape == (2, len(LABELS))
    assert names["prediction"].sum(1).numpy() == pytest.approx(1)
    again = msgfm.from_pretrained(folder).predict(names["images"])
    assert (again == names["prediction"]).all()


def test_it_says_what_goes_in_and_out(folder: Path) -> None:
    write_model_card(folder)
    text = (folder / "README.md").read_text()
    rows = rows_of(text)
    assert ["`sentinel1`", "VV, VH", "dB", *[row[3] for row in rows if row[0] == "`sentinel1`"]] in rows
    assert next(row for row in rows if row[0] == "`sentinel2@cloudy`")[1:3] == ["B04, B03", "reflectance"]
    assert "0 forest, 1 water, 2 town" in text
    front = yaml.safe_load(text.split("---")[1])
    assert front["library_name"] == "msgfm" and "classification" in front["tags"]


def test_it_says_how_good_it_is_and_on_what(folder: Path) -> None:
    write_model_card(folder)
    text = (folder / "README.md").read_text()
    rows = rows_of(text)
    assert ["test", "24", "0.8750", "n/a"] in rows
    assert ["paper", "", "0.9000", "n/a"] in rows
    assert ["forest", "0.7500"] in rows and ["water", "n/a"] in rows
    assert ["test", "24", f"`{'1' * 64}`"] in rows
    assert "data: both.parquet\n" in text
    assert "started from: pretrained\n" in text and "somewhere" not in text
    assert "Missing sensors" not in text


def test_scores_of_missing_sensors(folder: Path) -> None:
    write_missing_sensors(folder, "accuracy", "test", "val")
    write_model_card(folder)
    rows = rows_of((folder / "README.md").read_text())
    assert ["sentinel1 + sentinel2", "", "0.9000"] in rows
    assert ["sentinel1", "left out", "0.5000"] in rows
    assert ["sentinel1", "predicted", "0.6000"] in rows
    assert ["sentinel1", "predicted", "0.5000"] in rows
    text = (folder / "README.md").read_text()
    assert "](missing_sensors_test.png)" in text and "](missing_sensors_val.png)" in text


def test_scores_of_missing_sensors_of_one_split_as_they_were_written_first(folder: Path) -> None:
    write_missing_sensors(folder, "accuracy")
    path = folder / "missing_sensors.json"
    tree = json.loads(path.read_text())
    path.write_text(json.dumps({"split": "test"} | tree["test"]))
    found = read_missing_sensors(folder)
    path.write_text(json.dumps(tree))
    assert found == read_missing_sensors(folder)


def test_a_restored_image_is_described(tmp_path: Path) -> None:
    task = {"kind": "restoration", "target": "sentinel2:B04,B03", "over": "sentinel2@cloudy"}
    save_model(tmp_path, task, "sentinel1", "sentinel2@cloudy:B04,B03")
    write_model_card(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "An image (B, 2, H, W) of `sentinel2` in reflectance, bands B04, B03." in text
    assert "# Restoration of sentinel2 from sentinel1, sentinel2@cloudy\n" in text
    assert "Scores" not in text


def test_details_are_of_the_split_that_picked_no_weights(folder: Path) -> None:
    write_scores(folder, "val", split_scores({"accuracy": 0.5, "f1_per_class": {"forest": 0.125}}, 7))
    write_model_card(folder)
    rows = rows_of((folder / "README.md").read_text())
    assert ["val", "7", "0.5000", "n/a"] in rows
    assert ["forest", "0.7500"] in rows and ["forest", "0.1250"] not in rows


def test_computed_scores_are_found_where_they_belong(tmp_path: Path) -> None:
    computed: dict[str, Any] = {
        "miou": 0.5,
        "images": 3.0,
        "iou_per_class": {"a": 0.25, "b": float("nan")},
        "f1_per_class": {"a": 0.5, "b": 0.75},
        "mae_per_band": {"B04": 0.1},
        "mae_by_clouds": {"0-20": 0.2},
        "images_by_clouds": {"0-20": 3.0},
    }
    write_scores(tmp_path, "val", split_scores({"miou": 0.1}, 1))
    write_scores(tmp_path, "test", split_scores(computed, 3))
    assert "NaN" not in (tmp_path / "metrics.json").read_text()  # which JSON has not
    scores = read_scores(tmp_path)
    assert scores["val"].metrics == {"miou": 0.1}
    test = scores["test"]
    assert test.metrics == {"miou": 0.5} and test.images == 3
    assert test.per_class["a"] == {"iou": 0.25, "f1": 0.5}
    assert np.isnan(test.per_class["b"]["iou"])
    assert test.per_band == {"B04": {"mae": 0.1}}
    assert test.by_cloud_cover == {"0-20": {"mae": 0.2, "images": 3.0}}
