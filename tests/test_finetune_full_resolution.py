"""Pan-sharpening at full resolution, from a recipe to scores in every place where they are shown."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_runs import refused, run
from small_tasks import write_finetune_recipe
from task_data import image, save

from msgfm.data.records import Sample
from msgfm.metrics.pansharpening import quality_without_reference

FULL = "test_full_resolution"
INPUTS = ["worldview3:BLUE,GREEN,RED", "worldview3_pan"]
TASK = {"kind": "restoration", "target": "worldview3:BLUE,GREEN,RED", "over": "worldview3"}


def write_pairs(root: Path) -> Path:
    """Five places: eight bands of 20 x 24 px, and the panchromatic image of 80 x 96 px, where two corners lack."""
    rng = np.random.default_rng(1)
    samples = []
    for i, split in enumerate(["train", "train", "val", "test", "test"]):
        ground = np.kron(rng.uniform(200, 900, (1, 20, 24)), np.ones((1, 4, 4)))
        pan = (ground + rng.normal(0, 60, ground.shape)).clip(1, 2000)
        pan[:, :6, :6] = 0
        bands = ground[:, ::4, ::4] * rng.uniform(0.5, 1.5, (8, 1, 1)) + rng.normal(0, 20, (8, 20, 24))
        images = (
            image(root, "worldview3", str(i), bands.clip(1, 2000).astype(np.uint16)),
            image(root, "worldview3_pan", str(i), pan.astype(np.uint16)),
        )
        samples.append(Sample(sample=str(i), scene=str(i), split=split, images=images))
    return save(root, samples)


@pytest.fixture(scope="module")
def sharpened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a rule's run."""
    folder = tmp_path_factory.mktemp("sharpened")
    manifest = write_pairs(folder / "data")
    recipe = write_finetune_recipe(
        folder / "r.yaml",
        manifest,
        "restoration",
        task=TASK,
        inputs=INPUTS,
        data={"manifest": str(manifest), "image_size": 16, "wald": 4},
        encoder=None,
        backbone={"kind": "rule", "rule": "brovey"},
        paper={"qnr": 0.9},
    )
    run("finetune", recipe)
    return folder / "run" / "seed_0"


def test_scores_are_the_metrics_of_the_predictions_and_the_stored_images(sharpened: Path) -> None:
    found = json.loads((sharpened / "metrics.json").read_text())
    assert found.keys() == {"val", "test", FULL}
    assert found[FULL]["metrics"].keys() == {"d_lambda", "d_s", "qnr", "scored"}
    assert found[FULL]["images"] == 2
    with (sharpened / "predictions" / f"{FULL}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["sample"] for row in rows] == ["3", "4"]
    expected = []
    for row in rows:
        predicted = np.load(sharpened / "predictions" / FULL / row["file"])["predicted"]
        assert predicted.shape == (3, 80, 96)
        coarse, pan = stored(sharpened, row["sample"])
        known = quality_without_reference(torch.from_numpy(predicted), coarse, pan, 0.25)
        assert float(row["qnr"]) == pytest.approx(known.qnr)
        assert float(row["d_lambda"]) == pytest.approx(known.d_lambda)
        assert float(row["d_s"]) == pytest.approx(known.d_s)
        expected.append(known.qnr)
    assert found[FULL]["metrics"]["qnr"] == pytest.approx(np.mean(expected))
    assert 0.3 < np.mean(expected) < 1


def stored(run_folder: Path, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The bands BLUE, GREEN, RED (2, 3 and 5 of the file) and the panchromatic image, 0 is no data."""
    from msgfm.geo.raster import read_bands

    data = run_folder.parents[1] / "data"
    bands = np.ma.getdata(read_bands(data / "worldview3" / f"{name}.tif", [2, 3, 5])).astype(np.float32)
    pan = np.ma.getdata(read_bands(data / "worldview3_pan" / f"{name}.tif", [1])).astype(np.float32)
    return (torch.from_numpy(np.where(values == 0, np.nan, values)) for values in (bands, pan))


def test_report_card_and_facts_have_them(sharpened: Path) -> None:
    value = f"{json.loads((sharpened / 'metrics.json').read_text())[FULL]['metrics']['qnr']:.4f}"
    for name in ("report.html", "README.md"):
        text = (sharpened / name).read_text()
        assert FULL in text and value in text and "without a reference" in text
    facts = json.loads((sharpened / "run.json").read_text())["data"]
    assert facts["samples"][FULL] == 2
    assert facts["digests"].keys() == facts["truths"].keys() == {"train", "val", "test", FULL}


def test_runs_are_compared_on_them_with_the_papers_number(sharpened: Path, tmp_path: Path) -> None:
    run("compare", sharpened, "--split", FULL, "--out", tmp_path / "table.csv")
    text = (tmp_path / "table.csv").read_text()
    assert "qnr" in text and "0.9" in text and "psnr" not in text


def test_evaluate_scores_them_again_and_those_of_further_splits(sharpened: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(sharpened, tmp_path / "seed_0")
    run("evaluate", copy)
    assert (copy / "metrics.json").read_bytes() == (sharpened / "metrics.json").read_bytes()
    run("evaluate", copy, "--split", "train")
    found = json.loads((copy / "metrics.json").read_text())
    assert found["train_full_resolution"]["images"] == 2
    assert json.loads((copy / "run.json").read_text())["data"]["samples"]["train_full_resolution"] == 2
    assert "it is scored with --split test" in refused("evaluate", copy, "--split", FULL)


def test_a_network_predicts_windows_of_the_same_ground(sharpened: Path, tmp_path: Path) -> None:
    recipe = yaml.safe_load((sharpened.parents[1] / "r.yaml").read_text())
    changes = {key: recipe[key] for key in ("task", "inputs", "data")}
    path = write_finetune_recipe(tmp_path / "r.yaml", Path("none"), "restoration", **changes, epochs=1)
    run("finetune", path)
    metrics = json.loads((tmp_path / "run" / "seed_0" / "metrics.json").read_text())[FULL]["metrics"]
    assert np.isfinite(list(metrics.values())).all()
    assert metrics["scored"] == 1
