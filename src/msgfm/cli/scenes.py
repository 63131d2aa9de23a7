"""`msgfm predict`, `translate`, `embed` and `similar`: whole scenes through a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msgfm.cli.app import app, out, reports_input_errors, stoppable
from msgfm.cli.scene_inputs import (
    FILES_AFTER_OPTIONS,
    AllowMissing,
    Bands,
    BatchSize,
    Dask,
    Device,
    Force,
    Like,
    Model,
    Overlap,
    Overwrite,
    Power,
    Result,
    Resume,
    Set,
    Taken,
    Window,
    Workers,
    bands_of,
    images_of,
)
from msgfm.errors import InputError

_STOPPED = "stopped; parts that are done are kept: the same command with --resume goes on"


@app.command(context_settings=FILES_AFTER_OPTIONS)
@reports_input_errors
@stoppable(_STOPPED)
def predict(
    context: typer.Context,
    model: Model,
    result: Result,
    bands: Bands = None,
    like: Like = None,
    settings: Set = None,
    power: Power = "",
    force: Force = None,
    taken: Taken = "",
    allow_missing: AllowMissing = False,
    fill_nodata: Annotated[
        bool, typer.Option("--fill-nodata", help="Predict where some input has data; else all must have.")
    ] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write each class's, too.")] = False,
    entropy: Annotated[
        bool, typer.Option("--entropy", help="Of the classes' probabilities, 0-1; write it, too.")
    ] = False,
    uncertainty: Annotated[
        bool,
        typer.Option("--uncertainty", help="Of restored bands, by mirrored windows (4 x the time); write it, too."),
    ] = False,
    synthesised: Annotated[
        bool, typer.Option("--synthesised", help="Which pixels were changed in restoration; write it, too.")
    ] = False,
    polygons: Annotated[
        Path | None, typer.Option(help="Polygons of the classes, too (.gpkg or .parquet).", show_default="none")
    ] = None,
    min_area: Annotated[float, typer.Option(min=0, help="Square metres; smaller polygons are left out.")] = 0.0,
    leave_out: Annotated[str, typer.Option(help="Class of which no polygons are wanted.", show_default="none")] = "",
    window: Window = None,
    overlap: Overlap = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    workers: Workers = 1,
    dask: Dask = "",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Run a fine-tuned model over a whole scene: --SENSOR FILE... for each of its inputs.

    Files are GeoTIFFs with one band or many, folders, Sentinel-2 products (.SAFE), addresses, or STAC items. What is
    written is a cloud-optimised GeoTIFF on the finest input's grid; of a classification a table of windows (GeoParquet,
    --out NAME.parquet). Memory does not grow with the scene.

    For example:

        msgfm predict runs/clouds/seed_0 --sentinel1 s1.tif --sentinel2@cloudy S2A_MSIL1C_X.SAFE --out clear.tif

        msgfm predict runs/water/seed_0 --sentinel2 s2/*.tif --out water.tif --probabilities

        msgfm predict runs/water/seed_0 --sentinel2 s2.tif --out water.tif --polygons water.gpkg --min-area 1000

        msgfm predict runs/urban/seed_0 --rgb photo.tif --bands rgb=R,G,B --out map.tif --workers 4 --resume
    """
    from msgfm.scenes.embed import classify_scene
    from msgfm.scenes.polygons import PolygonsWanted
    from msgfm.scenes.predict import predict_scene
    from msgfm.scenes.products import ProductOptions
    from msgfm.scenes.settings import Running, SceneInputs

    inputs = SceneInputs(
        images=images_of(model, context.args),
        bands=bands_of(bands or ()),
        like=like,
        settings=settings or (),
        power=power,
        force=force or (),
        taken=taken,
        allow_missing=allow_missing,
    )
    options = ProductOptions(
        probabilities=probabilities, entropy=entropy, uncertainty=uncertainty, synthesised=synthesised
    )
    running = Running(
        window=window,
        overlap=overlap,
        batch_size=batch_size,
        fill=fill_nodata,
        device=device,
        workers=workers,
        dask=dask,
        resume=resume,
        overwrite=overwrite,
    )
    if (min_area or leave_out) and polygons is None:
        raise InputError("--min-area and --leave-out are of polygons; name their file: --polygons NAME.gpkg")
    wanted = None if polygons is None else PolygonsWanted(path=polygons, min_area_m2=min_area, leave_out=leave_out)
    if result.suffix == ".parquet":
        if wanted is not None:
            raise InputError("--polygons are of the classes of pixels; a table has classes of windows, as polygons")
        if options != ProductOptions():
            raise InputError("a table of windows has the classes' probabilities, and no further layers")
        out.print(f"wrote {classify_scene(str(model), inputs, result, running)}", highlight=False, markup=False)
        return
    for file in predict_scene(str(model), inputs, result, options, running, polygons=wanted).files:
        out.print(f"wrote {file}", highlight=False, markup=False)


