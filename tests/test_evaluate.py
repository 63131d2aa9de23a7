"""Evaluating a run that is complete: other splits, missing sensors, other data."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from small_runs import files_in, refused, run
from small_tasks import CLASSES, pretrain_small, write_finetune_recipe, write_task_data

from msgfm.data.records import read_manifest, write_manifest
from msgfm.data.tasks import DataConfig, load_task_data
from msgfm.errors import InputError
from msgfm.models.inputs import InputImage
from msgfm.models.tasks import Classification
from msgfm.training.finetuning.predictions import write_predictions
from msgfm.training.finetuning.results import read_missing_sensors


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task_data(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def run_folder(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a classifier of sentinel1 and rgb."""
    folder = tmp_path_factory.mktemp("evaluated")
    recipe = write_finetune_recipe(folder / "r.yaml", manifest, "classification", seeds=[0, 1], epochs=1)
    run("finetune", recipe)
    return folder / "run"


def test_evaluating_again_gives_the_same_scores_and_predictions(run_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_folder, tmp_path / "moved")
    names = ("metrics.json", "run.json", "model.safetensors")
    before = {(seed, name): (copy / seed / name).read_bytes() for seed in ("seed_0", "seed_1") for name in names}
    shutil.rmtree(copy / "seed_0" / "predictions")
    output = run("evaluate", copy)
    assert "seed 0" in output
    assert "seed 1" in output
    after = {(seed, name): (copy / seed / name).read_bytes() for seed, name in before}
    assert after == before
    predictions = Path("seed_0") / "predictions" / "test.parquet"
    assert (copy / predictions).read_bytes() == (run_folder / predictions).read_bytes()


def test_a_further_split_is_scored_under_its_name(run_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_folder / "seed_0", tmp_path / "seed_0")
    before = json.loads((copy / "metrics.json").read_text())
    run("evaluate", copy, "--split", "train")
    scores = json.loads((copy / "metrics.json").read_text())
    assert scores.keys() == {"val", "test", "train"}
    assert {split: scores[split] for split in before} == before
    assert scores["train"]["images"] == 12
    facts = json.loads((copy / "run.json").read_text())
    assert facts["data"]["samples"] == {"train": 12, "val": 3, "test": 4}


