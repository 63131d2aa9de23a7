"""Predictions on disk: a table of probabilities, or a file for each class map and each image, and scores of each."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from msgfm.data.masks import UNLABELLED
from msgfm.errors import InputError
from msgfm.files import write_atomically, write_folder_atomically
from msgfm.models.tasks import Classification, Restoration, Task
from msgfm.training.finetuning.predicting import Predicted

_MOST_IN_UINT8 = 255  # classes 0 to 254; the type's largest number says that there is no label


def require_split_name(split: str) -> None:
    """Refuses names that are paths, for files and a folder are called after a split, and replaced.

    Raises:
        InputError: says what a name may have.
    """
    if not re.fullmatch(r"\w[\w.-]*", split, re.ASCII):
        raise InputError(
            f"--split {split}: not a name; scores can be kept under letters, digits, '.', '_' and '-', first a letter "
            f"or digit: --split NAME 'data.test={split}' scores a split that is called otherwise"
        )


@contextmanager
def write_predictions(folder: Path, split: str, task: Task, keep: int | None) -> Iterator[PredictionWriter]:
    """Writes the predictions of one split below a folder, in the place of those of an evaluation before.

    Those stand until the block ends well, and for good if it does not. Classification: `SPLIT.parquet` with `sample`,
    `target`, `probabilities` in the order of the classes (in the file's metadata). Else: `SPLIT/NNNNNN_NAME.npz` with
    `predicted` (and `target`, of class maps; uint8, 255 where there is no label, or uint16 and 65535 of more than 255
    classes), and `SPLIT.csv` with the scores of each image.

    Args:
        folder: `predictions` of a run.
        split: its name.
        task: with its classes.
        keep: of how many images the prediction itself is written; None is all. Scores are written of all.

    Raises:
        InputError: the split's name is none for a file, or it cannot be written.
    """
    require_split_name(split)
    with write_folder_atomically(folder / split) as images:
        writer = PredictionWriter(images, task, keep)
        yield writer
        writer.write_table(folder, split)
    with suppress(OSError):  # it holds something
        (folder / split).rmdir()


class PredictionWriter:
    """Takes in the predictions of one split; see `write_predictions`.

    Args:
        images: folder of the predicted images.
        task: with its classes.
        keep: of how many images the prediction itself is written; None is all.
    """

    def __init__(self, images: Path, task: Task, keep: int | None) -> None:
        self._images, self._task, self._keep = images, task, keep
        self._rows: list[dict[str, object]] = []

    def add(self, predicted: Predicted, scores: dict[str, float]) -> None:
        """Takes in one image, and its scores."""
        number = len(self._rows)
        if isinstance(self._task, Classification):
            logits = predicted.output.double()
            probabilities = logits.sigmoid() if self._task.multilabel else logits.softmax(0)
            labels = {"sample": predicted.name, "target": predicted.target.tolist()}
            self._rows.append(labels | {"probabilities": probabilities.tolist()})
            return
        file = ""
        if self._keep is None or number < self._keep:
            file = f"{number:06d}_{re.sub(r'[^A-Za-z0-9._-]', '_', predicted.name)[-100:]}.npz"
            self._write(self._images / file, predicted)
        row: dict[str, object] = {"sample": predicted.name, "file": file, **scores}
        if isinstance(self._task, Restoration):
            row["clouds"] = predicted.clouds
        self._rows.append(row)

    def _write(self, path: Path, predicted: Predicted) -> None:
        arrays: dict[str, NDArray[np.generic]]
        if isinstance(self._task, Restoration):
            arrays = {"predicted": predicted.output.numpy()}
        else:
            dtype = np.uint8 if len(self._task.classes) <= _MOST_IN_UINT8 else np.uint16
            target = torch.where(predicted.target == UNLABELLED, np.iinfo(dtype).max, predicted.target)
            arrays = {"predicted": predicted.output.numpy().astype(dtype), "target": target.numpy().astype(dtype)}
        with write_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    def write_table(self, folder: Path, split: str) -> None:
        """Writes what is known of all images: `SPLIT.parquet` or `SPLIT.csv`."""
        if isinstance(self._task, Classification):
            self._write_probabilities(self._task, folder / f"{split}.parquet")
            return
        columns = dict.fromkeys(key for row in self._rows for key in row)
        with write_atomically(folder / f"{split}.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            writer.writerows(self._rows)

    def _write_probabilities(self, task: Classification, path: Path) -> None:
        import json

        import pyarrow as pa
        import pyarrow.parquet as pq

        target = pa.list_(pa.float32()) if task.multilabel else pa.int64()
        fields = [("sample", pa.string()), ("target", target), ("probabilities", pa.list_(pa.float64()))]
        schema = pa.schema(fields, metadata={b"classes": json.dumps(task.classes).encode()})
        with write_atomically(path) as temporary:
            pq.write_table(pa.Table.from_pylist(self._rows, schema=schema), temporary)
