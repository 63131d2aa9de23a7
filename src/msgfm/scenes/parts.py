"""The finished parts of a result: files in a folder beside it, from which a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.errors import InputError
from msgfm.files import LOCK, remove_unfinished, write_atomically
from msgfm.geo.tiling import Area
from msgfm.scenes.engine import Piece

Array = NDArray[Any]
Arrays = Mapping[str, Array]
"""By layer of the result: (bands, h, w) as it is stored."""

_STRIPE_PX = 4096
_PART_BYTES = 32 * 2**20
_PART_ROWS = 1024
_PLAN = "plan.json"
_PARTS = (".tif", ".npz")
_BLOCK_PX = 512  # of the result, so that a block of it lies in one stripe
_COARSE_BLOCK_PX = 256  # where one of its pixels is many of the scene


def cut_parts(height: int, width: int, bytes_per_pixel: int, step: int = 1) -> list[list[Area]]:
    """Cuts a result into stripes, and these from top to bottom into parts.

    Both are bounded, so that what a sweep holds does not grow with the scene.

    Args:
        height: pixels of the result.
        width: likewise.
        bytes_per_pixel: of all its layers.
        step: pixels of the scene along one side of one of the result.
    """
    block = _BLOCK_PX if step == 1 else _COARSE_BLOCK_PX
    stripe = math.ceil(width / math.ceil(width * step / _STRIPE_PX) / block) * block
    rows = min(max(_PART_BYTES // (bytes_per_pixel * min(stripe, width)) // 64 * 64, 64), _PART_ROWS)
    return [
        [
            Area(top=top, bottom=min(top + rows, height), left=left, right=min(left + stripe, width))
            for top in range(0, height, rows)
        ]
        for left in range(0, width, stripe)
    ]


def missing_runs(stripes: Sequence[Sequence[Area]], done: Callable[[Area], bool], least: int) -> list[list[Area]]:
    """What is to be done, as runs of parts that follow each other in a stripe.

    Args:
        stripes: all parts.
        done: whether a part is finished.
        least: how many runs there should be at least, if there are as many parts: one for each worker.
    """
    runs: list[list[Area]] = []
    for stripe in stripes:
        run: list[Area] = []
        for part in stripe:
            if done(part):
                runs, run = [*runs, run], []
            else:
                run.append(part)
        runs.append(run)
    runs = [run for run in runs if run]
    while len(runs) < least and (longest := max(runs, key=len, default=[])) and len(longest) > 1:
        place, middle = runs.index(longest), len(longest) // 2
        runs[place : place + 1] = [longest[:middle], longest[middle:]]
    return runs


def area_of(run: Sequence[Area]) -> Area:
    """The whole of parts that follow each other."""
    return Area(top=run[0].top, bottom=run[-1].bottom, left=run[0].left, right=run[0].right)


class Collector:
    """Collects the rows of parts that follow each other, and hands each part on when it is full.

    Args:
        run: the parts, from top to bottom.
        encode: makes stored numbers of rows.
        write: takes a part.
    """

    def __init__(
        self, run: Sequence[Area], encode: Callable[[Piece], Arrays], write: Callable[[Area, Arrays], None]
    ) -> None:
        self._encode, self._write = encode, write
        self._parts = list(reversed(run))
        self._top = run[0].top
        self._held: list[Arrays] = []

    def add(self, piece: Piece) -> None:
        """Takes the next rows."""
        encoded, used = self._encode(piece), 0
        rows = piece.area.bottom - piece.area.top
        while used < rows:
            part = self._parts[-1]
            taken = min(rows - used, part.bottom - self._top)
            self._held.append({name: array[:, used : used + taken] for name, array in encoded.items()})
            used, self._top = used + taken, self._top + taken
            if self._top == part.bottom:
                layers = self._held[0]
                self._write(part, {name: np.concatenate([one[name] for one in self._held], axis=1) for name in layers})
                self._parts.pop()
                self._held = []


@dataclass(frozen=True, kw_only=True)
class PartsFolder:
    """The folder of the parts of one result.

    Args:
        path: of the folder.
        layers: names of the layers of the result.
        plan: digest of the plan that the parts follow.
    """

    path: Path
    layers: tuple[str, ...]
    plan: str

    def file(self, layer: str, part: Area) -> Path:
        """Where a part of a layer lies when it is finished."""
        return self.path / f"{layer}_{part.top:07d}_{part.left:07d}.tif"

    def has(self, part: Area) -> bool:
        """Whether all layers of a part are finished."""
        return all(self.file(layer, part).is_file() for layer in self.layers)

    def require_plan(self) -> None:
        """Refuses to go on where a worker of a cluster has outlived the run that it works for.

        Raises:
            InputError: the folder is gone, or another run has begun anew in it.
        """
        file = self.path / _PLAN
        if not self.path.is_dir():
            raise InputError(f"no folder {self.path}: it was thrown away, or this worker does not see the same files")
        if not file.is_file() or _digest(file.read_text(encoding="utf-8")) != self.plan:
            raise InputError(f"{self.path} is of another run meanwhile, so this one stops")


def parts_beside(out: Path) -> Path:
    """The folder of a result's parts."""
    return out.with_name(f".{out.name}.parts")


