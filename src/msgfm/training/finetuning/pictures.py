"""Pictures of predictions: what the model saw, what it said, what is true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from msgfm.data.layouts.splits import spread_evenly
from msgfm.data.masks import UNLABELLED
from msgfm.data.mixture import SampleKey
from msgfm.data.tasks import TaskBatch, TaskDataset
from msgfm.display import Picture, class_colours, colour, stretch_of
from msgfm.models.downstream import DownstreamConfig
from msgfm.models.tasks import Classification, Restoration
from msgfm.sensors import Sensor
from msgfm.training.drawing import draw_cells
from msgfm.training.finetuning.plan import Plan
from msgfm.training.finetuning.predicting import Predictor

_PICTURED = 6
_NAMED = 3  # classes in a title


def draw_predictions(plan: Plan, predictor: Predictor, step: int) -> Path:
    """Draws a few images of the validation split (without one, of the test split, then of training)."""
    dataset = plan.data.val or plan.data.test or plan.data.train
    path = plan.folder / "pictures" / f"predictions_{step:08d}.png"
    draw_examples(plan.model, dataset, predictor, path)
    return path


def draw_examples(model: DownstreamConfig, dataset: TaskDataset, predictor: Predictor, path: Path) -> None:
    """Draws one row for each of a few windows, spread evenly over the data set: inputs, prediction, truth."""
    rows = []
    for position in spread_evenly(range(len(dataset)), _PICTURED):
        batch = dataset.__getitems__([SampleKey(0, 0, position)])
        rows.append(list(_row(model, batch, predictor(batch)[0])))
    draw_cells(rows, path)


def _row(model: DownstreamConfig, batch: TaskBatch, output: Tensor) -> Iterator[tuple[str, Picture]]:
    task, target = model.task, batch.target[0]
    if isinstance(task, Restoration):
        card = task.target.card(model.sensors)
        truth = _shown(target, card)
        low, high = stretch_of(truth)
        for image in model.inputs:
            shown = _shown(batch.images[image.key][0], image.card(model.sensors))
            alike = image.card(model.sensors).band_names == card.band_names
            yield image.key, colour(shown, *((low, high) if alike else stretch_of(shown)))
        yield "prediction", colour(_shown(output, card), low, high)
        yield f"{task.target.key}, truth", colour(truth, low, high)
        return
    for image in model.inputs:
        shown = _shown(batch.images[image.key][0], image.card(model.sensors))
        yield image.key, colour(shown, *stretch_of(shown))
    if isinstance(task, Classification):
        height, width = batch.images[model.inputs[0].key].shape[-2:]
        blank = np.ones((height, width, 3), np.float32)
        yield f"is {_named(task, target)}", blank
        yield f"predicted {_named(task, output > 0 if task.multilabel else output.argmax())}", blank
        return
    yield "prediction", _in_colours(torch.where(target == UNLABELLED, UNLABELLED, output), task.classes)
    yield "truth", _in_colours(target, task.classes)


def _shown(image: Tensor, card: Sensor) -> Picture:
    """The bands to show, (H, W, 1 or 3)."""
    return np.asarray(image[list(card.display_indices())].permute(1, 2, 0), dtype=np.float32)


def _named(task: Classification, labels: Tensor) -> str:
    """Names of classes from a number, or from 0 and 1 for each."""
    numbers = labels.nonzero().flatten().tolist() if task.multilabel else [int(labels)]
    names = [task.classes[number] for number in numbers]
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "") or "none"


def _in_colours(classes: Tensor, names: Sequence[str]) -> Picture:
    """The colour of each class, as on maps of a scene; black is not labelled."""
    colours = class_colours(dict(enumerate(names)))
    palette = np.array(list(colours.values()), np.float32) / 255
    picture: Picture = palette[classes.numpy() % len(palette)]
    picture[classes.numpy() == UNLABELLED] = 0
    return picture
