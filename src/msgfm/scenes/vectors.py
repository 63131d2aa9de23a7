"""A vector for each window of a scene: classes of a classification, or features. Rows of windows are kept as done."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.geo.tiling import Coverage, Tiling
from msgfm.models.downstream import DownstreamModel
from msgfm.models.msgfm import MsGFM
from msgfm.models.tasks import Classification
from msgfm.scenes.encoding import feature_stage
from msgfm.scenes.engine import Clock, Image, Images, Read, run_strips
from msgfm.scenes.products import as_array, to_tensors
from msgfm.scenes.windows_table import Windows

_GROUP_PX = 4096


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """What a model says of a window.

    Args:
        predict: from images (B, C, h, w) by key to (B, size).
        size: of a vector.
        names: of its numbers; empty where they have none.
    """

    predict: Callable[[Images], Image]
    size: int
    names: tuple[str, ...] = ()


def class_vectors(model: DownstreamModel, device: torch.device) -> Vectors:
    """Probabilities of a classification; of each label by itself where an image may have several."""
    task = model.config.task
    assert isinstance(task, Classification)

    def predict(images: Images) -> Image:
        with torch.inference_mode():
            logits = model(to_tensors(images, device))
            return as_array(logits.sigmoid() if task.multilabel else logits.softmax(1))

    return Vectors(predict=predict, size=len(task.classes), names=task.classes)


def feature_vectors(
    model: MsGFM | DownstreamModel, stage: int, bands: Mapping[str, Sequence[str]], device: torch.device
) -> Vectors:
    """The mean over a window of a stage's map; of several sensors of a pretrained model the mean of theirs.

    Args:
        model: pretrained, or of a task.
        stage: of the encoder, from 1.
        bands: of each image, for a pretrained model.
        device: that it runs on.

    Raises:
        InputError: there is no such stage.
    """
    encoder = feature_stage(model, stage, bands)

    def predict(images: Images) -> Image:
        with torch.inference_mode():
            return as_array(encoder.run(to_tensors(images, device)).float().mean((2, 3)))

    return Vectors(predict=predict, size=encoder.dim)


def cut_groups(tiling: Tiling) -> list[range]:
    """Columns of windows in groups of bounded width."""
    columns = len(tiling.columns.starts)
    step = max(1, _GROUP_PX // max(tiling.window - tiling.overlap, 1))
    return [range(first, min(first + step, columns)) for first in range(0, columns, step)]


def rows_file(folder: Path, row: int, group: int) -> Path:
    """Where a row of windows of a group lies when it is done."""
    return folder / f"windows_{row:06d}_{group:04d}.npz"


def missing_rows(tiling: Tiling, folder: Path) -> list[list[int]]:
    """Of each group of columns the rows of windows that are not done."""
    rows, groups = range(len(tiling.rows.starts)), range(len(cut_groups(tiling)))
    return [[row for row in rows if not rows_file(folder, row, group).is_file()] for group in groups]


def do_rows(
    read: Read,
    vectors: Vectors,
    tiling: Tiling,
    folder: Path,
    *,
    batch_size: int,
    fill: bool,
    threads: int = 1,
    clock: Clock,
) -> Generator[int, None, None]:
    """Does what is missing of a scene's rows of windows; gives 1 for each of `missing_rows` that is done."""
    groups = cut_groups(tiling)
    for number, missing in enumerate(missing_rows(tiling, folder)):
        for rows in _in_sequence(missing):
            coverage = Coverage(tiling=tiling, rows=rows, columns=groups[number])
            for strip, batches in run_strips(read, vectors.predict, coverage, batch_size, fill, threads, clock):
                found = list(batches)
                numbers = [column for wanted, _ in found for column in wanted]
                values = np.concatenate([np.empty((0, vectors.size), np.float32), *(values for _, values in found)])
                _keep(rows_file(folder, strip.row, number), areas_of(tiling, strip.row, numbers), values)
                yield 1


def _in_sequence(numbers: Sequence[int]) -> Iterator[range]:
    """Numbers that follow each other, as ranges."""
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            yield range(numbers[start], numbers[place - 1] + 1)
            start = place


def areas_of(tiling: Tiling, row: int, columns: Sequence[int]) -> NDArray[np.int64]:
    """First row and column, height and width of windows, (N, 4)."""
    rows, across = tiling.rows, tiling.columns
    places = [(rows.starts[row], across.starts[column], rows.size, across.size) for column in columns]
    return np.array(places, np.int64).reshape(-1, 4)


def _keep(path: Path, areas: NDArray[np.int64], values: Image) -> None:
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(file, areas=areas, values=values)


def kept_windows(tiling: Tiling, folder: Path) -> Iterator[Windows]:
    """What was kept, row by row from left to right.

    Raises:
        InputError: a file is damaged.
    """
    for row in range(len(tiling.rows.starts)):
        for group in range(len(cut_groups(tiling))):
            path = rows_file(folder, row, group)
            try:
                with np.load(path) as kept:
                    yield Windows(areas=kept["areas"], values=kept["values"])
            except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
                raise InputError(f"cannot read {path} ({error}); begin anew with --overwrite") from error