def test_a_manifest_that_lies_elsewhere_is_asked_for(
    run_folder: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(run_folder / "seed_0", tmp_path / "seed_0")
    recipe = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(recipe.replace(str(manifest), manifest.name))
    monkeypatch.chdir(tmp_path)
    message = refused("evaluate", copy)
    assert "no manifest task.parquet in" in message and "data.manifest=PATH" in message
    assert "msgfm data index" not in message
    monkeypatch.chdir(manifest.parent)
    run("evaluate", copy)


def test_every_subset_of_the_sensors_is_scored(run_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_folder / "seed_0", tmp_path / "seed_0")
    pretrained = pretrain_small(tmp_path)
    run("evaluate", copy, "--sensors", "all-subsets", "--fill", pretrained)
    found = json.loads((copy / "missing_sensors.json").read_text())["test"]
    assert [(s["inputs"], s["missing"], s["fill"]) for s in found["subsets"]] == [
        (["sentinel1", "rgb"], [], "none"),
        (["sentinel1"], ["rgb"], "none"),
        (["sentinel1"], ["rgb"], "predicted"),
        (["rgb"], ["sentinel1"], "none"),
        (["rgb"], ["sentinel1"], "predicted"),
    ]
    digest = hashlib.sha256((pretrained / "model.safetensors").read_bytes()).hexdigest()
    origin = {"folder": str(pretrained), "sha256": digest}
    assert [s["filled_by"] for s in found["subsets"]] == [None, None, origin, None, origin]
    assert {(s["images"], s["left_out"]) for s in found["subsets"]} == {(4, 0)}
    assert f"Split test, predicted by pretrained (SHA-256 `{digest}`):" in (copy / "README.md").read_text()
    for command in ("evaluate", "compare"):
        message = refused(command, pretrained)
        assert (
            f"a pretrained model without a task; fine-tune it first: msgfm finetune RECIPE init={pretrained}" in message
        )
    whole = json.loads((copy / "metrics.json").read_text())["test"]["metrics"]
    assert found["subsets"][0]["metrics"] == whole
    with (copy / "missing_sensors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == [s["metrics"]["accuracy"] for s in found["subsets"]]
    assert (copy / "missing_sensors_test.png").stat().st_size > 1000
    # another split, and the same without a pretrained model, replace nothing that they do not score
    run("evaluate", copy, "--sensors", "all-subsets", "--split", "val")
    run("evaluate", copy, "--sensors", "all-subsets")
    again = json.loads((copy / "missing_sensors.json").read_text())
    assert again.keys() == {"test", "val"}
    assert again["test"] == found
    assert [s["fill"] for s in again["val"]["subsets"]] == ["none"] * 3
    with (copy / "missing_sensors.csv").open(newline="") as file:
        assert [row["split"] for row in csv.DictReader(file)] == ["test"] * 5 + ["val"] * 3
    assert (copy / "missing_sensors_val.png").stat().st_size > 1000
    assert "(missing_sensors_val.png)" in (copy / "README.md").read_text()


def test_a_missing_sensor_is_one_whose_image_has_no_data(run_folder: Path, manifest: Path, tmp_path: Path) -> None:
    """A subset's score is that of a manifest in which the other sensor's images are not listed."""
    copy = shutil.copytree(run_folder / "seed_0", tmp_path / "seed_0")
    run("evaluate", copy, "--sensors", "all-subsets")
    subsets = json.loads((copy / "missing_sensors.json").read_text())["test"]["subsets"]
    content = read_manifest(manifest)
    less = tuple(
        replace(sample, images=tuple(i for i in sample.images if i.key != "sentinel1" or sample.split == "train"))
        for sample in content.samples
    )
    write_manifest(replace(content, samples=less), tmp_path / "less.parquet")
    run("evaluate", copy, "--split", "less", f"data.manifest={tmp_path / 'less.parquet'}", "data.test=test")
    scores = json.loads((copy / "metrics.json").read_text())["less"]["metrics"]
    (alone,) = [subset["metrics"] for subset in subsets if subset["inputs"] == ["rgb"]]
    assert scores == alone


def test_images_that_have_nothing_of_a_subset_are_not_scored_with_it(
    run_folder: Path, manifest: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run_folder / "seed_0", tmp_path / "seed_0")
    content = read_manifest(manifest)
    others = [sample for sample in content.samples if sample.split != "test"]
    tested = [sample for sample in content.samples if sample.split == "test"]
    bare = [replace(sample, images=tuple(i for i in sample.images if i.sensor != "rgb")) for sample in tested]
    for split, samples in {"some": bare[:2] + tested[2:], "those": tested[2:], "none": bare}.items():
        path = tmp_path / f"{split}.parquet"
        write_manifest(replace(content, samples=(*others, *samples)), path)
        options = ("--split", split, "--sensors", "all-subsets", f"data.manifest={path}", "data.test=test")
        shown = run("evaluate", copy, *options)
        assert ("rgb (2 of 4 images)" in shown) == (split == "some")
    scores = {split: {s.label: s.metrics for s in one.subsets} for split, one in read_missing_sensors(copy).items()}
    assert scores["some"]["rgb (2 of 4 images)"] == scores["those"]["rgb"]
    assert scores["none"]["rgb (0 of 4 images)"] == {}
    assert scores["none"]["sentinel1"] == scores["some"]["sentinel1"]
    card = (copy / "README.md").read_text()
    assert "| rgb (2 of 4 images) | left out | " in card
    assert "| rgb (0 of 4 images) | left out | n/a |" in card


def test_what_cannot_be_evaluated_is_refused_and_the_run_stays(
    run_folder: Path, manifest: Path, tmp_path: Path
) -> None:
    before = {name: (run_folder / name).read_bytes() for name in files_in(run_folder)}
    assert "no complete" in refused("evaluate", tmp_path)
    assert "give --sensors all-subsets" in refused("evaluate", run_folder, "--fill", tmp_path)
    assert "nowhere" in refused("evaluate", run_folder, "--split", "nowhere")
    content = read_manifest(manifest)
    fewer = tuple(sample for sample in content.samples if sample.sample != "test_01")
    write_manifest(replace(content, samples=fewer), tmp_path / "fewer.parquet")
    message = refused("evaluate", run_folder, f"data.manifest={tmp_path / 'fewer.parquet'}")
    assert "are not those of the run" in message
    relabelled = tuple(replace(s, labels=tuple("dark" if n == "dim" else n for n in s.labels)) for s in content.samples)
    other = replace(content, samples=relabelled, classes=("dark", "grey", "bright"))
    write_manifest(other, tmp_path / "other.parquet")
    message = refused("evaluate", run_folder, f"data.manifest={tmp_path / 'other.parquet'}")
    assert "dim" in message
    assert "dark" in message
    assert {name: (run_folder / name).read_bytes() for name in files_in(run_folder)} == before


def test_the_same_files_read_otherwise_have_scores_of_their_own(
    run_folder: Path, manifest: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run_folder / "seed_0", tmp_path / "seed_0")
    before = {name: (copy / name).read_bytes() for name in files_in(copy)}
    content = read_manifest(manifest)
    brighter = content.sensors | {"rgb": content.sensors["rgb"].with_setting("offset", -20)}
    changes = {"card of rgb": {"sensors": brighter}, "order of classes": {"classes": CLASSES[::-1]}}
    for what, change in changes.items():
        write_manifest(replace(content, **change), tmp_path / "other.parquet")
        other = f"data.manifest={tmp_path / 'other.parquet'}"
        for split in ("test", "val", "train"):
            message = refused("evaluate", copy, "--split", split, other)
            assert f"the files are the same, but are read with another {what};" in message
            assert f"--split elsewhere data.test={split}" in message
        assert what in refused("evaluate", copy, "--sensors", "all-subsets", other)
    assert {name: (copy / name).read_bytes() for name in files_in(copy)} == before
    run("evaluate", copy, "--split", "turned", "data.test=test", other)
    facts = json.loads((copy / "run.json").read_text())["data"]
    assert facts["digests"]["turned"] == facts["digests"]["test"]
    assert facts["readings"]["turned"] != facts["readings"]["test"]
    message = refused("evaluate", copy, "--split", "turned", "data.test=test")
    assert "the samples of turned are not those of the run" in message
    # a run of an earlier version, which did not note how it read
    for field in ("readings", "truth_readings"):
        del facts[field]
    (copy / "run.json").write_text(json.dumps(json.loads((copy / "run.json").read_text()) | {"data": facts}))
    run("evaluate", copy, other)


def test_data_in_other_bands_or_units_are_refused_under_any_name(
    run_folder: Path, manifest: Path, tmp_path: Path
) -> None:
    before = {name: (run_folder / name).read_bytes() for name in files_in(run_folder)}
    content = read_manifest(manifest)
    rgb, radar = content.sensors["rgb"], content.sensors["sentinel1"]
    in_dn = rgb.with_setting("unit", "DN").with_setting("scale", 1).with_setting("valid_range", [0, 255])
    changes = {
        "sensor rgb, band R: the model has the unit 1, the data DN": {"rgb": in_dn},
        "sensor rgb: the model has the bands R, G, B, the data B, G, R": {"rgb": rgb.select("BGR")},
        "band VV: the model has the polarisation VV, the data HH": {
            "sentinel1": radar.with_setting("VV.polarisation", "HH")
        },
    }
    for message, cards in changes.items():
        write_manifest(replace(content, sensors=content.sensors | cards), tmp_path / "other.parquet")
        other = [f"data.manifest={tmp_path / 'other.parquet'}", "--split", "elsewhere", "data.test=test"]
        assert message in refused("evaluate", run_folder, *other)
        assert message in refused("evaluate", run_folder, *other, "--sensors", "all-subsets")
    assert {name: (run_folder / name).read_bytes() for name in files_in(run_folder)} == before


def test_training_samples_are_the_runs_own_whatever_drew_them(manifest: Path, tmp_path: Path) -> None:
    data: dict[str, object] = {"manifest": str(manifest), "image_size": 24, "fraction": 0.6, "val_fraction": 0.2}
    config = DataConfig.model_validate(data)
    digests = load_task_data(config, Classification(), [InputImage(sensor="rgb")]).digests
    data |= {"digest": digests}
    rule = {"kind": "rule", "rule": "class_prior"}
    changes = {"backbone": rule, "encoder": None, "data": data, "inputs": ["rgb"]}
    run("finetune", write_finetune_recipe(tmp_path / "r.yaml", manifest, "classification", **changes))
    folder = tmp_path / "run" / "seed_0"
    for split in ("train", "further"):
        run("evaluate", folder, "--split", split, *(["data.test=all"] if split == "further" else []))
    facts = json.loads((folder / "run.json").read_text())["data"]
    scores = json.loads((folder / "metrics.json").read_text())
    assert facts["digests"]["train"] == digests["train"]
    assert scores["train"]["images"] == facts["samples"]["train"] < 8
    assert scores["further"]["images"] == 19


@pytest.mark.parametrize("split", ["..", ".", "/{folder}/kept", "../../kept", "a/b", "", ".hidden", "-x"])
def test_a_split_is_a_name_and_not_a_path(run_folder: Path, tmp_path: Path, split: str) -> None:
    copy = shutil.copytree(run_folder / "seed_0", tmp_path / "run" / "seed_0")
    (tmp_path / "run" / "kept").mkdir()
    (tmp_path / "run" / "kept" / "file").write_text("mine")
    before = {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path)}
    name = split.format(folder=tmp_path / "run")
    assert "not a name" in refused("evaluate", copy, f"--split={name}", "data.test=test")
    writing = write_predictions(copy / "predictions", name, Classification(classes=("a", "b")), None)
    with pytest.raises(InputError, match="not a name"), writing:
        pass
    assert {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path)} == before


