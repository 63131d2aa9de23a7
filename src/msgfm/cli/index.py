"""`msgfm data index`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msgfm.cli.app import data_app, given_options, out, reports_input_errors, tell_left_out
from msgfm.cli.checks import ACCEPT_HELP

if TYPE_CHECKING:
    from msgfm.data.layouts import IndexResult


@data_app.command("index")
@reports_input_errors
def data_index(
    context: typer.Context,
    layout: Annotated[str, typer.Argument(help="How the data set lays out its files: see the list above.")],
    root: Annotated[Path, typer.Argument(help="The data set's folder.")],
    manifest: Annotated[Path, typer.Option("--out", help="Manifest to write (Parquet).")] = Path("manifest.parquet"),
    sensor: Annotated[
        list[str] | None,
        typer.Option(
            help="CARD[@role][:band,...]=PATTERN[@file bands] for `pairs`; else a card to use. May be given often."
        ),
    ] = None,
    scenes: Annotated[Path | None, typer.Option(help="CSV that groups samples into scenes (`pairs`).")] = None,
    mask: Annotated[str, typer.Option(help="Pattern of the files with labels of pixels (`pairs`).")] = "",
    mask_class: Annotated[
        list[str] | None, typer.Option(help="VALUE=NAME in these files, as 255=water. May be given often.")
    ] = None,
    val_fraction: Annotated[float, typer.Option(help="Share of scenes held out where there is no split.")] = 0.0,
    fraction: Annotated[
        float, typer.Option(help="Share of the training split to keep, drawn so that each class keeps its share.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of both draws.")] = 0,
    split: Annotated[str | None, typer.Option(help="Put every sample into this split.")] = None,
    skip_bad: Annotated[int, typer.Option(min=0, help="Bad files to leave out before it is an error.")] = 0,
    product: Annotated[str, typer.Option(help="Sentinel-2 product of `ssl4eo-s12`: s2c or s2a.")] = "s2c",
    tile_size: Annotated[int, typer.Option(min=1, help="Side of a tile in RGB pixels (`mdas`).")] = 384,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a card: SENSOR[.BAND].FIELD=VALUE. May be given often.")
    ] = None,
    check: Annotated[int, typer.Option(min=0, help="Samples, spread evenly, held against their cards.")] = 32,
    accept: Annotated[list[str] | None, typer.Option(help=ACCEPT_HELP)] = None,
) -> None:
    """List a data set's samples in a manifest, looking into every file's header and at the pixels of some.

    Layouts; docs/data.md has the folders, sensors, splits and labels of each:

    * any data: `image-folder` (one sensor), `pairs` (several)

    * pretraining: `geopile`, `millionaid`, `sen12ms`, `mdas`, `ssl4eo-s12`, `terramesh`

    * classification: `bigearthnet`, `bigearthnet-v2`, `eurosat`, `ucmerced`

    * segmentation: `vaihingen`, `potsdam`, `whu-buildings`, `sen1floods11`

    * change: `oscd`, `levir-cd`, `dsifn`

    * cloud removal and pan-sharpening: `sen12ms-cr`, `spacenet2`

    For example:

        msgfm data index image-folder UCMerced_LandUse --out ucmerced.parquet

        msgfm data index sen12ms SEN12MS --out sen12ms.parquet --val-fraction 0.05

        msgfm data index pairs mine --sensor rgb=photos --sensor heights.yaml=dsm/{id}.tif@1 --out mine.parquet

        msgfm data index pairs floods --sensor sentinel1=s1 --mask masks/{id}.png --mask-class 255=water

        msgfm data index sen12ms MINE --set sentinel2.offset=-1000 --out mine.parquet

        msgfm data index bigearthnet BigEarthNet --fraction 0.1 --seed 0 --out ben_10.parquet
    """
    from msgfm.data.checks import check_manifest
    from msgfm.data.layouts import LayoutOptions, index_layout
    from msgfm.data.records import write_manifest
    from msgfm.files import require_suffix, require_writable

    require_writable(manifest)
    require_suffix(manifest, ".parquet")
    options = LayoutOptions(
        sensors=tuple(sensor or ()),
        scenes=scenes,
        mask=mask,
        mask_classes=tuple(mask_class or ()),
        product=product,
        tile_size=tile_size,
    )
    result = index_layout(
        layout,
        root,
        options,
        val_fraction=val_fraction,
        seed=seed,
        split=split,
        fraction=fraction,
        skip_bad=skip_bad,
        settings=settings or (),
        given=given_options(context),
    )
    report = check_manifest(result.manifest, limit=check, accept=accept or ())
    report.require_no_errors()
    write_manifest(result.manifest, manifest)
    tell_left_out(result.left_out)
    for line in _summary(result):
        out.print(line, highlight=False)
    out.print(f"wrote {manifest}, digest {result.manifest.digest[:16]}", highlight=False)
    more = f"msgfm data check {shlex.quote(str(manifest))} says more"
    out.print(f"{report.summary()} ({more})", highlight=False)


def _summary(result: IndexResult) -> list[str]:
    """Samples, splits and classes in words."""
    parts = {"samples": result.combinations, "splits": result.splits, "classes": result.labels}
    lines = [
        f"{name}: {'; '.join(f'{number} {what}' for what, number in counts.items())}"
        for name, counts in parts.items()
        if counts
    ]
    pixels = list(dict.fromkeys(result.manifest.mask_classes.values()))
    masks = sum(sample.mask is not None for sample in result.manifest.samples)
    if masks:
        lines.append(f"masks: {masks}, with {'; '.join(pixels)}")
    if result.manifest.subset:
        lines.append(f"subset: {result.manifest.subset}")
    return lines
