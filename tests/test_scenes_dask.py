"""Scenes on Dask in real processes: a worker that is killed in the middle, progress, workers that end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from scene_commands import read
from scene_processes import children, finish, is_alive, parts, running, until, wait, write_images, write_models

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="needs Linux's /proc"),
]
PARTS = 12


@pytest.fixture(scope="module")
def predict(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    images = write_images(folder, 1024 * PARTS, 64)
    return ["predict", write_models(folder)["water"], *images, "--window", 64, "--overlap", 16]


def test_a_worker_that_is_killed_in_the_middle(predict, tmp_path):
    out, whole = tmp_path / "water.tif", tmp_path / "whole.tif"
    predict = [*predict, "--probabilities"]
    finish(*predict, "--out", whole)
    terminal, end = pty.openpty()
    shown: list[bytes] = []

    def look():
        while True:
            try:
                shown.append(os.read(terminal, 65536))
            except OSError:  # nobody writes there any more
                return

    with running(*predict, "--out", out, "--dask", "local", "--workers", 2, stderr=end, env={"TERM": "xterm"}) as run:
        os.close(end)
        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        assert until(lambda: parts(out) >= 1, run), b"".join(shown)
        before = [pid for pid, command in children(run.pid).items() if "spawn_main" in command]
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        done = parts(out)
        assert done < PARTS
        while is_alive(before[0]):
            time.sleep(0.01)
        assert wait(run)[0] == 0, b"".join(shown)
    looking.join()
    os.close(terminal)
    for layer in ("", "_probabilities"):
        made, expected = (path.with_name(f"{path.stem}{layer}.tif") for path in (out, whole))
        assert made.read_bytes() == expected.read_bytes()
    assert np.nanstd(read(out.with_name("water_probabilities.tif"))) > 1e-3, "they are not all alike"
    assert sorted(path.name for path in tmp_path.iterdir() if path.stem == "water") == [
        *("water.json", "water.qml", "water.tif"),
    ]
    assert b"predicting" in b"".join(shown)


def test_a_parent_that_is_killed_takes_its_workers_along(predict, tmp_path):
    command = [*predict, "--out", tmp_path / "water.tif", "--dask", "local", "--workers", 2]
    with running(*command) as run:
        assert until(lambda: parts(tmp_path / "water.tif") >= 1, run), wait(run)
        left = list(children(run.pid))
        run.kill()
        run.wait()
        end = time.monotonic() + 30
        while any(map(is_alive, left)) and time.monotonic() < end:
            time.sleep(0.01)
        assert len(left) >= 2
        assert not any(map(is_alive, left))


def test_a_scheduler_that_dies_in_the_middle_is_told_and_what_is_done_is_kept(predict, tmp_path, monkeypatch):
    out, address_file = tmp_path / "water.tif", tmp_path / "scheduler.json"
    with ExitStack() as started:

        def start_dask(kind: str, *arguments: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"]
            found = started.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            started.callback(found.terminate)
            return found

        scheduler = start_dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(address_file))
        start_dask("worker", "--scheduler-file", str(address_file), "--nthreads", "1", "--death-timeout", "60")
        address, end = "", time.monotonic() + 60
        while not address and time.monotonic() < end:
            time.sleep(0.01)
            with suppress(OSError, ValueError):  # not yet written, or half of it
                address = json.loads(address_file.read_text())["address"]
        monkeypatch.chdir(tmp_path)  # which the worker does not know
        with running(*predict, "--out", out.name, "--dask", address) as run:
            assert until(lambda: parts(out) >= 1, run), wait(run)
            scheduler.kill()
            code, told = wait(run)
    assert code == 2
    assert f"--dask {address}: the scheduler does not answer any more" in told
    assert parts(out) >= 1
    assert not out.exists()
