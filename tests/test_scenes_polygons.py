"""`scenes/polygons.py`: polygons of a class map as GIS programs read them."""

import json
import sqlite3

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
import shapely
from rasterio.features import rasterize

from msgfm.errors import InputError
from msgfm.geo.cog import Part, assemble_cog, write_part
from msgfm.geo.grid import Grid
from msgfm.geo.spec import RasterClass, RasterSpec, StoredBand
from msgfm.scenes.polygons import write_polygons

CLASSES = tuple(
    RasterClass(value=value, name=name, colour=(value, 0, 0)) for value, name in enumerate(["land", "süß", "sea"])
)
ALBERS = "+proj=aea +lat_1=29.5 +lat_2=45.5 +lat_0=23 +lon_0=-96 +datum=WGS84 +units=us-ft"


def grid(crs="EPSG:32633", height=300, width=200, **changes):
    sizes = {"left": 500_000, "top": 5_200_000, "pixel_width": 10, "pixel_height": 20}
    return Grid(**{"crs": crs, "height": height, "width": width} | sizes | changes)


def class_map(tmp_path, on):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 3, (1, on.height // 10 + 1, on.width // 10 + 1)).repeat(10, 1).repeat(10, 2)
    values = values[:, : on.height, : on.width].astype(np.uint8)
    values[0, 40:60, 50:70] = 255
    spec = RasterSpec(grid=on, dtype="uint8", bands=(StoredBand(name="class"),), nodata=255, classes=CLASSES)
    write_part(tmp_path / "part.tif", values)
    part = Part(path=tmp_path / "part.tif", row=0, column=0, height=on.height, width=on.width)
    assemble_cog([part], spec, tmp_path / "map.tif")
    return tmp_path / "map.tif", values[0]


def read(path):
    return geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)


@pytest.mark.parametrize("name", ["out.parquet", "out.gpkg"])
def test_polygons_drawn_again_are_the_map(tmp_path, name):
    source, values = class_map(tmp_path, grid())
    count = write_polygons(source, CLASSES, tmp_path / name)
    table = read(tmp_path / name)
    assert len(table) == count
    assert table.crs == "EPSG:32633"
    assert table.geometry.is_valid.all()
    with rasterio.open(source) as raster:
        shapes = zip(table.geometry, table["class"], strict=True)
        drawn = rasterize(shapes, raster.shape, fill=255, transform=raster.transform)
    np.testing.assert_array_equal(drawn, values)
    np.testing.assert_allclose(table["area_m2"], table.geometry.area)
    np.testing.assert_allclose(table["pixels"] * 200, table["area_m2"])
    assert set(table["name"]) == {"land", "süß", "sea"}
    assert all(CLASSES[value].name == name for value, name in zip(table["class"], table["name"], strict=True))


def test_geoparquet_says_what_its_standard_asks_for(tmp_path):
    source, _ = class_map(tmp_path, grid())
    write_polygons(source, CLASSES, tmp_path / "out.parquet")
    geo = json.loads(pq.read_schema(tmp_path / "out.parquet").metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"][geo["primary_column"]]
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert pyproj.CRS.from_json_dict(column["crs"]) == pyproj.CRS(32633)
    left, bottom, right, top = column["bbox"]
    table = read(tmp_path / "out.parquet")
    assert (left, bottom, right, top) == pytest.approx(tuple(table.total_bounds))
    assert column["orientation"] == "counterclockwise"
    for polygon in table.geometry:
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)


def test_a_geopackage_says_what_its_standard_asks_for(tmp_path):
    source, _ = class_map(tmp_path, grid(crs=rasterio.CRS.from_user_input(ALBERS).to_wkt()))
    write_polygons(source, CLASSES, tmp_path / "out.gpkg")
    with sqlite3.connect(tmp_path / "out.gpkg") as database:
        assert database.execute("PRAGMA application_id").fetchone() == (0x47504B47,)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        numbers = {row[0] for row in database.execute("SELECT srs_id FROM gpkg_spatial_ref_sys")}
        assert numbers.issuperset({-1, 0, 4326})
        blobs = [row[0] for row in database.execute("SELECT geom FROM polygons")]
    for blob, polygon in zip(blobs, read(tmp_path / "out.gpkg").geometry, strict=True):
        left, right, bottom, top = np.frombuffer(blob, "<f8", 4, offset=8)
        assert (left, bottom, right, top) == polygon.bounds
    own = pyproj.CRS(read(tmp_path / "out.gpkg").crs)
    there, here = (pyproj.Transformer.from_crs(one, 4326, always_xy=True) for one in (own, ALBERS))
    assert there.transform(1e6, 2e6) == pytest.approx(here.transform(1e6, 2e6), abs=1e-9)


