"""Two processes with gloo on the CPU do what one process does with the joint batch."""

from __future__ import annotations

import copy
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import TINY_MODEL, read_log, run, started, wait_for_step, write_data, write_recipe

pytestmark = pytest.mark.slow

DENSE = copy.deepcopy(TINY_MODEL)
DENSE["encoder"] |= {"moe": None, "drop_path_rate": 0.0}
CALM = copy.deepcopy(TINY_MODEL)
CALM["encoder"] |= {"drop_path_rate": 0.0}


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_data(tmp_path_factory.mktemp("ddp"))


def recipe_for(folder: Path, manifests: dict[str, Path], devices: int, **changes: Any) -> Path:
    """Batches of 4, 2 and 2 samples a step, shared by the devices."""
    sizes = {"both": 4, "photos": 2, "relief": 2}
    sources = {
        name: {"manifest": str(path), "lr": 1e-3, "batch_size": sizes[name] // devices}
        for name, path in manifests.items()
    }
    hardware = {"accelerator": "cpu", "precision": "32-true", "num_workers": 0, "devices": devices}
    hardware |= changes.pop("hardware", {})
    out = str(folder / f"on_{devices}")
    path = folder / f"on_{devices}.yaml"
    return write_recipe(path, manifests, out=out, sources=sources, hardware=hardware, **changes)


def run_on_two(recipe: Path) -> None:
    with started("pretrain", recipe) as process:
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    # the second rank says nothing
    assert stderr.count("done: ") == 1
    assert "Traceback" not in stderr


@pytest.mark.parametrize(("schedule", "accumulate"), [("sequential", 1), ("sequential", 2), ("joint", 1)], ids=str)
def test_two_ranks_match_the_joint_batch(
    tmp_path: Path, manifests: dict[str, Path], schedule: str, accumulate: int
) -> None:
    """Samples of `both` have one sensor or two, so ranks and batches differ in their number of images."""
    mixture = {"schedule": schedule, "cross_sensor_share": 0.5}
    # Adam divides by the root of the squared gradient: with its usual eps, rounding becomes whole steps where a
    # gradient is almost zero
    optim = {"warmup_epochs": 0, "eps": 1e-3}
    settings = {"model": DENSE, "mixture": mixture, "optim": optim, "hardware": {"accumulate": accumulate}, "epochs": 3}
    run("pretrain", recipe_for(tmp_path, manifests, 1, **settings))
    run_on_two(recipe_for(tmp_path, manifests, 2, **settings))
    one, two = read_log(tmp_path / "on_1"), read_log(tmp_path / "on_2")
    assert len(one.rows) == len(two.rows) >= 9
    for column in one.rows[0]:
        if column in ("source", "epoch", "images", "lr"):
            assert one.column(column) == two.column(column)
        elif column not in ("images_per_s", "data_wait", "expert_load_max", "dropped_share"):
            np.testing.assert_allclose(one.numbers(column), two.numbers(column), atol=1e-5, rtol=1e-5)
    assert set(one.column("images")) != {one.column("images")[0]}
    assert one.numbers("loss")[-1] < one.numbers("loss")[0]


def test_with_a_mixture_ranks_differ_less_than_seeds(tmp_path: Path, manifests: dict[str, Path]) -> None:
    """Capacity is per rank and gate noise is drawn on each, so the curves agree, but not in every digit."""
    settings = {"model": CALM, "optim": {"warmup_epochs": 1}, "epochs": 10}
    run_on_two(recipe_for(tmp_path, manifests, 2, **settings))
    two = np.array(read_log(tmp_path / "on_2").numbers("loss"))
    curves = []
    for seed in range(3):
        run("pretrain", recipe_for(tmp_path, manifests, 1, **settings), f"seed={seed}", f"out={tmp_path / str(seed)}")
        curves.append(np.array(read_log(tmp_path / str(seed)).numbers("loss")))
    assert two.shape == curves[0].shape
    assert two[0] == pytest.approx(curves[0][0], abs=0.02)
    assert (two != curves[0]).any()

    def end(curve: np.ndarray) -> np.ndarray:
        """Mean of each source's loss over the last third."""
        return curve.reshape(-1, 3)[-len(curve) // 9 :].mean(axis=0)

    spread = np.ptp([end(curve) for curve in curves], axis=0)
    assert (abs(end(two) - end(curves[0])) < spread).all()


def test_a_signal_ends_both_ranks_and_the_run_goes_on(tmp_path: Path, manifests: dict[str, Path]) -> None:
    settings = {"model": DENSE, "epochs": 6, "optim": {"warmup_epochs": 1}}
    whole = recipe_for(tmp_path, manifests, 2, **settings)
    run_on_two(whole)
    with started("pretrain", whole, f"out={tmp_path / 'stopped'}") as process:
        wait_for_step(tmp_path / "stopped", 4, process)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=300)
    reached = len(read_log(tmp_path / "stopped").rows)
    assert process.returncode == 128 + signal.SIGTERM, stderr
    assert stderr.count(f"stopped by SIGTERM after step {reached}") == 1
    assert "Traceback" not in stderr
    with started("pretrain", whole, f"out={tmp_path / 'stopped'}", "--resume") as process:
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert read_log(tmp_path / "stopped").column("loss") == read_log(tmp_path / "on_2").column("loss")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("stopped", "on_2")]
    assert weights[0] == weights[1]


def test_bad_samples_of_all_ranks_count_together_and_end_all(tmp_path: Path) -> None:
    manifests = write_data(tmp_path / "data")
    broken = sorted((tmp_path / "data" / "relief" / "heights").iterdir())[:4]
    for path in broken:
        path.write_bytes(path.read_bytes()[:-200])
    with started("pretrain", recipe_for(tmp_path, manifests, 2, model=DENSE), "skip_bad=1") as process:
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 2, stderr
    (number,) = re.findall(r"unreadable samples: (\d), --skip-bad allows 1", stderr)
    assert sum(str(path) in stderr for path in broken) == int(number) > 1
    assert "Traceback" not in stderr
