"""A fine-tuning run that was killed, or told to stop, and resumed is the run that was left alone, bit for bit."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from small_runs import Log, files_in, invoke, read_log, refused, run, started, wait_for_step
from small_tasks import write_finetune_recipe, write_task_data

from msgfm.data.records import read_manifest, write_manifest
from msgfm.files import write_atomically
from msgfm.training.checkpoint import load_checkpoint

EPOCHS = 4
STEPS = 6 * EPOCHS  # 12 images for training, about two squares of each in an epoch, by 2 batches of 2
_LOG = {"checkpoint_every_steps": 4, "keep_checkpoints": 2, "picture_every_steps": 7, "tensorboard": False}
_TIMES = {"images_per_s", "data_wait"}


class Whole(NamedTuple):
    """A recipe, and what a run of two seeds that nobody disturbed made of it."""

    recipe: Path
    out: Path
    log: Log


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("resume")
    recipe = write_finetune_recipe(
        folder / "recipe.yaml",
        write_task_data(folder / "data"),
        "restoration",
        epochs=EPOCHS,
        batch_size=2,
        seeds=[4, 2],
        data={"manifest": str(folder / "data" / "task.parquet"), "image_size": 24, "sensor_dropout": 0.3},
        optim={"lr": 5e-3, "warmup_epochs": 1, "layer_decay": 0.7},
        hardware={"accelerator": "cpu", "precision": "32-true", "num_workers": 0, "accumulate": 2},
        log=_LOG,
    )
    run("finetune", recipe, f"out={folder / 'whole'}")
    return Whole(recipe, folder / "whole", read_log(folder / "whole" / "seed_4"))


def assert_same_run(out: Path, whole: Whole) -> None:
    for seed in ("seed_4", "seed_2"):
        ours, theirs = read_log(out / seed), read_log(whole.out / seed)
        assert ours.column("step") == [str(step + 1) for step in range(STEPS)]
        for column in theirs.rows[0].keys() - _TIMES:
            assert ours.column(column) == theirs.column(column), column
        for name in ("model.safetensors", "metrics.json", "predictions/test.csv", "predictions/val.csv"):
            assert (out / seed / name).read_bytes() == (whole.out / seed / name).read_bytes(), name
        best = [json.loads((folder / seed / "run.json").read_text())["best"] for folder in (out, whole.out)]
        assert best[0] == best[1]
        assert not (out / seed / "checkpoints").exists()


def test_the_run_is_one_that_chance_and_order_could_spoil(whole: Whole) -> None:
    assert len(set(whole.log.column("loss"))) == STEPS
    assert len(whole.log.numbers("val/mae")) == EPOCHS
    assert (whole.out / "seed_4" / "model.safetensors").read_bytes() != (
        whole.out / "seed_2" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_a_random_step_and_resumed_is_the_same(whole: Whole, tmp_path: Path, workers: int) -> None:
    chance = random.Random(seed := time.time_ns())
    first, step = chance.choice(["seed_4", "seed_2"]), chance.randint(5, STEPS - 4)
    arguments = ("finetune", whole.recipe, f"out={tmp_path}", f"hardware.num_workers={workers}")
    with started(*arguments) as process:
        wait_for_step(tmp_path / first, step, process)
    reached = len(read_log(tmp_path / first).rows)
    print(f"seed {seed}: killed in {first} after step {reached} of {STEPS}")  # noqa: T201
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / first / "run.json").exists()
    done = (tmp_path / "seed_4" / "run.json").read_bytes() if first == "seed_2" else None

    assert f"of {STEPS}" in run(*arguments, "--resume")
    assert_same_run(tmp_path, whole)
    if done is not None:  # a complete seed is left as it is
        assert (tmp_path / "seed_4" / "run.json").read_bytes() == done


def test_a_signal_saves_and_ends_with_a_message(whole: Whole, tmp_path: Path) -> None:
    arguments = ("finetune", whole.recipe, f"out={tmp_path}", "hardware.num_workers=1")
    with started(*arguments) as process:
        wait_for_step(tmp_path / "seed_4", 5, process)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=300)
    reached = len(read_log(tmp_path / "seed_4").rows)
    assert process.returncode == 128 + signal.SIGTERM, stderr
    assert f"stopped by SIGTERM after step {reached} of {STEPS} of seed 4" in stderr
    assert "Traceback" not in stderr
    assert not (tmp_path / "seed_2").exists()
    assert f"after step {reached} of {STEPS}" in run(*arguments, "--resume")
    assert_same_run(tmp_path, whole)


@pytest.fixture
def stopped(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that stopped after step 6, by a signal to itself, in this process."""
    from msgfm.training.logs import CsvLog

    write = CsvLog.write

    def write_and_stop(self: CsvLog, row: dict[str, object]) -> None:
        write(self, row)
        if row["step"] == 6:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(CsvLog, "write", write_and_stop)
        result = invoke("finetune", whole.recipe, f"out={tmp_path / 'run'}")
    assert result.exit_code == 128 + signal.SIGTERM, result.output
    return tmp_path / "run"


