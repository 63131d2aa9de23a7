"""`msgfm compare`: reads the runs, makes the table, writes the file that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from msgfm.errors import InputError
from msgfm.files import require_writable, write_atomically
from msgfm.training.comparison.runs import load_runs
from msgfm.training.comparison.table import compare_by, compare_metrics
from msgfm.training.comparison.text import csv_text, markdown, rich_table

_SUFFIXES = (".md", ".csv", ".html")


def compare_runs(
    folders: Sequence[Path],
    *,
    split: str = "test",
    metrics: Sequence[str] = (),
    by: str | None = None,
    target: Path | None = None,
) -> tuple[Table, tuple[str, ...]]:
    """Compares runs, and writes the comparison.

    Args:
        folders: each a recipe's `out`, the folder of one seed, or one that holds the `out` of every fold.
        split: whose scores.
        metrics: names of metrics to show; all where there are none.
        by: shows one metric by `class`, `cloud-cover` or `sensors`.
        target: file to write: Markdown, CSV, or HTML with plots, as its suffix says.

    Returns:
        The table for the terminal, and what is to be known beside it, a line each.

    Raises:
        InputError: runs that are not there, not finished, or of different tasks, classes or data; no such metric; a
            file that cannot be written.
    """
    if target is not None:
        if target.suffix.lower() not in _SUFFIXES:
            raise InputError(f"cannot write {target}: give a name that ends in {', '.join(_SUFFIXES)}")
        require_writable(target)
    runs, notes = load_runs(folders, split)
    comparison = compare_by(runs, split, by, metrics, notes) if by else compare_metrics(runs, split, metrics, notes)
    if target is not None:
        if target.suffix.lower() == ".html":
            from msgfm.training.comparison.page import write_comparison_page

            write_comparison_page(target, comparison, runs, split)
        else:
            text = csv_text(comparison) if target.suffix.lower() == ".csv" else markdown(comparison)
            with write_atomically(target) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return rich_table(comparison), comparison.notes
