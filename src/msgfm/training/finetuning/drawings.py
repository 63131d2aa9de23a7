"""Plots of one fine-tuning run: its curves, and what its scores become when sensors are missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from msgfm.training.finetuning.results import MissingSensors
from msgfm.training.plots import COLOURS, draw_bars
from msgfm.training.report_html import new_figure, to_png

_VALIDATED = "val/"
_LEFT_OUT, _PREDICTED = "missing ones left out", "missing ones predicted"


def draw_training(rows: Sequence[Mapping[str, str]], metric: str | None) -> bytes:
    """A PNG of the training loss over the steps, smoothed over a fiftieth of the run, and of a validation metric.

    Args:
        rows: of `log.csv`.
        metric: of the validation split, to be drawn on an axis of its own; None draws the loss alone.
    """
    figure, axis = new_figure(9, 4)
    steps, losses = _points(rows, "loss")
    if len(losses):
        width = max(len(losses) // 50, 1)
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        axis.plot(steps[width - 1 :], smooth, color=COLOURS[0], linewidth=1)
    axis.set(xlabel="step", ylabel="training loss, running mean")
    axis.yaxis.label.set_color(COLOURS[0])
    steps, values = _points(rows, f"{_VALIDATED}{metric}")
    if len(values):
        right = axis.twinx()
        right.plot(steps, values, "o-", color=COLOURS[1], markersize=3, linewidth=1)
        right.set_ylabel(f"{metric}, validation")
        right.yaxis.label.set_color(COLOURS[1])
    return to_png(figure)


def _points(rows: Sequence[Mapping[str, str]], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows in which a column holds a number."""
    found = [(int(row["step"]), float(row[column])) for row in rows if row.get(column)]
    steps, values = np.array([point for point in found if math.isfinite(point[1])]).reshape(-1, 2).T
    return steps, values


def draw_missing_sensors(missing: MissingSensors) -> bytes:
    """A PNG of the metric for each subset of the inputs, with missing ones left out and, where done, predicted."""
    groups = list(dict.fromkeys(" + ".join(subset.inputs) for subset in missing.subsets))
    series = {_LEFT_OUT: [math.nan] * len(groups), _PREDICTED: [math.nan] * len(groups)}
    for subset in missing.subsets:
        name = _PREDICTED if subset.missing and subset.fill == "predicted" else _LEFT_OUT
        series[name][groups.index(" + ".join(subset.inputs))] = subset.metrics.get(missing.metric, math.nan)
    drawn = {name: values for name, values in series.items() if not all(map(math.isnan, values))}
    return draw_bars(groups, drawn or {_LEFT_OUT: series[_LEFT_OUT]}, {}, f"{missing.metric}, {missing.split}")
