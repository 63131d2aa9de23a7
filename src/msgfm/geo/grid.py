"""The pixels that images are brought to, and where on the ground they lie."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from rasterio import Affine
from rasterio._err import CPLE_BaseError  # what `transform_bounds` raises
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform_bounds

from msgfm.errors import InputError

Bounds = tuple[float, float, float, float]
_LON_LAT = "EPSG:4326"
_DEGREE_M = 111_320.0


@dataclass(frozen=True, kw_only=True)
class Grid:
    """North-up rectangular pixels.

    Args:
        crs: as `EPSG:32633`, or WKT where there is no such number; empty where nothing says where the pixels lie,
            `left` and `top` then being 0 and a pixel 1 x 1.
        left: of the left edge, in units of the CRS.
        top: of the upper edge.
        pixel_width: from west to east.
        pixel_height: from north to south, above 0.
        height: pixels.
        width: pixels.
    """

    crs: str
    left: float
    top: float
    pixel_width: float
    pixel_height: float
    height: int
    width: int

    @property
    def transform(self) -> Affine:
        """Pixel to map coordinates; without a CRS row and column themselves, so that nothing is north or south."""
        if not self.crs:
            return Affine(1, 0, self.left, 0, 1, -self.top)
        return Affine(self.pixel_width, 0, self.left, 0, -self.pixel_height, self.top)

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right, top in units of the CRS."""
        bottom, right = self.top - self.height * self.pixel_height, self.left + self.width * self.pixel_width
        return self.left, bottom, right, self.top

    def pixel_m(self) -> float:
        """Height of a pixel in metres, of degrees about that; 1 without a CRS."""
        if not self.crs:
            return self.pixel_height
        crs = CRS.from_user_input(self.crs)
        return self.pixel_height * (_DEGREE_M if crs.is_geographic else float(crs.linear_units_factor[1]))

    def window(self, row: int, column: int, height: int, width: int) -> Grid:
        """A part of it; it may reach beyond its edges."""
        return replace(
            self,
            left=self.left + column * self.pixel_width,
            top=self.top - row * self.pixel_height,
            height=height,
            width=width,
        )

    def coarser(self, step: int) -> Grid:
        """Pixels as large as `step` x `step` of these, from the same corner; the last may reach beyond the edges."""
        return replace(
            self,
            pixel_width=self.pixel_width * step,
            pixel_height=self.pixel_height * step,
            height=math.ceil(self.height / step),
            width=math.ceil(self.width / step),
        )

    def lon_lat_bounds(self) -> Bounds:
        """West, south, east, north in degrees.

        Raises:
            InputError: it has no CRS, or does not lie where that holds.
        """
        if not self.crs:
            raise InputError("images without a coordinate system have no longitude and latitude")
        try:
            west, south, east, north = transform_bounds(self.crs, _LON_LAT, *self.bounds)
        except (RasterioError, CPLE_BaseError) as error:
            raise InputError(self._beyond(str(error))) from error
        if not all(map(math.isfinite, (west, south, east, north))):
            raise InputError(self._beyond("it has no longitude and latitude"))
        if max(abs(south), abs(north)) > 90 + self.pixel_height:  # pixels may have their middle at a pole
            raise InputError(self._beyond(f"its latitudes are {south:g} to {north:g}"))
        return west, south, east, north

    def _beyond(self, reason: str) -> str:
        edges = ", ".join(f"{edge:g}" for edge in self.bounds)
        return (
            f"the grid from {edges} (left, bottom, right, top) does not lie within its coordinate system, {self.crs}: "
            f"{reason}; look at the geotransform and the CRS of the file"
        )


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
        pixel_width=resolution,
        pixel_height=resolution,
        height=max(1, math.ceil(rows)) * size,
        width=max(1, math.ceil(columns)) * size,
    )
