"""What GDAL calls a VRT: numbers that lie in other files as one raster, with all that is to be said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from rasterio.crs import CRS

from msgfm.geo.grid import Grid
from msgfm.geo.raster import gdal_type
from msgfm.geo.spec import RasterSpec, class_tags


def virtual_raster(
    spec: RasterSpec,
    numbers: Callable[[int], Iterable[str]],
    *,
    interleave: Literal["PIXEL", "BAND"],
    subclass: str = "",
) -> str:
    """The text of a VRT.

    Args:
        spec: what is said of the raster.
        numbers: lines that tell where those of a band lie, counted from 1.
        interleave: how they lie there. What GDAL makes of all bands at once for `PIXEL`, it makes band by band for
            `BAND`.
        subclass: of the bands, where the lines want one.
    """
    lines = opening_lines(spec.grid)
    tags = {"AREA_OR_POINT": "Area", **class_tags(spec.classes)}
    items = [f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in sorted(tags.items())]
    lines.append(f"<Metadata>{''.join(items)}</Metadata>")
    lines.append(f'<Metadata domain="IMAGE_STRUCTURE"><MDI key="INTERLEAVE">{interleave}</MDI></Metadata>')
    kind = f"{subclass and f' subClass={quoteattr(subclass)}'}"
    for band in range(1, len(spec.bands) + 1):
        lines.append(f'<VRTRasterBand dataType="{gdal_type(spec.dtype)}" band="{band}"{kind}>')
        lines += _said_of_band(spec, band)
        lines += numbers(band)
        lines.append("</VRTRasterBand>")
    return "\n".join([*lines, "</VRTDataset>"])


def opening_lines(grid: Grid) -> list[str]:
    """How the text of a VRT begins: its size, and where it lies."""
    lines = [f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">']
    if grid.crs:
        transform = ", ".join(f"{number:.17g}" for number in grid.transform.to_gdal())
        lines.append(f"<SRS>{escape(CRS.from_user_input(grid.crs).to_wkt())}</SRS>")
        lines.append(f"<GeoTransform>{transform}</GeoTransform>")
    return lines


def source_of(
    name: str,
    band: int,
    *,
    size: tuple[int, int],
    kind: str,
    block: tuple[int, int],
    at: tuple[int, int] = (0, 0),
    shown: tuple[int, int] | None = None,
) -> str:
    """What stands in a source of a VRT's band: a whole file, and the pixels that it fills.

    Args:
        name: of the file, as GDAL has it.
        band: of it, counted from 1.
        size: of the file, height and width.
        kind: of its numbers, as GDAL calls it.
        block: of the file, height and width.
        at: row and column that it fills from.
        shown: height and width that it fills; None: as many as it has.
    """
    (height, width), (rows, columns) = size, shown or size
    return (
        f'<SourceFilename relativeToVRT="0">{escape(name)}</SourceFilename><SourceBand>{band}</SourceBand>'
        f'<SourceProperties RasterXSize="{width}" RasterYSize="{height}" DataType="{kind}" '
        f'BlockXSize="{block[1]}" BlockYSize="{block[0]}"/>'
        f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
        f'<DstRect xOff="{at[1]}" yOff="{at[0]}" xSize="{columns}" ySize="{rows}"/>'
    )


def raw_band(whole: Path, spec: RasterSpec, band: int) -> list[str]:
    """Where a band lies in a file beside the VRT that holds (bands, h, w) and nothing else; see `RAW`."""
    size, width = np.dtype(spec.dtype).itemsize, spec.grid.width
    return [
        f'<SourceFilename relativeToVRT="1">{escape(whole.name)}</SourceFilename>',
        f"<ImageOffset>{(band - 1) * spec.grid.height * width * size}</ImageOffset>",
        f"<PixelOffset>{size}</PixelOffset><LineOffset>{width * size}</LineOffset><ByteOrder>LSB</ByteOrder>",
    ]


RAW = "VRTRawRasterBand"
"""The subclass of a band of `raw_band`."""


def _said_of_band(spec: RasterSpec, band: int) -> list[str]:
    told = spec.bands[band - 1]
    lines = [f"<Description>{escape(told.name)}</Description>"]
    if spec.nodata is not None:
        lines.append(f"<NoDataValue>{spec.nodata:.17g}</NoDataValue>")
    if told.unit:
        lines.append(f"<UnitType>{escape(told.unit)}</UnitType>")
    if (told.scale, told.offset) != (1.0, 0.0):
        # GDAL: value = stored * scale + offset
        lines.append(f"<Offset>{told.offset * told.scale:.17g}</Offset><Scale>{told.scale:.17g}</Scale>")
    if spec.classes and spec.dtype in ("uint8", "uint16"):  # what a TIFF's palette can be of
        lines.append(f"<ColorInterp>Palette</ColorInterp>{_colour_table(spec)}")
    else:
        lines.append("<ColorInterp>Gray</ColorInterp>" if band == 1 else "<ColorInterp>Undefined</ColorInterp>")
    return lines


def _colour_table(spec: RasterSpec) -> str:
    colours = {one.value: one.colour for one in spec.classes}
    table = (colours.get(value) for value in range(max(colours) + 1))
    entries = (
        '<Entry c1="0" c2="0" c3="0" c4="0"/>'
        if colour is None
        else f'<Entry c1="{colour[0]}" c2="{colour[1]}" c3="{colour[2]}" c4="255"/>'
        for colour in table
    )
    return f"<ColorTable>{''.join(entries)}</ColorTable>"