def test_resuming_with_other_settings_or_a_damaged_checkpoint_is_refused(whole: Whole, stopped: Path) -> None:
    changes = {
        "optim.lr=1e-4": "optim.lr was 0.005 and is 0.0001",
        "epochs=9": "epochs was 4 and is 9",
        "data.sensor_dropout=0": "data.sensor_dropout was 0.3 and is 0.0",
        "transfer=per_sensor": "model.transfer was 'stack' and is 'per_sensor'",
        "data.fraction=0.5": "samples.train was",
        "hardware.accumulate=1": "hardware.accumulate was 2 and is 1",
    }
    for change, named in changes.items():
        message = refused("finetune", whole.recipe, f"out={stopped}", change, "--resume")
        assert "is of another run" in message
        assert named in message
    assert "--resume" in refused("finetune", whole.recipe, f"out={stopped}")
    other = f"data.manifest={_read_otherwise(whole)}"
    message = refused("finetune", whole.recipe, f"out={stopped}", other, "--resume")
    assert "readings.train.card of sentinel1 was" in message
    last = stopped / "seed_4" / "checkpoints" / "step_00000006.ckpt"
    before = last.with_name("step_00000004.ckpt")
    earlier = load_checkpoint(before)
    del earlier["shaping"]["readings"]  # as an earlier version wrote it
    torch.save(earlier, left := before.with_suffix(".earlier"))
    left.replace(before)  # which `earlier` still reads from
    content = last.read_bytes()
    last.write_bytes(content[:1000])
    assert "delete it" in refused("finetune", whole.recipe, f"out={stopped}", "--resume")
    last.unlink()
    run("finetune", whole.recipe, f"out={stopped}", "--resume", "hardware.num_workers=1")
    assert_same_run(stopped, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_in_the_evaluation_ends_with_a_message(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Half-written files of it and of a killed run are gone, and what was trained is not trained again."""
    from msgfm.training.finetuning import finetune

    def stop_in_the_middle(*_: object) -> None:
        with write_atomically(tmp_path / "seed_4" / "config.json") as temporary:
            temporary.write_text("{")
            signal.raise_signal(number)

    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "save_pretrained", stop_in_the_middle)
        result = invoke("finetune", whole.recipe, f"out={tmp_path}")
    assert result.exit_code == 128 + number
    assert f"stopped by {number.name} while seed 4 was evaluated" in result.output
    assert "--resume" in result.output
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    assert not list(tmp_path.rglob("*.tmp"))
    left = tmp_path / "seed_4" / ".config.json.99.tmp"
    left.write_text("half")
    assert f"after step {STEPS} of {STEPS}" in run("finetune", whole.recipe, f"out={tmp_path}", "--resume")
    assert not left.exists()
    assert_same_run(tmp_path, whole)


def test_a_run_without_checkpoint_starts_anew(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the first checkpoint: the message has none of torch's inner words."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        message = refused("finetune", whole.recipe, f"out={tmp_path}")
    assert "step_00000004.ckpt: it could not be written whole (is the disk full?); free some space" in message
    assert "enforce" not in message
    run("finetune", whole.recipe, f"out={tmp_path}", "--resume")
    assert_same_run(tmp_path, whole)


def test_a_seed_killed_after_all_but_its_report_is_ended(whole: Whole, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole.out, tmp_path / whole.out.name))
    (out / "seed_4" / "report.html").unlink()
    (out / "seed_4" / "README.md").unlink()
    for seed in ("seed_4", "seed_2"):
        (out / seed / "checkpoints" / "best").mkdir(parents=True)
    before = {name: (out / name).read_bytes() for name in files_in(out)}
    assert "--resume" in refused("finetune", whole.recipe, f"out={out}")
    assert {name: (out / name).read_bytes() for name in files_in(out)} == before
    assert "is complete" in run("finetune", whole.recipe, f"out={out}", "--resume")
    for name in files_in(whole.out):
        assert (out / name).read_bytes() == (whole.out / name).read_bytes(), name
    assert not list(out.rglob("checkpoints"))


def test_a_further_seed_reads_the_files_as_the_others_did(whole: Whole) -> None:
    before = {name: (whole.out / name).read_bytes() for name in files_in(whole.out)}
    changes = ("seeds=[4,2,7]", f"data.manifest={_read_otherwise(whole)}", "--resume")
    message = refused("finetune", whole.recipe, f"out={whole.out}", *changes)
    assert "run.json is of another run" in message
    assert "readings.test.card of sentinel1 was" in message
    assert {name: (whole.out / name).read_bytes() for name in files_in(whole.out)} == before


def _read_otherwise(whole: Whole) -> Path:
    """A manifest of the same files, whose radar is a decibel louder."""
    path = whole.recipe.parent / "data" / "louder.parquet"
    content = read_manifest(path.with_name("task.parquet"))
    louder = content.sensors["sentinel1"].with_setting("offset", 1)
    write_manifest(replace(content, sensors=content.sensors | {"sentinel1": louder}), path)
    return path


def test_there_must_be_something_to_resume(whole: Whole, tmp_path: Path) -> None:
    message = refused("finetune", whole.recipe, f"out={tmp_path / 'new'}", "--resume")
    assert "nothing to resume" in message
    assert not (tmp_path / "new").exists()
