"""`scenes/windows_table.py`: one row per window, written as they come and read again."""

import json
from dataclasses import replace

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import Transformer

from msgfm.errors import InputError
from msgfm.geo.grid import Grid
from msgfm.scenes.similar import find_similar
from msgfm.scenes.windows_table import (
    Windows,
    WindowsInfo,
    corners_of,
    open_windows_table,
    read_windows,
    read_windows_info,
)

GRID = Grid(crs="EPSG:32633", left=500_000, top=5_200_000, pixel_width=10, pixel_height=20, height=1000, width=1500)


def windows(count, size, seed=0):
    rng = np.random.default_rng(seed)
    areas = np.stack([rng.integers(0, 900, count), rng.integers(0, 1400, count), *[np.full(count, 64)] * 2], axis=1)
    return Windows(areas=areas, values=rng.normal(size=(count, size)).astype(np.float32))


def write(path, info, *batches):
    with open_windows_table(path, info) as table:
        for batch in batches:
            table.add(batch)


def joined(path):
    parts = list(read_windows(path))
    return tuple(np.concatenate([getattr(part, name) for part in parts]) for name in ("areas", "values", "corners"))


@pytest.mark.parametrize("names", [(), ("forest", "süß", "water")])
def test_what_was_written_is_read_again(tmp_path, names):
    info = WindowsInfo(grid=GRID, size=3, names=names, facts={"model": "a", "stage": 2})
    batches = [windows(7, 3), windows(1, 3, 1), windows(0, 3, 2)]
    write(tmp_path / "w.parquet", info, *batches)
    areas, values, corners = joined(tmp_path / "w.parquet")
    np.testing.assert_array_equal(areas, np.concatenate([batch.areas for batch in batches]))
    np.testing.assert_array_equal(values, np.concatenate([batch.values for batch in batches]))
    np.testing.assert_array_equal(corners, corners_of(GRID, areas))
    assert read_windows_info(tmp_path / "w.parquet") == info


def test_windows_lie_where_they_lie(tmp_path):
    given = windows(20, 4)
    write(tmp_path / "w.parquet", WindowsInfo(grid=GRID, size=4), given)
    table = geopandas.read_parquet(tmp_path / "w.parquet")
    assert table.crs == "OGC:CRS84"
    back = Transformer.from_crs(4326, 32633, always_xy=True)
    for (row, column, height, width), polygon in zip(given.areas, table.geometry, strict=True):
        assert polygon.exterior.is_ccw
        x, y = back.transform(*np.array(polygon.exterior.coords).T)
        left, top = 500_000 + 10 * column, 5_200_000 - 20 * row
        # a tenth of a pixel is a metre
        np.testing.assert_allclose(x[:4], [left, left, left + 10 * width, left + 10 * width], atol=0.01)
        np.testing.assert_allclose(y[:4], [top, top - 20 * height, top - 20 * height, top], atol=0.01)
    np.testing.assert_array_equal(np.stack(table["vector"]), given.values)
    left, bottom, right, top = json.loads(pq.read_schema(tmp_path / "w.parquet").metadata[b"geo"])["columns"][
        "geometry"
    ]["bbox"]
    assert shapely.box(left, bottom, right, top).buffer(1e-9).covers(table.union_all())


def test_row_groups_are_bounded(tmp_path):
    size = 2**16  # 256 KB a window: 64 a row group
    info = WindowsInfo(grid=GRID, size=size)
    write(tmp_path / "w.parquet", info, windows(50, size), windows(50, size, 1), windows(50, size, 2))
    file = pq.ParquetFile(tmp_path / "w.parquet")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sum(sizes) == 150
    assert max(sizes) <= 64
    _, values, _ = joined(tmp_path / "w.parquet")
    np.testing.assert_array_equal(values[100:], windows(50, size, 2).values)


def test_a_window_over_the_antimeridian_stays_small():
    grid = Grid(crs="EPSG:32660", left=700_000, top=5_800_000, pixel_width=10, pixel_height=10, height=100, width=2000)
    corners = corners_of(grid, np.array([[0, 0, 100, 2000], [0, 0, 100, 10], [0, 1990, 100, 10]]))
    assert np.ptp(corners[..., 0], axis=1).max() < 0.5
    assert corners[0, :, 0].max() > 180
    assert corners[2, :, 0].max() < -179


def test_a_scene_without_coordinates_has_pixels(tmp_path):
    bare = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, height=100, width=100)
    given = Windows(areas=np.array([[10, 20, 30, 40]]), values=np.zeros((1, 2), np.float32))
    write(tmp_path / "w.parquet", WindowsInfo(grid=bare, size=2), given)
    table = geopandas.read_parquet(tmp_path / "w.parquet")
    assert table.crs is None
    assert table.geometry[0].bounds == (20, -40, 60, -10)


def test_what_is_no_such_table_is_told(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_windows_info(tmp_path / "w.parquet")
    (tmp_path / "w.parquet").write_text("nonsense")
    with pytest.raises(InputError, match="no table of windows"):
        list(read_windows(tmp_path / "w.parquet"))
    geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)]).to_parquet(tmp_path / "w.parquet")
    with pytest.raises(InputError, match="no table of windows"):
        read_windows_info(tmp_path / "w.parquet")


def test_a_class_that_is_called_like_a_column_is_refused(tmp_path):
    info = WindowsInfo(grid=GRID, size=2, names=("row", "field"))
    with pytest.raises(InputError, match="two columns 'row'"):
        write(tmp_path / "w.parquet", info)
    assert not list(tmp_path.iterdir())


def test_a_table_of_no_place_has_nothing_that_is_similar_to_one(tmp_path):
    info = WindowsInfo(grid=replace(GRID, crs=""), size=2)
    write(tmp_path / "w.parquet", info)
    with pytest.raises(InputError, match="without a coordinate system"):
        find_similar(tmp_path / "w.parquet", (0, 0), 1)


def test_a_full_disk_leaves_nothing(tmp_path, disk_full_after):
    info = WindowsInfo(grid=GRID, size=1000)
    with disk_full_after(100_000), pytest.raises(InputError, match="free some space"):
        write(tmp_path / "w.parquet", info, windows(200, 1000))
    assert not list(tmp_path.iterdir())
