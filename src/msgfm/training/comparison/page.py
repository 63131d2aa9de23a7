"""The comparison as one HTML file: the table, plots with a point for every seed, and in what the runs differ."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from msgfm.display import COLOURS
from msgfm.training.comparison.runs import Run
from msgfm.training.comparison.table import BOLD_RULE, GROUPS, Comparison, compare_by
from msgfm.training.comparison.text import headings, shown_rows
from msgfm.training.finetuning.settings import different_settings
from msgfm.training.plots import draw_bars
from msgfm.training.report_html import embed, to_png, write_page

_STYLE = ".numbers td:nth-child(2) { text-align: right; } .paper { color: #777; font-style: italic; }"
_PANELS_PER_ROW = 3


def write_comparison_page(path: Path, comparison: Comparison, runs: Sequence[Run], split: str) -> None:
    """Writes the page; it needs no other file to be read."""
    notes = "".join(f"<li>{html.escape(note)}" for note in comparison.notes)
    parts = [
        f"<h1>Comparison: {html.escape(comparison.title)}</h1>",
        _table(comparison),
        f"<p>{html.escape(BOLD_RULE)}</p>",
        f"<ul>{notes}</ul>" if notes else "",
        "<h2>Every seed</h2><p>Points are seeds, lines mean ± standard deviation, diamonds the paper's number.</p>",
        embed(draw_panels(comparison), "metrics of every seed"),
        *_grouped(runs, split),
        "<h2>In what the recipes differ</h2>",
        _settings(runs),
    ]
    write_page(path, f"Comparison: {comparison.title}", parts, _STYLE)


def draw_panels(comparison: Comparison) -> bytes:
    """A PNG with a panel for each column: runs down, the value across."""
    rows = (*comparison.rows, *comparison.paper)
    across = min(len(comparison.columns), _PANELS_PER_ROW)
    down = math.ceil(len(comparison.columns) / across)
    figure = Figure(figsize=(10 if across > 1 else 6, down * (0.35 * len(rows) + 0.9)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    for axis in panels.flat[len(comparison.columns) :]:
        axis.axis("off")
    for column, axis in zip(comparison.columns, panels.flat, strict=False):
        _draw_panel(axis, comparison, column)
        axis.set_yticks(range(len(rows)), [row.name for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
    return to_png(figure)


def _draw_panel(axis: Axes, comparison: Comparison, column: str) -> None:
    for i, row in enumerate(comparison.rows):
        cell = row.cells[column]
        if not cell.values:
            continue
        colour = COLOURS[i % len(COLOURS)]
        spread = None if math.isnan(cell.std) else cell.std
        axis.errorbar(cell.mean, i, xerr=spread, fmt="|", color=colour, markersize=12, capsize=3)
        axis.plot(list(cell.values.values()), [i] * len(cell.values), "o", color=colour, alpha=0.6, markersize=5)
    for i, row in enumerate(comparison.paper, start=len(comparison.rows)):
        axis.plot([*row.cells[column].values.values()], [i] * len(row.cells[column].values), "D", color="#777777")
    axis.set_title(f"{column} {'↓' if comparison.lower_is_better[column] else '↑'}", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(axis="x", alpha=0.3)


def _table(comparison: Comparison) -> str:
    head = "".join(f"<th>{html.escape(heading)}" for heading in headings(comparison))
    rows = []
    for row, shown in shown_rows(comparison):
        cells = "".join(f"<td><b>{text}</b>" if bold else f"<td>{text}" for text, bold in shown)
        kind = "" if row.seeds else " class=paper"
        rows.append(f"<tr{kind}><td>{html.escape(row.name)}<td>{row.seeds or ''}{cells}</tr>")
    return f"<table class=numbers><tr>{head}</tr>{''.join(rows)}</table>"


def _grouped(runs: Sequence[Run], split: str) -> list[str]:
    """A plot by class, by cloud cover and by sensors, of those that the runs have."""
    parts = []
    for by, groups in GROUPS.items():
        if not any(groups(seed) for run in runs for seed in run.seeds):
            continue
        table = compare_by(runs, split, by, (), ())
        means = {row.name: [row.cells[column].mean for column in table.columns] for row in table.rows}
        spreads = {row.name: [row.cells[column].std for column in table.columns] for row in table.rows}
        title = html.escape(table.title.partition(": ")[2])
        parts += [
            f"<h2>{title}</h2>",
            embed(draw_bars(table.columns, means, spreads, table.title.partition(": ")[2]), title),
        ]
    return parts


def _settings(runs: Sequence[Run]) -> str:
    differing = different_settings([run.facts.recipe for run in runs])
    if not differing:
        return "<p>In nothing.</p>"
    head = "".join(f"<th>{html.escape(run.name)}" for run in runs)
    rows = "".join(
        f"<tr><td><code>{html.escape(key)}</code>{''.join(f'<td>{html.escape(json.dumps(v))}' for v in values)}</tr>"
        for key, values in differing.items()
    )
    return f"<table><tr><th>setting{head}</tr>{rows}</table>"
