"""`msgfm data stats` and `synth`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msgfm.cli.app import data_app, errors, out, reports_input_errors, tell_left_out

if TYPE_CHECKING:
    from msgfm.data.records import Manifest


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

    Of labels and masks the samples and pixels of each class are counted, too.

    For example:

        msgfm data stats mine.parquet --out mine.yaml

        msgfm data stats a.parquet b.parquet --out cards --json statistics.json
    """
    from msgfm.data.records import read_manifest
    from msgfm.data.statistics import card_paths, class_tables, measure, statistics_table, write_cards, write_json
    from msgfm.files import require_writable

    contents = [read_manifest(manifest) for manifest in manifests]
    sensors = sensor or sorted({name for content in contents for name in content.sensors})
    cards = {} if card is None else card_paths(card, sensors)
    for path in filter(None, (json, *cards.values())):  # refused now rather than after hours of reading
        require_writable(path)
    measurement = measure(
        *contents,
        split=split,
        sensors=sensor,
        cloudy=cloudy,
        workers=_one_a_core() if workers is None else workers,
        skip_bad=skip_bad,
    )
    tell_left_out(measurement.left_out)
    for measured in measurement.sensors.values():
        out.print(statistics_table(measured))
    for table in class_tables(measurement.classes):
        out.print(table)
    names = [manifest.name for manifest in manifests]
    if json is not None:
        write_json(json, measurement, {"manifests": names, "split": split, "cloudy": cloudy})
        out.print(f"wrote {json}", highlight=False)
    if card is not None:
        paths = card_paths(card, list(measurement.sensors))
        origins = {name: _origin(name, names, contents, split, cloudy) for name in paths}
        for note in write_cards(paths, measurement.sensors, origins):
            errors.print(note, highlight=False)
        for path in paths.values():
            out.print(f"wrote {path}", highlight=False)


def _origin(sensor: str, names: list[str], contents: list[Manifest], split: str, cloudy: bool) -> str:
    """What a sensor was measured on, for its card's description."""
    files = (name for name, content in zip(names, contents, strict=True) if sensor in content.sensors)
    return f"{', '.join(files)} (split {split}{', with cloudy images' if cloudy else ''})"


def _one_a_core() -> int:
    return len(os.sched_getaffinity(0))


@data_app.command("synth")
@reports_input_errors
def data_synth(
    folder: Annotated[Path, typer.Argument(help="Where the data sets go, a folder each.")],
    scenes: Annotated[int, typer.Option(min=1, help="Scenes of each data set.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the world.")] = 0,
    size: Annotated[int, typer.Option(min=32, help="Side of an image in pixels, a multiple of 4.")] = 128,
    kinds: Annotated[
        str,
        typer.Option(
            help="Data sets, with commas: sen12ms, sen12ms_cr, rgb, rgb_dsm, segmentation, buildings, change, "
            "pansharpen.",
            show_default="all",
        ),
    ] = "",
    offset: Annotated[int, typer.Option(help="Added to stored Sentinel-2 numbers; 1000 as baseline 04.00.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; 0 is this one alone.", show_default="one a core")
    ] = None,
) -> None:
    """Make plausible images of six sensors, with labels, clouds and changes, to try things on.

    Scenes that are there already are kept: an interrupted run goes on when it is started again.

    For example:

        msgfm data synth world --scenes 200 --seed 1

        msgfm data synth world --scenes 1000 --kinds sen12ms,rgb_dsm --size 256
    """
    import shlex

    from msgfm.data.synthetic import KINDS, write_world

    chosen = [kind.strip() for kind in kinds.split(",") if kind.strip()] or list(KINDS)
    made = write_world(
        folder,
        scenes=scenes,
        seed=seed,
        size=size,
        kinds=chosen,
        offset=offset,
        workers=_one_a_core() if workers is None else workers,
    )
    out.print(f"{folder} has {scenes} scenes of each data set; {made} of them are new", highlight=False)
    for kind in chosen:
        layout, _, options = KINDS[kind].index_as.partition(" ")
        root, manifest = (shlex.quote(str(folder / name)) for name in (kind, f"{kind}.parquet"))
        command = " ".join(filter(None, ("msgfm data index", layout, root, options, "--out", manifest)))
        out.print(f"  {command}", highlight=False)
