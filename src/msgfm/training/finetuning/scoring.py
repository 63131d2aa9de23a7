"""Metrics of a split, and of each of its images."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from msgfm.data.tasks import TaskData
from msgfm.errors import InputError
from msgfm.metrics import MetricSet, RestorationMetrics, make_metrics
from msgfm.metrics.confusion import ConfusionMetrics
from msgfm.models.tasks import Classification, Restoration, Task
from msgfm.sensors import Sensor
from msgfm.training.finetuning.predicting import Predicted
from msgfm.training.finetuning.results import Confusion, SplitScores, split_scores

_BLANK_PX = 64


class Scorer:
    """Takes in predictions one by one, and scores each of them and all together.

    Args:
        task: of the model, with its classes.
        data: says what the numbers of a restored image mean, whatever the model was pretrained on.
    """

    def __init__(self, task: Task, data: TaskData) -> None:
        self._task, self._data = task, data
        self._all = self._new()
        self._images = 0

    def _new(self) -> MetricSet:
        task = self._task
        if isinstance(task, Restoration):
            card = _card_of_target(task, self._data)
            return make_metrics(task.kind, bands=card.band_names, value_range=value_range(card), ratio=self._data.ratio)
        multilabel = isinstance(task, Classification) and task.multilabel
        return make_metrics(task.kind, classes=task.classes, multilabel=multilabel)

    def add(self, predicted: Predicted) -> None:
        """Counts an image."""
        _update(self._all, predicted)
        self._images += 1

    def add_and_score(self, predicted: Predicted) -> dict[str, float]:
        """Counts an image, and scores it by itself: the metrics that are one number; of one that is classified none."""
        self.add(predicted)
        if isinstance(self._task, Classification):
            return {}
        if isinstance(self._all, RestorationMetrics):
            return {name: values[-1] for name, values in self._all.scores.items()}
        alone = self._new()
        _update(alone, predicted)
        return {name: value for name, value in alone.compute().items() if isinstance(value, float)}

    def scores(self) -> SplitScores:
        """The metrics of all images so far."""
        confusion = None
        if isinstance(self._all, ConfusionMetrics):
            counts = self._all.confusion.tolist()
            confusion = Confusion(classes=self._all.classes, counts=tuple(map(tuple, counts)))
        return split_scores(self._all.compute(), self._images, confusion)


def _update(metrics: MetricSet, predicted: Predicted) -> None:
    output, target = predicted.output[None], predicted.target[None]
    if isinstance(metrics, RestorationMetrics):
        metrics.update(output, target, output.new_tensor([predicted.clouds]))
    else:
        metrics.update(output, target)


def _card_of_target(task: Restoration, data: TaskData) -> Sensor:
    return task.target.card(list(data.cards.values()))


def value_range(card: Sensor) -> tuple[float, float] | None:
    """What errors of an image are scaled by: 0-1 for reflectance and photographs, else the card's widest valid range.

    None for heights: of the 9500 m between the lowest and the highest place on earth an error is no share to speak of.

    Raises:
        InputError: the bands have different units, so that no number says how large their errors are together.
    """
    units = {unit: [band.name for band in card.bands if band.unit == unit] for unit in (b.unit for b in card.bands)}
    if len(units) > 1:
        first = f"{card.name}:{','.join(next(iter(units.values())))}"
        listed = "; ".join(f"{', '.join(names)} in {unit}" for unit, names in units.items())
        raise InputError(
            f"task.target: the bands of {card.name} have different units, {listed}; errors of these make no one "
            f"number. Name bands of one unit, as target: '{first}'"
        )
    unit = card.bands[0].unit
    if unit == "m":
        return None
    if unit in ("reflectance", "1"):
        return 0.0, 1.0
    return min(band.valid_range[0] for band in card.bands), max(band.valid_range[1] for band in card.bands)


def score(task: Task, data: TaskData, predictions: Iterable[Predicted]) -> SplitScores:
    """The metrics of a split."""
    scorer = Scorer(task, data)
    for predicted in predictions:
        scorer.add(predicted)
    return scorer.scores()


def metric_names(task: Task, data: TaskData) -> tuple[str, ...]:
    """The metrics of a task that are one number each, as they come out of a blank image."""
    if isinstance(task, Classification):
        output = torch.zeros(len(task.classes))
        target = torch.zeros(len(task.classes)) if task.multilabel else torch.tensor(0)
    elif isinstance(task, Restoration):
        output = target = torch.zeros(len(_card_of_target(task, data).bands), _BLANK_PX, _BLANK_PX)
    else:
        output = target = torch.zeros(_BLANK_PX, _BLANK_PX, dtype=torch.int64)
    blank = Predicted(name="blank", output=output, target=target, clouds=math.nan)
    return tuple(score(task, data, [blank]).metrics)
