"""Cloud-optimised GeoTIFFs whose bands lie one after the other: for so many bands that a block of all is too large.

GDAL's driver `COG` lays all bands of a pixel side by side (others only from GDAL 3.11 on); `GTiff` makes the same
order of header, overviews and pixels of bands that lie apart.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.shutil import copy

from msgfm.geo.cog_blocks import require_deflated_blocks
from msgfm.geo.cog_levels import block_and_overviews
from msgfm.geo.raster import LOCAL_OPTIONS, quiet
from msgfm.geo.spec import RasterSpec
from msgfm.geo.virtual import RAW, raw_band, virtual_raster


def write_by_band(whole: Path, spec: RasterSpec, largest: int, cache: int, threads: int, out: Path) -> None:
    """Makes one of raw numbers. Overviews are means of pixels that have data.

    Args:
        whole: a file with (bands, h, w) of the type of `spec` and nothing else, in a folder that is thrown away.
        spec: everything but the numbers.
        largest: side of a block in pixels at most.
        cache: bytes that GDAL may hold.
        threads: that compress.
        out: where it goes.

    Raises:
        RasterioError: GDAL failed, or the disk is full.
    """
    block, overviews = block_and_overviews(spec.grid.height, spec.grid.width, largest)
    virtual = whole.with_suffix(".vrt")
    numbers = partial(raw_band, whole, spec)
    virtual.write_text(virtual_raster(spec, numbers, interleave="BAND", subclass=RAW), encoding="utf-8")
    predictor = "3" if np.dtype(spec.dtype).kind == "f" else "2"
    with quiet(LOCAL_OPTIONS | {"GDAL_CACHEMAX": cache, "GDAL_NUM_THREADS": threads}):
        if factors := _factors(spec, block)[:overviews]:
            # compressed, as a checksum comes with it
            with (
                rasterio.Env(
                    INTERLEAVE_OVERVIEW="BAND",
                    COMPRESS_OVERVIEW="DEFLATE",
                    ZLEVEL_OVERVIEW=1,
                    GDAL_TIFF_OVR_BLOCKSIZE=block,
                    BIGTIFF_OVERVIEW="IF_SAFER",
                ),
                rasterio.open(virtual, "r+") as source,
            ):
                source.build_overviews(factors, Resampling.average)
            require_deflated_blocks(virtual.with_name(f"{virtual.name}.ovr"))
        copy(
            virtual,
            out,
            driver="GTiff",
            COPY_SRC_OVERVIEWS="YES",  # which puts overviews before the pixels
            INTERLEAVE="BAND",
            TILED="YES",
            BLOCKXSIZE=str(block),
            BLOCKYSIZE=str(block),
            COMPRESS="DEFLATE",
            ZLEVEL="1",  # noise does not get smaller with more effort
            PREDICTOR=predictor,
            BIGTIFF="IF_SAFER",
        )
        require_deflated_blocks(out)


def _factors(spec: RasterSpec, block: int) -> list[int]:
    """Powers of two, until a level is one block, as GDAL's driver `COG` has them."""
    side = max(spec.grid.height, spec.grid.width)
    return [2**level for level in range(1, math.ceil(math.log2(max(side / block, 1))) + 1)]
