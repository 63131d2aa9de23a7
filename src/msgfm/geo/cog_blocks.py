"""Whether every block of a finished TIFF has arrived: GDAL may leave one out on a full disk, and not say so."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import rasterio
from rasterio.errors import RasterioError

_TOLD = "the file is cut off"


def require_framed_blocks(path: Path) -> None:
    """Looks at the frame of each block of a cloud-optimised GeoTIFF of GDAL's driver of that name.

    A block's size stands before it there, and its last four bytes again after it.

    Raises:
        RasterioError: one is missing.
    """
    with path.open("rb") as file:
        for offset, size in _blocks(path):
            if not _is_framed(file, offset, size):
                raise RasterioError(_TOLD)


def require_deflated_blocks(path: Path) -> None:
    """Unpacks each block of a TIFF, which is compressed with DEFLATE: a checksum stands at its end.

    Raises:
        RasterioError: one is missing or damaged.
    """
    with path.open("rb") as file:
        for offset, size in _blocks(path):
            file.seek(offset)
            try:
                zlib.decompress(file.read(size))
            except zlib.error as error:
                raise RasterioError(_TOLD) from error


def _blocks(path: Path) -> Iterator[tuple[int, int]]:
    """Offset and size of every block of every level; raises `RasterioError` where the file names none."""
    with rasterio.open(path) as written:
        levels = len(written.overviews(1))
    for options in ({}, *({"overview_level": level} for level in range(levels))):
        with rasterio.open(path, **options) as level:
            rows, columns = (
                math.ceil(side / block) for side, block in zip(level.shape, level.block_shapes[0], strict=True)
            )
            apart = level.count if level.interleaving == rasterio.enums.Interleaving.band else 1
            for band in range(1, apart + 1):
                for place in (f"{column}_{row}" for row in range(rows) for column in range(columns)):
                    told = [level.get_tag_item(f"BLOCK_{what}_{place}", "TIFF", band) for what in ("OFFSET", "SIZE")]
                    if None in told:
                        raise RasterioError(_TOLD)
                    offset, size = map(int, told)
                    yield offset, size


def _is_framed(file: BinaryIO, offset: int, size: int) -> bool:
    file.seek(offset - 4)
    before = file.read(4)
    file.seek(offset + size - 4)
    end = file.read(8)
    return len(end) == 8 and int.from_bytes(before, "little") == size and end[:4] == end[4:]
