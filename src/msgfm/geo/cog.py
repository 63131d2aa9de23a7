"""Cloud-optimised GeoTIFFs of any size: parts are written as they are finished, and put together in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what `copy` raises
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.geo.cog_blocks import require_framed_blocks
from msgfm.geo.cog_by_band import write_by_band
from msgfm.geo.cog_levels import block_and_overviews
from msgfm.geo.raster import LOCAL_OPTIONS, gdal_threads, gdal_type, quiet
from msgfm.geo.spec import RasterSpec
from msgfm.geo.virtual import source_of, virtual_raster
from msgfm.progress import show_size

_PART_BLOCK = 64, 256  # height and width of a block of a part; parts are mostly multiples of it high
_CACHE = 64 * 2**20  # bytes: rasterio takes bytes for GDAL_CACHEMAX
_OPEN_PARTS = 16  # at once: each holds a block; a block of an overview is made of some ten
_SMALLEST, _BLOCK = 256, 512  # sides of a block of the result, but for what `block_and_overviews` says


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
        "interleave": "band" if _is_by_band(array.dtype.itemsize * count) else "pixel",  # as in the result
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
    same parts always give the same bytes. Beside the result lie temporary files for as long as it takes.

    Bands lie side by side in a block of the result, pixel by pixel, unless there are so many that what one block of an
    overview is made of does not fit into the cache (more than 37 of float32): then each band has blocks of its own.

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
    threads = gdal_threads()
    with write_atomically(out) as temporary, _tells_what_gdal_says(out):
        if _is_by_band(spec.bytes_per_pixel):
            with (
                TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp") as folder,
                show_size(whole := Path(folder) / "whole.raw", temporary, what=f"writing {out.name}"),
            ):
                _gather(parts, spec, whole)
                write_by_band(whole, spec, _SMALLEST, _CACHE, threads, temporary)
        else:
            _write_by_pixel(parts, spec, threads, temporary, f"writing {out.name}")


@contextmanager
def _tells_what_gdal_says(out: Path) -> Iterator[None]:
    try:
        yield
    # SystemError: rasterio's word for a failure without a message of GDAL
    except (RasterioError, CPLE_BaseError, SystemError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise InputError(
            f"cannot write {out}: {reason}; is the disk full? Free some space or choose another folder (what was "
            f"there before is untouched)"
        ) from error


def _is_by_band(bytes_per_pixel: int) -> bool:
    """Whether bands have blocks of their own: those of all bands together would be too large to work with."""
    return _made_of(_SMALLEST) * bytes_per_pixel > _CACHE


def _made_of(block: int) -> int:
    """Pixels that a block of an overview is made of, in whole blocks of parts."""
    return (2 * block + _PART_BLOCK[0]) * (2 * block + _PART_BLOCK[1])


def _gather(parts: Sequence[Part], spec: RasterSpec, whole: Path) -> None:
    """Writes the numbers of all parts as one array (bands, h, w).

    So GDAL neither opens every part for every band nor holds a list of parts for each of them.
    """
    height, width = spec.grid.height, spec.grid.width
    kind = np.dtype(spec.dtype).newbyteorder("<")
    with whole.open("wb", buffering=0) as file:
        for part in parts:
            with quiet(LOCAL_OPTIONS), rasterio.open(part.path) as source:
                array = np.ascontiguousarray(source.read(), kind)
            # rows of a part that is as wide as the whole follow each other
            rows = 1 if part.width == width else part.height
            for band, image in enumerate(array):
                for row, piece in enumerate(image.reshape(rows, -1)):
                    place = (band * height + part.row + row) * width + part.column
                    file.seek(place * kind.itemsize)
                    file.write(piece.data)


def _write_by_pixel(parts: Sequence[Part], spec: RasterSpec, threads: int, out: Path, what: str) -> None:
    """All bands of a pixel side by side, by GDAL's driver for cloud-optimised GeoTIFFs."""
    block, overviews = block_and_overviews(spec.grid.height, spec.grid.width, _largest_block(spec))
    options = {
        "COMPRESS": "DEFLATE",  # what every reader knows
        # noise does not get smaller with more effort; runs of a class do
        "LEVEL": "6" if spec.classes else "1",
        "PREDICTOR": "NO" if spec.classes else "YES",
        "BLOCKSIZE": str(block),
        "BIGTIFF": "IF_SAFER",
        "OVERVIEW_RESAMPLING": "MODE" if spec.classes else "AVERAGE",
        "NUM_THREADS": str(threads),
    }
    if overviews is not None:
        options["OVERVIEW_COUNT"] = str(overviews)
    # without `PIXEL` overviews are made band by band, and every block is read once for each
    text = virtual_raster(spec, lambda band: _sources(parts, spec, band), interleave="PIXEL")
    leftover = out.with_name(f"{out.name}.ovr.tmp")  # GDAL's own, while it makes overviews
    try:
        with (
            quiet(LOCAL_OPTIONS | _limits(block, spec)),
            MemoryFile(text.encode(), ext=".vrt") as source,
            show_size(out, leftover, what=what),
        ):
            copy(source.name, out, driver="COG", **options)
            require_framed_blocks(out)
    finally:
        leftover.unlink(missing_ok=True)


def _sources(parts: Sequence[Part], spec: RasterSpec, band: int) -> Iterator[str]:
    kind = gdal_type(spec.dtype)
    for part in parts:
        source = source_of(
            str(part.path.absolute()),
            band,
            size=(part.height, part.width),
            kind=kind,
            block=_PART_BLOCK,
            at=(part.row, part.column),
        )
        yield f"<SimpleSource>{source}</SimpleSource>"


def _largest_block(spec: RasterSpec) -> int:
    """The largest side of a block for which what one block of an overview is made of fits into the cache."""
    block = _BLOCK
    while block > _SMALLEST and _made_of(block) * spec.bytes_per_pixel > _CACHE:
        block //= 2
    return block


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
