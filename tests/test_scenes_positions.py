"""Places stay where they are: files of one coordinate system, read on a grid of another, and written."""

import itertools

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from scene_data import LEFT, TOP, UTM, at, write

from msgfm.geo.cog import Part, assemble_cog, write_part
from msgfm.geo.grid import Grid
from msgfm.geo.spec import RasterSpec, StoredBand
from msgfm.geo.tiling import Tiling
from msgfm.scenes.engine import sweep
from msgfm.scenes.inputs.files import make_request
from msgfm.scenes.inputs.scene import open_scene
from msgfm.scenes.parts import Collector, area_of, cut_parts, open_parts
from msgfm.scenes.products import MAIN, Product
from msgfm.scenes.results import assemble_layer
from msgfm.sensors import load_sensor

CARD = load_sensor("sentinel2").select(["B04"])
SPREAD_PX = 3.0
POINTS = [(60.3, 200.9), (150.5, 70.2), (231.7, 240.4)]  # row and column, counted from the upper left corner


def hills(size=300, points=POINTS):
    """A smooth hill at each of the points; its middle is known to much less than a pixel."""
    rows, columns = np.arange(size)[:, None] + 0.5, np.arange(size) + 0.5
    squares = [(rows - row) ** 2 + (columns - column) ** 2 for row, column in points]
    return sum(np.exp(-square / (2 * SPREAD_PX**2)) for square in squares)


