"""Scenes from Sentinel-2 products, catalogue items and addresses: where bands lie and how they are stored."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue_world import FileServer, collection_of, item
from scene_data import at, backscatter, reflectance, write

from msgfm.errors import InputError
from msgfm.geo.network import Network
from msgfm.scenes.inputs.files import make_request
from msgfm.scenes.inputs.scene import open_scene
from msgfm.sensors import load_sensor

S1, S2, L2A = (load_sensor(name) for name in ("sentinel1", "sentinel2", "sentinel2_l2a"))
LOSSLESS = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
IMPATIENT = Network(timeout_s=1, retries=0)


def product(folder: Path, level: str, *, offset: int | None, quantification: int = 10000) -> Path:
    """A product of few pixels as ESA lays it out; B02 is at 10 m, B05 at 20 m, B01 at 60 m."""
    l2a = level == "2A"
    images = folder / "GRANULE" / "L_T33TWL_A0_20220601T100000" / "IMG_DATA"
    for band, metres in (("B01", 60), ("B02", 10), ("B05", 20)):
        for size in (10, 20, 60) if l2a else (metres,):
            if size < metres:
                continue
            pixels = reflectance(60, 60, seed=int(band[1:]))[:, :: size // 10, :: size // 10] + (
                -offset if offset else 0
            )
            name = f"T33TWL_20220601T100031_{band}" + (f"_{size}m" if l2a else "")
            where = images / f"R{size}m" if l2a else images
            write(where / f"{name}.jp2", pixels.astype(np.uint16), transform=at(size), **LOSSLESS)
        (images / "T33TWL_20220601T100031_TCI.jp2").touch()
    element = "BOA_ADD_OFFSET" if l2a else "RADIO_ADD_OFFSET"
    offsets = "".join(f'<{element} band_id="{i}">{offset}</{element}>' for i in range(13)) if offset else ""
    value = f"<QUANTIFICATION_VALUE unit='none'>{quantification}</QUANTIFICATION_VALUE>"
    if l2a:
        value = (
            f"<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE>{quantification}</BOA_QUANTIFICATION_VALUE>"
            f"<AOT_QUANTIFICATION_VALUE>1000</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>"
        )
    space = f"https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd"
    (folder / f"MTD_MSIL{level}.xml").write_text(
        f'<?xml version="1.0"?><n1:Level-{level}_User_Product xmlns:n1="{space}"><n1:General_Info>'
        f"<Product_Image_Characteristics>{value}<List>{offsets}</List></Product_Image_Characteristics>"
        f"</n1:General_Info></n1:Level-{level}_User_Product>"
    )
    return folder


BANDS = ("B01", "B02", "B05")


@pytest.mark.parametrize(("level", "card"), [("1C", S2), ("2A", L2A)])
@pytest.mark.parametrize("offset", [None, -1000])
@pytest.mark.parametrize("through", ["folder", "metadata"])
def test_a_product_is_read_in_reflectance_whatever_its_baseline(tmp_path, level, card, offset, through):
    folder = product(tmp_path / "S2A.SAFE", level, offset=offset)
    given = str(folder if through == "folder" else folder / f"MTD_MSIL{level}.xml")
    request = make_request({card.name: card.select(BANDS)}, {card.name: [given]})
    assert [Path(file.place).stem.split("_")[2] for file in request.images[0].files] == list(BANDS)
    assert [one.offset for one in request.images[0].storage] == [offset or 0] * 3
    with open_scene(request) as scene:
        assert (scene.grid.pixel_width, scene.grid.height) == (10, 60)
        image = scene.read(0, 0, 60, 60)[card.name]
    np.testing.assert_allclose(image[1], reflectance(60, 60, seed=2)[0] * 1e-4, atol=1e-6)
    assert np.isfinite(image).all()


def test_metadata_give_way_to_the_user_and_other_products_are_refused(tmp_path):
    folder = product(tmp_path / "S2A.SAFE", "1C", offset=-1000, quantification=5000)
    cards = {"sentinel2": S2.select(["B02"])}
    given = {"sentinel2": [str(folder)]}
    assert make_request(cards, given).images[0].storage[0].scale == 1 / 5000
    changed = make_request(cards, given, settings=["sentinel2.offset=0", "sentinel2.scale=0.0001"])
    assert (changed.images[0].storage[0].offset, changed.images[0].storage[0].scale) == (0, 0.0001)
    with pytest.raises(InputError, match=r"S2A\.SAFE is a Level-1C product, and the sensor sentinel2_l2a is Level-2A"):
        make_request({"sentinel2_l2a": L2A}, {"sentinel2_l2a": [str(folder)]})
    with pytest.raises(InputError, match=r"is a Sentinel-2 product; sentinel1 is another sensor"):
        make_request({"sentinel1": S1}, {"sentinel1": [str(folder)]})
    with pytest.raises(InputError, match=r"no band B08: \S+S2A\.SAFE has B02"):
        make_request({"sentinel2": S2.select(["B02", "B08"])}, given)
    metadata = folder / "MTD_MSIL1C.xml"
    whole = metadata.read_text()
    for value, message in (("abc", r"QUANTIFICATION_VALUE is 'abc'"), ("0", r"QUANTIFICATION_VALUE is 0; fetch")):
        metadata.write_text(whole.replace(">5000<", f">{value}<"))
        with pytest.raises(InputError, match=message):
            make_request(cards, given)
    metadata.write_text(whole.replace(">-1000<", ">much<"))
    with pytest.raises(InputError, match=r"RADIO_ADD_OFFSET is 'much'"):
        make_request(cards, given)
    metadata.write_text(whole)
    (folder / "GRANULE" / "another").mkdir()
    with pytest.raises(InputError, match=r"has 2 granules, expected is one"):
        make_request(cards, given)
    (folder / "MTD_MSIL1C.xml").write_text("<cut")
    with pytest.raises(InputError, match=r"cannot read \S+MTD_MSIL1C\.xml .*fetch the product again"):
        make_request(cards, given)


@pytest.fixture
def server(tmp_path) -> Iterator[FileServer]:
    one = FileServer(tmp_path)
    yield one
    one.shutdown()


def described(name: str, file: str, **more: Any) -> dict[str, Any]:
    return {"href": file, "type": "image/tiff; application=geotiff", "eo:bands": [{"name": name}], **more}


def optical_item(**properties: Any) -> dict[str, Any]:
    """Two bands, known by key and by common name, with the offset stated for the first."""
    assets = {
        "B02": described("B02", "b02.tif", **{"raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]}),
        "near": described("x", "b08.tif", **{"eo:bands": [{"common_name": "nir"}]}),
        "thumbnail": {"href": "t.png", "type": "image/png", "roles": ["thumbnail"]},
    }
    return item("S2A_X", "sentinel-2-l2a", "2022-06-01T10:00:00Z", (15, 45, 16, 46), assets, **properties)


def test_an_item_says_where_bands_lie_and_how_they_are_stored(tmp_path, server):
    for seed, name in enumerate(("b02.tif", "b08.tif")):
        write(tmp_path / name, reflectance(40, 40, seed=seed) + 1000)
    path = tmp_path / "item.json"
    path.write_text(json.dumps(optical_item(s2__processing_baseline="05.00")))
    cards = {"sentinel2_l2a": L2A.select(["B08", "B02"])}
    for given in (str(path), f"{server.url}/item.json"):
        request = make_request(cards, {"sentinel2_l2a": [given]})
        assert [one.offset for one in request.images[0].storage] == [-1000, -1000]
        with open_scene(request) as scene:
            image = scene.read(0, 0, 40, 40)["sentinel2_l2a"]
        np.testing.assert_allclose(image, [reflectance(40, 40, seed=s)[0] * 1e-4 for s in (1, 0)], atol=1e-6)
    path.write_text(json.dumps(optical_item()))
    with pytest.raises(InputError, match=r"does not say whether the 1000 .* --set sentinel2_l2a\.offset=-1000"):
        make_request(cards, {"sentinel2_l2a": [str(path)]})
    stated = make_request(cards, {"sentinel2_l2a": [str(path)]}, settings=["sentinel2_l2a.offset=-1000"])
    assert [one.offset for one in stated.images[0].storage] == [-1000, -1000]


def test_an_item_of_calibrated_radar_becomes_decibel(tmp_path):
    decibel = backscatter(40, 40)
    for i, name in enumerate(("vv", "vh")):
        write(tmp_path / f"{name}.tif", np.power(10, decibel[i : i + 1] / 10))
    assets = {name: {"href": f"{name}.tif", "type": "image/tiff"} for name in ("vv", "vh")}
    radar = item("S1A_X", "sentinel-1-rtc", "2022-06-01T10:00:00Z", (15, 45, 16, 46), assets)
    path = tmp_path / "radar.json"
    path.write_text(json.dumps(collection_of([radar])))
    request = make_request({"sentinel1": S1}, {"sentinel1": [str(path)]})
    assert request.images[0].power
    with open_scene(request) as scene:
        np.testing.assert_allclose(scene.read(0, 0, 40, 40)["sentinel1"], decibel, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", r"cannot read \S+x\.json as a STAC item"),
        ("[1]", r"x\.json is not a STAC item"),
        ('{"type": "Feature", "assets": {"B02": {}}}', r"x\.json is not a STAC item as its standard has it"),
        (json.dumps({"type": "FeatureCollection", "features": [{}, {}]}), r"x\.json has 2 items; give .* one of them"),
        (json.dumps({"type": "FeatureCollection", "features": None}), r"x\.json has 0 items"),
        (json.dumps({"type": "FeatureCollection", "features": [5]}), r"x\.json is not a STAC item"),
        ("[" * 100_000, r"cannot read \S+x\.json as a STAC item"),
    ],
)
def test_what_is_no_item_is_told(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=message):
        make_request({"sentinel2": S2}, {"sentinel2": [str(tmp_path / "x.json")]})


@pytest.mark.parametrize(
    ("scale", "message"),
    [(0, r"band VV: scale 0; say the right one: --set sentinel1\.scale"), ("abc", "could not convert")],
)
def test_a_scale_that_is_none_is_told(tmp_path, scale, message):
    assets = {
        name: {"href": f"{name}.tif", "type": "image/tiff", "raster:bands": [{"scale": scale}]} for name in ("vv", "vh")
    }
    radar = item("S1A_X", "sentinel-1-rtc", "2022-06-01T10:00:00Z", (15, 45, 16, 46), assets)
    (tmp_path / "radar.json").write_text(json.dumps(collection_of([radar])))
    with pytest.raises(InputError, match=message):
        make_request({"sentinel1": S1}, {"sentinel1": [str(tmp_path / "radar.json")]})


def test_an_address_is_read_in_part(tmp_path, server):
    stored = reflectance(1024, 1024)
    path = write(tmp_path / "T33_B02.tif", stored, block=128, compress="deflate")
    request = make_request({"sentinel2": S2.select(["B02"])}, {"sentinel2": [f"{server.url}/T33_B02.tif?signature=x"]})
    with open_scene(request) as scene:
        found = scene.read(300, 300, 50, 60)["sentinel2"]
    np.testing.assert_allclose(found[0], stored[0, 300:350, 300:360] * 1e-4, atol=1e-6)
    assert server.sent < path.stat().st_size / 2


def test_an_address_that_stops_answering_is_given_up(tmp_path, server):
    write(tmp_path / "B02.tif", reflectance(1024, 1024), block=128, compress="deflate")
    cards, given = {"sentinel2": S2.select(["B02"])}, {"sentinel2": [f"{server.url}/B02.tif"]}
    request = make_request(cards, given, network=IMPATIENT)
    with open_scene(request) as scene:
        server.before = lambda name: time.sleep(30)  # type: ignore[func-returns-value]
        with pytest.raises(
            InputError, match=r"cannot read http://127\.0\.0\.1:\d+/B02\.tif: rows 900 to 963.*try later"
        ):
            scene.read(900, 900, 64, 64)
    with pytest.raises(InputError, match=r"cannot read http://127\.0\.0\.1:\d+/other/B02\.tif"):
        make_request(cards, {"sentinel2": [f"{server.url}/other/B02.tif"]}, network=IMPATIENT)
    with pytest.raises(InputError, match=r"cannot read http://127\.0\.0\.1:\d+/items/x .*timed out.*try later"):
        make_request(cards, {"sentinel2": [f"{server.url}/items/x"]}, network=IMPATIENT)


def test_an_address_that_is_not_there_is_told_at_once(server):
    cards = {"sentinel2": S2.select(["B02"])}
    for name, told in (("items/x", "HTTP 404"), ("B02.tif", "B02")):
        with pytest.raises(InputError, match=told):
            make_request(cards, {"sentinel2": [f"{server.url}/{name}"]}, network=IMPATIENT)
    assert server.asked.count("items/x") == 1


def test_an_item_is_asked_for_again_where_that_may_help(tmp_path, server):
    write(tmp_path / "b02.tif", reflectance(40, 40))
    (tmp_path / "item.json").write_text(json.dumps(optical_item(s2__processing_baseline="05.00")))
    busy = iter([503, 429])
    server.before = lambda name: next(busy, None) if name == "item.json" else None
    cards, given = {"sentinel2_l2a": L2A.select(["B02"])}, {"sentinel2_l2a": [f"{server.url}/item.json"]}
    request = make_request(cards, given, network=Network(timeout_s=5, retries=2, wait_s=0.01))
    assert request.images[0].storage[0].offset == -1000
