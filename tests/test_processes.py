"""Worker processes go when the one that started them is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


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
