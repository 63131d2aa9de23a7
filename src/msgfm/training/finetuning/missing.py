"""How good a model is when sensors are missing: left out, or predicted from the others by a pretrained model."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table
from torch import Tensor

from msgfm.data.tasks import TaskDataset
from msgfm.display import COLOURS
from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.models.inputs import InputImage
from msgfm.models.msgfm import MsGFM
from msgfm.sensors import Sensor
from msgfm.training.finetuning.build import require_same_bands
from msgfm.training.finetuning.plan import Plan
from msgfm.training.finetuning.predicting import Predictor
from msgfm.training.finetuning.results import (
    MISSING_SENSORS,
    MissingSensors,
    SensorSubset,
    missing_sensors_picture,
    read_missing_sensors,
)
from msgfm.training.finetuning.scoring import score

Fill = Literal["none", "predicted"]
Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def sensor_subsets(inputs: Sequence[InputImage]) -> list[tuple[str, ...]]:
    """All subsets of the inputs' sensors but the empty one, from all of them to each alone.

    Raises:
        InputError: there is only one sensor.
    """
    sensors = list(dict.fromkeys(image.sensor for image in inputs))
    if len(sensors) < 2:
        raise InputError(f"--sensors all-subsets: the model takes only {sensors[0]}; there is nothing to leave out")
    return [subset for size in range(len(sensors), 0, -1) for subset in itertools.combinations(sensors, size)]


def score_subsets(
    plan: Plan, split: str, dataset: TaskDataset, predictor: Predictor, pretrained: MsGFM | None
) -> Table:
    """Scores a split with every subset of the sensors; writes tables, as CSV and JSON, and a picture.

    What other splits were scored stays, as do, without a pretrained model, the scores that were made with one.

    Args:
        plan: of the run.
        split: its name.
        dataset: its samples.
        predictor: of the run's model.
        pretrained: predicts what is missing, too, if given.

    Raises:
        InputError: a sensor that the pretrained model cannot predict, or predict from.
    """
    inputs = plan.model.inputs
    if pretrained is not None:
        require_fillable(inputs, plan.model.sensors, pretrained)
    found = []
    for present in sensor_subsets(inputs):
        missing = tuple(image.key for image in inputs if image.sensor not in present)
        fills: list[Fill] = ["none", "predicted"] if missing and pretrained is not None else ["none"]
        for fill in fills:
            change = leave_out(missing)
            if fill == "predicted" and pretrained is not None:
                change = fill_in(inputs, plan.model.sensors, missing, pretrained)
            what = f"evaluating {split} with {' + '.join(present)}"
            scores = score(plan.model.task, plan.data, replace(predictor, change=change).over(dataset, what))
            given = tuple(image.key for image in inputs if image.sensor in present)
            found.append(SensorSubset(inputs=given, missing=missing, fill=fill, metrics=scores.metrics))
    kept = read_missing_sensors(plan.folder)
    result = MissingSensors(metric=plan.metric, subsets=_with_kept(found, kept.get(split)))
    write_subsets(plan, kept | {split: result})
    return subsets_table(plan, split, result)


def _with_kept(found: Sequence[SensorSubset], before: MissingSensors | None) -> tuple[SensorSubset, ...]:
    """Those that were scored now, each followed by those before of the same inputs that were filled in otherwise."""
    subsets = []
    for given, group in itertools.groupby(found, key=lambda subset: subset.inputs):
        now = list(group)
        fills = {subset.fill for subset in now}
        subsets += now
        subsets += [one for one in (before.subsets if before else ()) if one.inputs == given and one.fill not in fills]
    return tuple(subsets)


def leave_out(missing: Sequence[str]) -> Change:
    """Takes images away; the model treats what is not there as an image without data."""
    return lambda images: {key: image for key, image in images.items() if key not in missing}


def require_fillable(inputs: Sequence[InputImage], cards: Sequence[Sensor], pretrained: MsGFM) -> None:
    """Refuses a pretrained model that does not know all sensors and bands of the inputs, or has them in other units.

    Raises:
        InputError: names the sensor or the band.
    """
    for image in inputs:
        if image.sensor not in pretrained.sensors:
            raise InputError(
                f"--fill: the pretrained model has no sensor {image.sensor!r}; it was trained with "
                f"{', '.join(pretrained.sensors)}"
            )
        own = image.card(cards)
        require_same_bands(pretrained.sensors[image.sensor].select(own.band_names), own, "that of --fill")


def fill_in(inputs: Sequence[InputImage], cards: Sequence[Sensor], missing: Sequence[str], pretrained: MsGFM) -> Change:
    """Replaces images by what the pretrained model predicts of them from another, nothing of which is hidden.

    An image is predicted from the first input that is there, one of its own role (date) if there is any.
    """
    by_key = {image.key: image for image in inputs}

    def change(images: dict[str, Tensor]) -> dict[str, Tensor]:
        known = {key: image for key, image in images.items() if key not in missing}
        return known | {key: predict(by_key[key], known) for key in missing}

    def predict(wanted: InputImage, known: Mapping[str, Tensor]) -> Tensor:
        sources = [by_key[key] for key in known if key in by_key]
        source = next((image for image in sources if image.role == wanted.role), sources[0])
        image = known[source.key]
        bands = {source.sensor: source.card(cards).band_names}
        predicted = pretrained.reconstruct({source.sensor: image}, source.sensor, wanted.sensor, bands=bands)
        indices = pretrained.sensors[wanted.sensor].indices_of(wanted.card(cards).band_names)
        # where the source has no data nothing was seen, and nothing is known
        return torch.where(image.isfinite().any(1, keepdim=True), predicted[:, list(indices)], torch.nan)

    return change


def write_subsets(plan: Plan, results: Mapping[str, MissingSensors]) -> None:
    """Writes `missing_sensors.json`, `.csv` and a picture of each split into the run's folder."""
    path = plan.folder / MISSING_SENSORS
    tree = {split: json.loads(result.model_dump_json()) for split, result in results.items()}
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(tree, indent=1), encoding="utf-8")
    subsets = [(split, subset) for split, result in results.items() for subset in result.subsets]
    names = list(dict.fromkeys(name for _, subset in subsets for name in subset.metrics))
    with write_atomically(path.with_suffix(".csv")) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "sensors", "missing", "fill", *names])
        for split, subset in subsets:
            numbers = [subset.metrics.get(name, math.nan) for name in names]
            writer.writerow([split, " + ".join(subset.inputs), " + ".join(subset.missing), subset.fill, *numbers])
    for split, result in results.items():
        draw_subsets(plan, result, plan.folder / missing_sensors_picture(split))