def open_parts(out: Path, layers: Sequence[str], plan: Mapping[str, Any], *, resume: bool) -> PartsFolder:
    """Makes the folder, or finds what an earlier run of the same plan left in it. To be called under its lock.

    Args:
        out: the result.
        layers: of the result.
        plan: all that the result's bytes depend on, as JSON.
        resume: whether to go on with what is there.

    Raises:
        InputError: a run was stopped and is neither gone on with nor thrown away, or had another plan.
    """
    text = json.dumps(plan, indent=1)
    # absolute, as workers elsewhere have another folder to start from
    folder = PartsFolder(path=parts_beside(out).absolute(), layers=tuple(layers), plan=_digest(text))
    remove_unfinished(folder.path)
    _remove(staged(out).parent)
    file = folder.path / _PLAN
    if has_begun(out):
        if not resume:
            raise InputError(
                f"{out} was begun by a run that was stopped: go on with --resume, or begin anew with --overwrite"
            )
        before = _read_plan(file)
        if differs := [key for key in sorted({*before, *plan}) if before.get(key) != plan.get(key)]:
            told = "; ".join(f"{key} was {_short(before.get(key))}, is {_short(plan.get(key))}" for key in differs)
            raise InputError(
                f"{out} was begun with something else: {told}; give the same, or begin anew with --overwrite"
            )
        return folder
    remove_parts(out)  # without their plan nobody knows of what they are
    with write_atomically(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return folder


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read_plan(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"cannot use {file} ({error}); begin anew with --overwrite") from error


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def has_begun(out: Path) -> bool:
    """Whether a run of this result was stopped that had finished anything."""
    folder = parts_beside(out)
    return (folder / _PLAN).is_file() and any(path.suffix in _PARTS for path in folder.iterdir())


@contextmanager
def tells_what_is_kept(out: Path) -> Iterator[None]:
    """Adds to what goes wrong in the block that a run can go on from what it has finished."""
    try:
        yield
    except InputError as error:
        if "--resume" in str(error) or not has_begun(out):
            raise
        raise InputError(f"{error}. What is done is kept: the same command with --resume goes on") from error


def staged(out: Path) -> Path:
    """Where a result is made; what lies beside it has the names there that it is to have."""
    return parts_beside(out) / "result" / out.name


def publish(out: Path) -> None:
    """Moves what was made to its place, the result itself last, and throws the parts away.

    Raises:
        InputError: a file cannot be put there.
    """
    made = sorted(staged(out).parent.iterdir(), key=lambda path: path.name == out.name)
    for path in made:
        place = out.with_name(path.name)
        try:
            path.replace(place)
        except OSError as error:
            raise InputError(f"cannot write {place}: {error.strerror or error}; move away what is there") from error
    remove_parts(out)


def remove_parts(out: Path) -> None:
    """Throws away what a run left, but for the lock on it.

    The plan goes last: who is killed meanwhile leaves no parts of which nobody knows what they belong to.
    """
    folder = parts_beside(out)
    for path in sorted(folder.glob("*"), key=lambda path: path.name == _PLAN):
        if path.name != LOCK:
            _remove(path)
    with suppress(OSError):  # there may be a lock in it, or none at all
        folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
