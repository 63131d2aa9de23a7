"""`msgfm data stac`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msgfm.cli.app import data_app, given_options, out, reports_input_errors, tell_left_out
from msgfm.cli.checks import ACCEPT_HELP
from msgfm.errors import InputError

if TYPE_CHECKING:
    from msgfm.data.catalogue import Found

# Earth Search's Sentinel-2 items of 2022 and 2025 state offsets that their files do not have, or the other way round.
_WRONG_METADATA = (
    "The images were read as their items say. Where these are wrong, state how the catalogue's own files are stored: "
    "here --set SENSOR.offset=-1000 means that the 1000 of baseline 04.00 is in them, and 0 that it is not."
)


@data_app.command("stac")
@reports_input_errors
def data_stac(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="URL", help="A STAC API, or a file of items (ItemCollection).")],
    bbox: Annotated[str, typer.Option(help="west,south,east,north in degrees.")],
    dates: Annotated[str, typer.Option(help="First and last day, as 2024-06-01/2024-06-30.")],
    sensors: Annotated[
        str, typer.Option(help="sentinel1, sentinel2, sentinel2_l2a, dsm; the first one's dates count.")
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the images and manifest.parquet.")],
    max_days: Annotated[float, typer.Option(min=0, help="Between the first sensor's image and another's.")] = 3.0,
    max_cloud: Annotated[float, typer.Option(min=0, max=100, help="Percent, as the items state it.")] = 20.0,
    orbit: Annotated[
        list[str] | None,
        typer.Option(help="SENSOR=ascending, descending or the number of a relative orbit. May be given often."),
    ] = None,
    min_overlap: Annotated[float, typer.Option(min=0, max=1, help="Share of the bbox that a pair covers.")] = 0.05,
    limit: Annotated[int | None, typer.Option(min=1, help="So many pairs, the nearest in time first.")] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="SENSOR=NAME of the catalogue's collection. May be given often.")
    ] = None,
    bands: Annotated[
        list[str] | None, typer.Option(help="SENSOR=BAND,BAND... where not all are wanted. May be given often.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="How files are stored where their items do not say: SENSOR.offset=VALUE..."),
    ] = None,
    power: Annotated[str, typer.Option(help="What Sentinel-1's files hold where items do not say: linear or db.")] = "",
    resolution: Annotated[float, typer.Option(min=1e-9, help="Of the grid, in units of its CRS.")] = 10.0,
    size: Annotated[int, typer.Option(min=16, help="Side of a patch in pixels.")] = 256,
    crs: Annotated[str, typer.Option(help="Of the grid.", show_default="UTM zone of the bbox's centre")] = "",
    max_nodata: Annotated[float, typer.Option(min=0, max=1, help="Share of a patch that may lack data.")] = 0.1,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Threads that read at the same time.")] = 4,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that one request may take.")] = 30.0,
    retries: Annotated[int, typer.Option(min=0, help="Of a request that fails; each waits longer.")] = 3,
    skip_bad: Annotated[int, typer.Option(min=0, help="Bad items and reads to leave out before it is an error.")] = 0,
    val_fraction: Annotated[float, typer.Option(min=0, max=1, help="Share of places held out.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of that draw.")] = 0,
    check: Annotated[int, typer.Option(min=1, help="Samples, spread evenly, held against their cards.")] = 32,
    accept: Annotated[list[str] | None, typer.Option(help=ACCEPT_HELP)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the pairs and read nothing.")] = False,
) -> None:
    r"""Find images of several sensors that coincide, and write them on one grid, with a manifest.

    Windows are read straight from the catalogue's cloud-optimised GeoTIFFs. Started again, it goes on where it was.
    Sentinel-1 must be calibrated and terrain corrected; linear power becomes dB. Sentinel-2's offset is taken from each
    item's metadata, and all is written in one form.

    Headers for the API: MSGFM_STAC_HEADERS (NAME: VALUE, one on a line); for images GDAL's GDAL_HTTP_HEADERS and AWS_*.

    For example:

        msgfm data stac https://earth-search.aws.element84.com/v1 --sensors sentinel2_l2a,dsm \
            --bbox 11.2,47.9,11.6,48.2 --dates 2024-06-01/2024-06-30 --out bavaria

        msgfm data stac https://planetarycomputer.microsoft.com/api/stac/v1 --sensors sentinel1,sentinel2_l2a \
            --bbox 11.2,47.9,11.6,48.2 --dates 2024-06-01/2024-08-31 --orbit sentinel1=descending --out pairs --dry-run

        msgfm data stac items.json --sensors sentinel2_l2a --bbox 11.2,47.9,11.6,48.2 --dates 2024-06-01 --out one \
            --set sentinel2_l2a.offset=-1000
    """
    from msgfm.data.catalogue import CatalogueRequest, collect, find_coincidences
    from msgfm.data.catalogue.request import parse_bbox, parse_by_sensor, parse_dates
    from msgfm.data.checks import check_manifest
    from msgfm.data.records import write_manifest
    from msgfm.geo.network import Network

    given = given_options(context)
    if "--seed" in given and "--val-fraction" not in given:
        raise InputError("--seed is of the draw of --val-fraction; give that, too, or leave --seed out")
    start, end = parse_dates(dates)
    request = CatalogueRequest(
        source=source,
        bbox=parse_bbox(bbox),
        start=start,
        end=end,
        sensors=tuple(name.strip() for name in sensors.split(",") if name.strip()),
        out=folder,
        collections=parse_by_sensor("--collection", collection or ()),
        orbits=parse_by_sensor("--orbit", orbit or ()),
        bands={name: tuple(v.split(",")) for name, v in parse_by_sensor("--bands", bands or ()).items()},
        settings=tuple(settings or ()),
        power=power,
        max_days=max_days,
        max_cloud=max_cloud,
        min_overlap=min_overlap,
        crs=crs,
        resolution=resolution,
        size=size,
        max_nodata=max_nodata,
        limit=limit,
        workers=workers,
        skip_bad=skip_bad,
        network=Network(timeout_s=timeout, retries=retries),
    )
    found = find_coincidences(request)
    _show_pairs(found)
    if dry_run:
        return
    result = collect(request, found, val_fraction=val_fraction, seed=seed)
    tell_left_out(result.left_out)
    report = check_manifest(result.manifest, limit=check, accept=accept or ())
    try:
        report.require_no_errors()
    except InputError as error:
        raise InputError(f"{error}\n{_WRONG_METADATA}") from error
    write_manifest(result.manifest, folder / "manifest.parquet")
    out.print(f"{len(result.manifest.samples)} samples; {result.new} blocks were read now", highlight=False)
    out.print(f"wrote {folder / 'manifest.parquet'}, digest {result.manifest.digest[:16]}", highlight=False)
    out.print(report.summary(), highlight=False)


def _show_pairs(found: Found) -> None:
    """The pairs, one on a line."""
    out.print(", ".join(f"{number} items of {sensor}" for sensor, number in found.items.items()), highlight=False)
    for pair in found.pairs:
        parts = []
        for one in pair.acquisitions:
            clouds = [item.cloud for item in one.items if item.cloud is not None]
            cloud = f", cloud {max(clouds):.0f} %" if clouds else ""
            orbit = f", {one.items[0].orbit_state}" if one.items[0].orbit_state else ""
            parts.append(f"{one.sensor} {one.time:%Y-%m-%d %H:%M} ({len(one.items)} items{orbit}{cloud})")
        out.print(f"  {pair.days_apart:.2f} days apart: {'; '.join(parts)}", highlight=False)
