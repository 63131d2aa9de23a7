"""Runs x metrics: mean and standard deviation over seeds, which is best, and the paper's numbers."""

from __future__ import annotations

import difflib
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgfm.data.tasks import FULL_RESOLUTION
from msgfm.errors import InputError
from msgfm.metrics import higher_is_better
from msgfm.training.comparison.runs import Run, Seed
from msgfm.training.finetuning.results import Values

GROUPS: dict[str, Callable[[Seed], Mapping[str, Values]]] = {
    "class": lambda seed: seed.scores.per_class,
    "cloud-cover": lambda seed: seed.scores.by_cloud_cover,
    "sensors": lambda seed: seed.by_sensors,
}
"""By what a metric can be shown, and where a seed has it."""

BOLD_RULE = (
    "Mean ± sample standard deviation over seeds. Bold: better than every other run's mean by more than the spreads of "
    "both together, sqrt(std² + std²); a run of one seed is taken to spread as much as the other, and nothing is bold "
    "where neither spread is known, or the only one is 0, as that of a rule: it says nothing of what is trained."
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A metric of one run.

    Args:
        values: by the label of each seed in which the metric is defined.
    """

    values: Mapping[str, float]

    @property
    def mean(self) -> float:
        """NaN where it is defined in no seed."""
        return statistics.fmean(self.values.values()) if self.values else math.nan

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1); NaN with fewer than two seeds."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else math.nan


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run, or what the paper reports."""

    name: str
    seeds: int
    cells: Mapping[str, Cell]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The table.

    Args:
        title: task and split.
        columns: names of metrics, or of the classes or ranges of cloud cover that one metric is shown by.
        lower_is_better: whether it is, of each column.
        rows: runs, in the order in which they were named.
        paper: what the paper reports, below the runs; cells of one value each.
        notes: what was left out and why, a line each.
    """

    title: str
    columns: tuple[str, ...]
    lower_is_better: Mapping[str, bool]
    rows: tuple[Row, ...]
    paper: tuple[Row, ...]
    notes: tuple[str, ...]

    def best(self, column: str) -> str | None:
        """The run that is better than every other by more than their spreads (`BOLD_RULE`); None if there is none."""
        cells = {row.name: row.cells[column] for row in self.rows if row.cells[column].values}
        if len(cells) < 2:
            return None
        sign = -1 if self.lower_is_better[column] else 1
        name = max(cells, key=lambda name: sign * cells[name].mean)
        best = cells.pop(name)
        return name if all(_clearly_apart(best, cell) for cell in cells.values()) else None


def _clearly_apart(one: Cell, other: Cell) -> bool:
    spreads = [cell.std for cell in (one, other) if not math.isnan(cell.std)]
    if len(spreads) < 2 and not any(spreads):
        return False
    return abs(one.mean - other.mean) > math.hypot(spreads[0], spreads[-1])


def compare_metrics(runs: Sequence[Run], split: str, wanted: Sequence[str], notes: Sequence[str]) -> Comparison:
    """The metrics over the whole split; `wanted` picks some, in its order.

    Raises:
        InputError: none of the runs has such a metric.
    """
    names = list(dict.fromkeys(name for run in runs for seed in run.seeds for name in seed.scores.metrics))
    picked_by = runs[0].facts.best.metric if runs[0].facts.best else None
    names = _pick(wanted, sorted(names, key=lambda name: name != picked_by))
    lower = {name: not higher_is_better(name) for name in names}
    paper = _paper_rows(runs, names) if split in ("test", f"test{FULL_RESOLUTION}") else ()
    title = f"{_described(runs[0])}, split {split}"
    return _build(title, runs, lower, lambda seed: seed.scores.metrics, paper, notes)


def compare_by(runs: Sequence[Run], split: str, by: str, wanted: Sequence[str], notes: Sequence[str]) -> Comparison:
    """One metric by class, cloud cover or sensors given; `wanted` names it, else it is the first that there is.

    Raises:
        InputError: the runs have no such scores, or more than one metric is asked for.
    """
    if len(wanted) > 1:
        raise InputError(f"--by {by} shows one metric; --metric was given {len(wanted)} times")
    groups = [GROUPS[by](seed) for run in runs for seed in run.seeds]
    columns = list(dict.fromkeys(column for scores in groups for column in scores))
    if not columns:
        raise InputError(f"these runs have no scores by {by} (task {runs[0].facts.task['kind']}); leave --by out")
    names = dict.fromkeys(name for scores in groups for values in scores.values() for name in values)
    name = _pick(wanted, [name for name in names if name != "images"])[0]
    lower = dict.fromkeys(columns, not higher_is_better(name))

    def extract(seed: Seed) -> dict[str, float]:
        return {column: values[name] for column, values in GROUPS[by](seed).items() if name in values}

    return _build(f"{_described(runs[0])}, split {split}: {name} by {by}", runs, lower, extract, (), notes)


def _build(
    title: str,
    runs: Sequence[Run],
    lower_is_better: Mapping[str, bool],
    extract: Callable[[Seed], Mapping[str, float]],
    paper: Sequence[Row],
    notes: Sequence[str],
) -> Comparison:
    rows, more = [], []
    for run in runs:
        cells = {}
        for column in lower_is_better:
            found = {seed.label: extract(seed).get(column, math.nan) for seed in run.seeds}
            cells[column] = Cell(values={label: value for label, value in found.items() if math.isfinite(value)})
            if 0 < len(cells[column].values) < len(found):
                more.append(f"{run.name}: {column} is defined in {len(cells[column].values)} of {len(found)} seeds")
        rows.append(Row(name=run.name, seeds=len(run.seeds), cells=cells))
    return Comparison(
        title=title,
        columns=tuple(lower_is_better),
        lower_is_better=lower_is_better,
        rows=tuple(rows),
        paper=tuple(paper),
        notes=(*notes, *more),
    )


def _paper_rows(runs: Sequence[Run], columns: Sequence[str]) -> list[Row]:
    """What the recipes say that the paper reports; one row for runs that say the same."""
    of_paper: dict[tuple[tuple[str, float], ...], list[str]] = {}
    for run in runs:
        if run.facts.paper:
            of_paper.setdefault(tuple(sorted(run.facts.paper.items())), []).append(run.name)
    rows = []
    for reported, names in of_paper.items():
        cells = {name: Cell(values={"paper": value}) for name, value in reported}
        cells = {column: cells.get(column, Cell(values={})) for column in columns}
        name = "paper" if len(names) == len(runs) else f"paper ({', '.join(names)})"
        if any(cell.values for cell in cells.values()):
            rows.append(Row(name=name, seeds=0, cells=cells))
    return rows


def _pick(wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(f"no metric {name!r}: {hint}there are {', '.join(names) or 'none'}")
    return list(wanted) or list(names)


def _described(run: Run) -> str:
    kind = str(run.facts.task["kind"]).replace("_", " ")
    classes = len(run.facts.classes)
    return f"{kind}, {classes} classes" if classes else kind