def test_areas_are_square_metres_in_feet_and_in_degrees_too(tmp_path):
    feet = grid(crs=rasterio.CRS.from_user_input(ALBERS).to_wkt())
    source, _ = class_map(tmp_path, feet)
    write_polygons(source, CLASSES, tmp_path / "feet.parquet")
    table = read(tmp_path / "feet.parquet")
    np.testing.assert_allclose(table["area_m2"], table["pixels"] * 200 * (1200 / 3937) ** 2)
    degrees = grid(crs="EPSG:4326", left=10, top=50, pixel_width=1e-3, pixel_height=2e-3)
    source, _ = class_map(tmp_path, degrees)
    write_polygons(source, CLASSES, tmp_path / "degrees.parquet")
    geod = pyproj.Geod(ellps="WGS84")
    table = read(tmp_path / "degrees.parquet")
    exact = [abs(geod.geometry_area_perimeter(shapely.segmentize(one, 1e-3))[0]) for one in table.geometry]
    np.testing.assert_allclose(table["area_m2"], exact, rtol=0.005)


def test_small_ones_and_a_class_can_be_left_out(tmp_path):
    source, _ = class_map(tmp_path, grid())
    write_polygons(source, CLASSES, tmp_path / "all.parquet")
    everything = read(tmp_path / "all.parquet")
    threshold = float(everything["area_m2"].median())
    count = write_polygons(source, CLASSES, tmp_path / "some.parquet", min_area_m2=threshold, leave_out="land")
    wanted = everything[(everything["area_m2"] >= threshold) & (everything["name"] != "land")]
    assert 0 < count == len(wanted) < len(everything)
    assert read(tmp_path / "some.parquet").equals(wanted.reset_index(drop=True))


def test_a_map_without_coordinates_gives_pixels(tmp_path):
    bare = grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1)
    source, values = class_map(tmp_path, bare)
    for name in ("out.parquet", "out.gpkg"):
        write_polygons(source, CLASSES, tmp_path / name)
        table = read(tmp_path / name)
        assert table.crs is None or "ndefined" in table.crs.name
        assert table["area_m2"].isna().all()
        assert table["pixels"].sum() == (values != 255).sum()
        assert table.total_bounds.tolist() == [0, -300, 200, 0]


def test_nothing_wanted_is_an_empty_table(tmp_path):
    source, _ = class_map(tmp_path, grid())
    for name in ("out.parquet", "out.gpkg"):
        assert write_polygons(source, CLASSES, tmp_path / name, min_area_m2=1e12) == 0
        assert len(read(tmp_path / name)) == 0


def test_other_endings_and_unknown_classes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.parquet or \.gpkg"):
        write_polygons(tmp_path / "map.tif", CLASSES, tmp_path / "out.shp")
    with pytest.raises(InputError, match=r"no class 'see' to leave out; there are land, süß, sea"):
        write_polygons(tmp_path / "map.tif", CLASSES, tmp_path / "out.gpkg", leave_out="see")


@pytest.mark.parametrize("name", ["out.parquet", "out.gpkg"])
def test_a_full_disk_leaves_nothing(tmp_path, disk_full_after, name):
    source, _ = class_map(tmp_path, grid())
    write_polygons(source, CLASSES, tmp_path / name)
    size = (tmp_path / name).stat().st_size
    (tmp_path / name).unlink()
    with disk_full_after(size // 2), pytest.raises(InputError, match="free some space"):
        write_polygons(source, CLASSES, tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"map.tif", "part.tif"}