def middle_near(image, row, column, reach):
    """The centre of mass around a pixel."""
    top, left = int(row) - reach, int(column) - reach
    part = image[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
    rows, columns = (np.arange(2 * reach + 1) + start + 0.5 for start in (top, left))
    return (part.sum(1) @ rows) / part.sum(), (part.sum(0) @ columns) / part.sum()


@pytest.mark.parametrize(
    ("crs", "pixel"), [(UTM, 10), ("EPSG:32632", 10), ("EPSG:3035", 12.5), ("EPSG:3857", 15), ("EPSG:4326", 1.2e-4)]
)
def test_a_place_survives_another_coordinate_system_to_a_tenth_of_a_pixel(tmp_path, crs, pixel):
    stored = (1000 + 20000 * hills()).round().astype(np.uint16)[None]
    source = write(tmp_path / "s2.tif", stored, names=["B04"])
    there = Transformer.from_crs(UTM, crs, always_xy=True)
    corners = [(LEFT + x, TOP - y) for x in (0, 3000) for y in (0, 3000)]
    xs, ys = there.transform(*np.array(corners).T)
    grid = Grid(
        crs=crs,
        left=float(min(xs)) - 0.37 * pixel,
        top=float(max(ys)) + 0.61 * pixel,
        pixel_width=pixel,
        pixel_height=pixel,
        height=int(np.ptp(ys) / pixel) + 2,
        width=int(np.ptp(xs) / pixel) + 2,
    )
    write(tmp_path / "like.tif", np.zeros((1, grid.height, grid.width), np.uint8), crs=crs, transform=grid.transform)
    request = make_request({"sentinel2": CARD}, {"sentinel2": [str(source)]}, like=str(tmp_path / "like.tif"))
    with open_scene(request) as scene:
        values = scene.read(0, 0, grid.height, grid.width)["sentinel2"]
    bands = (StoredBand(name="B04", unit="reflectance", scale=1e-4),)
    spec = RasterSpec(grid=request.grid, dtype="uint16", bands=bands, nodata=0)
    write_part(tmp_path / "part.tif", spec.encode(values))
    part = Part(path=tmp_path / "part.tif", row=0, column=0, height=grid.height, width=grid.width)
    assemble_cog([part], spec, tmp_path / "result.tif")

    with rasterio.open(tmp_path / "result.tif") as result:
        image, to_map = result.read(1).astype(float) - 1000, result.transform
        known = result.read_masks(1) > 0
        back = Transformer.from_crs(result.crs, UTM, always_xy=True)
    image[~known] = 0
    for row, column in POINTS:
        x, y = there.transform(LEFT + 10 * column, TOP - 10 * row)
        near_column, near_row = ~to_map @ (x, y)
        found_row, found_column = middle_near(image, near_row, near_column, reach=20)
        # measured in pixels of the result; the axes of the two systems may lie askew
        off = np.hypot(found_row - near_row, found_column - near_column)
        assert off < 0.1, f"{off:.3f} pixels"
        found_x, found_y = back.transform(*(to_map @ (found_column, found_row)))
        assert np.hypot(found_x - (LEFT + 10 * column), found_y - (TOP - 10 * row)) < 1.0  # metres: a tenth of 10


class Both(Product):
    """Gives back what it sees of two sensors, as float32."""

    channels = 2

    def __init__(self, grid):
        bands = (StoredBand(name="VV", unit="dB"), StoredBand(name="B04", unit="reflectance"))
        self.layers = {MAIN: RasterSpec(grid=grid, dtype="float32", bands=bands, nodata=np.nan)}

    def predict(self, images):
        return np.concatenate([images["sentinel1"], images["sentinel2"]], axis=1)

    def encode(self, piece):
        return {MAIN: np.where(piece.valid, piece.values, np.float32(np.nan))}


@pytest.mark.parametrize(("crs", "pixel"), [("EPSG:3035", 10), ("EPSG:4326", 1e-4)])
def test_places_seen_by_two_sensors_on_two_grids_survive_the_whole_way(tmp_path, monkeypatch, crs, pixel):
    for name, value in {"_PART_BYTES": 1, "_STRIPE_PX": 128, "_BLOCK_PX": 128}.items():
        monkeypatch.setattr(f"msgfm.scenes.parts.{name}", value)
    lon_lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    known = [lon_lat.transform(LEFT + 10 * column, TOP - 10 * row) for row, column in POINTS]

    # radar on the grid on which the points were placed; the optical image 20 m, of the neighbouring zone
    power = 0.01 + hills()
    radar = write(tmp_path / "s1.tif", (10 * np.log10(power)).astype(np.float32)[None], names=["VV"])
    zone = Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True)
    xs, ys = zone.transform(*np.array(known).T)
    left, top = min(xs) - 2003.0, max(ys) + 1991.0
    places = [((top - y) / 20, (x - left) / 20) for x, y in zip(xs, ys, strict=True)]
    optical = write(
        tmp_path / "s2.tif",
        (1000 + 20000 * hills(330, places)).round().astype(np.uint16)[None],
        names=["B04"],
        crs="EPSG:32632",
        transform=at(20, left, top),
    )
    to_crs = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    xs, ys = to_crs.transform(*np.array(known).T)
    left, top = min(xs) - 50.37 * pixel, max(ys) + 50.61 * pixel
    size = (round(np.ptp(ys) / pixel) + 101, round(np.ptp(xs) / pixel) + 101)
    affine = rasterio.Affine(pixel, 0, left, 0, -pixel, top)
    write(tmp_path / "like.tif", np.zeros((1, *size), np.uint8), crs=crs, transform=affine)

    cards = {"sentinel1": load_sensor("sentinel1").select(["VV"]), "sentinel2": CARD}
    given = {"sentinel1": [str(radar)], "sentinel2": [str(optical)]}
    request = make_request(cards, given, like=str(tmp_path / "like.tif"))
    product = Both(request.grid)
    parts = open_parts(tmp_path / "result.tif", [MAIN], {}, resume=False)
    tiling = Tiling(height=request.grid.height, width=request.grid.width, window=48, overlap=13)
    stripes = cut_parts(tiling.height, tiling.width, 8)
    assert len(stripes) > 1 and len(stripes[0]) > 1
    with open_scene(request) as scene:
        for stripe in stripes:
            collector = Collector(
                stripe, product.encode, lambda part, arrays: write_part(parts.file(MAIN, part), arrays[MAIN])
            )
            for piece in sweep(
                scene.read, product.predict, tiling, area_of(stripe), channels=2, batch_size=3, fill=True
            ):
                collector.add(piece)
    assemble_layer(tmp_path / "result.tif", MAIN, product.layers[MAIN], parts, stripes)

    with rasterio.open(tmp_path / "result.tif") as result:
        seen = result.read().astype(float)
        to_pixel = ~result.transform
    seen = [10 ** (seen[0] / 10) - 0.01, seen[1] - 0.1]
    for (longitude, latitude), image in itertools.product(known, seen):
        column, row = to_pixel @ to_crs.transform(longitude, latitude)
        found = middle_near(np.nan_to_num(image), row, column, reach=25)
        off = np.hypot(found[0] - row, found[1] - column)
        assert off < 0.1, f"{off:.3f} pixels"
