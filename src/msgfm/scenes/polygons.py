"""Polygons of the classes of a finished map, for GIS programs: GeoParquet or GeoPackage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from msgfm.errors import InputError
from msgfm.geo.align import grid_of
from msgfm.geo.geometry import area_m2, place, wkb_of
from msgfm.geo.geopackage import open_geopackage
from msgfm.geo.geoparquet import GEOMETRY, open_table, table_schema
from msgfm.geo.grid import Bounds, Grid
from msgfm.geo.network import Network
from msgfm.geo.polygonize import Band, ClassPolygon, polygonize
from msgfm.geo.source import RasterSource
from msgfm.geo.spec import RasterClass
from msgfm.progress import track

_SUFFIXES = (".parquet", ".gpkg")
_ROWS = 256  # of a band, so that a block of the map is read twice at most
_CACHE = 64 * 2**20
_AT_ONCE = 4 * 2**20  # bytes of polygons that are written together
_TABLE = "polygons"


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A polygon as it is written.

    Args:
        wkb: map coordinates; the outer ring against the clock, holes with it.
        bounds: left, bottom, right, top.
        value: of the class.
        name: of the class.
        pixels: that it is made of.
        area: in square metres; None where there is no CRS.
    """

    wkb: bytes
    bounds: Bounds
    value: int
    name: str
    pixels: int
    area: float | None


@dataclass(frozen=True, kw_only=True)
class PolygonsWanted:
    """Polygons that are to be made of a result.

    Args:
        path: `.parquet` or `.gpkg`.
        min_area_m2: smaller ones are left out, in pixels where the result has no CRS.
        leave_out: name of a class of which none are wanted; empty for none.
    """

    path: Path
    min_area_m2: float = 0.0
    leave_out: str = ""


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
        found = polygonize(_bands(source, grid, wanted))
        sized = ((one, area_m2(grid, one.rings, one.pixels) if grid.crs else None) for one in found)
        kept = (
            _feature(one, area, grid, wanted[one.value])
            for one, area in sized
            if (one.pixels if area is None else area) >= min_area_m2
        )
        write = _write_geopackage if out.suffix.lower() == ".gpkg" else _write_geoparquet
        return write(out, grid, kept)


def _bands(source: RasterSource, grid: Grid, wanted: dict[int, str]) -> Iterator[Band]:
    values = np.array(list(wanted), np.int64)
    tops = range(0, grid.height, _ROWS)
    for top in track(tops, "finding polygons", len(tops)):
        stored = source.read([1], (top, 0, min(_ROWS, grid.height - top), grid.width))[0]
        yield top, stored.data, np.isin(stored.data, values) & ~np.ma.getmaskarray(stored)


def _feature(polygon: ClassPolygon, area: float | None, grid: Grid, name: str) -> Feature:
    rings = [place(grid, ring[::-1]) for ring in polygon.rings]  # rows go down, the map's y goes up
    (left, bottom), (right, top) = rings[0].min(axis=0).tolist(), rings[0].max(axis=0).tolist()
    return Feature(
        wkb=wkb_of(rings),
        bounds=(left, bottom, right, top),
        value=polygon.value,
        name=name,
        pixels=polygon.pixels,
        area=area,
    )


def _groups(features: Iterator[Feature]) -> Iterator[list[Feature]]:
    """So many at once as take a bounded room."""
    group: list[Feature] = []
    held = 0
    for one in features:
        group.append(one)
        held += len(one.wkb)
        if held >= _AT_ONCE:
            yield group
            group, held = [], 0
    if group:
        yield group


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
        for group in _groups(features):
            columns: dict[str, list[Any]] = {
                "class": [one.value for one in group],
                "name": [one.name for one in group],
                "pixels": [one.pixels for one in group],
                "area_m2": [one.area for one in group],
                GEOMETRY: [one.wkb for one in group],
            }
            table.write_table(pa.table(columns, schema=schema))
            count += len(group)
    return count


def _write_geopackage(out: Path, grid: Grid, features: Iterator[Feature]) -> int:
    columns = {"class": "INTEGER", "name": "TEXT", "pixels": "INTEGER", "area_m2": "REAL"}
    count = 0
    with open_geopackage(out, _TABLE, columns, grid.crs, _bounds(grid)) as package:
        for group in _groups(features):
            package.add([(one.wkb, one.bounds, (one.value, one.name, one.pixels, one.area)) for one in group])
            count += len(group)
    return count


def _bounds(grid: Grid) -> Bounds:
    if grid.crs:
        return grid.bounds
    return 0.0, -float(grid.height), float(grid.width), 0.0
