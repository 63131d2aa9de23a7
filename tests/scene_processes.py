"""Commands on whole scenes in processes of their own, which can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from scene_data import backscatter, reflectance, write
from small_downstream import make, pretrained
from small_runs import SCRIPT

from msgfm.models.pretrained import save_pretrained
from msgfm.scenes.parts import parts_beside
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").band_names
_SECONDS = 240.0
"""After which a process is killed that should have ended long before."""

Run = subprocess.Popen[str]


def write_models(folder: Path) -> dict[str, Path]:
    """Small models with random weights: of pixels, of whole windows, pretrained."""
    made = {
        "water": make("segmentation", ["sentinel1", "sentinel2"]),
        "labels": make("classification"),
        "pretrained": pretrained("sentinel1", "sentinel2"),
    }
    for name, model in made.items():
        save_pretrained(model, folder / name)
    return {name: folder / name for name in made}


def write_images(folder: Path, height: int, width: int) -> list[str]:
    """Sentinel-1 and -2 of one place, as arguments."""
    radar = write(folder / "s1.tif", backscatter(height, width), names=["VV", "VH"], block=64, compress="deflate")
    optical = reflectance(height, width, count=13)
    optical[:, : height // 20, : width // 3] = 0
    stored = write(folder / "s2.tif", optical, names=S2, nodata=0, block=64, compress="deflate")
    return ["--sentinel1", str(radar), "--sentinel2", str(stored)]


def start(*arguments: object, env: Mapping[str, str] | None = None, stderr: int = subprocess.PIPE) -> Run:
    """Starts `msgfm` in a process group of its own, one thread each."""
    return subprocess.Popen(
        [str(SCRIPT), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | dict(env or {}),
    )


def wait(run: Run) -> tuple[int, str]:
    """Its exit code, and all that it said, in one line."""
    try:
        said, told = run.communicate(timeout=_SECONDS)
    finally:
        kill(run)
    return run.returncode, " ".join((said + (told or "")).split())


def finish(*arguments: object, code: int = 0) -> str:
    """Runs `msgfm` to its end; returns what it said."""
    returned, told = wait(start(*arguments))
    assert returned == code, told
    return told


def kill(run: Run, number: signal.Signals = signal.SIGKILL) -> None:
    """Kills the whole group, as far as it is alive; does not wait."""
    if run.poll() is None:
        os.killpg(run.pid, number)


def until(reached: Callable[[], bool], run: Run) -> bool:
    """Waits until something is reached, or the process has ended; says which."""
    end = time.monotonic() + _SECONDS
    while not reached():
        if run.poll() is not None:
            return False
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.001)
    return True


@contextmanager
def running(*arguments: object, env: Mapping[str, str] | None = None, stderr: int = subprocess.PIPE) -> Iterator[Run]:
    """A process for the block, killed at its end."""
    run = start(*arguments, env=env, stderr=stderr)
    try:
        yield run
    finally:
        kill(run)
        run.communicate()


def parts(out: Path) -> int:
    """How many parts of a result are finished."""
    return sum(path.suffix in (".tif", ".npz") for path in parts_beside(out).glob("*"))


def children(pid: int) -> dict[int, str]:
    """The processes that a process has started, and they in turn, with their command lines."""
    found: dict[int, str] = {}
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):  # by the thread that started them
        for child in listed.read_text().split():
            found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
            found |= children(int(child))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
