"""A run that was killed, or told to stop, and resumed is the run that was left alone, bit for bit."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from small_runs import Log, files_in, invoke, read_log, refused, run, started, wait_for_step, write_data, write_recipe

from msgfm.data.records import read_manifest, write_manifest

EPOCHS = 4
STEPS = 4 * EPOCHS * 3  # `both`: 10 samples for training by 3, so 4 rounds of 3 sources


class Whole(NamedTuple):
    """A recipe, and what a run that nobody disturbed made of it."""

    recipe: Path
    log: Log
    weights: bytes


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("resume")
    log = {"checkpoint_every_steps": 5, "keep_checkpoints": 2, "picture_every_steps": None, "tensorboard": False}
    recipe = write_recipe(folder / "recipe.yaml", write_data(folder / "data"), epochs=EPOCHS, log=log)
    run("pretrain", recipe, f"out={folder / 'whole'}")
    return Whole(recipe, read_log(folder / "whole"), (folder / "whole" / "model.safetensors").read_bytes())


def assert_same_run(out: Path, whole: Whole) -> None:
    log = read_log(out)
    assert log.column("step") == [str(step + 1) for step in range(STEPS)]
    for column in ("loss", "lr", "grad_norm", "sentinel1->rgb", "rgb->rgb"):
        assert log.column(column) == whole.log.column(column)
    assert (out / "model.safetensors").read_bytes() == whole.weights


def test_the_run_is_one_that_chance_and_order_could_spoil(whole: Whole) -> None:
    steps = whole.log.column("step")
    assert len(steps) == STEPS
    assert whole.log.column("source")[:6] == ["both", "photos", "relief"] * 2
    assert max(whole.log.numbers("dropped_share")) > 0
    assert len(set(whole.log.column("loss"))) == STEPS


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_a_random_step_and_resumed_is_the_same(whole: Whole, tmp_path: Path, workers: int) -> None:
    step = random.Random(seed := time.time_ns()).randint(6, STEPS - 8)
    arguments = ("pretrain", whole.recipe, f"out={tmp_path}", f"hardware.num_workers={workers}")
    with started(*arguments) as process:
        wait_for_step(tmp_path, step, process)
    reached = len(read_log(tmp_path).rows)
    print(f"seed {seed}: killed after step {reached} of {STEPS}")  # noqa: T201
    assert process.returncode == -signal.SIGKILL
    assert step <= reached < STEPS
    assert not (tmp_path / "model.safetensors").exists()

    (tmp_path / "checkpoints" / ".step_00000099.ckpt.1.tmp").write_text("as a kill leaves it that comes while saving")
    last = max((tmp_path / "checkpoints").glob("step_*.ckpt"))

    assert f"resuming {last} after step {int(last.stem[5:])} of {STEPS}" in run(*arguments, "--resume")
    assert_same_run(tmp_path, whole)
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_and_ends_with_a_message(whole: Whole, tmp_path: Path, number: signal.Signals) -> None:
    arguments = ("pretrain", whole.recipe, f"out={tmp_path}", "hardware.num_workers=1")
    with started(*arguments) as process:
        wait_for_step(tmp_path, 7, process)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=300)
    reached = len(read_log(tmp_path).rows)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name} after step {reached} of {STEPS}" in stderr
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    assert reached in checkpoints_in(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()

    assert f"after step {reached} of {STEPS}" in run(*arguments, "--resume")
    assert_same_run(tmp_path, whole)


class Stopped(NamedTuple):
    recipe: Path
    out: Path


@pytest.fixture
def stopped(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stopped:
    """A run that stopped after step 7, by a signal to itself, in this process."""
    from msgfm.training.logs import CsvLog

    write = CsvLog.write

    def write_and_stop(self: CsvLog, row: dict[str, object]) -> None:
        write(self, row)
        if row["step"] == 7:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(CsvLog, "write", write_and_stop)
        result = invoke("pretrain", whole.recipe, f"out={tmp_path / 'run'}")
    assert result.exit_code == 128 + signal.SIGTERM, result.output
    return Stopped(whole.recipe, tmp_path / "run")


def checkpoints_in(out: Path) -> set[int]:
    return {int(path.stem[5:]) for path in (out / "checkpoints").iterdir()}


def test_half_written_lines_are_dropped_and_harmless_settings_may_change(stopped: Stopped, whole: Whole) -> None:
    assert checkpoints_in(stopped.out) == {5, 7}
    lines = (stopped.out / "log.csv").read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 7
    # as a run leaves it that was killed while it wrote step 9
    (stopped.out / "log.csv").write_text("".join(lines) + lines[-1].replace("7,", "8,", 1) + "9,0.75,rel")
    changes = ("hardware.num_workers=1", "log.keep_checkpoints=3", "log.every_steps=1")
    run("pretrain", stopped.recipe, f"out={stopped.out}", *changes, "--resume")
    assert_same_run(stopped.out, whole)
    assert checkpoints_in(stopped.out) == {STEPS, STEPS - STEPS % 5, STEPS - STEPS % 5 - 5}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("seed=1", "seed was 0 and is 1"),
        ("optim.weight_decay=0.1", "optim.weight_decay was 0.05 and is 0.1"),
        ("sources.relief.lr=2e-3", "sources.relief.lr was 0.001 and is 0.002"),
        ("sources.photos.batch_size=3", "sources.photos.batch_size was 2 and is 3"),
        ("sources.both.sensors=[rgb]", "sources.both"),
        ("model.encoder.embed_dim=32", "model.encoder.embed_dim was 16 and is 32"),
        ("mixture.cross_sensor_share=1", "mixture.cross_sensor_share was 0.5 and is 1.0"),
        ("hardware.accumulate=2", "hardware.accumulate was 1 and is 2"),
    ],
)
def test_resuming_with_other_settings_is_refused(stopped: Stopped, change: str, named: str) -> None:
    before = {name: (stopped.out / name).read_bytes() for name in files_in(stopped.out)}
    message = refused("pretrain", stopped.recipe, f"out={stopped.out}", change, "--resume")
    assert "is of another run" in message
    assert named in message
    assert "another out=FOLDER" in message
    assert {name: (stopped.out / name).read_bytes() for name in files_in(stopped.out)} == before


def test_a_complete_run_takes_more_epochs(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "longer"
    shutil.copytree(whole.recipe.parent / "whole", out)
    run("pretrain", whole.recipe, f"out={out}", f"epochs={EPOCHS + 1}", "--resume")
    losses = read_log(out).column("loss")
    assert len(losses) == STEPS + STEPS // EPOCHS
    assert losses[:STEPS] == whole.log.column("loss")
    message = refused("pretrain", whole.recipe, f"out={out}", "epochs=1", "--resume")
    assert f"after step {len(losses)}" in message
    assert "epochs=1" in message


def test_a_run_without_checkpoint_starts_anew(whole: Whole, tmp_path: Path) -> None:
    message = refused("pretrain", whole.recipe, f"out={tmp_path}", "epochs=1", "--resume")
    assert "no run was started in" in message
    (tmp_path / "recipe.yaml").write_text("left by a run that stopped before its first checkpoint")
    run("pretrain", whole.recipe, f"out={tmp_path}", "epochs=1", "--resume")
    assert len(read_log(tmp_path).rows) == STEPS // EPOCHS


def test_another_order_of_sources_or_other_samples_are_refused(stopped: Stopped, tmp_path: Path) -> None:
    recipe = yaml.safe_load(stopped.recipe.read_text())
    turned = tmp_path / "turned.yaml"
    turned.write_text(yaml.safe_dump(recipe | {"sources": dict(reversed(recipe["sources"].items()))}, sort_keys=False))
    assert "order" in refused("pretrain", turned, f"out={stopped.out}", "--resume")
    manifest = Path(recipe["sources"]["photos"]["manifest"])
    content = read_manifest(manifest)
    renamed = tuple(replace(sample, sample=f"other {sample.sample}") for sample in content.samples)
    write_manifest(replace(content, samples=renamed), tmp_path / "other.parquet")
    change = f"sources.photos.manifest={tmp_path / 'other.parquet'}"
    assert "sources.photos.samples" in refused("pretrain", stopped.recipe, f"out={stopped.out}", change, "--resume")


def test_a_complete_run_is_left_as_it_is(whole: Whole) -> None:
    out = whole.recipe.parent / "whole"
    before = (out / "run.json").read_bytes()
    assert "is complete" in run("pretrain", whole.recipe, f"out={out}", "--resume")
    assert (out / "run.json").read_bytes() == before


def test_an_error_ends_a_run_whose_workers_ignore_signals(whole: Whole, tmp_path: Path) -> None:
    crash = (
        "import msgfm.training.pretraining.pretrain as p, sys; step = p.train_step\n"
        "def fail(*a):\n    if a[2].step == 2: raise RuntimeError('chance')\n"
        "p.train_step = lambda *a: fail(*a) or step(*a)\n"
        f"from msgfm.cli import app; app(['pretrain', {str(whole.recipe)!r}, 'out={tmp_path}', "
        "'hardware.num_workers=1'])"
    )
    done = subprocess.run([sys.executable, "-c", crash], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "RuntimeError: chance" in done.stderr


def test_starting_anew_in_a_used_folder_is_refused(stopped: Stopped) -> None:
    before = (stopped.out / "log.csv").read_bytes()
    message = refused("pretrain", stopped.recipe, f"out={stopped.out}")
    assert str(stopped.out) in message
    assert "--resume" in message
    assert "out=FOLDER" in message
    assert (stopped.out / "log.csv").read_bytes() == before


def test_resuming_without_a_checkpoint_is_refused(whole: Whole, tmp_path: Path) -> None:
    message = refused("pretrain", whole.recipe, f"out={tmp_path / 'new'}", "--resume")
    assert f"no run was started in {tmp_path / 'new'}" in message
    assert "without --resume" in message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_a_run_killed_before_its_first_checkpoint_can_be_started_again(
    resume: tuple[str, ...], stopped: Stopped, whole: Whole
) -> None:
    for path in (stopped.out / "checkpoints").iterdir():
        path.unlink()
    run("pretrain", stopped.recipe, f"out={stopped.out}", *resume)
    assert_same_run(stopped.out, whole)


def test_a_damaged_checkpoint_is_named(stopped: Stopped) -> None:
    last = stopped.out / "checkpoints" / "step_00000007.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    message = refused("pretrain", stopped.recipe, f"out={stopped.out}", "--resume")
    assert str(last) in message
    assert "delete it" in message
