"""What a raster says of itself beyond what reading it takes: how it is stored, its colours, units and tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from msgfm.display import Colour
from msgfm.geo.align import crs_name


@dataclass(frozen=True, kw_only=True)
class BandFacts:
    """What a file says of one band.

    Args:
        name: its description; empty where it has none.
        dtype: numpy's name of the stored type.
        nodata: the stored number that means "no data"; None where the file names none.
        scale: value = stored * scale + offset.
        offset: see there.
        unit: of the values; empty where the file names none.
        colour: what colour it stands for, `red`, `gray`, `palette` or `undefined` as GDAL has it.
        tags: as written.
    """

    name: str
    dtype: str
    nodata: float | None
    scale: float
    offset: float
    unit: str
    colour: str
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RasterFacts:
    """What a file says of itself.

    Args:
        place: path or address.
        size: bytes; None behind an address.
        form: GDAL's name of the format, and what it says of its layout and compression.
        height: pixels.
        width: pixels.
        crs: as `EPSG:32633`, or WKT; empty where there is none.
        crs_title: its name, as `WGS 84 / UTM zone 33N`.
        crs_unit: `metre`, `degree` ...; empty where there is no CRS.
        transform: a, b, c, d, e, f: x = a * column + b * row + c, y = d * column + e * row + f.
        bands: all that hold an image (alpha is left out).
        palette: colours of the first band's stored numbers; empty where there are none.
        overviews: factors of the reduced copies in the file.
        block: height and width of the pieces in which it is stored.
        tags: as written.
    """

    place: str
    size: int | None
    form: str
    height: int
    width: int
    crs: str
    crs_title: str
    crs_unit: str
    transform: tuple[float, float, float, float, float, float]
    bands: tuple[BandFacts, ...]
    palette: Mapping[int, Colour]
    overviews: tuple[int, ...]
    block: tuple[int, int]
    tags: Mapping[str, str]


def facts_of(dataset: DatasetReader, place: str) -> RasterFacts:
    """Gathers them from an opened file."""
    crs = dataset.crs
    storage = dataset.tags(ns="IMAGE_STRUCTURE")
    form = [dataset.driver, *(storage[key] for key in ("LAYOUT", "COMPRESSION") if key in storage)]
    path = Path(place)
    return RasterFacts(
        place=place,
        size=path.stat().st_size if path.is_file() else None,
        form=", ".join(dict.fromkeys(form)),
        height=dataset.height,
        width=dataset.width,
        crs="" if crs is None else crs_name(crs),
        crs_title="" if crs is None else _title(crs),
        crs_unit="" if crs is None else ("degree" if crs.is_geographic else crs.linear_units),
        transform=tuple(dataset.transform)[:6],
        bands=tuple(
            _band_facts(dataset, band)
            for band in dataset.indexes
            # the colour of the first band is at times given as alpha by mistake
            if band == 1 or dataset.colorinterp[band - 1] != ColorInterp.alpha
        ),
        palette=_palette(dataset),
        overviews=tuple(dataset.overviews(1)),
        block=tuple(dataset.block_shapes[0]),
        tags={key: value for key, value in dataset.tags().items() if value.strip()},
    )


def _band_facts(dataset: DatasetReader, band: int) -> BandFacts:
    i = band - 1
    return BandFacts(
        name=dataset.descriptions[i] or "",
        dtype=dataset.dtypes[i],
        nodata=dataset.nodatavals[i],
        scale=dataset.scales[i],
        offset=dataset.offsets[i],
        unit=dataset.units[i] or "",
        colour=dataset.colorinterp[i].name,
        tags={key: value for key, value in dataset.tags(band).items() if not key.startswith("STATISTICS_")},
    )


def _palette(dataset: DatasetReader) -> dict[int, Colour]:
    if dataset.colorinterp[0] != ColorInterp.palette:
        return {}
    return {number: (red, green, blue) for number, (red, green, blue, _) in dataset.colormap(1).items()}


def _title(crs: CRS) -> str:
    """The first name in its WKT, which is that of the whole."""
    found = re.search(r'"([^"]*)"', crs.to_wkt())
    return found[1] if found else ""