def test_of_a_run_on_folds_the_splits_are_those_of_its_fold(manifest: Path, tmp_path: Path) -> None:
    data = {"manifest": str(manifest), "image_size": 24, "folds": 3, "fold": 1}
    folder = tmp_path / "run" / "seed_0"
    run("finetune", write_finetune_recipe(tmp_path / "r.yaml", manifest, "classification", data=data, epochs=1))
    before = {name: (folder / name).read_bytes() for name in files_in(folder)}
    assert "deals all samples into train, val and test" in refused("evaluate", folder, "--split", "nosuch")
    assert {name: (folder / name).read_bytes() for name in files_in(folder)} == before
    run("evaluate", folder, "--split", "train")
    facts = json.loads((folder / "run.json").read_text())["data"]["samples"]
    scores = json.loads((folder / "metrics.json").read_text())
    assert {split: one["images"] for split, one in scores.items()} == facts
    assert facts["train"] > facts["test"]
    run("evaluate", folder, "--split", "all")
    assert json.loads((folder / "metrics.json").read_text())["all"]["images"] == sum(facts.values()) == 19


def test_other_settings_do_not_replace_the_scores_of_a_split(run_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_folder / "seed_0", tmp_path / "seed_0")
    before = {name: (copy / name).read_bytes() for name in files_in(copy)}
    for change in ("data.window_size=16", "data.image_size=16", "data.resize=true"):
        message = refused("evaluate", copy, change)
        assert f"test was scored with another {change.partition('=')[0]}; " in message
        assert "--split elsewhere data.test=test" in message
    for change in ("task.multilabel=true", "inputs=[rgb]", "transfer=per_sensor", "epochs=9", "seeds=[5]"):
        message = refused("evaluate", copy, "--split", "further", "data.test=test", change)
        assert "not to be changed in evaluation" in message
        assert change.partition("=")[0] in message
    assert {name: (copy / name).read_bytes() for name in files_in(copy)} == before
    run("evaluate", copy, "batch_size=2", "hardware.num_workers=1", "keep_predictions=1")
    further = ("evaluate", copy, "--split", "further", "data.test=test", "data.resize=true")
    run(*further, "data.image_size=16")
    facts = json.loads((copy / "run.json").read_text())["data"]
    assert facts["settings"] == {"further": {"data.image_size": 16, "data.resize": True}}
    assert facts["truths"]["further"] == facts["truths"]["test"]
    assert "further was scored with another data.image_size;" in refused(*further)
    run(*further, "data.image_size=16")
    elsewhere = ("evaluate", copy, "--split", "elsewhere", "data.test=val")
    run(*elsewhere, "data.window_size=16")
    assert "as --split elsewhere_2 data.test=val" in refused(*elsewhere)