@app.command(context_settings=FILES_AFTER_OPTIONS)
@reports_input_errors
@stoppable(_STOPPED)
def translate(
    model: Model,
    images: Annotated[list[str], typer.Argument(help="Files of the sensor that is seen.")],
    source: Annotated[str, typer.Option("--from", help="Sensor that is seen.")],
    target: Annotated[str, typer.Option("--to", help="Sensor whose image is predicted.")],
    result: Result,
    bands: Annotated[
        str | None, typer.Option(help="SENSOR=B02,B03,... of files that do not name them; SENSOR= may be left out.")
    ] = None,
    like: Like = None,
    settings: Set = None,
    power: Power = "",
    force: Force = None,
    taken: Taken = "",
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Of each band, by mirrored windows (4 x the time); write it, too.")
    ] = False,
    window: Window = None,
    overlap: Overlap = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    workers: Workers = 1,
    dask: Dask = "",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Predict what another sensor would have seen of a scene, by a pretrained model.

    For example:

        msgfm translate runs/small s1.tif --from sentinel1 --to sentinel2 --out s2_like.tif
    """
    from msgfm.scenes.predict import predict_scene
    from msgfm.scenes.products import ProductOptions
    from msgfm.scenes.settings import Running, SceneInputs

    inputs = SceneInputs(
        images={source: images},
        bands={} if bands is None else {source: bands.removeprefix(f"{source}=").split(",")},
        like=like,
        settings=settings or (),
        power=power,
        force=force or (),
        taken=taken,
    )
    running = Running(
        window=window,
        overlap=overlap,
        batch_size=batch_size,
        device=device,
        workers=workers,
        dask=dask,
        resume=resume,
        overwrite=overwrite,
    )
    options = ProductOptions(uncertainty=uncertainty)
    for file in predict_scene(str(model), inputs, result, options, running, target=target).files:
        out.print(f"wrote {file}", highlight=False, markup=False)


@app.command(context_settings=FILES_AFTER_OPTIONS)
@reports_input_errors
@stoppable(_STOPPED)
def embed(
    context: typer.Context,
    model: Model,
    result: Annotated[Path, typer.Option("--out", help="The table (.parquet), or the raster (.tif, --per-pixel).")],
    stage: Annotated[int, typer.Option(min=1, help="Of the encoder.")] = 3,
    per_pixel: Annotated[
        bool, typer.Option("--per-pixel", help="A raster with one pixel for each token of the stage.")
    ] = False,
    bands: Bands = None,
    like: Like = None,
    settings: Set = None,
    power: Power = "",
    force: Force = None,
    taken: Taken = "",
    allow_missing: AllowMissing = False,
    fill_nodata: Annotated[bool, typer.Option("--fill-nodata", help="Also where only some inputs have data.")] = False,
    window: Window = None,
    overlap: Annotated[
        int | None,
        typer.Option(min=0, help="Of windows, in pixels.", show_default="none; --per-pixel: a quarter of the window"),
    ] = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    workers: Workers = 1,
    dask: Dask = "",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Features of a scene, for search and maps: --SENSOR FILE...

    Of every window, as a table (GeoParquet); or with --per-pixel of every token, as a cloud-optimised GeoTIFF with
    the bands f0, f1, ... and no seams between windows. Its pixels are as large as the tokens of the stage: patch size
    times 2 for each stage after the first (4, 8, 16, 32 pixels of the scene).

    For example:

        msgfm embed runs/small --sentinel2 s2.tif --out features.parquet

        msgfm similar features.parquet --at 13.41,52.52

        msgfm embed runs/small --sentinel2 s2.tif --per-pixel --stage 2 --out features.tif
    """
    from msgfm.scenes.embed import embed_scene
    from msgfm.scenes.predict import embed_pixels
    from msgfm.scenes.settings import Running, SceneInputs

    inputs = SceneInputs(
        images=images_of(model, context.args),
        bands=bands_of(bands or ()),
        like=like,
        settings=settings or (),
        power=power,
        force=force or (),
        taken=taken,
        allow_missing=allow_missing,
    )
    running = Running(
        window=window,
        overlap=overlap,
        batch_size=batch_size,
        fill=fill_nodata,
        device=device,
        workers=workers,
        dask=dask,
        resume=resume,
        overwrite=overwrite,
    )
    if per_pixel:
        files = embed_pixels(str(model), inputs, result, stage, running).files
    else:
        files = (embed_scene(str(model), inputs, result, stage, running),)
    for file in files:
        out.print(f"wrote {file}", highlight=False, markup=False)


@app.command()
@reports_input_errors
def similar(
    table: Annotated[Path, typer.Argument(help="Table that msgfm embed wrote.")],
    at: Annotated[str, typer.Option(help="LON,LAT of the window that is looked for, in degrees.")],
    top: Annotated[int, typer.Option(min=1, help="How many are shown.")] = 10,
    result: Annotated[
        Path | None, typer.Option("--out", help="Table (.parquet) of all windows with their similarity.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --out.")] = False,
) -> None:
    """Find the windows that look like the one at a place: cosine of their features, less the mean of all windows'.

    For example:

        msgfm similar features.parquet --at 13.41,52.52 --top 20 --out alike.parquet
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from msgfm.scenes.similar import find_similar

    shown = Table(box=SIMPLE_HEAD)
    for heading in ("similarity", "longitude", "latitude", "row", "column"):
        shown.add_column(heading, justify="right")
    for match in find_similar(table, _place(at), top, result, overwrite=overwrite):
        numbers = (f"{match.similarity:.4f}", *(f"{degrees:.5f}" for degrees in match.middle))
        shown.add_row(*numbers, *map(str, match.area[:2]))
    out.print(shown)
    if result is not None:
        out.print(f"wrote {result}", highlight=False, markup=False)


def _place(text: str) -> tuple[float, float]:
    try:
        longitude, latitude = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--at {text}: write longitude and latitude in degrees, as 13.41,52.52") from error
    if not (abs(longitude) <= 180 and abs(latitude) <= 90):
        raise InputError(f"--at {text}: longitude is -180 to 180 degrees, latitude -90 to 90")
    return longitude, latitude
