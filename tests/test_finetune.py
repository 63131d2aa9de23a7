"""Fine-tuning from a recipe to a folder, for each task and method, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from small_runs import files_in, read_log, refused, run
from small_tasks import CLASSES, COUNTS, pretrain_small, write_finetune_recipe, write_task_data
from torchmetrics.functional.classification import multiclass_accuracy

from msgfm import from_pretrained
from msgfm.data.records import read_manifest, write_manifest
from msgfm.geo.raster import read_bands


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task_data(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain_small(tmp_path_factory.mktemp("pretrained"))


def pixels(manifest: Path, folder: str, name: str) -> np.ndarray:
    """An image as it is stored, (C, H, W)."""
    path = manifest.parent / folder / f"{name}.tif"
    return np.ma.getdata(read_bands(path, range(1, {"mask": 1, "sentinel1": 2}.get(folder, 3) + 1)))


def metrics_of(folder: Path, split: str = "test") -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())[split]["metrics"]


def test_from_a_pretrained_model_to_scores_that_its_predictions_give(
    manifest: Path, pretrained: Path, tmp_path: Path
) -> None:
    recipe = write_finetune_recipe(
        tmp_path / "r.yaml", manifest, "classification", encoder=None, init=str(pretrained), epochs=6, seeds=[3, 5]
    )
    output = run("finetune", recipe)
    assert "random" not in output
    for seed in (3, 5):
        folder = tmp_path / "run" / f"seed_{seed}"
        assert files_in(folder, without=["predictions", "pictures"]) >= {
            *("recipe.yaml", "log.csv", "config.json", "model.safetensors", "metrics.json", "run.json"),
        }
        assert not (folder / "checkpoints").exists()
        table = pq.read_table(folder / "predictions" / "test.parquet").to_pydict()
        assert len(table["sample"]) == COUNTS["test"]
        probabilities, target = torch.tensor(table["probabilities"]), torch.tensor(table["target"])
        torch.testing.assert_close(probabilities.sum(1), torch.ones(COUNTS["test"]))
        accuracy = float(multiclass_accuracy(probabilities, target, 3, average="micro"))
        assert metrics_of(folder)["accuracy"] == pytest.approx(accuracy)
        facts = json.loads((folder / "run.json").read_text())
        assert facts["seed"] == seed
        assert facts["task"]["classes"] == list(CLASSES)
        assert facts["data"]["samples"] == COUNTS
        assert len(facts["init"]["sha256"]) == 64
        # what was scored is what the folder gives
        model = from_pretrained(folder)
        name = table["sample"][0]
        images = {
            "sentinel1": pixels(manifest, "sentinel1", name)[:, 4:28, 4:28].astype(np.float32),
            "rgb": pixels(manifest, "rgb", name)[:, 4:28, 4:28].astype(np.float32) / 255,
        }
        found = model.predict({key: image[None] for key, image in images.items()})
        np.testing.assert_allclose(found[0].numpy(), table["probabilities"][0], atol=1e-5)
    seeds = [(tmp_path / "run" / f"seed_{seed}" / "model.safetensors").read_bytes() for seed in (3, 5)]
    assert seeds[0] != seeds[1]


def test_the_best_validation_is_kept_and_patience_ends_the_run(manifest: Path, tmp_path: Path) -> None:
    # a rate that soon ruins what was learnt; a metric that hardly takes one value twice
    recipe = write_finetune_recipe(
        tmp_path / "r.yaml",
        manifest,
        "restoration",
        epochs=30,
        early_stopping=2,
        optim={"lr": 0.3, "warmup_epochs": 10},
    )
    run("finetune", recipe)
    folder = tmp_path / "run" / "seed_0"
    values = read_log(folder).numbers("val/mae")
    assert len(values) < 30
    best = min(values)
    assert values.index(best) == len(values) - 3  # two in a row brought nothing better
    assert values[-1] > best * 1.01
    assert metrics_of(folder, "val")["mae"] == pytest.approx(best)
    with np.load(next((folder / "predictions" / "val").glob("*val_00.npz"))) as arrays:
        predicted = arrays["predicted"]
    images = {
        "sentinel1": pixels(manifest, "sentinel1", "val_00").astype(np.float32),
        "rgb@cloudy": pixels(manifest, "cloudy", "val_00").astype(np.float32) / 255,
    }
    corner = {key: image[None, :, :24, :24] for key, image in images.items()}
    np.testing.assert_allclose(from_pretrained(folder).predict(corner)[0, :, :8, :8], predicted[:, :8, :8], atol=1e-5)
    facts = json.loads((folder / "run.json").read_text())
    assert facts["best"] == {"epoch": values.index(best) + 1, "metric": "mae", "value": pytest.approx(best)}


@pytest.mark.parametrize("kind", ["segmentation", "change_detection"])
def test_class_maps_of_whole_images_are_put_together(manifest: Path, tmp_path: Path, kind: str) -> None:
    changes = {"transfer": "per_sensor"} if kind == "segmentation" else {"loss": {"dice": 0.5, "focal": 0.5}}
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, kind, **changes)
    run("finetune", recipe)
    folder = tmp_path / "run" / "seed_0"
    hits = labelled = 0
    files = sorted((folder / "predictions" / "test").iterdir())
    assert len(files) == COUNTS["test"]
    for path in files:
        with np.load(path) as arrays:
            predicted, target = arrays["predicted"], arrays["target"]
        truth = pixels(manifest, "mask", path.stem[7:])[0]
        assert predicted.shape == truth.shape == (32, 32)  # two windows of 24 px each way
        np.testing.assert_array_equal(target, np.where(truth == 9, 255, truth))
        hits += int((predicted == truth).sum())
        labelled += int((truth != 9).sum())
    assert metrics_of(folder)["accuracy"] == pytest.approx(hits / labelled)
    assert (folder / "pictures").is_dir()


def test_restored_images_are_scored_in_physical_units(manifest: Path, tmp_path: Path) -> None:
    recipe = write_finetune_recipe(
        tmp_path / "r.yaml", manifest, "restoration", loss={"spectral_angle": 0.1}, keep_predictions=3
    )
    run("finetune", recipe)
    folder = tmp_path / "run" / "seed_0"
    rows = [line.split(",") for line in (folder / "predictions" / "test.csv").read_text().splitlines()]
    mae = rows[0].index("mae")
    assert [bool(row[1]) for row in rows[1:]] == [True] * 3 + [False]
    for name, file, *_ in rows[1:4]:
        with np.load(folder / "predictions" / "test" / file) as arrays:
            predicted = arrays["predicted"]
        truth = pixels(manifest, "rgb", name) / 255
        expected = np.abs(predicted.clip(0, 1) - truth).mean()
        (row,) = [row for row in rows if row[0] == name]
        assert float(row[mae]) == pytest.approx(expected, abs=1e-5)
    assert metrics_of(folder)["mae"] == pytest.approx(np.mean([float(row[mae]) for row in rows[1:]]))


def test_a_linear_probe_trains_the_head_alone(manifest: Path, pretrained: Path, tmp_path: Path) -> None:
    from msgfm.models.downstream import build_downstream

    recipe = write_finetune_recipe(
        tmp_path / "r.yaml", manifest, "classification", encoder=None, init=str(pretrained), method="linear_probe"
    )
    run("finetune", recipe)
    trained = from_pretrained(tmp_path / "run" / "seed_0")
    start, _ = build_downstream(trained.config, from_pretrained(pretrained))
    ours, theirs = trained.state_dict(), start.state_dict()
    assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == {
        *("head.fc.weight", "head.fc.bias", "head.norm.weight", "head.norm.bias")
    }


def test_neighbours_need_no_training(manifest: Path, pretrained: Path, tmp_path: Path) -> None:
    changes = {"encoder": None, "init": str(pretrained), "method": "knn", "neighbours": 3}
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, "classification", **changes)
    run("finetune", recipe)
    folder = tmp_path / "run" / "seed_0"
    assert not (folder / "model.safetensors").exists()
    assert 0 <= metrics_of(folder)["accuracy"] <= 1
    before = (folder / "metrics.json").read_bytes()
    run("evaluate", folder)
    assert (folder / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["epochz=3"], "epochs"),
        (["metric=miou"], "no metric 'miou' in classification; there are accuracy"),
        (["paper.map_macro=0.9"], "no metric 'map_macro'"),
        (["loss.dice=1"], "loss.dice is for segmentation"),
        (["loss.class_weights.grye=2"], "no class 'grye'; the classes are dim, grey, bright"),
        (["method=knn", "task.kind=segmentation"], "knn is for classification"),
        (["init=nowhere"], "encoder is that of init, nowhere; leave it out"),
        (["init=nowhere", "patch_embed={}"], "encoder and patch_embed are those of init, nowhere; leave them out"),
        (["init=nowhere", "encoder=null"], "init: no folder nowhere"),
        (["task.classes=[dim, grey, shiny]"], "shiny"),
        (["data.fraction=0.001"], "fraction"),
        (["inputs.1=rgb@later"], "rgb@later"),
        (["seeds=[1,1]"], "each seed once"),
        (["data.val=null", "early_stopping=2"], "early_stopping would do nothing: there is no validation split"),
        (["data.val=null", "metric=accuracy", "early_stopping=2"], "or say metric=null early_stopping=null"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    manifest: Path, tmp_path: Path, changes: list[str], named: str
) -> None:
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, "classification")
    assert named in refused("finetune", recipe, *changes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("target", ["sentinel1", "rgb:G"])  # decibels, and one band
def test_angles_of_what_has_no_spectrum_are_refused(manifest: Path, tmp_path: Path, target: str) -> None:
    task, inputs = {"kind": "restoration", "target": target}, ["rgb@cloudy"]
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, "restoration", task=task, inputs=inputs)
    assert "say loss.spectral_angle=0" in refused("finetune", recipe, "loss.spectral_angle=0.1")
    assert not (tmp_path / "run").exists()


def test_a_value_that_means_nothing_in_a_mask_is_named(manifest: Path, tmp_path: Path) -> None:
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, "segmentation")
    message = refused("finetune", recipe, "data.unlisted=error")
    assert "unlisted=ignore" in message
    assert "9" in message


def test_a_folder_in_use_is_refused(manifest: Path, tmp_path: Path) -> None:
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, "classification", epochs=1)
    run("finetune", recipe)
    folder = tmp_path / "run" / "seed_0"
    before = {name: (folder / name).read_bytes() for name in files_in(folder)}
    message = refused("finetune", recipe)
    assert str(folder) in message
    assert "--resume" in message
    assert "is complete" in run("finetune", recipe, "--resume")
    run("finetune", recipe, "--resume", f"data.manifest={shutil.copy(manifest, manifest.with_name('moved.parquet'))}")
    assert {name: (folder / name).read_bytes() for name in files_in(folder)} == before
    # another seed is added to what is there, if it is one of the same run
    content = read_manifest(manifest)
    fewer = tuple(sample for sample in content.samples if sample.sample != "train_01")
    write_manifest(replace(content, samples=fewer), tmp_path / "fewer.parquet")
    other = {
        "epochs=2": "epochs was 1 and is 2",
        "task.multilabel=true": "task.multilabel was False and is True",
        "inputs=[rgb]": "inputs was",
        "hardware.accumulate=2": "hardware.accumulate was 1 and is 2",
    }
    for change, named in other.items():
        for more in ([], ["seeds=[0,1]"], ["seeds=[1]"]):
            message = refused("finetune", recipe, "--resume", change, *more)
            assert f"{folder / 'run.json'} is of another run: {named}" in message.replace("\n", "")
    message = refused("finetune", recipe, "seeds=[1]", f"data.manifest={tmp_path / 'fewer.parquet'}")
    assert "is of another run: samples.train was" in message
    assert not (tmp_path / "run" / "seed_1").exists()
    run("finetune", recipe, "--resume", "seeds=[0,1]")
    assert {name: (folder / name).read_bytes() for name in files_in(folder)} == before
    assert (tmp_path / "run" / "seed_1" / "run.json").is_file()


def test_a_fine_tuned_model_is_no_start(manifest: Path, tmp_path: Path) -> None:
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, "classification", epochs=1)
    run("finetune", recipe)
    tree = yaml.safe_load(recipe.read_text()) | {"init": str(tmp_path / "run" / "seed_0"), "encoder": None}
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(tree))
    assert "fine-tuned" in refused("finetune", tmp_path / "again.yaml", f"out={tmp_path / 'other'}")