def test_weights_that_are_not_the_runs_are_refused(run_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_folder / "seed_0", tmp_path / "seed_0")
    shutil.copy(run_folder / "seed_1" / "model.safetensors", copy)
    before = {name: (copy / name).read_bytes() for name in files_in(copy)}
    for split in ("test", "elsewhere"):
        message = refused("evaluate", copy, "--split", split, "data.test=test")
        assert f"{copy / 'model.safetensors'} holds other weights than the run's" in message
    assert {name: (copy / name).read_bytes() for name in files_in(copy)} == before


def test_what_is_damaged_or_not_complete_is_told(run_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_folder, tmp_path / "run")
    (copy / "seed_1" / "run.json").rename(copy / "seed_1" / "other.json")
    (copy / "seed_0" / "metrics.json").write_text("{")
    message = refused("evaluate", copy)
    assert "metrics.json is damaged" in message
    assert "delete it and score each split again" in message
    (copy / "seed_0" / "metrics.json").unlink()
    shown = run("evaluate", copy)
    assert f"{copy / 'seed_1'} is left out, as it is not complete" in shown
    (copy / "seed_0" / "run.json").write_text("[]")
    assert "restore it from a copy: nothing writes it again" in refused("evaluate", copy)


def test_neighbours_are_looked_up_among_the_runs_own_images(manifest: Path, tmp_path: Path) -> None:
    recipe = write_finetune_recipe(
        tmp_path / "r.yaml", manifest, "classification", method="knn", encoder=None, init=str(pretrain_small(tmp_path))
    )
    run("finetune", recipe)
    folder = tmp_path / "run"
    moved = (tmp_path / "pretrained").rename(tmp_path / "moved")
    before = (folder / "seed_0" / "metrics.json").read_bytes()
    run("evaluate", folder, f"init={moved}")
    assert (folder / "seed_0" / "metrics.json").read_bytes() == before
    other = shutil.copytree(moved, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, other / "model.safetensors")
    assert "other weights than those of the run" in refused("evaluate", folder, f"init={other}")
    content = read_manifest(manifest)
    fewer = tuple(sample for sample in content.samples if sample.sample != "train_01")
    write_manifest(replace(content, samples=fewer), tmp_path / "fewer.parquet")
    changes = (f"init={moved}", f"data.manifest={tmp_path / 'fewer.parquet'}")
    assert "which are its neighbours" in refused("evaluate", folder, *changes)
    assert "its own nearest neighbour" in refused("evaluate", folder, f"init={moved}", "--split", "train")
    assert (folder / "seed_0" / "metrics.json").read_bytes() == before
