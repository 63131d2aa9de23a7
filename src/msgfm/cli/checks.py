"""`msgfm data check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msgfm.cli.app import data_app, errors, out, reports_input_errors

ACCEPT_HELP = "A kind of finding that is no error here, as offset-present. May be given often."


@data_app.command("check")
@reports_input_errors
def data_check(
    manifest: Annotated[Path, typer.Argument(help="What `msgfm data index` wrote.")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="Look at so many samples, spread evenly; else at all.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read beside this one; 0 is none.")] = 0,
    accept: Annotated[list[str] | None, typer.Option(help=ACCEPT_HELP)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="What is undecided counts as an error.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write all findings here as JSON; - is the terminal.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Findings shown of each kind.")] = 2,
) -> None:
    """Hold every image against its sensor card; exit code 2 where one does not keep to it.

    Units, offsets, band order, no-data, grids and registration of pairs, duplicates. Nothing is changed: each finding
    says what mends it. For example:

        msgfm data check pairs.parquet

        msgfm data check pairs.parquet --limit 500 --workers 8 --json findings.json

        msgfm data check pairs.parquet --accept offset-mixed --accept duplicate
    """
    from msgfm.data.checks import check_manifest
    from msgfm.data.records import read_manifest
    from msgfm.files import write_atomically

    report = check_manifest(read_manifest(manifest), limit=limit, workers=workers, accept=accept or ())
    if json == Path("-"):
        out.print(report.as_json(), highlight=False, markup=False, soft_wrap=True)
    else:
        out.print(report.table(examples))
    if json is not None and json != Path("-"):
        with write_atomically(json) as temporary:
            temporary.write_text(report.as_json(), encoding="utf-8")
        out.print(f"wrote {json}", highlight=False)
    if strict and report.undecided:
        errors.print("with --strict, what is undecided counts as an error")
    if report.errors or (strict and report.undecided):
        raise typer.Exit(2)
