"""Scores with missing sensors as they are kept and shown: JSON, CSV, a table for the terminal, a picture."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from msgfm.display import COLOURS
from msgfm.files import write_atomically
from msgfm.training.finetuning.plan import Plan
from msgfm.training.finetuning.results import MISSING_SENSORS, MissingSensors, missing_sensors_picture


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
        writer.writerow(["split", "sensors", "missing", "fill", "images", *names])
        for split, one in subsets:
            numbers = [one.metrics.get(name, math.nan) for name in names]
            writer.writerow([split, " + ".join(one.inputs), " + ".join(one.missing), one.fill, one.images, *numbers])
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
    styles = (("none", "left out"), ("predicted", "predicted"))
    for (fill, label), colour in zip(styles, COLOURS, strict=False):
        drawn = [s for s in result.subsets if (s.fill == fill or not s.missing) and result.metric in s.metrics]
        points = [(len({sensors[key] for key in subset.inputs}), subset) for subset in drawn]
        if all(not subset.missing for _, subset in points):
            continue
        values = {count: [s.metrics[result.metric] for number, s in points if number == count] for count, _ in points}
        counts = sorted(values)
        means = [sum(values[count]) / len(values[count]) for count in counts]
        axis.plot(counts, means, "-", color=colour, label=f"missing sensors {label}, mean")
        axis.plot([count for count, _ in points], [s.metrics[result.metric] for _, s in points], "o", color=colour)
        for count, subset in points:
            axis.annotate(subset.given, (count, subset.metrics[result.metric]), fontsize=6)
    axis.set(xlabel="sensors", ylabel=result.metric)
    axis.set_xticks(sorted({len({sensors[key] for key in subset.inputs}) for subset in result.subsets}))
    axis.legend(fontsize=7)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
