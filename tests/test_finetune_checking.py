"""Validation and test samples are looked at before training; weights that no metric can pick are not called best."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import read_log, refused, run
from small_tasks import write_finetune_recipe, write_task_data

from msgfm.geo.raster import write_geotiff
from msgfm.models.pretrained import from_pretrained
from msgfm.training.finetuning import checking
from msgfm.training.finetuning.step import State
from msgfm.training.finetuning.train import is_better


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_task_data(tmp_path / "data")


def relabel(manifest: Path, split: str, value: int) -> None:
    """Gives every pixel of a split's masks one value; 9 is that of no class."""
    for path in (manifest.parent / "mask").glob(f"{split}_*.tif"):
        write_geotiff(path, np.full((1, 32, 32), value, np.uint8))


def test_bad_samples_of_other_splits_are_found_before_training(manifest: Path, tmp_path: Path) -> None:
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, "segmentation")
    whole = (manifest.parent / "after" / "test_02.tif").read_bytes()
    (manifest.parent / "after" / "test_02.tif").write_bytes(whole[: len(whole) // 2])
    message = refused("finetune", recipe)
    assert "test samples: " in message and "after/test_02.tif" in message
    (manifest.parent / "after" / "test_02.tif").write_bytes(whole)
    relabel(manifest, "val", 77)
    message = refused("finetune", recipe, "data.unlisted=error", "task.classes=[unchanged,changed]")
    assert "val samples: " in message and "value 77" in message
    assert not (tmp_path / "run").exists()


def test_unreadable_training_samples_are_counted_and_the_remedy_is_a_setting(manifest: Path, tmp_path: Path) -> None:
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, "segmentation", epochs=1)
    (manifest.parent / "after" / "train_02.tif").write_bytes(b"broken")
    message = refused("finetune", recipe)
    assert "unreadable samples: 1, skip_bad allows 0" in message and "after/train_02.tif" in message
    assert message.endswith("\nmend or replace them, or leave more of them out with skip_bad=N\n"), message


@pytest.mark.parametrize(("kind", "value", "metric"), [("segmentation", 9, "miou"), ("change_detection", 0, "f1")])
def test_validation_that_cannot_pick_is_refused(
    manifest: Path, tmp_path: Path, kind: str, value: int, metric: str
) -> None:
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, kind, epochs=1)
    relabel(manifest, "val", value)
    message = refused("finetune", recipe)
    assert f"{metric}, which picks the best weights, is not defined on the 3 validation samples" in message
    assert not (tmp_path / "run").exists()
    run("finetune", recipe, "metric=accuracy" if kind == "change_detection" else "data.val=null")


def test_a_metric_that_no_validation_defines_leaves_the_last_weights(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a split larger than what is read, one learns too late that it has no label."""
    monkeypatch.setattr(checking, "MOST", 2)
    relabel(manifest, "val", 9)
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, "segmentation", epochs=3, early_stopping=1)
    told = run("finetune", recipe)
    assert "val: 2 of 3 samples are read before training" in told
    assert "miou was not defined (NaN) in any validation" in told
    folder = tmp_path / "run" / "seed_0"
    assert all(math.isnan(value) for value in read_log(folder).numbers("val/miou"))

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is not JSON")

    facts = json.loads((folder / "run.json").read_text(), parse_constant=refuse)
    assert facts["best"] is None
    run("finetune", recipe, "data.val=null", "early_stopping=null", f"out={tmp_path / 'without'}")
    ours, last = (from_pretrained(one).state_dict() for one in (folder, tmp_path / "without" / "seed_0"))
    assert all(torch.equal(ours[name], last[name]) for name in last)


def test_nan_is_never_the_best_nor_counts_against_patience() -> None:
    state = State()
    for step, (score, best) in enumerate([(math.nan, None), (0.5, 0.5), (math.nan, 0.5), (0.6, 0.6)], start=1):
        state.step = step
        state.note(score, is_better("miou", score, state.best_score))
        assert (state.best_score, state.stale) == (best, 0)
    assert state.best_step == 4
    assert not is_better("mae", math.nan, None)
