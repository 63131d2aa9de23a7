"""Small data and small runs for the tests that go through the command line."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from typer.testing import CliRunner, Result

from msgfm.cli import app
from msgfm.geo.raster import write_geotiff

SCRIPT = Path(sys.executable).with_name("msgfm")
"""The console script of this environment."""

_RADAR, _PHOTO, _HEIGHTS = range(3)


def write_image(path: Path, kind: int, seed: int, size: int) -> None:
    """A smooth random image of one sensor."""
    rng = np.random.default_rng((kind, seed))
    y, x = np.mgrid[:size, :size] / size
    waves = np.stack([np.sin(7 * rng.random() * x + 7 * rng.random() * y + 6 * rng.random()) for _ in range(3)])
    noisy = waves + 0.1 * rng.standard_normal(waves.shape)
    array = {
        _RADAR: (noisy[:2] * 4 - 13).astype(np.float32),
        _PHOTO: (noisy * 90 + 128).clip(0, 255).astype(np.uint8),
        _HEIGHTS: (noisy[:1] * 15 + 300).astype(np.float32),
    }[kind]
    write_geotiff(path, array)


def write_data(folder: Path, size: int = 40) -> dict[str, Path]:
    """Writes and indexes three sources of unequal length; returns their manifests.

    both: 9 places with sentinel1 and rgb, 2 with sentinel1 alone, 2 with rgb alone. photos: 5 of rgb alone.
    relief: 7 with rgb and dsm. Some places of each are in the split `val`.
    """
    for i in range(11):
        write_image(folder / "both" / "radar" / f"{i:02d}.tif", _RADAR, i, size)
    for i in [*range(9), 11, 12]:
        write_image(folder / "both" / "photo" / f"{i:02d}.tif", _PHOTO, i, size)
    for i in range(5):
        write_image(folder / "photos" / f"{i:02d}.tif", _PHOTO, 100 + i, size)
    for i in range(7):
        write_image(folder / "relief" / "photo" / f"{i:02d}.tif", _PHOTO, 200 + i, size)
        write_image(folder / "relief" / "heights" / f"{i:02d}.tif", _HEIGHTS, 200 + i, size)
    layouts = {
        "both": ["pairs", "--sensor", "sentinel1=radar", "--sensor", "rgb=photo"],
        "photos": ["image-folder"],
        "relief": ["pairs", "--sensor", "rgb=photo", "--sensor", "dsm=heights"],
    }
    manifests = {}
    for name, (layout, *sensors) in layouts.items():
        manifests[name] = folder / f"{name}.parquet"
        run(
            "data",
            "index",
            layout,
            folder / name,
            *sensors,
            "--val-fraction",
            0.3,
            "--check",
            0,
            "--out",
            manifests[name],
        )
    return manifests


TINY_MODEL: dict[str, Any] = {
    "encoder": {
        "embed_dim": 16,
        "depths": [2, 2],
        "num_heads": [1, 2],
        "window_size": 2,
        "drop_path_rate": 0.2,
        "moe": {"stage": 1, "blocks": [1], "num_experts": 4},
    },
    "mask_patch_size": 8,
}


def write_recipe(path: Path, manifests: dict[str, Path], **changes: Any) -> Path:
    """A recipe of a model with a mixture, gate noise and stochastic depth on the given manifests; 32-pixel crops."""
    recipe = {
        "out": str(path.parent / "run"),
        "sources": {name: {"manifest": str(manifest), "lr": 1e-3} for name, manifest in manifests.items()},
        "mixture": {"batch_size": 6},
        "epochs": 2,
        "image_size": 32,
        "model": TINY_MODEL,
        "optim": {"warmup_epochs": 1},
        "hardware": {"accelerator": "cpu", "precision": "32-true", "num_workers": 0},
        "log": {"checkpoint_every_steps": 1000, "picture_every_steps": None, "tensorboard": False},
    }
    path.write_text(yaml.safe_dump(recipe | changes))
    return path


def invoke(*arguments: object) -> Result:
    """A command in this process, as typed in a shell."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(*arguments: object) -> str:
    """A command that must succeed; returns what it printed."""
    result = invoke(*arguments)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.output


def refused(*arguments: object) -> str:
    """A command that must end with exit code 2 and, last, a message, which is returned."""
    result = invoke(*arguments)
    assert result.exit_code == 2, f"exit code {result.exit_code}: {result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    before, error, message = f"\n{result.stderr}".partition("\nerror: ")
    assert error, before
    return message


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, through the console script; killed at the end if it still runs."""
    command = [str(SCRIPT), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_step(out: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Returns as soon as the run's log has that many steps."""
    for _ in range(30_000):
        if (out / "log.csv").is_file() and (out / "log.csv").read_text().count("\n") > step:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"{out} did not come to step {step}")


@dataclass(frozen=True)
class Log:
    """A run's log.csv."""

    rows: list[dict[str, str]] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        return [row[name] for row in self.rows]

    def numbers(self, name: str) -> list[float]:
        return [float(value) for value in self.column(name) if value]


def read_log(run_folder: Path) -> Log:
    with (run_folder / "log.csv").open(newline="") as file:
        return Log(list(csv.DictReader(file)))


def files_in(folder: Path, without: Sequence[str] = ()) -> set[str]:
    """Relative paths of all files below a folder, hidden ones too."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(tuple(without))}


def assert_says(message: str, *words: str) -> None:
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
