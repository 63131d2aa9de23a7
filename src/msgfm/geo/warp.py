"""Reading rasters, over the network or not, on a grid of one's choice."""

from __future__ import annotations

import logging
import math

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from msgfm.errors import InputError
from msgfm.geo.grid import Grid
from msgfm.geo.network import Network, gdal_name

# GDAL logs each attempt that fails; the exception, once no attempt is left, is enough.
logging.getLogger("rasterio._err").setLevel(logging.CRITICAL)


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
