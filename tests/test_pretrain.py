"""What a run does, step by step, and what it leaves behind."""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from small_runs import Log, files_in, read_log, refused, run, write_data, write_recipe

import msgfm
from msgfm.config import load_config
from msgfm.training.pretraining.config import PretrainConfig

STEPS = 24  # 2 epochs, in each 4 rounds of 3 sources: `both` has 10 samples for training and batches of 3
OWN = {"sentinel1->sentinel1", "rgb->rgb", "dsm->dsm"}
ACROSS = {"sentinel1->rgb", "rgb->sentinel1", "rgb->dsm", "dsm->rgb"}


class Finished(NamedTuple):
    recipe: Path
    out: Path
    log: Log
    printed: str


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_data(tmp_path_factory.mktemp("pretrain"))


@pytest.fixture(scope="module")
def finished(manifests: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A whole run with everything switched on."""
    folder = tmp_path_factory.mktemp("finished")
    log = {"every_steps": 4, "picture_every_steps": 10, "checkpoint_every_steps": 10, "tensorboard": True}
    recipe = write_recipe(folder / "recipe.yaml", manifests, log=log)
    printed = run("pretrain", recipe)
    return Finished(recipe, folder / "run", read_log(folder / "run"), printed)


def test_the_folder_holds_all_that_was_promised(finished: Finished) -> None:
    assert files_in(finished.out, without=["tensorboard/"]) == {
        *("model.safetensors", "config.json", "run.json", "recipe.yaml", "log.csv", "scores.csv", "report.html"),
        *(f"pictures/reconstruction_{step:08d}.png" for step in (10, 20, 24)),
        *(f"checkpoints/step_{step:08d}.ckpt" for step in (10, 20, 24)),
    }


def test_progress_is_told_in_whole_lines(finished: Finished) -> None:
    lines = finished.printed.splitlines()
    assert "24 steps in 2 epochs" in lines[0]
    assert "  both: 10 samples of rgb + sentinel1, batch 3 x 1, lr 0.001" in lines
    steps = [line for line in lines if line.startswith("step ")]
    assert [line.split()[1] for line in steps] == [f"{step}/24" for step in (4, 8, 12, 16, 20, 24)]
    for part in ("images/s", "sentinel1->sentinel1 ", "rgb->dsm ", "load ", "dropped "):
        assert part in steps[-1]
    assert any("sentinel1->sentinel1" in line and "visible mean" in line for line in lines)
    assert lines[-1].startswith(f"done: {finished.out}")


def test_run_json_says_what_is_needed_to_run_it_again(finished: Finished) -> None:
    facts = json.loads((finished.out / "run.json").read_text())
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["versions"]["python"] == platform.python_version()
    assert facts["versions"]["msgfm"] == msgfm.__version__
    git = ["git", "-C", str(Path(msgfm.__file__).parent), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    if head:
        assert head.startswith(facts["commit"].removesuffix("-dirty"))
    assert facts["steps"] == STEPS
    assert facts["left_out"] == []
    assert facts["data"]["both"]["samples"] == 10
    assert facts["data"]["both"]["by_sensors"] == {"rgb + sentinel1": 6, "sentinel1": 2, "rgb": 2}
    assert facts["data"]["relief"]["by_sensors"] == {"dsm + rgb": 5}
    again = PretrainConfig.model_validate(facts["recipe"])
    assert again == load_config(PretrainConfig, finished.recipe)
    assert again == load_config(PretrainConfig, finished.out / "recipe.yaml")
    model = msgfm.from_pretrained(finished.out)
    assert facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_log_has_every_step(finished: Finished) -> None:
    log = finished.log
    assert log.column("step") == [str(step) for step in range(1, STEPS + 1)]
    assert log.column("source") == ["both", "photos", "relief"] * 8
    assert log.numbers("epoch") == pytest.approx([step / 12 for step in range(1, STEPS + 1)])
    # warm-up over the first of two epochs of four rounds, linear from 5e-7
    rounds = np.repeat(np.arange(8), 3)
    assert log.numbers("lr") == pytest.approx(5e-7 + (1e-3 - 5e-7) * np.minimum(rounds / 4, 1))
    for row in log.rows:
        assert float(row["loss"]) == pytest.approx(float(row["reconstruction"]) + 0.01 * float(row["auxiliary"]))
        directions = {name for name in OWN | ACROSS if row[name]}
        assert directions <= {"photos": {"rgb->rgb"}, "relief": OWN | ACROSS, "both": OWN | ACROSS}[row["source"]]
        values = [float(row[name]) for name in directions]
        assert min(values) - 1e-6 <= float(row["reconstruction"]) <= max(values) + 1e-6
        assert 1 <= float(row["expert_load_max"]) <= 4
    assert log.column("images")[1::3] == ["2"] * 8
    assert log.column("images")[2::3] == ["4"] * 8
    assert set(log.column("images")[::3]) <= {"3", "4", "5", "6"}


def test_the_loss_falls(finished: Finished) -> None:
    loss = np.array(finished.log.numbers("loss")).reshape(8, 3)
    assert (loss[-2:].mean(axis=0) < loss[:2].mean(axis=0)).all()


def test_tensorboard_shows_what_the_log_says(finished: Finished) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.out / "tensorboard"))
    events.Reload()
    assert {"both/loss", "photos/loss", "relief/loss", "both/lr", "rgb->dsm"} <= set(events.Tags()["scalars"])
    shown = {event.step: event.value for event in events.Scalars("both/loss")}
    logged = {
        int(row["step"]): float(row["loss"])
        for row in finished.log.rows
        if row["source"] == "both" and int(row["step"]) in (1, 4, 8, 12, 16, 20, 24)
    }
    assert shown == pytest.approx(logged)
    assert len(shown) >= 2
    assert [event.step for event in events.Images("reconstruction")] == [10, 20]


def test_the_model_is_used_in_three_lines(finished: Finished) -> None:
    model = msgfm.from_pretrained(finished.out)
    assert set(model.sensors) == {"sentinel1", "rgb", "dsm"}
    radar = torch.randn(2, 2, 50, 70) * 4 - 13
    maps = model.encode({"sentinel1": radar})["sentinel1"]
    assert [tuple(map_.shape) for map_ in maps] == [(2, 16, 13, 18), (2, 32, 7, 9)]
    picture = model.reconstruct({"sentinel1": radar}, "sentinel1", "rgb")
    assert picture.shape == (2, 3, 50, 70)
    assert picture.isfinite().all()


def test_info_describes_it(finished: Finished) -> None:
    printed = run("info", finished.out)
    for part in ("sentinel1", "VV", "dB", "4 experts, top-1", "24 steps", "both", "Swin, width 16"):
        assert part in printed
    assert "…" not in printed


@pytest.mark.parametrize(("share", "own", "across"), [(0, True, False), (0.5, True, True), (1, False, True)])
def test_cross_share_does_what_it_says(
    share: float, own: bool, across: bool, manifests: dict[str, Path], tmp_path: Path
) -> None:
    """Pairs predict themselves, their partner or either; what has no partner always predicts itself."""
    recipe = write_recipe(tmp_path / "recipe.yaml", manifests)
    run("pretrain", recipe, f"mixture.cross_sensor_share={share}")
    log = read_log(tmp_path / "run")
    pairs = [row for row in log.rows if row["source"] == "relief"]
    for name, wanted in {"rgb->rgb": own, "dsm->dsm": own, "rgb->dsm": across, "dsm->rgb": across}.items():
        assert any(row.get(name) for row in pairs) == wanted, name
    if share != 0.5:
        predicted = [sum(bool(row.get(name)) for name in OWN | ACROSS) for row in pairs]
        assert predicted == [2] * 8  # both sensors of a pair, each in the one direction that there is
    assert all(row["rgb->rgb"] for row in log.rows if row["source"] == "photos")
    # `both` has samples of one sensor beside its pairs
    mixed = [row for row in log.rows if row["source"] == "both"]
    assert any(row["sentinel1->sentinel1"] for row in mixed)
    assert any(row["rgb->rgb"] for row in mixed)
    assert any(row.get("rgb->sentinel1") for row in mixed) == across


def test_a_joint_step_takes_all_sources(manifests: dict[str, Path], tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", manifests)
    run("pretrain", recipe, "mixture.schedule=joint", "sources.photos.lr=3e-3", "optim.warmup_epochs=0")
    log = read_log(tmp_path / "run")
    assert log.column("source") == ["joint"] * 8
    assert all(row[name] for row in log.rows for name in ("sentinel1->sentinel1", "rgb->rgb"))
    assert log.numbers("lr") == pytest.approx([3e-3] * 8)


def test_wandb_that_is_not_installed_is_named(
    manifests: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else find_spec(name))
    recipe = write_recipe(tmp_path / "recipe.yaml", manifests)
    assert "pip install 'msgfm[wandb]'" in refused("pretrain", recipe, "log.wandb_project=mine")
    assert not (tmp_path / "run").exists()
