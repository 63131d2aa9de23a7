"""`msgfm compare`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from msgfm.cli.app import app, out, reports_input_errors


class Grouping(StrEnum):
    """What one metric is shown by."""

    CLASS = "class"
    CLOUD_COVER = "cloud-cover"
    SENSORS = "sensors"


@app.command()
@reports_input_errors
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of fine-tuning runs: a recipe's `out`, or one of its seeds.")
    ],
    target: Annotated[Path | None, typer.Option("--out", help="Also write it: .md, .csv, or .html with plots.")] = None,
    split: Annotated[str, typer.Option(help="Whose scores.")] = "test",
    metric: Annotated[
        list[str] | None, typer.Option(help="Show this metric alone; may be given often.", show_default="all")
    ] = None,
    by: Annotated[Grouping | None, typer.Option(help="Show one metric by class, cloud cover or sensors given.")] = None,
) -> None:
    """Put runs of one task side by side: mean and standard deviation over seeds, and the paper's numbers.

    For example:

        msgfm compare runs/pretrained runs/random --out table.html

        msgfm compare runs/* --metric map_micro --metric f1_macro --out table.md

        msgfm compare runs/with_s1 runs/without --by cloud-cover --metric mae
    """
    from msgfm.training.comparison.compare import compare_runs

    table, notes = compare_runs(runs, split=split, metrics=metric or [], by=by.value if by else None, target=target)
    out.print(table)
    for note in notes:
        out.print(note, highlight=False)
    if target:
        out.print(f"wrote {target}", highlight=False)
