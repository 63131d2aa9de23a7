"""GeoPackage 1.3: polygons in an SQLite file, which every GIS program reads.

By the standard (OGC 12-128r17) and Python's own SQLite: GDAL, which rasterio brings, writes no vectors from there.
"""

from __future__ import annotations

import errno
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rasterio.crs import CRS

from msgfm.files import write_atomically
from msgfm.geo.grid import Bounds

_APPLICATION = 0x47504B47  # "GPKG"
_VERSION = 10300
_OWN_CRS = 100_000  # number of one that is not EPSG's
_HEADER = b"GP\x00\x03"  # version 1, little endian, with the box of the geometry
_TABLES = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY,
  organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
  description TEXT DEFAULT '', last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
  geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
"""
_UNDEFINED = [
    ("Undefined Cartesian", -1, "NONE", -1, "undefined", "cartesian coordinates of no known place"),
    ("Undefined geographic", 0, "NONE", 0, "undefined", "longitude and latitude of no known datum"),
]
_WGS84 = 4326


class GeoPackage:
    """A GeoPackage that is being written."""

    def __init__(self, database: sqlite3.Connection, table: str, srs: int, columns: Sequence[str]) -> None:
        self._database, self._srs = database, srs
        names = ", ".join(_quoted(name) for name in ("geom", *columns))
        marks = ", ".join("?" * (len(columns) + 1))
        self._insert = f"INSERT INTO {_quoted(table)} ({names}) VALUES ({marks})"

    def add(self, features: Sequence[tuple[bytes, Bounds, Sequence[Any]]]) -> None:
        """Adds polygons (WKB), each with its bounds and the values of its columns."""
        rows = [(self._header(bounds) + wkb, *values) for wkb, bounds, values in features]
        self._database.executemany(self._insert, rows)

    def _header(self, bounds: Bounds) -> bytes:
        left, bottom, right, top = bounds
        return _HEADER + struct.pack("<i4d", self._srs, left, right, bottom, top)


@contextmanager
def open_geopackage(
    path: Path, table: str, columns: Mapping[str, str], crs: str, bounds: Bounds
) -> Iterator[GeoPackage]:
    """A GeoPackage with one table of polygons; it lies under its name when the block ends well.

    Args:
        path: `.gpkg`.
        table: its name.
        columns: names and types of SQLite, beside geometry and number.
        crs: empty where there is none.
        bounds: that hold all polygons: left, bottom, right, top.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    with write_atomically(path) as temporary:
        try:
            with closing(sqlite3.connect(temporary, isolation_level=None)) as database:
                # what is not complete is thrown away: no journal is needed
                database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;")
                srs = _describe(database, table, columns, crs, bounds)
                yield GeoPackage(database, table, srs, list(columns))
                database.execute("COMMIT")
        except sqlite3.OperationalError as error:  # how a full disk shows here
            raise OSError(errno.ENOSPC, str(error)) from error


def _describe(database: sqlite3.Connection, table: str, columns: Mapping[str, str], crs: str, bounds: Bounds) -> int:
    """Makes the standard's tables and ours; returns the number of the CRS."""
    database.execute(f"PRAGMA application_id = {_APPLICATION}")
    database.execute(f"PRAGMA user_version = {_VERSION}")
    for statement in _TABLES.split(";"):
        database.execute(statement)
    wgs84 = _reference(CRS.from_epsg(_WGS84))
    own = _reference(CRS.from_user_input(crs)) if crs else _UNDEFINED[0]
    for row in dict.fromkeys([*_UNDEFINED, wgs84, own]):
        database.execute("INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?)", row)
    told = ", ".join(f"{_quoted(name)} {kind}" for name, kind in columns.items())
    database.execute(
        f"CREATE TABLE {_quoted(table)} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON, {told})"
    )
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, min_x, min_y, max_x, max_y, srs_id) "
        "VALUES (?, 'features', ?, ?, ?, ?, ?, ?)",
        (table, table, *bounds, own[1]),
    )
    database.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'POLYGON', ?, 0, 0)", (table, own[1]))
    return int(own[1])


def _reference(crs: CRS) -> tuple[str, int, str, int, str, str | None]:
    wkt = crs.to_wkt(version="WKT1_GDAL")
    name = wkt.split('"')[1]
    number = crs.to_epsg()
    if number is None:
        return name, _OWN_CRS, "NONE", _OWN_CRS, wkt, None
    return name, number, "EPSG", number, wkt, None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
