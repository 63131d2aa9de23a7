"""Cloud-optimised GeoTIFFs of any size: parts are written as they are finished, and put together in constant memory."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what `copy` raises
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.geo.raster import LOCAL_OPTIONS, gdal_type, quiet
from msgfm.geo.spec import RasterSpec, class_tags
from msgfm.progress import show_size

_PART_BLOCK = 64, 256  # height and width of a block of a part; parts are mostly multiples of it high
_CACHE = 64 * 2**20  # bytes: rasterio takes bytes for GDAL_CACHEMAX
_OPEN_PARTS = 16  # at once: each holds a block; a block of an overview is made of some ten
_THREADS = 4  # each holds some blocks


@dataclass(frozen=True, kw_only=True)
class Part:
    """A finished part of a raster: a file of `write_part`, and which pixels it holds."""

    path: Path
    row: int
    column: int
    height: int
    width: int


def write_part(path: Path, array: NDArray[Any]) -> None:
    """Writes stored numbers (bands, h, w) quickly and without loss, for `assemble_cog`, in one piece.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    count, height, width = array.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": array.dtype.name,
        "interleave": "pixel",  # as in the result
        "tiled": True,
        "blockxsize": _PART_BLOCK[1],
        "blockysize": min(_PART_BLOCK[0], math.ceil(height / 16) * 16),
    }
    with MemoryFile() as memory:
        with quiet(), memory.open(**profile) as target:
            target.write(array)
        # GDAL tells of a full disk late or never; Python does at once
        with write_atomically(path) as temporary:
            temporary.write_bytes(memory.getbuffer())


def assemble_cog(parts: Sequence[Part], spec: RasterSpec, out: Path) -> None:
    """Puts parts together to a cloud-optimised GeoTIFF with overviews.

    Overviews of classes are the most frequent class, of measurements the mean, both of pixels that have data. The
    same parts always give the same bytes. Beside the result lies a temporary file for as long as it takes.

    Args:
        parts: files of `write_part` of the type and bands of `spec`, which cover its grid, each pixel once.
        spec: everything but the numbers.
        out: where it goes.

    Raises:
        InputError: a part is missing, damaged or of another kind, the parts leave a gap or overlap, or the disk is
            full; nothing lies under the final name then that was not there before.
    """
    _require_cover(parts, spec)
    for part in parts:
        _require_part(part, spec)
    block = _block_size(spec)
    options = {
        "COMPRESS": "DEFLATE",  # what every reader knows
        # noise does not get smaller with more effort; runs of a class do
        "LEVEL": "6" if spec.classes else "1",
        "PREDICTOR": "NO" if spec.classes else "YES",
        "BLOCKSIZE": str(block),
        "BIGTIFF": "IF_SAFER",
        "OVERVIEW_RESAMPLING": "MODE" if spec.classes else "AVERAGE",
        "NUM_THREADS": str(min(_THREADS, len(os.sched_getaffinity(0)))),
    }
    with write_atomically(out) as temporary:
        leftover = temporary.with_name(f"{temporary.name}.ovr.tmp")  # GDAL's own, while it makes overviews
        try:
            with (
                quiet(LOCAL_OPTIONS | _limits(block, spec)),
                MemoryFile(_virtual_raster(parts, spec).encode(), ext=".vrt") as source,
                show_size(temporary, leftover, what=f"writing {out.name}"),
            ):
                copy(source.name, temporary, driver="COG", **options)
                _require_whole(temporary)
        # SystemError: rasterio's word for a failure without a message of GDAL
        except (RasterioError, CPLE_BaseError, SystemError) as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise InputError(
                f"cannot write {out}: {reason}; is the disk full? Free some space or choose another folder (what was "
                f"there before is untouched)"
            ) from error
        finally:
            leftover.unlink(missing_ok=True)


def _block_size(spec: RasterSpec) -> int:
    """The side of a block: the largest for which what one block of an overview is made of fits into the cache."""
    block = 512
    while block > 128 and (2 * block + _PART_BLOCK[0]) * (2 * block + _PART_BLOCK[1]) * spec.bytes_per_pixel > _CACHE:
        block //= 2
    # one block wide and several high would look like strips to who judges by the shape of a block, as rio-cogeo does
    return block if spec.grid.width != block else block // 2


def _limits(block: int, spec: RasterSpec) -> dict[str, Any]:
    """Of memory: just enough for one block of an overview, at least what is usual (10 MB).

    With less, GDAL makes a copy of the whole first; with more, it takes several blocks at once, whose parts then do
    not fit into the cache.
    """
    computed_in = {"uint8": 1, "uint16": 2, "float64": 8}.get(spec.dtype, 4)  # bytes
    return {
        "GDAL_CACHEMAX": _CACHE,
        "GDAL_OVR_CHUNK_MAX_SIZE": max(10 * 2**20, (2 * block + 64) ** 2 * len(spec.bands) * computed_in),
        "GDAL_MAX_DATASET_POOL_SIZE": _OPEN_PARTS,
    }


