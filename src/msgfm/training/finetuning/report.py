"""`report.html` of a fine-tuning run: curves, scores, pictures, in one file that needs no other."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from msgfm.display import COLOURS
from msgfm.errors import InputError
from msgfm.metrics import higher_is_better
from msgfm.training.finetuning.results import (
    AT_FULL_RESOLUTION,
    RUN_FACTS,
    RunFacts,
    SplitScores,
    Values,
    has_full_resolution,
    missing_sensors_picture,
    read_facts,
    read_missing_sensors,
    read_scores,
    reported,
)
from msgfm.training.logs import read_log
from msgfm.training.plots import draw_bars, draw_confusion
from msgfm.training.report_html import embed, new_figure, to_png, write_page

REPORT = "report.html"
_VALIDATED = "val/"  # what columns of log.csv start with
_STYLE = "td:nth-child(2) { text-align: right; }"


def write_finetune_report(folder: Path) -> None:
    """Writes `report.html` into the folder of a seed, made of the other files there.

    Raises:
        InputError: the run is not finished, or a file is damaged.
    """
    facts = read_facts(folder)
    if facts is None:
        raise InputError(f"{folder} holds no finished run: no {RUN_FACTS}; msgfm finetune --resume ends it")
    name = f"{folder.resolve().parent.name}, seed {facts.seed}"
    parts = [
        f"<h1>Fine-tuning run {html.escape(name)}</h1>",
        f"<p>{html.escape(_summary(facts))}</p>",
        *_training(folder, facts),
        "<h2>Scores</h2>",
        *_scores(read_scores(folder), facts.paper),
        *_missing(folder),
        *_pictures(folder),
        f"<h2>Facts</h2><pre>{html.escape((folder / RUN_FACTS).read_text(encoding='utf-8'))}</pre>",
    ]
    write_page(folder / REPORT, name, parts, _STYLE)


def _summary(facts: RunFacts) -> str:
    best = facts.best
    chosen = f" Best {best.metric} in validation: {best.value:.4f}, epoch {best.epoch}." if best else ""
    return (
        f"{str(facts.task['kind']).replace('_', ' ').capitalize()}, {facts.steps} steps, "
        f"{facts.parameters / 1e6:.1f} M parameters, finished {facts.finished}, commit {facts.commit}.{chosen}"
    )


def _training(folder: Path, facts: RunFacts) -> Iterator[str]:
    path = folder / "log.csv"
    rows = read_log(path) if path.is_file() else []
    if rows:  # nearest neighbours and rules take no steps
        yield "<h2>Training</h2>" + embed(draw_training(rows, facts.best.metric if facts.best else None), "curves")


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


def _scores(scores: Mapping[str, SplitScores], paper: Mapping[str, float]) -> Iterator[str]:
    names = list(dict.fromkeys(name for one in scores.values() for name in one.metrics))
    rows: list[tuple[str, str, Mapping[str, float]]] = [
        (split, str(one.images or ""), one.metrics) for split, one in scores.items()
    ]
    rows += [("paper", "", paper)] if paper else []
    yield _table(names, rows)
    if has_full_resolution(scores):
        yield f"<p>{html.escape(AT_FULL_RESOLUTION)}</p>"
    for split, one in reported(scores).items():
        for by, groups in (("class", one.per_class), ("band", one.per_band), ("cloud cover, %", one.by_cloud_cover)):
            yield from _bars(split, by, groups)
        if one.confusion:
            yield f"<h3>{html.escape(split)}: true and predicted classes</h3>"
            yield embed(draw_confusion(one.confusion.classes, one.confusion.counts), "confusion matrix")


def _table(names: Sequence[str], rows: Sequence[tuple[str, str, Mapping[str, float]]]) -> str:
    head = "".join(f"<th>{html.escape(name)} {'↑' if higher_is_better(name) else '↓'}" for name in names)
    body = "".join(
        f"<tr><td>{html.escape(split)}<td>{images}{''.join(f'<td>{_number(values, name)}' for name in names)}</tr>"
        for split, images, values in rows
    )
    return f"<table><tr><th>split<th>images{head}</tr>{body}</table>"


def _number(values: Mapping[str, float], name: str) -> str:
    value = values.get(name, math.nan)
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def _bars(split: str, by: str, groups: Mapping[str, Values]) -> Iterator[str]:
    """A plot for each metric that the groups have; how many images each has stands at its name."""
    names = dict.fromkeys(name for values in groups.values() for name in values if name != "images")
    labels = [f"{name} ({values['images']:.0f})" if "images" in values else name for name, values in groups.items()]
    for name in names:
        yield f"<h3>{html.escape(split)}: {html.escape(name)} by {by}</h3>"
        yield embed(
            draw_bars(labels, {name: [values.get(name, math.nan) for values in groups.values()]}, {}, name), name
        )


def _missing(folder: Path) -> Iterator[str]:
    pictures = {split: folder / missing_sensors_picture(split) for split in read_missing_sensors(folder)}
    there = {split: path for split, path in pictures.items() if path.is_file()}
    if there:
        yield "<h2>Missing sensors</h2><p>The score when some of the inputs are missing.</p>"
    for split, path in there.items():
        yield f"<h3>{html.escape(split)}</h3>{embed(path.read_bytes(), 'scores with some of the inputs')}"


def _pictures(folder: Path) -> Iterator[str]:
    """The first and the last of those drawn in training."""
    pictures = sorted((folder / "pictures").glob("predictions_*.png"))
    if pictures:
        yield "<h2>Predictions</h2><p>Inputs, prediction and truth.</p>"
    for path in dict.fromkeys([*pictures[-1:], *pictures[:1]]):
        yield f"<h3>after step {int(path.stem.rsplit('_', 1)[1])}</h3>{embed(path.read_bytes(), 'predictions')}"
