"""`msgfm data check`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msgfm.cli.app import data_app, errors, out, reports_input_errors, stoppable
from msgfm.errors import InputError

if TYPE_CHECKING:
    from msgfm.data.checks import Journal, Report

ACCEPT_HELP = "A kind of finding that is no error here, as offset-present. May be given often."
_TERMINAL = Path("-")
# Findings of each kind, severity and sensor that are held for the table.
_KEPT = 10


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
    examples: Annotated[int, typer.Option(min=0, help="Findings shown of each kind, severity and sensor.")] = 2,
) -> None:
    """Hold every image against its sensor card; exit code 2 where one does not keep to it.

    Units, offsets, band order, no-data, grids and registration of pairs, duplicates. Nothing is changed: each finding
    says what mends it. For example:

        msgfm data check pairs.parquet

        msgfm data check pairs.parquet --limit 500 --workers 8 --json findings.json

        msgfm data check pairs.parquet --accept offset-mixed --accept duplicate
    """
    with stoppable("interrupted: nothing was written"):
        report = _check(manifest, limit, workers, accept or (), max(examples, _KEPT), json)
    if json != _TERMINAL:
        out.print(report.table(examples))
    if json not in (None, _TERMINAL):
        out.print(f"wrote {json}", highlight=False)
    if strict and report.undecided:
        errors.print("with --strict, what is undecided counts as an error")
    if report.errors or (strict and report.undecided):
        raise typer.Exit(2)


def _check(
    path: Path, limit: int | None, workers: int, accept: Collection[str], keep: int, json: Path | None
) -> Report:
    from msgfm.data.checks import check_manifest
    from msgfm.data.records import read_manifest

    manifest = read_manifest(path)
    if json is not None and json.exists() and json.samefile(path):
        raise InputError(f"--json {json} is the manifest itself; name another file")
    with _journal(json) as journal:
        return check_manifest(manifest, limit=limit, workers=workers, accept=accept, keep=keep, journal=journal)


@contextmanager
def _journal(json: Path | None) -> Iterator[Journal | None]:
    """Takes all findings to a file, or to the terminal once all are found; None where nobody asks for them."""
    import shutil
    from tempfile import TemporaryDirectory

    from msgfm.data.checks import write_findings

    if json is None:
        yield None
    elif json != _TERMINAL:
        with write_findings(json) as journal:
            yield journal
    else:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "findings.json"
            with write_findings(path) as journal:
                yield journal
            with path.open(encoding="utf-8") as file:
                shutil.copyfileobj(file, out.file)
