"""The comparison as text: for the terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from msgfm.training.comparison.table import BOLD_RULE, Cell, Comparison, Row


def rich_table(comparison: Comparison) -> Table:
    """For the terminal."""
    table = Table(title=comparison.title, title_justify="left", box=SIMPLE_HEAD)
    for i, heading in enumerate(headings(comparison)):
        table.add_column(heading, justify="right" if i else "left")
    for row, shown in shown_rows(comparison):
        cells = [Text(text, "bold" if bold else "") for text, bold in shown]
        table.add_row(row.name, str(row.seeds or ""), *cells, style="" if row.seeds else "dim")
    return table


def markdown(comparison: Comparison) -> str:
    """A table as GitHub shows it, with what is to be known below it."""

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    first, *others = headings(comparison)
    lines = [f"{comparison.title}\n", line([first, *others]), line(["---", *["---:"] * len(others)])]
    for row, shown in shown_rows(comparison):
        lines.append(line([row.name, str(row.seeds or ""), *(f"**{text}**" if bold else text for text, bold in shown)]))
    lines += ["", BOLD_RULE, *(f"\n- {note}" for note in comparison.notes)]
    return "\n".join(lines) + "\n"


def csv_text(comparison: Comparison) -> str:
    """One row for each run and column, with the value of every seed, all digits."""
    labels = list(
        dict.fromkeys(label for row in comparison.rows for cell in row.cells.values() for label in cell.values)
    )
    target = io.StringIO()
    writer = csv.writer(target)
    writer.writerow(
        ["run", "metric", "lower_is_better", "seeds", "mean", "std", *(f"seed {label}" for label in labels)]
    )
    for row in (*comparison.rows, *comparison.paper):
        for column, cell in row.cells.items():
            numbers = [cell.mean, cell.std, *(cell.values.get(label, math.nan) for label in labels)]
            texts = ["" if math.isnan(number) else repr(number) for number in numbers]
            lower = str(comparison.lower_is_better[column]).lower()
            writer.writerow([row.name, column, lower, len(cell.values) if row.seeds else 0, *texts])
    return target.getvalue()


def headings(comparison: Comparison) -> list[str]:
    """Of the columns; an arrow shows where it is better."""
    arrows = {name: "↓" if lower else "↑" for name, lower in comparison.lower_is_better.items()}
    return ["run", "seeds", *(f"{name} {arrows[name]}" for name in comparison.columns)]


def shown_rows(comparison: Comparison) -> Iterator[tuple[Row, list[tuple[str, bool]]]]:
    """Runs, then the paper; of every column the text, and whether it is bold."""
    digits = {column: _digits(comparison, column) for column in comparison.columns}
    best = {column: comparison.best(column) for column in comparison.columns}
    for row in (*comparison.rows, *comparison.paper):
        yield (
            row,
            [(_text(row.cells[name], digits[name]), bool(row.seeds) and best[name] == row.name) for name in digits],
        )


def _digits(comparison: Comparison, column: str) -> int:
    """Places behind the point: four below 1, one fewer for each further place before it."""
    means = [abs(row.cells[column].mean) for row in comparison.rows if row.cells[column].values]
    largest = max(means, default=0.0)
    return 4 if largest < 1 else max(3 - int(math.log10(largest)), 1)


def _text(cell: Cell, digits: int) -> str:
    if not cell.values:
        return "n/a"
    spread = "" if math.isnan(cell.std) else f" ± {cell.std:.{digits}f}"
    return f"{cell.mean:.{digits}f}{spread}"
