"""Which grid a scene is read on, and whether all files lie there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgfm.errors import InputError
from msgfm.geo.align import grid_of, offset_on
from msgfm.geo.grid import Grid
from msgfm.geo.raster import RasterInfo
from msgfm.geo.warp import footprint

Headers = Mapping[str, RasterInfo]
"""By path or address."""


def choose_grid(places: Mapping[str, Sequence[str]], headers: Headers, like: str | None, first: str | None) -> Grid:
    """The grid of a scene.

    Args:
        places: by key, in the model's order, the files that are read.
        headers: of all files, and of `like`.
        like: path or address of a raster whose grid is taken.
        first: the key whose finest file's grid is taken; None looks at all, and takes the first of the finest.

    Raises:
        InputError: a file is rotated or does not say where it lies, or shows none of the grid's ground.
    """
    grids = {place: grid_of(headers[place], place) for of_key in places.values() for place in of_key}
    _require_coordinates(grids, headers)
    if like is not None:
        grid = grid_of(headers[like], like)
        chosen = like
    else:
        candidates = places[first] if first is not None else list(grids)
        chosen = min(candidates, key=lambda place: round(grids[place].pixel_m(), 6))
        grid = grids[chosen]
    for place, own in grids.items():
        if bool(grid.crs) != bool(own.crs):
            raise InputError(
                f"{place} has {_told(own)}, and {chosen}, whose grid is taken, {_told(grid)}; give another --like"
            )
        if not _shows(grid, own):
            raise InputError(
                f"{place} shows none of the ground of {chosen}, whose grid is taken: it has {_told(own)}, the grid "
                f"{_told(grid)}; give images of one place, or another --like"
            )
    return grid


def _require_coordinates(grids: Mapping[str, Grid], headers: Headers) -> None:
    """All files have a CRS, or none has and all have the same pixels."""
    without = [place for place, grid in grids.items() if not grid.crs]
    if not without:
        return
    if with_crs := [place for place, grid in grids.items() if grid.crs]:
        raise InputError(
            f"{without[0]} has no coordinate system, and {with_crs[0]} has one; say where the first lies: "
            f"gdal_translate -a_srs EPSG:... -a_ullr LEFT TOP RIGHT BOTTOM {without[0]} OUT.tif"
        )
    place = without[0]
    for other in without[1:]:
        sizes = [(grids[one].height, grids[one].width) for one in (place, other)]
        if sizes[0] != sizes[1] or headers[place].transform != headers[other].transform:
            raise InputError(
                f"{place} ({sizes[0][0]} x {sizes[0][1]} pixels) and {other} ({sizes[1][0]} x {sizes[1][1]}) have no "
                f"coordinate system, so their pixels must be the same; bring them to one grid, or give them one"
            )


def _shows(grid: Grid, own: Grid) -> bool:
    """Whether a file has pixels on the grid."""
    offset = offset_on(grid, own)
    if offset is not None:
        row, column = offset
        return row < grid.height and row + own.height > 0 and column < grid.width and column + own.width > 0
    return footprint(grid, own) is not None


def _told(grid: Grid) -> str:
    """Where it lies, in words."""
    if not grid.crs:
        return "no coordinate system"
    crs = grid.crs if len(grid.crs) <= 20 else grid.crs.split('"')[1] if '"' in grid.crs else grid.crs[:20]
    west, south, east, north = grid.lon_lat_bounds()
    return f"{crs}, longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"
