"""Checkpoints to resume from: written in one piece, the last few kept, refused when they are of another run."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from msgfm.errors import InputError
from msgfm.files import write_atomically

FORMAT_VERSION = 1
CHECKPOINTS = "checkpoints"
"""Their folder in that of a run."""


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint after `step` optimiser steps lies."""
    return run / CHECKPOINTS / f"step_{step:08d}.ckpt"


def list_checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(path for path in (run / CHECKPOINTS).glob("step_*.ckpt") if re.fullmatch(r"step_\d{8}", path.stem))


def save_checkpoint(run: Path, step: int, content: dict[str, Any], keep: int) -> Path:
    """Writes a checkpoint, then deletes all but the last `keep`, and what a run killed while writing left behind.

    Raises:
        InputError: the disk is full; the earlier checkpoints stand.
    """
    path = checkpoint_path(run, step)
    with write_atomically(path) as temporary:
        try:
            torch.save({"format_version": FORMAT_VERSION, "step": step} | content, temporary)
        except RuntimeError as error:  # how torch reports a failed write
            raise OSError("it could not be written whole (is the disk full?)") from error
    for old in [*list_checkpoints(run)[:-keep], *path.parent.glob(".step_*.tmp")]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU; nothing but tensors and plain values is unpickled.

    Raises:
        InputError: unreadable, or of another format version.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch compares no checksums
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:  # torch's message says how to load it all the same
        raise InputError(f"{path} is no checkpoint of msgfm: it holds more than tensors and plain values") from error
    except (OSError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read checkpoint {path}: {error}; delete it to resume from the one before") from error
    if not isinstance(content, dict) or "format_version" not in content:
        raise InputError(f"{path} is no checkpoint of msgfm; delete it to resume from the one before")
    if content["format_version"] != FORMAT_VERSION:
        version = content["format_version"]
        raise InputError(f"checkpoint {path} has format version {version}, this msgfm reads {FORMAT_VERSION}")
    return content


def require_same(saved: dict[str, Any], present: dict[str, Any], path: Path) -> None:
    """Refuses what another run left, as a checkpoint: every setting that shapes the result must be equal.

    Raises:
        InputError: names the settings that differ.
    """
    differences = list(_differences(saved, present, ""))
    if differences:
        more = f", and {len(differences) - 4} more" if len(differences) > 4 else ""
        raise InputError(
            f"{path} is of another run: {'; '.join(differences[:4])}{more}. "
            f"Resume with the recipe it was started with, or start anew with another out=FOLDER"
        )


def _differences(saved: Any, present: Any, place: str) -> Iterator[str]:
    if isinstance(saved, dict) and isinstance(present, dict):
        for key in sorted(saved.keys() | present.keys()):
            yield from _differences(saved.get(key), present.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(saved, list) and isinstance(present, list) and len(saved) == len(present):
        for position, (one, other) in enumerate(zip(saved, present, strict=True)):
            yield from _differences(one, other, f"{place}.{position}")
    elif saved != present:
        yield f"{place} was {saved!r:.60} and is {present!r:.60}"
