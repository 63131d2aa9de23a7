"""Where a file lies on a grid."""

from __future__ import annotations

import math

from rasterio.crs import CRS

from msgfm.errors import InputError
from msgfm.geo.grid import Grid
from msgfm.geo.raster import RasterInfo

# In pixels: what rounding of coordinates may move a pixel by, over the whole of a file.
_ROUNDING = 0.01


def grid_of(info: RasterInfo, place: str) -> Grid:
    """The grid of a file's own pixels.

    Args:
        info: its header.
        place: what to call it.

    Raises:
        InputError: it is rotated, not north up, only control points say where it lies, or its CRS is local.
    """
    crs = None if info.transform.is_identity else info.crs
    if info.has_control_points and crs is None:
        raise InputError(
            f"{place} has only control points (radar in ground range, or a photograph); use a terrain-corrected "
            f"product, or `gdalwarp` it"
        )
    if crs is None:
        return Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, height=info.height, width=info.width)
    a, b, c, d, e, f = info.transform[:6]
    if not all(map(math.isfinite, (a, b, c, d, e, f))):
        raise InputError(f"{place}: its geotransform {a:g}, {b:g}, {c:g}, {d:g}, {e:g}, {f:g} is no numbers; mend it")
    if not (crs.is_projected or crs.is_geographic):
        raise InputError(
            f"{place}: its coordinate system does not say where on the earth it lies ({crs.to_wkt()[:60]}...); "
            f"give it the right one, or none: gdal_edit.py -a_srs EPSG:... (or none) {place}"
        )
    if b or d or a <= 0 or e >= 0:
        what = "is rotated" if b or d else "does not lie north up"
        raise InputError(
            f"{place} {what} (geotransform {a:g}, {b:g}, {c:g}, {d:g}, {e:g}, {f:g}); bring it to a north-up grid: "
            f"gdalwarp -r bilinear {place} OUT.tif"
        )
    return Grid(crs=crs_name(crs), left=c, top=f, pixel_width=a, pixel_height=-e, height=info.height, width=info.width)


def crs_name(crs: CRS) -> str:
    """`EPSG:32633`, or WKT where no such number says the same."""
    name: str = crs.to_string()
    return name if CRS.from_user_input(name) == crs else crs.to_wkt()


def offset_on(grid: Grid, own: Grid) -> tuple[int, int] | None:
    """Row and column on a grid of the first pixel of a file whose pixels are the grid's; None where they are others.

    Args:
        grid: the scene's.
        own: the file's, as `grid_of` has it.
    """
    if not grid.crs and not own.crs:
        return 0, 0
    if grid.crs != own.crs and (
        not (grid.crs and own.crs) or CRS.from_user_input(grid.crs) != CRS.from_user_input(own.crs)
    ):
        return None
    row, column = (grid.top - own.top) / grid.pixel_height, (own.left - grid.left) / grid.pixel_width
    drift = max(
        abs(row - round(row)),
        abs(column - round(column)),
        own.height * abs(own.pixel_height / grid.pixel_height - 1),
        own.width * abs(own.pixel_width / grid.pixel_width - 1),
    )
    return (round(row), round(column)) if drift < _ROUNDING and math.isfinite(drift) else None
