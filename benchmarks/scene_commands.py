"""No benchmark itself: runs `msgfm` on scenes as a user does, and has what came out looked at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from msgfm.metrics.restoration import RestorationMetrics

_BIN = Path(sys.executable).parent

Table = tuple[Sequence[str], list[list[str]]]
"""Headings and rows."""


def msgfm(*arguments: object) -> str:
    """Runs the command as a user would, shows it, and returns what it prints."""
    words = [str(argument) for argument in arguments]
    print("msgfm", *words, flush=True)
    return subprocess.run([_BIN / "msgfm", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def made(path: Path) -> Path:
    """A path whose folder is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def require_cogs(folder: Path) -> None:
    """Has every GeoTIFF in a folder of results validated."""
    for path in sorted(folder.glob("*.tif")):
        command = [str(_BIN / "rio"), "cogeo", "validate", "--strict", str(path)]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        if "is a valid" not in told:
            raise SystemExit(told)
        print(told)


def restored_scores(
    image: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    truth: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    ratio: float | None = None,
) -> list[str]:
    """MAE, PSNR, SAM, and ERGAS where there is a ratio, of C x H x W."""
    metrics = RestorationMetrics([str(i) for i in range(len(truth))], ratio=ratio)
    metrics.update(torch.from_numpy(image)[None], torch.from_numpy(truth)[None])
    scores = metrics.compute()
    formats = {"mae": "{:.4f}", "psnr": "{:.2f}", "sam": "{:.2f}"} | ({"ergas": "{:.2f}"} if ratio else {})
    return [text.format(scores[metric]) for metric, text in formats.items()]
