"""`msgfm preview` of what is no single file: Sentinel-2 products, folders of bands, catalogue items."""

from __future__ import annotations

import json

import numpy as np
import pytest
from catalogue_world import item
from scene_commands import invoke, refused
from scene_data import at, backscatter, reflectance, write

from msgfm.errors import InputError
from msgfm.geo.network import Network
from msgfm.geo.overview import OverviewSource, overview_grid
from msgfm.scenes.preview.looks import look_of
from msgfm.scenes.preview.sources import open_source

NAMES = ("B02", "B03", "B04")


def bands(folder, *, suffix=".tif", offset=0, names=NAMES, **more):
    """One file a band; the numbers in them are those of `reflectance`."""
    for seed, name in enumerate(names):
        write(folder / f"T33TWL_20220601T100031_{name}{suffix}", reflectance(60, 60, seed=seed) + offset, **more)
    return folder


def product(folder):
    bands(
        folder / "GRANULE" / "L" / "IMG_DATA",
        suffix=".jp2",
        offset=1000,
        driver="JP2OpenJPEG",
        REVERSIBLE="YES",
        QUALITY="100",
    )
    offsets = "".join(f'<RADIO_ADD_OFFSET band_id="{i}">-1000</RADIO_ADD_OFFSET>' for i in range(13))
    value = "<QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>"
    (folder / "MTD_MSIL1C.xml").write_text(f"<n1:P xmlns:n1='https://x'>{value}{offsets}</n1:P>")
    return folder


def catalogue_item(folder):
    bands(folder, offset=1000)
    stored = {"raster:bands": [{"scale": 1e-4, "offset": -0.1, "nodata": 0}]}
    assets = {name: {"href": f"T33TWL_20220601T100031_{name}.tif", "type": "image/tiff", **stored} for name in NAMES}
    told = item("X", "sentinel-2-l2a", "2022-06-01T10:00:00Z", (15, 45, 16, 46), assets)
    (folder / "item.json").write_text(json.dumps(told))
    return folder / "item.json"


def shown(place, asked=""):
    with open_source(str(place), asked, Network()) as source:
        facts = source.facts()
        look = look_of(facts, asked)
        return facts, look, source.read_overview(look.bands, overview_grid(facts, 60))


@pytest.mark.parametrize("make", [product, catalogue_item])
def test_red_green_and_blue_of_what_says_how_it_is_stored_are_reflectance(tmp_path, make):
    place = make(tmp_path / "S2A.SAFE")
    facts, look, values = shown(place)
    assert (facts.place, facts.form, facts.size) == (str(place), "3 files", None)
    assert (look.kind, look.labels) == ("colour", ("B04", "B03", "B02"))
    np.testing.assert_allclose(values, [reflectance(60, 60, seed=s)[0] * 1e-4 for s in (2, 1, 0)], atol=1e-6)


def test_of_a_folder_other_bands_can_be_asked_for_whose_pixels_are_larger(tmp_path):
    folder = bands(tmp_path / "bands")
    write(folder / "x_B11.tif", np.full((1, 30, 30), 700, np.uint16), transform=at(20))
    _, look, values = shown(folder, "B11,B03,B02")
    assert look.labels == ("B11", "B03", "B02")
    assert (values[0] == 700).all()
    assert (values[1] == reflectance(60, 60, seed=1)[0]).all()


def test_no_data_stays_no_data(tmp_path):
    folder = bands(tmp_path / "bands", nodata=reflectance(60, 60)[0, 5, 7])
    _, _, values = shown(folder)
    assert np.isnan(values[2, 5, 7])
    assert np.isfinite(values[2]).any()


def test_backscatter_of_a_folder(tmp_path):
    for i, name in enumerate(("VV", "VH")):
        write(tmp_path / "radar" / f"s1_{name}.tif", backscatter(60, 60)[i : i + 1])
    _, look, values = shown(tmp_path / "radar")
    assert (look.kind, look.labels) == ("radar", ("VV", "VH"))
    assert (values == backscatter(60, 60)).all()


def test_a_file_is_a_file(tmp_path):
    path = write(tmp_path / "one.tif", reflectance(60, 60))
    with open_source(str(path), "", Network()) as source:
        assert type(source) is OverviewSource


def test_what_is_not_known_is_told_with_what_to_give(tmp_path):
    write(tmp_path / "odd" / "one.tif", reflectance(60, 60))
    for place, asked in (("odd", ""), ("odd", "B02,B03,B04"), ("odd", "classes")):
        with pytest.raises(InputError, match=r"odd.*give the file"):
            open_source(str(tmp_path / place), asked, Network())
    folder = bands(tmp_path / "bands")
    write(folder / "x_B11.tif", reflectance(60, 60), transform=at(10, left=600_000.0))
    with pytest.raises(InputError, match=r"\.tif shows other ground than the other bands"):
        open_source(str(folder), "B11,B03,B02", Network())
    assert "give the files of images" in refused("preview", tmp_path / "odd", "--out", tmp_path / "page.html")


def test_a_page_of_a_product_and_of_a_folder(tmp_path):
    safe, folder, page = product(tmp_path / "S2A.SAFE"), bands(tmp_path / "bands"), tmp_path / "page.html"
    invoke("preview", safe, folder, "--show", f"{folder}=B02", "--out", page)
    text = page.read_text()
    assert "S2A.SAFE" in text
    assert "vsimem" not in text
