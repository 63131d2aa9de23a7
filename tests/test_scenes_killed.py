"""Runs on whole scenes that are killed anywhere, in real processes, and gone on with: the same bytes, nothing left."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from scene_processes import (
    children,
    finish,
    is_alive,
    kill,
    parts,
    running,
    start,
    until,
    wait,
    write_images,
    write_models,
)

from msgfm.scenes.parts import parts_beside, staged

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="needs Linux's /proc"),
]
PARTS = 12  # of a layer


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def predict(models, tmp_path_factory):
    """A command that takes some seconds: a scene of 12 parts of 1024 rows."""
    images = write_images(tmp_path_factory.mktemp("images"), 1024 * PARTS, 64)
    return ["predict", models["water"], *images, *("--window", 64, "--overlap", 16, "--probabilities", "--entropy")]


@pytest.fixture(scope="module")
def whole(predict, tmp_path_factory):
    """What an uninterrupted run makes, by name; of the item all but when it was made."""
    folder = tmp_path_factory.mktemp("whole")
    finish(*predict, "--out", folder / "water.tif")
    return contents(folder)


def contents(folder):
    found = {}
    for path in folder.iterdir():
        assert path.is_file(), f"{path} was left behind"
        found[path.name] = path.read_bytes()
        if path.suffix == ".json":
            item = json.loads(path.read_text())
            found[path.name] = item | {"properties": item["properties"] | {"created": "", "datetime": ""}}
    return found


def test_killed_at_ten_moments_and_resumed_it_has_the_same_bytes(predict, whole, tmp_path):
    out, rng = tmp_path / "water.tif", random.Random(5)
    made = staged(out)

    def temporary(folder, name):
        return any(folder.glob(f".{name}*.tmp"))

    moments = [
        *(lambda: True, lambda: parts_beside(out).is_dir()),
        lambda: temporary(parts_beside(out), "result"),
        *(lambda least=least: parts(out) >= least for least in (2, 9, 15, 24, 33)),
        lambda: made.is_file() or temporary(made.parent, "water.tif"),
        lambda: made.with_name("water_probabilities.tif").is_file(),
    ]
    seen = []
    for number, moment in enumerate(moments):
        # one thread or two run the model, which is nothing to the bytes
        run = start(*predict, "--out", out, "--resume", env={"OMP_NUM_THREADS": str(1 + number % 2)})
        assert until(moment, run), wait(run)
        if number < 8:
            time.sleep(rng.uniform(0, 0.2))
        kill(run)
        assert wait(run)[0] == -signal.SIGKILL
        seen.append(parts(out))
        assert not [path for path in tmp_path.iterdir() if path != parts_beside(out)], "nothing has its final name yet"
    assert seen == sorted(seen), "what is done stays"
    assert seen[-1] == 3 * PARTS
    assert len(set(seen)) >= 5
    assert "--resume" in finish(*predict, "--out", out, code=2)
    finish(*predict, "--out", out, "--resume")
    assert contents(tmp_path) == whole


def test_workers_that_are_killed_whose_parent_is_killed_or_stopped(predict, whole, tmp_path):
    out = tmp_path / "water.tif"
    command = [*predict, "--out", out, "--resume", "--workers", 2]

    def workers(run):
        return [pid for pid, command in children(run.pid).items() if "spawn_main" in command]

    with running(*command) as run:
        assert until(lambda: parts(out) >= 1, run), wait(run)
        os.kill(workers(run)[0], signal.SIGKILL)
        code, told = wait(run)
    assert code == 2, told
    assert "a worker process was killed" in told
    assert "--resume keeps what is done" in told
    assert not out.exists()

    done = parts(out)
    assert done
    with running(*command) as run:
        assert until(lambda: parts(out) > done, run), wait(run)
        left = workers(run)
        run.kill()  # it alone: nobody tells the workers
        run.wait()
        end = time.monotonic() + 20
        while any(map(is_alive, left)) and time.monotonic() < end:
            time.sleep(0.01)
        assert len(left) == 2
        assert not any(map(is_alive, left))

    done = parts(out)
    with running(*command) as run:
        assert until(lambda: parts(out) > done, run), wait(run)
        kill(run, signal.SIGINT)  # as a terminal does: the workers get it, too
        code, told = wait(run)
    assert code == 130, told
    assert told.endswith("stopped; parts that are done are kept: the same command with --resume goes on"), told
    assert 0 < parts(out) < 3 * PARTS
    assert not out.exists()

    finish(*command)
    assert contents(tmp_path) == whole


def test_two_runs_at_once_do_not_write_one_result(predict, whole, tmp_path):
    command = [*predict, "--out", tmp_path / "water.tif"]
    with running(*command) as run:
        assert until(lambda: parts(tmp_path / "water.tif") >= 1, run), wait(run)
        kill(run, signal.SIGSTOP)  # it holds on until the others have tried
        for more in ([], ["--resume"], ["--overwrite"]):
            assert "another run is writing" in finish(*command, *more, code=2)
        kill(run, signal.SIGCONT)
        assert wait(run)[0] == 0
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("kind", ["embed", "labels"])
def test_tables_of_windows_killed_and_resumed(models, predict, tmp_path, kind):
    images = predict[2:6]
    name = ["embed", models["pretrained"]] if kind == "embed" else ["predict", models["labels"]]
    command = [*name, *images, "--window", 32, "--batch-size", 1]
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    finish(*command, "--out", tmp_path / "whole" / "windows.parquet")
    out = tmp_path / "killed" / "windows.parquet"
    for least in (1, 150):
        run = start(*command, "--out", out, "--resume")
        assert until(lambda least=least: parts(out) >= least, run), wait(run)
        kill(run)
        assert wait(run)[0] == -signal.SIGKILL
        assert not out.exists()
    finish(*command, "--out", out, "--resume")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
