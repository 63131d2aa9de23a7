"""`msgfm data index`, `stats` and `synth`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from msgfm.cli.app import data_app, errors, out, reports_input_errors
from msgfm.cli.checks import ACCEPT_HELP

if TYPE_CHECKING:
    from msgfm.data.records import Manifest


@data_app.command("index")
@reports_input_errors
def data_index(
    layout: Annotated[str, typer.Argument(help="image-folder, sen12ms, mdas, bigearthnet, ssl4eo-s12 or pairs.")],
    root: Annotated[Path, typer.Argument(help="The data set's folder.")],
    manifest: Annotated[Path, typer.Option("--out", help="Manifest to write (Parquet).")] = Path("manifest.parquet"),
    sensor: Annotated[
        list[str] | None,
        typer.Option(help="CARD[:band,...]=PATTERN[@file bands] for `pairs`; else a card to use. May be given often."),
    ] = None,
    scenes: Annotated[Path | None, typer.Option(help="CSV that groups samples into scenes (`pairs`).")] = None,
    val_fraction: Annotated[float, typer.Option(help="Share of scenes held out where there is no split.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the draw of scenes.")] = 0,
    split: Annotated[str | None, typer.Option(help="Put every sample into this split.")] = None,
    skip_bad: Annotated[int, typer.Option(min=0, help="Bad files to leave out before it is an error.")] = 0,
    cloudy: Annotated[bool, typer.Option("--cloudy", help="Cloudy in place of clear Sentinel-2 (`sen12ms`).")] = False,
    product: Annotated[str, typer.Option(help="Sentinel-2 product of `ssl4eo-s12`: s2c or s2a.")] = "s2c",
    tile_size: Annotated[int, typer.Option(min=1, help="Side of a tile in RGB pixels (`mdas`).")] = 384,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a card: SENSOR[.BAND].FIELD=VALUE. May be given often.")
    ] = None,
    check: Annotated[int, typer.Option(min=0, help="Samples, spread evenly, held against their cards.")] = 32,
    accept: Annotated[list[str] | None, typer.Option(help=ACCEPT_HELP)] = None,
) -> None:
    """List a data set's samples in a manifest, looking into every file's header and at the pixels of some.

    For example:

        msgfm data index image-folder UCMerced_LandUse --out ucmerced.parquet

        msgfm data index sen12ms SEN12MS --out sen12ms.parquet --val-fraction 0.05

        msgfm data index pairs mine --sensor rgb=photos --sensor heights.yaml=dsm/{id}.tif@1 --out mine.parquet

        msgfm data index sen12ms MINE --set sentinel2.offset=-1000 --out mine.parquet
    """
    from msgfm.data.checks import check_manifest
    from msgfm.data.layouts import LayoutOptions, index_layout
    from msgfm.data.records import write_manifest

    options = LayoutOptions(
        sensors=tuple(sensor or ()), scenes=scenes, cloudy=cloudy, product=product, tile_size=tile_size
    )
    result = index_layout(
        layout,
        root,
        options,
        val_fraction=val_fraction,
        seed=seed,
        split=split,
        skip_bad=skip_bad,
        settings=settings or (),
    )
    report = check_manifest(result.manifest, limit=check, accept=accept or ())
    report.require_no_errors()
    write_manifest(result.manifest, manifest)
    for message in result.left_out:
        errors.print(f"left out: {escape(message)}", highlight=False)
    counts = ", ".join(f"{number} {name}" for name, number in result.combinations.items())
    splits = ", ".join(f"{number} {name}" for name, number in result.splits.items())
    out.print(f"wrote {manifest}: {counts}; {splits}", highlight=False)
    out.print(report.summary(), highlight=False)


@data_app.command("stats")
@reports_input_errors
def data_stats(
    manifests: Annotated[list[Path], typer.Argument(help="One or several manifests, measured together.")],
    split: Annotated[str, typer.Option(help="Which split; `all` for every sample.")] = "train",
    sensor: Annotated[list[str] | None, typer.Option(help="Measure this sensor alone. May be given often.")] = None,
    cloudy: Annotated[bool, typer.Option("--cloudy", help="Count images in the role `cloudy`, too.")] = False,
    card: Annotated[
        Path | None, typer.Option("--out", help="Sensor card to write (YAML); of several sensors, the folder for them.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File to write all numbers to.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; 0 is this one alone.", show_default="one a core")
    ] = None,
    skip_bad: Annotated[int, typer.Option(min=0, help="Unreadable samples to leave out before it is an error.")] = 0,
) -> None:
    """Show each band's mean, standard deviation, range and percentiles, and write sensor cards with them.

    For example:

        msgfm data stats mine.parquet --out mine.yaml

        msgfm data stats a.parquet b.parquet --out cards --json statistics.json
    """
    import os

    from msgfm.data.records import read_manifest
    from msgfm.data.statistics import card_paths, measure, statistics_table, write_cards, write_json

    contents = [read_manifest(manifest) for manifest in manifests]
    if card is not None:  # refused now rather than after hours of reading
        card_paths(card, sensor or sorted({name for content in contents for name in content.sensors}))
    measurement = measure(
        *contents,
        split=split,
        sensors=sensor,
        cloudy=cloudy,
        workers=len(os.sched_getaffinity(0)) if workers is None else workers,
        skip_bad=skip_bad,
    )
    for message in measurement.left_out:
        errors.print(f"left out: {escape(message)}", highlight=False)
    for measured in measurement.sensors.values():
        out.print(statistics_table(measured))
    names = [manifest.name for manifest in manifests]
    if json is not None:
        write_json(json, measurement, {"manifests": names, "split": split, "cloudy": cloudy})
        out.print(f"wrote {json}", highlight=False)
    if card is not None:
        paths = card_paths(card, list(measurement.sensors))
        origins = {name: _origin(name, names, contents, split, cloudy) for name in paths}
        for note in write_cards(paths, measurement.sensors, origins):
            errors.print(escape(note), highlight=False)
        for path in paths.values():
            out.print(f"wrote {path}", highlight=False)


def _origin(sensor: str, names: list[str], contents: list[Manifest], split: str, cloudy: bool) -> str:
    """What a sensor was measured on, for its card's description."""
    files = (name for name, content in zip(names, contents, strict=True) if sensor in content.sensors)
    return f"{', '.join(files)} (split {split}{', with cloudy images' if cloudy else ''})"


@data_app.command("synth")
@reports_input_errors
def data_synth(
    folder: Annotated[Path, typer.Argument(help="Where the images go.")],
    scenes: Annotated[int, typer.Option(min=1, help="Scenes to make for each data set.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the world.")] = 0,
    size: Annotated[int, typer.Option(min=32, help="Side of an image in pixels.")] = 128,
) -> None:
    """Make plausible images of Sentinel-1, Sentinel-2, RGB and DSM to try things on.

    For example:

        msgfm data synth world --scenes 200 --seed 1
    """
    from msgfm.data.synthetic import write_world

    write_world(folder, scenes=scenes, seed=seed, size=size)
    out.print(f"wrote {scenes} scenes of each data set to {folder}: sen12ms, rgb_dsm, rgb")
