"""What STAC items say, in the ways that catalogues say it, and which of them coincide."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue_world import COG, item

from msgfm.data.catalogue import CatalogueRequest, find_coincidences
from msgfm.data.catalogue.fetch import decibel, encode
from msgfm.data.catalogue.items import CatalogueItem, read_item
from msgfm.data.catalogue.match import Coincidence, covered, group_passes, match_passes, select
from msgfm.data.catalogue.products import PRODUCTS
from msgfm.data.catalogue.request import parse_bbox, parse_dates
from msgfm.data.catalogue.search import headers_of
from msgfm.errors import InputError
from msgfm.geo.grid import grid_over, utm_zone
from msgfm.sensors import load_sensor

BBOX = (10.0, 48.0, 11.0, 49.0)
NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
SCALED = {"scale": 0.0001, "offset": -0.1}
APPLIED = "earthsearch__boa_offset_applied"


def request(*sensors: str, **changes: Any) -> CatalogueRequest:
    start, end = parse_dates("2024-06-01/2024-06-30")
    return CatalogueRequest(
        source="items.json", bbox=BBOX, start=start, end=end, sensors=sensors, out=Path("out"), **changes
    )


def read(found: dict[str, Any], sensor: str, **changes: Any) -> CatalogueItem:
    asked = request(sensor, **changes)
    return read_item(found, asked.cards()[sensor], asked)


def red(
    said: dict[str, Any] | None = None, key: str = "red", collection: str = "s2", **properties: Any
) -> dict[str, Any]:
    """An item with one band, in STAC 1.0."""
    asset: dict[str, Any] = {"href": "https://x/B04.tif", "type": COG, "raster:bands": [said] if said else []}
    return item("one", collection, "2024-06-03T10:00:00Z", BBOX, {key: asset}, **properties)


@pytest.mark.parametrize(
    ("found", "offset"),
    [
        (red(SCALED), -0.1),
        (red({"scale": 0.0001, "offset": 0}), 0.0),
        (red(SCALED, s2__processing_baseline="05.10"), -0.1),
        # taken away by the catalogue, while the band's metadata still state it
        (red(SCALED, s2__processing_baseline="05.10", **{APPLIED: True}), 0.0),
        (red(s2__processing_baseline="05.10", **{APPLIED: True}), 0.0),
        (red(SCALED, s2__processing_baseline="04.00", **{APPLIED: False}), -0.1),
        (red({"offset": 0}, s2__processing_baseline="02.14", **{APPLIED: False}), 0.0),
        # no word of the offset itself
        (red(s2__processing_baseline="04.00"), -0.1),
        (red(s2__processing_baseline="03.01"), 0.0),
        (red(processing__version="05.11"), -0.1),
        (red(s2__product_uri="S2A_MSIL2A_20230628T070631_N0509_R106_T39QTA_20230628T113955.SAFE"), -0.1),
        (red(s2__product_uri="S2A_MSIL2A_20200628T070631_N0214_R106_T39QTA_20200628T113955.SAFE"), 0.0),
    ],
)
def test_the_offset_of_sentinel_2_is_read_however_it_is_stated(found: dict[str, Any], offset: float) -> None:
    stored = read(found, "sentinel2_l2a", bands={"sentinel2_l2a": ("B04",)}).bands[0].stored
    assert (stored.scale, stored.offset, stored.nodata) == (0.0001, pytest.approx(offset), 0)


def test_an_offset_that_is_not_stated_is_not_guessed() -> None:
    only = {"bands": {"sentinel2_l2a": ("B04",)}}
    with pytest.raises(InputError, match=r"item one does not say .* --set sentinel2_l2a.offset=-1000"):
        read(red({"scale": 0.0001}), "sentinel2_l2a", **only)
    for setting, offset in (("offset=-1000", -0.1), ("offset=0", 0.0), ("B04.offset=-1000", -0.1)):
        stored = read(red(), "sentinel2_l2a", settings=(f"sentinel2_l2a.{setting}",), **only).bands[0].stored
        assert stored.offset == pytest.approx(offset)
    # what is stated on the command line counts more than metadata, which are sometimes wrong
    stored = read(red(SCALED), "sentinel2_l2a", settings=("sentinel2_l2a.offset=0",), **only).bands[0].stored
    assert stored.offset == 0
    contradiction = red({"offset": 0}, s2__processing_baseline="05.10", **{APPLIED: False})
    with pytest.raises(InputError, match=r"item one contradicts itself: .* offset 0, .* 05.10"):
        read(contradiction, "sentinel2_l2a", **only)


def radar(collection: str = "mine", said: dict[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    assets = {key: {"href": f"https://x/{key}.tif", "raster:bands": [said or {}]} for key in ("vv", "vh", "hh")}
    return item("radar", collection, "2024-06-03T05:00:00Z", BBOX, assets, **properties)


@pytest.mark.parametrize(
    ("found", "given", "power"),
    [
        (radar("sentinel-1-rtc", sar__product_type="GRD"), "", True),
        (radar(said={"unit": "dB"}), "", False),
        (radar(said={"unit": "linear power"}), "", True),
        (radar(), "linear", True),
        (radar(), "db", False),
        (radar(said={"data_type": "float32"}, sar__product_type="GRD"), "db", False),
        (radar("sentinel-1-rtc"), "db", False),
    ],
)
def test_whether_radar_is_power_or_decibel_is_stated(found: dict[str, Any], given: str, power: bool) -> None:
    bands = read(found, "sentinel1", power=given).bands
    assert [(band.band, band.stored.power) for band in bands] == [("VV", power), ("VH", power)]


def test_radar_that_is_not_calibrated_or_says_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"digital numbers, not calibrated .*sar:product_type is GRD"):
        read(radar(sar__product_type="GRD"), "sentinel1")
    with pytest.raises(InputError, match=r"digital numbers, .*uint16"):
        read(radar(said={"data_type": "uint16"}), "sentinel1", power="linear")
    with pytest.raises(InputError, match=r"linear power or decibel .*--power linear or --power db"):
        read(radar(), "sentinel1")


def test_power_becomes_decibel_and_decibel_is_not_taken_for_power() -> None:
    power = np.array([[1, 0.01, 0, -1e-9, np.nan] + [0.1] * 200], np.float32)
    seen = decibel(power, "item x")
    np.testing.assert_allclose(seen[0, :2], [0, -20], atol=1e-5)
    assert np.isnan(seen[0, 2:5]).all()
    with pytest.raises(InputError, match=r"item x: 100% of the values are negative .*--power db"):
        decibel(np.full((3, 3), -12, np.float32), "item x")


def test_bands_are_found_as_earth_search_names_them() -> None:
    def asset(name: str, key: str, **more: Any) -> dict[str, Any]:
        band = {"name": name, "common_name": re.sub(r"\d$", "", key) if key.startswith("rededge") else key}
        return {
            "href": f"./{key}.tif",
            "type": COG,
            "roles": ["data"],
            "eo:bands": [band],
            "raster:bands": [SCALED],
        } | more

    names = {alias[0]: band for band, alias in PRODUCTS["sentinel2_l2a"].names.items() if band != "B10"}
    assets: dict[str, Any] = {}
    for key, band in names.items():
        assets[f"{key}-jp2"] = asset(band, key, type="image/jp2", href=f"s3://bucket/{key}.jp2")
        assets[key] = asset(band, key)
    shown = [{"name": band, "common_name": key} for key, band in names.items() if key in ("red", "green", "blue")]
    assets["visual"] = {"href": "TCI.tif", "type": COG, "roles": ["visual"], "eo:bands": shown}
    assets["scl"] = {"href": "SCL.tif", "type": COG, "raster:bands": [{"data_type": "uint8"}]}
    assets["thumbnail"] = {"href": "t.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}
    found = read(item("s2", "sentinel-2-l2a", "2024-06-03T10:00:00Z", BBOX, assets), "sentinel2_l2a")
    assert [band.band for band in found.bands] == list(load_sensor("sentinel2_l2a").band_names)
    assert [band.address for band in found.bands] == [f"./{key}.tif" for key in names]


def test_bands_are_found_in_stac_1_1_and_in_a_file_of_several() -> None:
    shared = {"data_type": "uint16", "nodata": 0, "raster:scale": 0.0001, "raster:offset": -0.1, "type": "image/jp2"}
    assets = {
        f"{band}_{gsd}m": shared | {"href": f"s3://eodata/{band}_{gsd}m.jp2", "gsd": gsd, "bands": [{"name": band}]}
        for band in ("B04", "B11")
        for gsd in (60, 20, 10)
        if (band, gsd) != ("B11", 10)
    }
    wanted = {"bands": {"sentinel2_l2a": ("B04", "B11")}}
    found = read(item("cdse", "s2", "2024-06-03T10:00:00Z", BBOX, assets), "sentinel2_l2a", **wanted)
    assert [band.address for band in found.bands] == ["s3://eodata/B04_10m.jp2", "s3://eodata/B11_20m.jp2"], (
        "the finest"
    )
    assert {(band.stored.scale, band.stored.offset) for band in found.bands} == {(0.0001, -0.1)}

    bands = [{"name": "B8A"}, {"name": "B4"}, {"eo:common_name": "swir16", "raster:offset": 0.0}]
    stack = {"stack": shared | {"href": "https://x/all.tif", "bands": bands}}
    found = read(item("stack", "s2", "2024-06-03T10:00:00Z", BBOX, stack), "sentinel2_l2a", **wanted)
    assert [(band.band, band.file_band, band.stored.offset) for band in found.bands] == [
        ("B04", 2, -0.1),
        ("B11", 3, 0),
    ]

    with pytest.raises(InputError, match=r"item stack has no B02 of sentinel2_l2a .*\(stack\)"):
        read(
            item("stack", "s2", "2024-06-03T10:00:00Z", BBOX, stack), "sentinel2_l2a", bands={"sentinel2_l2a": ("B02",)}
        )


def image(
    sensor: str, name: str, days: float, bbox: tuple[float, float, float, float] = BBOX, **more: Any
) -> CatalogueItem:
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    time = NOON + timedelta(days=days)
    return CatalogueItem(sensor=sensor, id=name, time=time, bbox=bbox, geometry=geometry, bands=(), **more)


def names_of(pairs: list[Coincidence]) -> list[list[str]]:
    return [[one.items[0].id for one in pair.acquisitions] for pair in pairs]


def matched(*items: CatalogueItem, max_days: float = 3, min_overlap: float = 0.05) -> list[list[str]]:
    sensors = dict.fromkeys(item.sensor for item in items)
    passes = {sensor: group_passes(item for item in items if item.sensor == sensor) for sensor in sensors}
    return names_of(match_passes(passes, BBOX, max_days=max_days, min_overlap=min_overlap))


def test_the_nearest_in_time_coincide_each_once() -> None:
    optical = [image("sentinel2_l2a", f"o{day}", day) for day in (0, 5, 10)]
    radars = [image("sentinel1", f"r{day}", day) for day in (1.0, 4.5, 4.75, 20)]
    # o0 has r1.0; r4.75 is nearest to o5, and r4.5, further off, is left; o10 has none within three days
    assert matched(*optical, *radars) == [["o5", "r4.75"], ["o0", "r1.0"]]
    assert matched(*optical, *radars, max_days=0.5) == [["o5", "r4.75"]]
    # each once: o10 takes r4.5 only if nothing nearer does
    assert matched(*optical, *radars, max_days=6) == [["o5", "r4.75"], ["o0", "r1.0"], ["o10", "r4.5"]]


def test_what_coincides_shows_common_ground_within_the_bbox() -> None:
    west, east = (9.0, 48.0, 10.4, 49.0), (10.5, 48.0, 12.0, 49.0)
    assert matched(image("sentinel2_l2a", "o", 0, west), image("sentinel1", "r", 0.1, east)) == []
    near, far = image("sentinel1", "near", 0.1, east), image("sentinel1", "far", 2, west)
    assert matched(image("sentinel2_l2a", "o", 0, west), near, far) == [["o", "far"]]
    strip = image("sentinel1", "r", 0.1, (10.0, 48.0, 10.1, 49.0))
    assert matched(image("sentinel2_l2a", "o", 0), strip) == [["o", "r"]]
    assert matched(image("sentinel2_l2a", "o", 0), strip, min_overlap=0.2) == []


def test_heights_go_with_every_date() -> None:
    optical = [image("sentinel2_l2a", f"o{day}", day) for day in (0, 5)]
    heights = [image("dsm", "left", -4000, (10, 48, 10.5, 49)), image("dsm", "right", -4000, (10.5, 48, 11, 49))]
    assert [names[0] for names in matched(*optical, *heights)] == ["o0", "o5"]
    radars = [image("sentinel1", "r5", 5.1)]
    assert matched(*optical, *radars, *heights) == [["o5", "r5", "right"]]


def test_items_of_one_pass_are_one_acquisition_the_newest_first() -> None:
    minute = 1 / 1440
    passed = group_passes(
        [
            image("sentinel2_l2a", "old", 0, platform="a", orbit=8, version="02.14"),
            image("sentinel2_l2a", "new", 0, platform="a", orbit=8, version="05.00"),
            image("sentinel2_l2a", "next", 10 * minute, platform="a", orbit=8, version="02.14"),
            image("sentinel2_l2a", "other", 0, platform="b", orbit=8),
            image("sentinel2_l2a", "tomorrow", 1, platform="a", orbit=8),
        ]
    )
    names = [[item.id for item in one.items] for one in passed]
    assert names == [["new", "old", "next"], ["tomorrow"], ["other"]]


def test_clouds_and_orbits_are_chosen() -> None:
    items = [
        image("sentinel1", "a", 0, orbit=44, orbit_state="ascending"),
        image("sentinel1", "d", 0, orbit=168, orbit_state="descending", cloud=30.0),
    ]
    assert [one.id for one in select(items, 20)] == ["a"]
    assert [one.id for one in select(items, 30, "descending")] == ["d"]
    assert [one.id for one in select(items, 100, "44")] == ["a"]


def test_footprints_may_have_corners_holes_and_parts() -> None:
    square = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    triangle = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 1], [0, 0]]]}
    assert covered(triangle, (0, 0, 1, 1)).mean() == pytest.approx(0.5, abs=0.02)
    hole = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75], [0.25, 0.25]]
    assert covered({"type": "Polygon", "coordinates": [square, hole]}, (0, 0, 1, 1)).mean() == pytest.approx(0.75)
    moved = [[x + 1, y] for x, y in square]
    both = {"type": "MultiPolygon", "coordinates": [[square], [moved]]}
    assert covered(both, (0, 0, 2, 1)).all()


def test_reflectance_is_written_without_loss_and_never_as_no_data() -> None:
    written = PRODUCTS["sentinel2"].written
    numbers = np.array([0.0001, -0.0999, -0.2, 0, 3.2767, 9, np.nan])
    stored = encode(numbers.astype(np.float32), written)
    assert stored.dtype == np.uint16
    assert stored.tolist() == [1001, 1, 1, 1000, 33767, 65535, 0]
    every = np.arange(1, 32768)  # as baseline 04.00 stores it, through float32 and back
    assert (encode(((every - 1000) * 1e-4).astype(np.float32), written) == every).all()


def test_the_grid_covers_the_bbox_in_whole_patches_on_round_coordinates() -> None:
    from rasterio.warp import transform

    assert (utm_zone(11.9, 48), utm_zone(12.1, 48), utm_zone(-70, -33), utm_zone(180, 1)) == (
        "EPSG:32632",
        "EPSG:32633",
        "EPSG:32719",
        "EPSG:32660",
    )
    bbox = (11.2, 47.9, 11.3, 48.0)
    grid = grid_over(bbox, "EPSG:32632", 10, 256)
    assert (grid.left % 10, grid.top % 10, grid.height % 256, grid.width % 256) == (0, 0, 0, 0)
    x, y = transform("EPSG:4326", grid.crs, [bbox[0], bbox[2]] * 2, [bbox[1], bbox[1], bbox[3], bbox[3]])
    columns, rows = (np.array(x) - grid.left) / 10, (grid.top - np.array(y)) / 10
    assert columns.min() >= 0 and columns.max() <= grid.width and rows.min() >= 0 and rows.max() <= grid.height
    assert grid.width - columns.max() < 256 and grid.height - rows.max() < 256
    west, south, east, north = grid.lon_lat_bounds()
    assert west <= bbox[0] and south <= bbox[1] and east >= bbox[2] and north >= bbox[3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sensors": ("sentinel3",)}, "'sentinel3' cannot be had from a catalogue"),
        ({"sensors": ("dsm", "sentinel1")}, "name first the sensor whose dates count"),
        ({"sensors": ("sentinel1", "sentinel1")}, "stands twice"),
        ({"bbox": (11.0, 48.0, 10.0, 49.0)}, "west,south,east,north"),
        ({"orbits": {"sentinel1": "up"}}, "ascending, descending or the number"),
        ({"orbits": {"dsm": "44"}}, "the sensors asked for are sentinel1"),
        ({"power": "amplitude"}, "linear or db"),
        ({"bands": {"sentinel1": ("VX",)}}, "no band 'VX'"),
        ({"settings": ("sentinel2.offset=0",)}, "no sensor 'sentinel2' here"),
    ],
)
def test_wrong_requests_are_refused_before_anything_travels(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        replace(request("sentinel1"), **changes)


def test_options_are_read_and_wrong_ones_named() -> None:
    start, end = parse_dates("2024-06-01/2024-06-30")
    assert (start, end.date().isoformat(), end.hour) == (datetime(2024, 6, 1, tzinfo=UTC), "2024-06-30", 23)
    assert parse_bbox("-70.5,-33,-70,-32.5") == (-70.5, -33, -70, -32.5)
    assert headers_of("Authorization: Bearer a:b\n\nX-Key: 1") == {"Authorization": "Bearer a:b", "X-Key": "1"}
    for wrong, message in (("June", "2024-06-01/2024-06-30"), ("2024-06-01/x", "2024-06-01/2024-06-30")):
        with pytest.raises(InputError, match=message):
            parse_dates(wrong)
    with pytest.raises(InputError, match="west,south,east,north"):
        parse_bbox("1,2,3")


def test_without_pystac_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pystac_client", None)
    monkeypatch.setitem(sys.modules, "pystac_client.exceptions", None)
    with pytest.raises(InputError, match=re.escape("pip install 'msgfm[stac]'")):
        find_coincidences(replace(request("sentinel1"), source="http://127.0.0.1:9"))