def _require_cover(parts: Sequence[Part], spec: RasterSpec) -> None:
    """Counts on the coarse grid of the parts' own edges how often each pixel is held."""
    height, width = spec.grid.height, spec.grid.width
    rows = sorted({0, height, *(part.row for part in parts), *(part.row + part.height for part in parts)})
    columns = sorted({0, width, *(part.column for part in parts), *(part.column + part.width for part in parts)})
    held = np.zeros((len(rows) - 1, len(columns) - 1), np.int64)
    row_of, column_of = ({edge: place for place, edge in enumerate(edges)} for edges in (rows, columns))
    for part in parts:
        row, below = row_of[part.row], row_of[part.row + part.height]
        column, beyond = column_of[part.column], column_of[part.column + part.width]
        held[row:below, column:beyond] += 1
    assert rows[0] == 0 and rows[-1] == height, f"parts leave the grid of {height} x {width} pixels"
    assert columns[0] == 0 and columns[-1] == width, f"parts leave the grid of {height} x {width} pixels"
    if (held != 1).any():
        i, j = (int(places[0]) for places in np.nonzero(held != 1))
        raise InputError(
            f"{held[i, j] or 'no'} parts hold the pixel at row {rows[i]}, column {columns[j]}; begin anew with "
            f"--overwrite"
        )


def _require_part(part: Part, spec: RasterSpec) -> None:
    try:
        with quiet(), rasterio.open(part.path) as source:
            found = (source.count, source.height, source.width, source.dtypes[0])
    except (RasterioError, OSError) as error:
        raise InputError(f"cannot read the part {part.path} ({error}); begin anew with --overwrite") from error
    expected = (len(spec.bands), part.height, part.width, spec.dtype)
    if found != expected:
        raise InputError(
            f"the part {part.path} has (bands, height, width, type) {found}, expected {expected}; begin anew with "
            f"--overwrite"
        )


def _require_whole(path: Path) -> None:
    """Looks whether every block has arrived: GDAL may leave out what does not fit on the disk, and not say so.

    In a cloud-optimised GeoTIFF of GDAL a block's size stands before it, and its last four bytes again after it.

    Raises:
        RasterioError: one has not.
    """
    with rasterio.open(path) as written:
        levels = len(written.overviews(1))
    with path.open("rb") as file:
        for options in ({}, *({"overview_level": level} for level in range(levels))):
            with rasterio.open(path, **options) as level:
                rows, columns = (
                    math.ceil(side / block) for side, block in zip(level.shape, level.block_shapes[0], strict=True)
                )
                for place in (f"{column}_{row}" for row in range(rows) for column in range(columns)):
                    offset, size = (
                        level.get_tag_item(f"BLOCK_{what}_{place}", "TIFF", 1) for what in ("OFFSET", "SIZE")
                    )
                    if offset is None or size is None or not _has_block(file, int(offset), int(size)):
                        raise RasterioError("the file is cut off")


def _has_block(file: BinaryIO, offset: int, size: int) -> bool:
    file.seek(offset - 4)
    before = file.read(4)
    file.seek(offset + size - 4)
    end = file.read(8)
    return len(end) == 8 and int.from_bytes(before, "little") == size and end[:4] == end[4:]


def _virtual_raster(parts: Sequence[Part], spec: RasterSpec) -> str:
    """What GDAL calls a VRT: parts as one raster, with what is to be said of it."""
    grid = spec.grid
    lines = [f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">']
    if grid.crs:
        transform = ", ".join(f"{number:.17g}" for number in grid.transform.to_gdal())
        lines.append(f"<SRS>{escape(CRS.from_user_input(grid.crs).to_wkt())}</SRS>")
        lines.append(f"<GeoTransform>{transform}</GeoTransform>")
    items = [f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in sorted(_tags(spec).items())]
    lines.append(f"<Metadata>{''.join(items)}</Metadata>")
    # without it overviews are made band by band, and every block is read once for each
    lines.append('<Metadata domain="IMAGE_STRUCTURE"><MDI key="INTERLEAVE">PIXEL</MDI></Metadata>')
    for band in range(1, len(spec.bands) + 1):
        lines += _virtual_band(parts, spec, band)
    return "\n".join([*lines, "</VRTDataset>"])


def _tags(spec: RasterSpec) -> dict[str, str]:
    return {"AREA_OR_POINT": "Area", **class_tags(spec.classes), **spec.tags}


def _virtual_band(parts: Sequence[Part], spec: RasterSpec, band: int) -> list[str]:
    told = spec.bands[band - 1]
    kind = gdal_type(spec.dtype)
    lines = [f'<VRTRasterBand dataType="{kind}" band="{band}">']
    lines.append(f"<Description>{escape(told.name)}</Description>")
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
    for part in parts:
        lines.append(
            f'<SimpleSource><SourceFilename relativeToVRT="0">{escape(str(part.path.absolute()))}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
            f'<SourceProperties RasterXSize="{part.width}" RasterYSize="{part.height}" DataType="{kind}" '
            f'BlockXSize="{_PART_BLOCK[1]}" BlockYSize="{_PART_BLOCK[0]}"/>'
            f'<SrcRect xOff="0" yOff="0" xSize="{part.width}" ySize="{part.height}"/>'
            f'<DstRect xOff="{part.column}" yOff="{part.row}" xSize="{part.width}" ySize="{part.height}"/>'
            f"</SimpleSource>"
        )
    return [*lines, "</VRTRasterBand>"]


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
