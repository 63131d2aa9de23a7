"""What a run's `run.json` says of how it came to be: command, versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import msgfm


def describe_origin(started: float) -> dict[str, Any]:
    """Command, time, versions, commit and machine; `started` is `time.time()` at the start."""
    return {
        "command": sys.argv,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes_since_start_or_resume": round((time.time() - started) / 60, 2),
        "versions": {name: version(name) for name in ("lightning", "numpy", "rasterio", "pydantic")}
        | {"msgfm": msgfm.__version__, "torch": str(torch.__version__), "python": platform.python_version()},
        "commit": source_commit(),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def source_commit() -> str | None:
    """The commit of the checkout that msgfm runs from, marked `-dirty` if it was changed; None if installed."""
    folder = Path(msgfm.__file__).parent
    try:
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=False
        )
        if tracked.returncode:
            return None
        described = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
