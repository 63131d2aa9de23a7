"""`msgfm data download`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msgfm.cli.app import data_app, out, reports_input_errors


@data_app.command("download")
@reports_input_errors
def data_download(
    name: Annotated[str, typer.Argument(help="The data set: see the list above.")],
    root: Annotated[Path, typer.Option(help="Folder that it goes to.")] = Path("data"),
) -> None:
    """Fetch a data set with TorchGeo (`pip install 'msgfm[datasets]'`), check its sums and unpack it.

    These can be fetched: `bigearthnet`, `eurosat`, `levir-cd`, `levir-cd-plus`, `mdas`, `oscd`, `spacenet2` (needs the
    AWS command line), `ssl4eo-s12` (1.5 TB), `ucmerced`. For the other layouts it says where to get the data.

    For example:

        msgfm data download eurosat --root data/eurosat
    """
    from msgfm.data.download import DOWNLOADS, download

    folder = download(name, root)
    layout = DOWNLOADS[name].layout
    out.print(f"{name} is in {folder}; next: msgfm data index {layout} {folder}", highlight=False)
