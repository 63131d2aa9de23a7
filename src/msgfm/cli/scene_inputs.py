"""Options that commands on scenes share, and what stands behind `--SENSOR FILE...`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from msgfm.errors import InputError

FILES_AFTER_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Settings of a command's context, so that `--SENSOR FILE...` reaches `images_of`."""

Model = Annotated[Path, typer.Argument(help="Folder of the model, or its name on the hub (owner/name).")]
Result = Annotated[Path, typer.Option("--out", help="The result (.tif); further layers lie beside it.")]
Bands = Annotated[
    list[str] | None,
    typer.Option(help="SENSOR=B02,B03,...: the bands of files that do not name them, in the files' order."),
]
Like = Annotated[str | None, typer.Option(help="Raster whose grid is taken.", show_default="the finest input's")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="How files are stored, as sentinel2.offset=-1000 (msgfm data index).")
]
Power = Annotated[str, typer.Option(help="`linear` or `db`: what radar files hold.", show_default="dB")]
Taken = Annotated[
    str,
    typer.Option(
        help="When the inputs were taken, for the result's metadata: 2022-06-01, 2022-06-01T10:00:31Z, or two with a "
        "slash between them.",
        show_default="as the inputs say",
    ),
]
Force = Annotated[list[str] | None, typer.Option(help="Kind of a finding of the input contract that is let through.")]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Inputs may be left out.")]
Window = Annotated[int | None, typer.Option(min=8, help="Side of a window in pixels.", show_default="as in training")]
Overlap = Annotated[
    int | None, typer.Option(min=0, help="Of windows, in pixels.", show_default="a quarter of the window")
]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Windows at once, of each thread; default: 4 on a CPU, 32 on a GPU.")
]
Device = Annotated[str, typer.Option(help="As torch names it.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes on this machine.")]
Dask = Annotated[str, typer.Option(help="Address of a Dask scheduler; `local` starts a cluster here of --workers.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an earlier run was stopped.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a result, and begin anew.")]


def images_of(model: Path, arguments: Sequence[str]) -> dict[str, list[str]]:
    """By key the files that stand after `--KEY`."""
    if str(model).startswith("--"):
        raise InputError(f"give the model first, then {model}")
    found: dict[str, list[str]] = {}
    key = ""
    for argument in arguments:
        if argument.startswith("--"):
            name, equals, value = argument.removeprefix("--").partition("=")
            key = name
            if key in found:
                raise InputError(f"--{key} stands twice; give all of its files after one")
            found[key] = [value] if equals else []
        elif not key:
            raise InputError(f"{argument}: of which sensor? Give it as --SENSOR {argument}")
        else:
            found[key].append(argument)
    for name, files in found.items():
        if not files:
            raise InputError(f"--{name}: no files stand after it, and it is no other option (msgfm predict --help)")
    return found


def bands_of(texts: Sequence[str]) -> dict[str, list[str]]:
    """By sensor the names of `SENSOR=B02,B03,...`."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, names = text.partition("=")
        if not (key and equals and names):
            raise InputError(f"--bands {text}: write SENSOR=B02,B03,...")
        if key in found:
            raise InputError(f"--bands {text}: {key} stands twice; give all of its bands at once")
        found[key] = names.split(",")
    return found
