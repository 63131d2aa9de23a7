"""`msgfm preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msgfm.cli.app import app, out, reports_input_errors


@app.command("preview")
@reports_input_errors
def preview(
    images: Annotated[
        list[str],
        typer.Argument(
            help="Rasters (GeoTIFF...), .SAFE products, folders of bands, STAC items: paths, or addresses (http, s3)."
        ),
    ],
    page: Annotated[Path, typer.Option("--out", help="The page to write (.html).")],
    label: Annotated[
        list[str] | None,
        typer.Option(help="What to call an image; once for each, in their order.", show_default="names of the files"),
    ] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(
            help="IMAGE=BANDS: one band or three, by name or number, or `classes`. May be given often.",
            show_default="what the file says",
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=16, max=8192, help="Pixels along the pictures' longer side.")] = 1600,
) -> None:
    """Make one HTML page that shows images of a place beside each other.

    They are brought to the grid of the first and shown with a slider, zoomed and moved together; below stand legends,
    the place on a map and what the files say of themselves. The page needs no other file and no network.

    For example:

        msgfm preview cloudy.tif clear.tif --out page.html

        msgfm preview S2A_MSIL1C_X.SAFE clear.tif --out page.html

        msgfm preview s1.tif s2.tif water.tif --show s2.tif=B08,B04,B03 --show water.tif=classes --out flood.html

        msgfm preview before.tif after.tif --label 2019 --label 2024 --size 3000 --out change.html
    """
    from msgfm.errors import InputError
    from msgfm.scenes.preview import PreviewRequest, write_preview

    wanted = []
    for text in show or ():
        # an address may hold the sign, too; a band's name does not
        place, equals, bands = text.rpartition("=")
        if not (equals and place and bands):
            raise InputError(f"--show {text}: write IMAGE=BANDS, as {images[0]}=3,2,1 or {images[0]}=classes")
        wanted.append((place, bands))
    request = PreviewRequest(places=tuple(images), labels=tuple(label or ()), shown=tuple(wanted), longest=size)
    write_preview(request, page)
    out.print(f"wrote {page}", highlight=False)
