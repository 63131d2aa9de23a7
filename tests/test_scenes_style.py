"""`scenes/style.py`: what QGIS is told of a result."""

from xml.etree import ElementTree

import numpy as np
import pytest

from msgfm.geo.cog import Part, assemble_cog, write_part
from msgfm.geo.grid import Grid
from msgfm.geo.spec import RasterClass, RasterSpec, StoredBand
from msgfm.scenes.style import write_style

GRID = Grid(crs="EPSG:32633", left=500_000, top=5_000_000, pixel_width=10, pixel_height=10, height=64, width=64)


def styled(tmp_path, spec, values, shown=(0,)):
    write_part(tmp_path / "part.tif", spec.encode(values))
    out = tmp_path / "result.tif"
    assemble_cog([Part(path=tmp_path / "part.tif", row=0, column=0, height=64, width=64)], spec, out)
    path = write_style(out, spec, shown)
    assert path == tmp_path / "result.qml"
    text = path.read_text()
    assert text.startswith("<!DOCTYPE qgis")
    return ElementTree.fromstring(text).find("pipe/rasterrenderer")


def test_classes_have_names_and_colours(tmp_path):
    classes = (
        RasterClass(value=0, name="a & <b>", colour=(0, 16, 255)),
        RasterClass(value=7, name="é", colour=(1, 2, 3)),
    )
    spec = RasterSpec(grid=GRID, dtype="uint8", bands=(StoredBand(name="class"),), nodata=255, classes=classes)
    renderer = styled(tmp_path, spec, np.zeros((1, 64, 64), np.float32))
    assert renderer.get("type") == "paletted"
    assert renderer.get("band") == "1"
    found = [(entry.get("value"), entry.get("label"), entry.get("color")) for entry in renderer.iter("paletteEntry")]
    assert found == [("0", "a & <b>", "#0010ff"), ("7", "é", "#010203")]


def test_an_image_is_stretched_band_by_band_in_physical_units(tmp_path):
    bands = tuple(StoredBand(name=name, scale=1e-4, offset=-1000) for name in ("B02", "B03", "B04"))
    spec = RasterSpec(grid=GRID, dtype="uint16", bands=bands, nodata=0)
    values = np.random.default_rng(0).uniform(0, 1, (3, 64, 64)).astype(np.float32) * [[[0.1]], [[0.2]], [[0.4]]]
    values[:, :8] = np.nan
    renderer = styled(tmp_path, spec, values, shown=(2, 1, 0))
    assert renderer.get("type") == "multibandcolor"
    assert [renderer.get(f"{colour}Band") for colour in ("red", "green", "blue")] == ["3", "2", "1"]
    for colour, band in (("red", 2), ("green", 1), ("blue", 0)):
        low, high = np.nanpercentile(values[band], (2, 98))
        enhancement = renderer.find(f"{colour}ContrastEnhancement")
        assert float(enhancement.find("minValue").text) == pytest.approx(low, abs=2e-4)
        assert float(enhancement.find("maxValue").text) == pytest.approx(high, abs=2e-4)
        assert enhancement.find("algorithm").text == "StretchToMinimumMaximum"


def test_one_band_is_grey_also_where_there_is_no_data_at_all(tmp_path):
    spec = RasterSpec(grid=GRID, dtype="float32", bands=(StoredBand(name="entropy"),), nodata=float("nan"))
    renderer = styled(tmp_path, spec, np.full((1, 64, 64), np.nan, np.float32))
    assert renderer.get("type") == "singlebandgray"
    assert renderer.get("grayBand") == "1"
    assert float(renderer.find("contrastEnhancement/maxValue").text) > float(
        renderer.find("contrastEnhancement/minValue").text
    )
