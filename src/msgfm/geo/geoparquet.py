"""GeoParquet 1.1: tables with a geometry, written as their rows come."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from msgfm.files import write_atomically
from msgfm.geo.geometry import projjson_of
from msgfm.geo.grid import Bounds

GEOMETRY = "geometry"
LON_LAT = "OGC:CRS84"
"""Longitude and latitude in this order; GeoParquet's default."""


def table_schema(fields: list[pa.Field], crs: str, bounds: Bounds, facts: Mapping[str, str]) -> pa.Schema:
    """The schema of a table of polygons.

    Args:
        fields: the columns beside the geometry.
        crs: `LON_LAT`, any other, or empty where there is none.
        bounds: that hold all geometries: left, bottom, right, top.
        facts: further metadata of the file, by key.
    """
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "orientation": "counterclockwise",
        "edges": "planar",
        "bbox": list(bounds),
    }
    if crs != LON_LAT:
        column["crs"] = projjson_of(crs)
    geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
    metadata = {b"geo": json.dumps(geo).encode()} | {key.encode(): text.encode() for key, text in facts.items()}
    return pa.schema([*fields, pa.field(GEOMETRY, pa.binary(), nullable=False)], metadata=metadata)


@contextmanager
def open_table(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A table to write row groups into; it lies under its name when the block ends well.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    with (
        write_atomically(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        yield writer
