"""What is shown holds names as they are, though rich has a language of its own in square brackets."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import rich.console
from finetuned_runs import write_run
from rich.console import Console
from rich.table import Table
from small_runs import refused, run
from small_tasks import write_finetune_recipe, write_task_data

from msgfm.data.checks import KINDS, Finding, Report
from msgfm.progress import show_size, track
from msgfm.training.progress import make_console

ODD = "[b]out[/y]"
"""Markup that is not closed, and markup that closes nothing, at which rich ends with an error."""


def test_lines_and_tables_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(ODD, title=ODD, caption=ODD)
    table.add_row(ODD)
    console = make_console()
    console.print(ODD)
    console.print(table)
    assert capsys.readouterr().out.count(ODD) == 5


def test_a_bar_names_what_is_done_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()

    def terminal(**_: object) -> Console:
        return Console(file=screen, force_terminal=True, width=100)

    monkeypatch.setattr(rich.console, "Console", terminal)
    assert list(track([1, 2], f"reading {ODD}", 2)) == [1, 2]
    with show_size(what=f"writing {ODD}"):
        pass
    assert f"reading {ODD}" in screen.getvalue() and f"writing {ODD}" in screen.getvalue()


def test_findings_name_files_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    finding = Finding(
        kind=next(iter(KINDS)),
        severity="error",
        image="sentinel2",
        file=f"{ODD}/a.tif",
        bands=(ODD,),
        seen=f"seen {ODD}",
        expected=f"expected {ODD}",
        remedy=f"remedy {ODD}",
        confidence=0.9,
    )
    report = Report(findings=(finding,), counts={finding.group: 1}, checked=1, samples=1)
    make_console().print(report.table())
    shown = capsys.readouterr().out
    for text in (f"{ODD}/a.tif band {ODD}", f"seen {ODD}", f"expected {ODD}", f"remedy {ODD}"):
        assert text in shown


def test_commands_name_folders_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    assert str(folder) in refused("info", folder)
    for name in ("one", "two"):
        write_run(folder / name, {"accuracy": [0.5, 0.6]})
    compared = run("compare", folder / "one", folder / "two", "--out", folder / "table.html")
    assert str(folder / "table.html") in compared


def test_a_run_is_told_of_by_the_name_of_its_folder(tmp_path: Path) -> None:
    manifest = write_task_data(tmp_path / "data")
    changes = {"encoder": None, "backbone": {"kind": "rule", "rule": "copy"}, "out": str(tmp_path / ODD)}
    recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, "restoration", **changes)
    told = run("finetune", recipe)
    assert f"out: {tmp_path / ODD}" in told
    assert f"done: {tmp_path / ODD}/seed_0" in told
    assert f"{tmp_path / ODD} is complete" in run("finetune", recipe, "--resume")
