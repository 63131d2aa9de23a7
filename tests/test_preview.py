"""`msgfm preview`: what stands in the page, and what it refuses."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from html_pages import Page
from preview_data import HEIGHT, WIDTH, write_scene
from rasterio import Affine
from rasterio.io import MemoryFile
from rasterio.warp import transform
from scene_data import at, write
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.geo.grid import Grid
from msgfm.scenes.preview.place import NODES, place_of


def preview(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["preview", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return Path(str(arguments[-1])).read_text(encoding="utf-8")


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["preview", *map(str, arguments)], env={"COLUMNS": "400"})
    assert result.exit_code == 2, result.output
    assert not Path(str(arguments[-1])).exists()
    return " ".join(result.output.split())


def pictures(page: str) -> list[np.ndarray]:
    """The pictures that the page holds: 3 x H x W, or 4 with an opacity (WebP leaves it out where nothing is empty)."""
    found = []
    for kind, data in re.findall(r'<img src="data:image/(\w+);base64,([^"]+)"', page):
        assert kind in ("png", "webp")
        with MemoryFile(base64.b64decode(data)) as memory, memory.open() as picture:
            found.append(picture.read())
    return found


def scene_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="scene">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_holds_all_images_and_asks_for_nothing_else(tmp_path):
    page = preview(*write_scene(tmp_path), "--out", tmp_path / "page.html")
    radar, reflectance, water = pictures(page)
    assert radar.shape[1:] == reflectance.shape[1:] == water.shape[1:] == (HEIGHT, WIDTH)
    assert (water[:3, 0, 0].tolist(), water[:3, 0, -1].tolist()) == ([230, 200, 140], [20, 60, 220])
    assert (reflectance[3, :10, :10] == 0).all() and (reflectance[3, 10:] == 255).all()
    assert "default-src 'none'" in page  # the browser is forbidden to fetch, too
    for tag, attributes in Page(page).tags:
        assert tag not in ("link", "iframe", "object", "embed")
        assert "src" not in attributes or (attributes["src"] or "").startswith("data:")
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", page)


def test_legends_tell_bands_units_and_classes(tmp_path):
    page = Page(preview(*write_scene(tmp_path), "--out", tmp_path / "page.html"))
    rows = [row for row in page.rows if row[0] in ("red", "green", "blue")]
    assert [row[:2] for row in rows[:3]] == [["red", "VV"], ["green", "VH"], ["blue", "VV - VH"]]
    assert all(row[2].endswith("dB") for row in rows[:3])
    assert [row[1] for row in rows[3:]] == ["B04", "B03", "B02"]
    assert "class 0" in page.text and page.text.count("50.0 %") == 2


def test_names_of_classes_come_from_the_stac_item_beside_the_file(tmp_path):
    *_, water = write_scene(tmp_path)
    classes = [{"value": 0, "name": "land"}, {"value": 1, "name": "open_water", "title": "open water"}]
    item = {"type": "Feature", "assets": {"classes": {"href": "water.tif", "classification:classes": classes}}}
    (tmp_path / "water.json").write_text(json.dumps(item))
    text = Page(preview(water, "--out", tmp_path / "page.html")).text
    assert "land" in text and "open water" in text and "class 0" not in text


def test_the_place_is_told_in_degrees_and_on_a_map(tmp_path):
    page = preview(*write_scene(tmp_path), "--out", tmp_path / "page.html")
    (west,), (north,) = transform("EPSG:32633", "EPSG:4326", [500_000], [5_000_000])
    assert ["upper left", f"{north:.5f}° N, {west:.5f}° E"] in Page(page).rows
    (middle_x,), (middle_y,) = transform("EPSG:32633", "EPSG:4326", [500_450], [4_999_700])
    assert f"mlat={middle_y:.5f}&amp;mlon={middle_x:.5f}" in page
    assert page.count("<svg") == 2 and 'role="img"' in page
    ring = re.search(r'class="ring" cx="([\d.-]+)" cy="([\d.-]+)"', page)
    assert (float(ring[1]), float(ring[2])) == pytest.approx((10 * middle_x, -10 * middle_y), abs=0.06)


def test_what_the_files_say_of_themselves_is_told(tmp_path):
    _, reflectance, _ = write_scene(tmp_path)
    with rasterio.open(reflectance, "r+") as target:
        target.scales, target.offsets, target.units = [0.0001] * 3, [-0.1] * 3, ["reflectance"] * 3
        target.update_tags(MODEL="<b>tiny</b> & more", **{"LONG": "x" * 5000})
        target.build_overviews([2, 4])
    page = preview(reflectance, "--label", "</script><i>odd", "--out", tmp_path / "page.html")
    parsed = Page(page)
    rows = {row[0]: row[1:] for row in parsed.rows if row}
    assert rows["size"] == [f"{WIDTH} x {HEIGHT} pixels"]
    assert rows["coordinates"] == ["WGS 84 / UTM zone 33N (EPSG:32633)"]
    assert rows["pixel"] == ["10 x 10 metre"]
    assert rows["overviews"] == ["1:2, 1:4"]
    assert rows["1"] == ["B02", "uint16", "0", "0.0001", "-0.1", "reflectance"]
    assert rows["MODEL"] == ["<b>tiny</b> & more"]  # as text
    assert len(rows["LONG"][0]) < 400
    assert scene_of(page)["labels"] == ["</script><i>odd"]
    assert "<i>odd" not in page  # neither in text nor in the script's data


def test_what_is_interpolated_between_nodes_is_exact_to_a_hundredth_of_a_pixel():
    # a Sentinel-2 tile, at the edge of its zone and far in the north, where lines bend most
    grid = Grid(
        crs="EPSG:32633", left=199_980, top=8_000_040, pixel_width=68.6, pixel_height=68.6, height=1600, width=1600
    )
    nodes = place_of(grid).nodes
    cells = (nodes[:, :-1, :-1] + nodes[:, 1:, :-1] + nodes[:, :-1, 1:] + nodes[:, 1:, 1:]) / 4  # as in page.js
    steps = (np.arange(NODES - 1) + 0.5) / (NODES - 1) * 1600 * 68.6
    x, y = np.meshgrid(grid.left + steps, grid.top - steps)
    back_x, back_y = transform("EPSG:4326", "EPSG:32633", cells[0].ravel(), cells[1].ravel())
    off = np.hypot(np.array(back_x) - x.ravel(), np.array(back_y) - y.ravel())
    assert off.max() < 0.5 * 68.6


def test_a_scene_across_180_degrees_has_longitudes_that_go_on(tmp_path):
    zone_60_east = at(100, 815_000, 8_000_000)
    place = write(tmp_path / "a.tif", np.ones((1, 60, 90), np.float32), crs="EPSG:32760", transform=zone_60_east)
    page = preview(place, "--out", tmp_path / "page.html")
    longitudes = np.array(scene_of(page)["nodes"]["longitudes"])
    assert longitudes.min() < 180 < longitudes.max() < 180.1
    assert "° W" in Page(page).text and "° E" in Page(page).text


def test_other_grids_are_brought_to_the_first_and_that_is_told(tmp_path):
    _, reflectance, water = write_scene(tmp_path)
    coarse = write(tmp_path / "coarse.tif", np.full((1, 20, 30), 5, np.float32), transform=at() @ Affine.scale(3))
    page = preview(water, coarse, reflectance, "--size", 45, "--out", tmp_path / "page.html")
    assert [picture.shape[1:] for picture in pictures(page)] == [(30, 45)] * 3
    assert Page(page).text.count("brought to the grid of the first image") == 1
    assert Page(page).text.count("reduced 2.0 times") == 2


def test_pictures_without_coordinates_are_shown_by_their_pixels(tmp_path):
    one = write(tmp_path / "a.tif", np.random.default_rng(0).integers(0, 255, (3, 40, 40), np.uint8), crs=None)
    two = write(tmp_path / "b.tif", np.zeros((3, 80, 80), np.uint8), crs=None)
    page = preview(one, two, "--out", tmp_path / "page.html")
    assert "without coordinates" in page and "<svg" not in page and "nodes" not in scene_of(page)
    wide = write(tmp_path / "c.tif", np.zeros((3, 40, 90), np.uint8), crs=None)
    assert "c.tif has no coordinate system, and the 90 x 40 pixels" in refused(one, wide, "--out", tmp_path / "no.html")


def test_bands_and_classes_are_shown_as_asked(tmp_path):
    radar, reflectance, _ = write_scene(tmp_path)
    out = tmp_path / "page.html"
    page = Page(preview(radar, reflectance, "--show", f"{reflectance.name}=b2", "--show", f"{radar}=VV", "--out", out))
    assert not [row for row in page.rows if row[0] == "red"]
    assert "B02" in page.text and "VV" in page.text


def test_labels_are_the_shortest_that_tell_files_apart(tmp_path):
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        write_scene(tmp_path / folder)
    places = [tmp_path / "old" / "s1.tif", tmp_path / "new" / "s1.tif", tmp_path / "new" / "s2.tif"]
    page = preview(*places, "--show", "new/s1.tif=VV", "--out", tmp_path / "page.html")
    assert "more than one image of that name" in refused(*places, "--show", "s1.tif=VV", "--out", tmp_path / "no.html")
    assert scene_of(page)["labels"] == ["old/s1.tif", "new/s1.tif", "new/s2.tif"]


def test_what_cannot_be_shown_is_refused_and_no_page_is_written(tmp_path):
    radar, reflectance, _ = write_scene(tmp_path)
    out = tmp_path / "page.html"
    (tmp_path / "broken.tif").write_bytes(radar.read_bytes()[:300])
    away = write(tmp_path / "away.tif", np.ones((1, 9, 9), np.uint8), transform=at() @ Affine.translation(9000, 0))
    assert "no file missing.tif" in refused(radar, "missing.tif", "--out", out)
    assert "broken.tif: truncated, or not an image" in refused(radar, tmp_path / "broken.tif", "--out", out)
    assert "away.tif shows another place than the first image" in refused(radar, away, "--out", out)
    assert "two images are called alike" in refused(radar, radar, "--out", out)
    (tmp_path / "mine.html").write_text("precious")
    assert "no page of msgfm preview" in refused(radar, "--out", tmp_path / "mine.html", "--size", 200)
    assert (tmp_path / "mine.html").read_text() == "precious"
    (tmp_path / "mine.html").unlink()
    assert "1 labels are given for 2 images" in refused(radar, reflectance, "--label", "one", "--out", out)
    assert "two images have one label" in refused(radar, reflectance, "--label", "a", "--label", "a", "--out", out)
    assert "write IMAGE=BANDS" in refused(radar, "--show", "VV", "--out", out)
    assert "no such image is given" in refused(radar, "--show", "s3.tif=VV", "--out", out)
    assert "has no band 'B08'" in refused(reflectance, "--show", f"{reflectance}=B08", "--out", out)
    assert "ends in .html" in refused(radar, "--out", tmp_path / "page.png")


@pytest.mark.real_data
def test_real_radar_cloudy_and_clear_images_are_known_for_what_they_are(real_data, tmp_path):
    folder = real_data / "SEN12MS-CR"
    places = [next(folder.glob(f"ROIs1970_fall_{kind}/*/*.tif")) for kind in ("s2_cloudy", "s2", "s1")]
    page = preview(*places, "--out", tmp_path / "page.html")
    rows = [row for row in Page(page).rows if row[0] in ("red", "green", "blue")]
    assert [row[1] for row in rows] == ["band 4", "band 3", "band 2"] * 2 + ["VV", "VH", "VV - VH"]
    assert rows[0] == rows[3]  # one stretch
    cloudy, clear, _ = pictures(page)
    assert (cloudy[:3] > 250).all(axis=0).mean() > 0.3  # clouds are white
    assert 60 < clear[:3].mean() < 190  # and the ground beside them is not dark


@pytest.mark.real_data
def test_real_images_of_four_grids_lie_on_each_other(real_data, tmp_path):
    folder = real_data / "NGI-Baviaans"
    names = ("aerial_rgb_5m/ngi_rgb_byte_2", "sentinel2_rgb_10m/sentinel2_b432_byte", "landsat8_sr_30m/landsat8_byte")
    page = preview(*(folder / f"{name}.tif" for name in names), "--size", 400, "--out", tmp_path / "page.html")
    aerial, *others = (picture.astype(float) for picture in pictures(page))
    present = aerial[3] == 255
    for other in others:
        seen = np.corrcoef(aerial[1][present], other[1][present])[0, 1]
        moved = np.corrcoef(aerial[1][present], np.roll(other[1], 25, axis=1)[present])[0, 1]
        assert seen > 0.4 and seen > moved + 0.2
