"""Reading rasters, over the network or not, on a grid of one's choice."""

from __future__ import annotations

import logging
import math

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject, transform, transform_bounds

from msgfm.errors import InputError
from msgfm.geo.grid import Grid
from msgfm.geo.network import Network, gdal_name

# GDAL logs each attempt that fails; the exception, once no attempt is left, is enough.
logging.getLogger("rasterio._err").setLevel(logging.CRITICAL)

Window = tuple[int, int, int, int]
# Of a source pixel: how far a place may be off, where transforming every pixel by itself would take longer.
_TOLERANCE = 0.01
# Grids whose pixels are that near in size are as fine as each other.
_SAME_SIZE = 1.05


def footprint(target: Grid, source: Grid, shrink: tuple[float, float] | None = None) -> Window | None:
    """The window of a source that is needed to make a target of it.

    Args:
        target: what is wanted.
        source: the file's own grid.
        shrink: as `shrinking` has it; None leaves out what interpolation needs beside the common ground.

    Returns:
        Row, column, height, width within the source; None where they show no common ground.
    """
    try:
        left, bottom, right, top = transform_bounds(target.crs, source.crs, *target.bounds, densify_pts=21)
    except (CRSError, RasterioError):  # the target lies where the source's CRS has no coordinates
        return None
    edges = (left, bottom, right, top)
    if not all(map(math.isfinite, edges)):
        return None
    # half the kernel, and a pixel for each rounding
    rows, columns = (math.ceil(size) + 2 for size in shrink) if shrink is not None else (0, 0)
    first_row = max(0, math.floor((source.top - top) / source.pixel_height) - rows)
    first_column = max(0, math.floor((left - source.left) / source.pixel_width) - columns)
    end_row = min(source.height, math.ceil((source.top - bottom) / source.pixel_height) + rows)
    end_column = min(source.width, math.ceil((right - source.left) / source.pixel_width) + columns)
    if first_row >= end_row or first_column >= end_column:
        return None
    return first_row, first_column, end_row - first_row, end_column - first_column


def shrinking(target: Grid, source: Grid) -> tuple[float, float]:
    """How many of a source's pixels one of the target's is long, down and across, in its middle; 1 where it is finer.

    Raises:
        InputError: the middle of the target has no coordinates in the source's CRS.
    """
    middle = target.window(target.height // 2, target.width // 2, 1, 1)
    left, bottom, right, top = middle.bounds
    xs, ys = transform(target.crs, source.crs, [left, right, left], [top, top, bottom])
    columns, rows = (
        [value / size for value in values] for values, size in ((xs, source.pixel_width), (ys, source.pixel_height))
    )
    wide, high = (math.hypot(columns[i] - columns[0], rows[i] - rows[0]) for i in (1, 2))
    if not (math.isfinite(high) and math.isfinite(wide)):
        raise InputError(
            f"the middle of the grid ({middle.left:g}, {middle.top:g} in {target.crs}) is not in {source.crs}"
        )
    return (high if high > _SAME_SIZE else 1.0), (wide if wide > _SAME_SIZE else 1.0)


def warp(values: NDArray[np.float32], source: Grid, target: Grid, shrink: tuple[float, float]) -> NDArray[np.float32]:
    """Brings an image to another grid, bilinearly from the pixels that have data.

    Args:
        values: (C, h, w), NaN where there is no data.
        source: the grid of these pixels.
        target: the grid wanted.
        shrink: by `shrinking` of the whole grids, so that parts of an image are made as the whole would be; the kernel
            is as wide as a target's pixel.

    Returns:
        (C, H, W), NaN where no pixel with data is near.
    """
    result: NDArray[np.float32] = np.full((len(values), target.height, target.width), np.nan, np.float32)
    reproject(
        values,
        result,
        src_transform=source.transform,
        src_crs=source.crs,
        src_nodata=math.nan,
        dst_transform=target.transform,
        dst_crs=target.crs,
        dst_nodata=math.nan,
        resampling=Resampling.bilinear,
        tolerance=_TOLERANCE,
        UNIFIED_SRC_NODATA="NO",  # each band has holes of its own
        YSCALE=1 / shrink[0],
        XSCALE=1 / shrink[1],
    )
    return result


def read_on_grid(
    address: str, file_band: int, grid: Grid, *, nodata: float | None = None, network: Network | None = None
) -> tuple[NDArray[np.float32], str]:
    """Reads one band on a grid: what is needed of it, and no more, travels over the network.

    Pixels that lie on the grid already are taken as they are. Others are interpolated bilinearly from the pixels that
    have data; where the grid is coarser, over a kernel as wide as its pixels.

    Args:
        address: `http(s)://`, `s3://`, any `/vsi...` of GDAL, or a path.
        file_band: position in the file, counted from 1.
        grid: where to.
        nodata: the stored number that means "no data" where the file names none.
        network: how patient to be.

    Returns:
        h x w in stored numbers, NaN where there is no data; and numpy's name of the stored type.

    Raises:
        InputError: it cannot be reached or read, or has no coordinates or no such band.
    """
    options = (network or Network()).options()
    try:
        with rasterio.Env(**options), rasterio.open(gdal_name(address)) as source:
            if source.crs is None:
                raise InputError(
                    f"{address} has no coordinate system (radar in ground range, or a picture); use a product that is "
                    f"terrain corrected"
                )
            if not 1 <= file_band <= source.count:
                raise InputError(f"{address} has {source.count} bands, so there is no band {file_band}")
            own, dtype = source.nodatavals[file_band - 1], source.dtypes[file_band - 1]
            marked = own if own is not None else nodata
            warped = WarpedVRT(
                source,
                crs=grid.crs,
                transform=grid.transform,
                height=grid.height,
                width=grid.width,
                resampling=Resampling.bilinear,
                dtype="float32",
                # without any, NaN: no integer is, and of floating point it is right
                src_nodata=math.nan if marked is None else marked,
                nodata=math.nan,
                INIT_DEST="NO_DATA",
            )
            with warped:
                values: NDArray[np.float32] = warped.read(file_band)
            return values, dtype
    except (RasterioError, OSError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise InputError(f"cannot read {address} ({reason})") from error