def subsets_table(plan: Plan, split: str, result: MissingSensors) -> Table:
    """The scores as a table for the terminal."""
    names = list(result.subsets[0].metrics)
    table = Table(title=f"seed {plan.seed}, {split}", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("sensors", *names):
        table.add_column(heading, justify="left" if heading == "sensors" else "right")
    for subset in result.subsets:
        table.add_row(subset.label, *(f"{subset.metrics.get(name, math.nan):.4f}" for name in names))
    return table


def draw_subsets(plan: Plan, result: MissingSensors, path: Path) -> None:
    """The metric against the number of sensors that are there: a point for each subset, a line through their means."""
    sensors = {image.key: image.sensor for image in plan.model.inputs}
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    styles: tuple[tuple[Fill, str], ...] = (("none", "left out"), ("predicted", "predicted"))
    for (fill, label), colour in zip(styles, COLOURS, strict=False):
        points = [(len({sensors[k] for k in s.inputs}), s) for s in result.subsets if s.fill == fill or not s.missing]
        if all(not subset.missing for _, subset in points):
            continue
        counts = sorted({count for count, _ in points})
        means = [
            sum(values) / len(values)
            for count in counts
            for values in [[s.metrics[result.metric] for number, s in points if number == count]]
        ]
        axis.plot(counts, means, "-", color=colour, label=f"missing sensors {label}, mean")
        axis.plot([count for count, _ in points], [s.metrics[result.metric] for _, s in points], "o", color=colour)
        for count, subset in points:
            axis.annotate(" + ".join(subset.inputs), (count, subset.metrics[result.metric]), fontsize=6)
    axis.set(xlabel="sensors", ylabel=result.metric)
    axis.set_xticks(sorted({len({sensors[key] for key in subset.inputs}) for subset in result.subsets}))
    axis.legend(fontsize=7)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
