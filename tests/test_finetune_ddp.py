"""Fine-tuning on two processes with gloo on the CPU does what one process does with the joint batch."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from small_runs import read_log, run, started
from small_tasks import ENCODER, write_finetune_recipe, write_task_data

pytestmark = pytest.mark.slow

DENSE = copy.deepcopy(ENCODER) | {"moe": None, "drop_path_rate": 0.0}


def recipe_for(folder: Path, manifest: Path, devices: int) -> Path:
    hardware = {"accelerator": "cpu", "precision": "32-true", "num_workers": 0, "devices": devices}
    return write_finetune_recipe(
        folder / f"on_{devices}.yaml",
        manifest,
        "restoration",
        out=str(folder / f"on_{devices}"),
        encoder=DENSE,
        seeds=[0, 1],
        batch_size=4 // devices,
        hardware=hardware,
    )


def test_two_ranks_do_what_one_does(tmp_path: Path) -> None:
    manifest = write_task_data(tmp_path / "data")
    run("finetune", recipe_for(tmp_path, manifest, 1))
    with started("finetune", recipe_for(tmp_path, manifest, 2)) as process:
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert stderr.count("done:") == 2  # of two seeds, told by one rank
    for seed in ("seed_0", "seed_1"):
        logs = [read_log(tmp_path / f"on_{devices}" / seed) for devices in (1, 2)]
        for column in ("loss", "lr", "val/mae"):
            np.testing.assert_allclose(logs[1].numbers(column), logs[0].numbers(column), rtol=2e-3)
        scores = [
            json.loads((tmp_path / f"on_{devices}" / seed / "metrics.json").read_text())["test"]["metrics"]
            for devices in (1, 2)
        ]
        assert scores[1]["mae"] == pytest.approx(scores[0]["mae"], rel=2e-3)


def test_an_error_of_the_data_ends_all_ranks(tmp_path: Path) -> None:
    manifest = write_task_data(tmp_path / "data")
    for path in sorted((tmp_path / "data" / "cloudy").glob("train_*.tif"))[::2]:
        path.write_bytes(path.read_bytes()[:-200])
    with started("finetune", recipe_for(tmp_path, manifest, 2)) as process:
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 2, stderr
    assert "train_0" in stderr
    assert "skip_bad allows 0" in stderr
    assert "Traceback" not in stderr
