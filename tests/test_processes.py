"""Worker processes go when the one that started them is killed; one that is killed is told in the user's terms."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from shard_data import NOISE, content_of
from small_runs import invoke, run, write_image

from msgfm.data.processes import fresh_processes


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="needs Linux's /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "world"
    command = ["data", "synth", str(out), "--scenes", "5000", "--size", "32", "--workers", "2"]
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("msgfm")), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as parent:
        for _ in range(600):
            if any(out.rglob("*.tif")) or parent.poll() is not None:
                break
            time.sleep(0.1)
        workers = _children(parent.pid)
        parent.send_signal(signal.SIGKILL)
    assert len(workers) >= 2
    for _ in range(200):
        if not any(map(_runs, workers)):
            break
        time.sleep(0.1)
    left = [pid for pid in workers if _runs(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


@contextmanager
def _kill_the_first_worker() -> Iterator[None]:
    """Kills one process that the block starts, as the system does when memory runs out."""
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for process in multiprocessing.active_children():
                process.kill()
                return
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


@pytest.mark.parametrize("command", ["shard", "stats", "check", "synth"])
def test_a_killed_worker_is_an_error_that_says_what_to_do(tmp_path: Path, command: str) -> None:
    for i in range(4):
        write_image(tmp_path / "photos" / f"{i}.tif", 1, i, 450)  # large enough for several chunks
    listing = tmp_path / "photos.parquet"
    accepted = [word for kind in NOISE for word in ("--accept", kind)]
    run("data", "index", "image-folder", tmp_path / "photos", "--out", listing, *accepted)
    arguments = {
        "shard": [listing, tmp_path / "shards", "--chunk-mb", 1, *accepted],
        "stats": [listing],
        "check": [listing, *accepted],
        "synth": [tmp_path / "world", "--scenes", 40, "--size", 32],
    }[command]
    with _kill_the_first_worker():
        told = invoke("data", command, *arguments, "--workers", 2)
    assert told.exit_code == 2, told.output
    message = " ".join(told.stderr.split())
    assert "a worker process was killed, likely for lack of memory" in message
    assert "the same command again with fewer --workers" in message
    assert not multiprocessing.active_children()
    if command == "shard":
        run("data", command, *arguments)
        run("data", command, listing, tmp_path / "other", *arguments[2:])
        assert content_of(tmp_path / "shards") == content_of(tmp_path / "other")


def _blocked() -> set[signal.Signals | int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def test_workers_are_deaf_to_ctrl_c_from_their_start() -> None:
    """Blocked by whoever starts them, since they could not answer it before Python has started."""
    with fresh_processes(1) as pool:
        assert signal.SIGINT in pool.submit(_blocked).result()
    assert signal.SIGINT not in _blocked()
