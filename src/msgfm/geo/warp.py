"""Reading rasters, over the network or not, on a grid of one's choice."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from msgfm.errors import InputError

# GDAL logs each attempt that fails; the exception, once no attempt is left, is enough.
logging.getLogger("rasterio._err").setLevel(logging.CRITICAL)

Bounds = tuple[float, float, float, float]
_LON_LAT = "EPSG:4326"
# How a cloud-optimised GeoTIFF is read with few requests. GDAL's own variables of the environment come first
# (GDAL_HTTP_HEADERS, AWS_NO_SIGN_REQUEST...); CPL_VSIL_CURL_ALLOWED_EXTENSIONS is left alone, since signed addresses
# end in a query, and EMPTY_DIR keeps GDAL from looking for side files.
_GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_INGESTED_BYTES_AT_OPEN": 32768,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": 16 * 2**20,
    "CPL_VSIL_CURL_CACHE_SIZE": 128 * 2**20,
}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """North-up pixels, square in the units of their coordinate system.

    Args:
        crs: as `EPSG:32633`.
        left: of the left edge.
        top: of the upper edge.
        resolution: side of a pixel.
        height: pixels.
        width: pixels.
    """

    crs: str
    left: float
    top: float
    resolution: float
    height: int
    width: int

    @property
    def transform(self) -> Affine:
        """Pixel to map coordinates."""
        return Affine(self.resolution, 0, self.left, 0, -self.resolution, self.top)

    def window(self, row: int, column: int, height: int, width: int) -> Grid:
        """A part of it."""
        return replace(
            self,
            left=self.left + column * self.resolution,
            top=self.top - row * self.resolution,
            height=height,
            width=width,
        )

    def lon_lat_bounds(self) -> Bounds:
        """West, south, east, north in degrees."""
        bottom, right = self.top - self.height * self.resolution, self.left + self.width * self.resolution
        west, south, east, north = transform_bounds(self.crs, _LON_LAT, self.left, bottom, right, self.top)
        return west, south, east, north


@dataclass(frozen=True, kw_only=True)
class Network:
    """How patient reading over the network is.

    Args:
        timeout_s: for one request.
        retries: of a request that fails or hangs; the wait before each is about twice the one before.
        wait_s: before the first of them.
    """

    timeout_s: float = 30.0
    retries: int = 3
    wait_s: float = 1.0

    def options(self) -> Mapping[str, Any]:
        """For GDAL."""
        return {
            "GDAL_HTTP_TIMEOUT": max(1, round(self.timeout_s)),
            "GDAL_HTTP_CONNECTTIMEOUT": max(1, round(self.timeout_s)),
            "GDAL_HTTP_MAX_RETRY": self.retries,
            "GDAL_HTTP_RETRY_DELAY": self.wait_s,
        }


def utm_zone(longitude: float, latitude: float) -> str:
    """The UTM zone of a place, WGS 84; Norway and Svalbard have no exception."""
    zone = min(60, int((longitude + 180) // 6) + 1)
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"


def grid_over(bounds: Bounds, crs: str, resolution: float, size: int) -> Grid:
    """The grid that covers a place with whole squares of `size` pixels; its edges are multiples of the resolution.

    Args:
        bounds: west, south, east, north in degrees.
        crs: of the grid.
        resolution: side of a pixel in the units of the CRS.
        size: side of a square in pixels.

    Raises:
        InputError: no such CRS, or the place does not lie in it.
    """
    try:
        left, bottom, right, top = transform_bounds(_LON_LAT, CRS.from_user_input(crs), *bounds)
    except (CRSError, RasterioError) as error:
        raise InputError(f"{crs}: {error}; give a coordinate system as EPSG:32633") from error
    if not all(map(math.isfinite, (left, bottom, right, top))):
        raise InputError(f"the bbox {bounds} does not lie within {crs}; give another --crs")
    left, top = math.floor(left / resolution) * resolution, math.ceil(top / resolution) * resolution
    # a thousandth of a pixel beyond a square's edge is rounding, and no further square
    rows, columns = ((side / resolution - 1e-3) / size for side in (top - bottom, right - left))
    return Grid(
        crs=crs,
        left=left,
        top=top,
        resolution=resolution,
        height=max(1, math.ceil(rows)) * size,
        width=max(1, math.ceil(columns)) * size,
    )


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
    options = _GDAL_OPTIONS | dict((network or Network()).options())
    try:
        with rasterio.Env(**options), rasterio.open(_gdal_name(address)) as source:
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


def _gdal_name(address: str) -> str:
    if address.startswith(("http://", "https://")):
        return f"/vsicurl/{address}"
    if address.startswith("s3://"):
        return f"/vsis3/{address.removeprefix('s3://')}"
    return address
