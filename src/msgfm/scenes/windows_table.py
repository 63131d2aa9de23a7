"""Tables of windows: where each lies, and a vector or the values of named columns. GeoParquet in lon/lat.

Windows of many scenes, in whatever UTM zones, so lie in one table, and any program finds those at a place. Row and
column in the scene stand beside the outline, so that nothing is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from msgfm.errors import InputError
from msgfm.geo.geometry import place, quadrangles_of_wkb, wkb_of_quadrangles
from msgfm.geo.geoparquet import GEOMETRY, LON_LAT, open_table, table_schema
from msgfm.geo.grid import Bounds, Grid
from msgfm.geo.overview import lon_lat

_VECTOR = "vector"
_PLACE = ("row", "column", "height", "width")
_FACTS = "msgfm"
_AT_ONCE = 16 * 2**20  # bytes of vectors in a row group


@dataclass(frozen=True, kw_only=True)
class WindowsInfo:
    """What a table of windows says of itself.

    Args:
        grid: of the scene.
        size: numbers of each window.
        names: of the numbers, where each is a column of its own (classes); empty where they are one vector.
        facts: of the model and how it was run, as JSON takes them.
    """

    grid: Grid
    size: int
    names: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Some windows.

    Args:
        areas: (N, 4): first row and column, height, width in pixels; within the scene.
        values: (N, size).
        corners: (N, 4, 2) longitude and latitude (column and minus row where the scene has no CRS), against the
            clock from the upper left; None in what is to be written.
    """

    areas: NDArray[np.int64]
    values: NDArray[np.float32]
    corners: NDArray[np.float64] | None = None


class WindowsTable:
    """A table that is being written."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, info: WindowsInfo) -> None:
        self._writer, self._schema, self._info = writer, schema, info
        self._held: list[pa.RecordBatch] = []
        self._most = max(1, _AT_ONCE // (4 * info.size))

    def add(self, windows: Windows) -> None:
        """Adds windows; they are written when there are enough for a row group."""
        size = windows.values.shape[1]
        assert size == self._info.size, f"{size} numbers a window, not {self._info.size}"
        values = np.ascontiguousarray(windows.values, np.float32)
        columns: list[pa.Array] = [pa.array(part.astype(np.int32)) for part in windows.areas.T]
        if self._info.names:
            columns += [pa.array(np.ascontiguousarray(column)) for column in values.T]
        else:
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), size))
        columns.append(pa.array(wkb_of_quadrangles(corners_of(self._info.grid, windows.areas)), pa.binary()))
        self._held.append(pa.record_batch(columns, schema=self._schema))
        if sum(batch.num_rows for batch in self._held) >= self._most:
            self.flush()

    def flush(self) -> None:
        """Writes what is held."""
        if self._held:
            table = pa.Table.from_batches(self._held, self._schema)
            self._writer.write_table(table, row_group_size=self._most)
            self._held = []


def corners_of(grid: Grid, areas: NDArray[np.int64]) -> NDArray[np.float64]:
    """Corners (N, 4, 2) of windows, as in `Windows`. Where one crosses the antimeridian, longitudes go beyond 180."""
    row, column, height, width = areas.astype(np.float64).T
    rows = np.stack([row, row + height, row + height, row], axis=1)
    columns = np.stack([column, column, column + width, column + width], axis=1)
    if not grid.crs:
        flat = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int64)
        return place(grid, flat).reshape(-1, 4, 2)
    corners = np.moveaxis(lon_lat(grid, rows, columns), 0, -1)
    longitudes = corners[..., 0]
    over = np.ptp(longitudes, axis=1, keepdims=True) > 180
    longitudes[over & (longitudes < 0)] += 360
    return corners


def require_column_names(names: Sequence[str]) -> None:
    """Refuses names of values that every table has for something else.

    Raises:
        InputError: with the name.
    """
    taken = [*_PLACE, GEOMETRY, *names]
    if twice := sorted({name for name in taken if taken.count(name) > 1}):
        raise InputError(
            f"the table would have two columns {twice[0]!r}: every table has one, and a class of the model is called "
            f"so; fine-tune with another name for it"
        )


@contextmanager
def open_windows_table(path: Path, info: WindowsInfo) -> Iterator[WindowsTable]:
    """A table to add windows to; it lies under its name when the block ends well.

    Args:
        path: `.parquet`.
        info: what the table is to say of itself.

    Raises:
        InputError: two columns of one name, the disk is full, or the folder cannot be written.
    """
    require_column_names(info.names)
    fields = [pa.field(name, pa.int32()) for name in _PLACE]
    if info.names:
        fields += [pa.field(name, pa.float32()) for name in info.names]
    else:
        fields.append(pa.field(_VECTOR, pa.list_(pa.float32(), info.size)))
    told = json.dumps({"grid": asdict(info.grid), "size": info.size, "names": info.names, "facts": info.facts})
    crs = LON_LAT if info.grid.crs else ""
    schema = table_schema(fields, crs, _bounds(info.grid), {_FACTS: told})
    with open_table(path, schema) as writer:
        table = WindowsTable(writer, schema, info)
        yield table
        table.flush()


def _bounds(grid: Grid) -> Bounds:
    """What holds all windows of a scene."""
    corners = corners_of(grid, np.array([[0, 0, grid.height, grid.width]]))[0]
    if grid.crs:
        west, south, east, north = grid.lon_lat_bounds()
        return west, south, (east + 360 if east < west else east), north
    return float(corners[:, 0].min()), float(corners[:, 1].min()), float(corners[:, 0].max()), 0.0


def read_windows_info(path: Path) -> WindowsInfo:
    """What a table says of itself.

    Raises:
        InputError: no such file, or another kind of table.
    """
    if not path.is_file():
        raise InputError(f"no file {path}; msgfm embed makes one")
    try:
        told = json.loads(pq.read_schema(path).metadata[_FACTS.encode()])
        grid = Grid(**told["grid"])
        return WindowsInfo(grid=grid, size=told["size"], names=tuple(told["names"]), facts=told["facts"])
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no table of windows as msgfm writes it ({error}); msgfm embed makes one"
        ) from error


def read_windows(path: Path) -> Iterator[Windows]:
    """Reads a table, row group by row group.

    Raises:
        InputError: as `read_windows_info`, or a part of it is damaged.
    """
    info = read_windows_info(path)
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield _windows(file.read_row_group(group).combine_chunks(), info)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"cannot read {path} ({error}); make it again with msgfm embed") from error


def _windows(table: pa.Table, info: WindowsInfo) -> Windows:
    areas = np.stack([table[name].to_numpy() for name in _PLACE], axis=1).astype(np.int64)
    return Windows(
        areas=areas,
        values=_values(table, info.names, info.size),
        corners=quadrangles_of_wkb(b"".join(table[GEOMETRY].to_pylist())),
    )


def _values(table: pa.Table, names: Sequence[str], size: int) -> NDArray[np.float32]:
    if names:
        return np.stack([table[name].to_numpy() for name in names], axis=1)
    flat: NDArray[np.float32] = pa.concat_arrays([chunk.flatten() for chunk in table[_VECTOR].chunks]).to_numpy()
    return flat.reshape(-1, size)
