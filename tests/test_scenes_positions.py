"""Places stay where they are: files of one coordinate system, read on a grid of another, and written."""

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from scene_data import LEFT, TOP, UTM, write

from msgfm.geo.cog import Part, assemble_cog, write_part
from msgfm.geo.grid import Grid
from msgfm.geo.spec import RasterSpec, StoredBand
from msgfm.scenes.inputs.files import make_request
from msgfm.scenes.inputs.scene import open_scene
from msgfm.sensors import load_sensor

CARD = load_sensor("sentinel2").select(["B04"])
SPREAD_PX = 3.0
POINTS = [(60.3, 200.9), (150.5, 70.2), (231.7, 240.4)]  # row and column, counted from the upper left corner


def hills(size=300):
    """A smooth hill at each of the points; its middle is known to much less than a pixel."""
    rows, columns = np.arange(size)[:, None] + 0.5, np.arange(size) + 0.5
    squares = [(rows - row) ** 2 + (columns - column) ** 2 for row, column in POINTS]
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
