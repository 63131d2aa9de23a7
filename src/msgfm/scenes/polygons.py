"""Polygons of the classes of a finished map, for GIS programs: GeoParquet or GeoPackage."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from msgfm.errors import InputError
from msgfm.geo.align import grid_of
from msgfm.geo.geometry import Ring, area_m2, place, wkb_of
from msgfm.geo.geopackage import open_geopackage
from msgfm.geo.geoparquet import GEOMETRY, open_table, table_schema
from msgfm.geo.grid import Grid
from msgfm.geo.network import Network
from msgfm.geo.polygonize import Band, ClassPolygon, polygonize
from msgfm.geo.source import RasterSource
from msgfm.geo.spec import RasterClass
from msgfm.progress import track

_SUFFIXES = (".parquet", ".gpkg")
_ROWS = 256  # of a band, so that a block of the map is read twice at most
_CACHE = 64 * 2**20
_AT_ONCE = 10_000
_TABLE = "polygons"


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A polygon as it is written.

    Args:
        rings: map coordinates, against the clock, holes with it.
        value: of the class.
        name: of the class.
        pixels: that it is made of.
        area: in square metres; None where there is no CRS.
    """

    rings: list[Ring]
    value: int
    name: str
    pixels: int
    area: float | None


def require_polygon_suffix(path: Path) -> None:
    """Refuses a name that says neither GeoParquet nor GeoPackage, before the work.

    Raises:
        InputError: with the endings that there are.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"cannot write polygons to {path}: give a name that ends in {' or '.join(_SUFFIXES)}")


def write_polygons(
    class_map: Path, classes: Sequence[RasterClass], out: Path, *, min_area_m2: float = 0.0, leave_out: str = ""
) -> int:
    """Writes the polygons of a finished class map, in its CRS, with class, name, pixels and area.

    What is held grows with the polygons that cross a row of pixels, not with the map; a polygon is held whole, so
    the holes of a class that surrounds all others are, too.

    Args:
        class_map: the raster; its first band holds the classes.
        classes: what its values mean; others are left out.
        out: `.parquet` or `.gpkg`.
        min_area_m2: smaller polygons are left out, in pixels where the map has no CRS.
        leave_out: name of a class of which no polygons are wanted; empty for none.

    Returns:
        How many were written.

    Raises:
        InputError: a map that cannot be read, another ending, no such class, a full disk.
    """
    require_polygon_suffix(out)
    names = {one.value: one.name for one in classes}
    if leave_out and leave_out not in names.values():
        raise InputError(f"no class {leave_out!r} to leave out; there are {', '.join(names.values())}")
    wanted = {value: name for value, name in names.items() if name != leave_out}
    with RasterSource(str(class_map), Network()) as source:
        source.limit_cache(_CACHE)
        grid = grid_of(source.info, str(class_map))
        found = (_feature(polygon, grid, wanted) for polygon in polygonize(_bands(source, grid, wanted)))
        kept = (one for one in found if (one.pixels if one.area is None else one.area) >= min_area_m2)
        write = _write_geopackage if out.suffix.lower() == ".gpkg" else _write_geoparquet
        return write(out, grid, iter(kept))


def _bands(source: RasterSource, grid: Grid, wanted: dict[int, str]) -> Iterator[Band]:
    values = np.array(list(wanted), np.int64)
    tops = range(0, grid.height, _ROWS)
    for top in track(tops, "finding polygons", len(tops)):
        stored = source.read([1], (top, 0, min(_ROWS, grid.height - top), grid.width))[0]
        yield top, stored.data, np.isin(stored.data, values) & ~np.ma.getmaskarray(stored)


def _feature(polygon: ClassPolygon, grid: Grid, names: dict[int, str]) -> Feature:
    rings = [place(grid, ring[::-1]) for ring in polygon.rings]  # rows go down, the map's y goes up
    area = area_m2(grid, rings) if grid.crs else None
    return Feature(rings=rings, value=polygon.value, name=names[polygon.value], pixels=polygon.pixels, area=area)


def _write_geoparquet(out: Path, grid: Grid, features: Iterator[Feature]) -> int:
    fields = [
        pa.field("class", pa.int32()),
        pa.field("name", pa.string()),
        pa.field("pixels", pa.int64()),
        pa.field("area_m2", pa.float64()),
    ]
    schema = table_schema(fields, grid.crs, _bounds(grid), {})
    count = 0
    with open_table(out, schema) as table:
        while group := list(itertools.islice(features, _AT_ONCE)):
            columns: dict[str, list[Any]] = {
                "class": [one.value for one in group],
                "name": [one.name for one in group],
                "pixels": [one.pixels for one in group],
                "area_m2": [one.area for one in group],
                GEOMETRY: [wkb_of(one.rings) for one in group],
            }
            table.write_table(pa.table(columns, schema=schema))
            count += len(group)
    return count


def _write_geopackage(out: Path, grid: Grid, features: Iterator[Feature]) -> int:
    columns = {"class": "INTEGER", "name": "TEXT", "pixels": "INTEGER", "area_m2": "REAL"}
    count = 0
    with open_geopackage(out, _TABLE, columns, grid.crs, _bounds(grid)) as package:
        while group := list(itertools.islice(features, _AT_ONCE)):
            package.add([(one.rings, (one.value, one.name, one.pixels, one.area)) for one in group])
            count += len(group)
    return count


def _bounds(grid: Grid) -> tuple[float, float, float, float]:
    if grid.crs:
        return grid.bounds
    return 0.0, -float(grid.height), float(grid.width), 0.0
