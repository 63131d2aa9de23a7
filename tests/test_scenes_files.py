"""From what is given for each sensor to bands of files: by name, by what the user says, and never by guessing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.warp import transform_bounds
from scene_data import LEFT, TOP, UTM, at, backscatter, reflectance, write

from msgfm.errors import InputError, InputWarning
from msgfm.geo.grid import Grid
from msgfm.scenes.inputs.files import make_request
from msgfm.scenes.inputs.request import SceneRequest
from msgfm.scenes.inputs.scene import open_scene
from msgfm.sensors import load_sensor

S1, S2, L2A, RGB, DSM = (load_sensor(name) for name in ("sentinel1", "sentinel2", "sentinel2_l2a", "rgb", "dsm"))
TWO = S2.select(["B02", "B8A"])


def two(*given: Path | str, names: str = "", **options) -> SceneRequest:
    """The request of B02 and B8A."""
    bands = {"sentinel2": names.split(",")} if names else {}
    return make_request({"sentinel2": TWO}, {"sentinel2": [str(one) for one in given]}, bands, **options)


def places(request: SceneRequest, key: str = "sentinel2") -> dict[str, tuple[str, int]]:
    """By band, file and position."""
    image = next(image for image in request.images if image.key == key)
    return {
        band: (Path(file.place).name, position)
        for file in image.files
        for band, position in zip(file.bands, file.file_bands, strict=True)
    }


@pytest.mark.parametrize(
    "names",
    [
        ("B8A", "B02"),
        ("B8A, narrow near infrared", "B02, central wavelength 490 nm"),
        ("Sentinel-2 b8a", "b2"),
        ("nir08", "blue"),
        ("B8A", "B2"),
    ],
)
def test_bands_are_found_by_the_files_own_names(tmp_path, names):
    path = write(tmp_path / "x.tif", reflectance(8, 8, count=3), names=["B04", *names])
    assert places(two(path)) == {"B02": ("x.tif", 3), "B8A": ("x.tif", 2)}


@pytest.mark.parametrize(
    "pattern", ["T32TQM_20200623T100559_{}_10m.tif", "S2A_MSIL2A_20170613T101031_87_48_{}.tif", "{}.tif", "{}.png"]
)
def test_bands_are_found_by_the_names_of_files_in_any_order_of_folders_and_patterns(tmp_path, pattern):
    for i, band in enumerate(("B01", "B2", "B8A", "TCI", "SCL")):
        driver = {"driver": "PNG"} if pattern.endswith("png") else {}
        write(tmp_path / pattern.format(band), reflectance(8, 8, seed=i), **driver)
    expected = {"B02": (pattern.format("B2"), 1), "B8A": (pattern.format("B8A"), 1)}
    assert places(two(tmp_path)) == expected
    assert places(two(tmp_path / "*")) == expected
    assert places(two(*sorted(tmp_path.glob(pattern.format("*")), reverse=True))) == expected


def test_names_that_the_user_gives_are_in_the_files_order(tmp_path):
    path = write(tmp_path / "x.tif", reflectance(8, 8, count=4))
    assert places(two(path, names="B8A,-,B1,B2")) == {"B02": ("x.tif", 4), "B8A": ("x.tif", 1)}
    first, second = (write(tmp_path / f"{name}.tif", reflectance(8, 8)) for name in "ab")
    assert places(two(first, second, names="B8A,B02")) == {"B02": ("b.tif", 1), "B8A": ("a.tif", 1)}


def test_a_single_band_needs_no_name_and_colours_name_themselves(tmp_path):
    heights = write(tmp_path / "dem.tif", reflectance(8, 8).astype(np.float32))
    picture = write(tmp_path / "air.tif", np.ones((3, 8, 8), np.uint8), photometric="RGB")
    request = make_request({"dsm": DSM, "rgb": RGB}, {"dsm": [str(heights)], "rgb": [str(picture)]})
    assert places(request, "dsm") == {"height": ("dem.tif", 1)}
    assert places(request, "rgb") == {"R": ("air.tif", 1), "G": ("air.tif", 2), "B": ("air.tif", 3)}


@pytest.mark.parametrize(
    ("descriptions", "names", "message"),
    [
        ((), "", r"x\.tif does not name its bands.*--bands sentinel2=B02,B8A,\.\.\. \(the 3 names"),
        (("VV", "VH", "angle"), "", r"calls its bands VV, VH, angle, none of which is of sentinel2"),
        ((), "B02,B8A", r"x\.tif has 3 bands, --bands names 2 \(B02, B8A\).*the 3 names"),
        ((), "B02,B03,B04", r"no band B8A: .*x\.tif has B02.*--bands"),
        ((), "B02,B02,B8A", r"B02 stands twice"),
        (("B8A", "B03", "B02"), "B02,B03,B8A", r"calls its band 1 'B8A', --bands sentinel2=B02,B03,B8A calls it B02"),
        (("B02", "blue", "B8A"), "", r"x\.tif calls its bands 1 and 2 B02"),
        (("B02", "B03", "B04"), "", r"sentinel2: no band B8A: .*has B02; the model takes B02, B8A"),
    ],
)
def test_what_is_unclear_is_told_with_the_remedy(tmp_path, descriptions, names, message):
    path = write(tmp_path / "x.tif", reflectance(8, 8, count=3), names=descriptions)
    with pytest.raises(InputError, match=message):
        two(path, names=names)


def test_bands_in_two_files_and_contradictions_are_told(tmp_path):
    both = write(tmp_path / "both.tif", reflectance(8, 8, count=2), names=["B02", "B8A"])
    again = write(tmp_path / "B02.tif", reflectance(8, 8))
    with pytest.raises(InputError, match=r"band B02 of sentinel2 is in \S+both\.tif and in \S+B02\.tif.*gdalbuildvrt"):
        two(both, again)
    wrong = write(tmp_path / "T32_B02.tif", reflectance(8, 8), names=["B8A"])
    with pytest.raises(InputError, match=r"calls its band 'B8A' .* its own name says B02"):
        two(wrong)
    assert places(two(wrong, write(tmp_path / "x.tif", reflectance(8, 8)), names="B8A,B02"))["B8A"] == (wrong.name, 1)
    other = write(tmp_path / "T32_B8A.tif", reflectance(8, 8))
    with pytest.raises(InputError, match=r"T32_B8A\.tif is B8A of sentinel2 by its own name, --bands .* calls it B02"):
        two(other, again, names="B02,B8A")
    with pytest.raises(InputError, match=r"T32_B8A\.tif is B8A of sentinel2 by its own name, --bands .* calls it B04"):
        two(again, other, names="B02,B04")
    with pytest.raises(InputError, match=r"3 names for 2 files"):
        two(both, again, names="B02,B03,B8A")
    with pytest.raises(InputError, match=r"is a folder or product; give the files"):
        two(tmp_path, names="B02,B8A")


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match=r"sentinel2: no file or folder \S+none/\*\.tif"):
        two(tmp_path / "none" / "*.tif")
    with pytest.raises(InputError, match=r"has no images .* is no Sentinel-2 product"):
        two(tmp_path)
    (tmp_path / "x.tif").write_text("no image")
    with pytest.raises(InputError, match=r"cannot read \S+x\.tif: truncated, or not an image"):
        two(tmp_path / "x.tif")
    with pytest.raises(InputError, match=r"sentinel2: no file or folder x{5000}"):
        two("x" * 5000)
    strange = tmp_path / "x\udcff.tif"  # a byte that is no UTF-8
    strange.write_bytes(b"II*")
    with pytest.raises(InputError, match=r"is not UTF-8, which GDAL needs"):
        two(strange)
    with pytest.raises(InputError, match=r"no input 'landsat8'; there are sentinel2"):
        make_request({"sentinel2": TWO}, {"landsat8": ["x"]})
    with pytest.raises(InputError, match=r"no image of sentinel1 is given; the model takes sentinel1, sentinel2"):
        make_request({"sentinel1": S1, "sentinel2": TWO}, {"sentinel2": ["x"]})
    with pytest.raises(InputError, match=r"rgb is one of several: there are rgb@before, rgb@after"):
        make_request({"rgb@before": RGB, "rgb@after": RGB}, {"rgb": ["x"]})
    grd = tmp_path / "S1A_IW_GRDH.SAFE"
    (grd / "measurement").mkdir(parents=True)
    (grd / "manifest.safe").touch()
    with pytest.raises(InputError, match=r"Sentinel-1 product in the radar's own geometry"):
        make_request({"sentinel1": S1}, {"sentinel1": [str(grd)]})


def test_inputs_may_be_left_out_where_that_is_wanted(tmp_path):
    path = write(tmp_path / "s1.tif", backscatter(8, 8), names=["VV", "VH"])
    request = make_request({"sentinel1": S1, "sentinel2": TWO}, {"sentinel1": [str(path)]}, allow_missing=True)
    assert [image.key for image in request.images] == ["sentinel1"]


def stored(request: SceneRequest) -> tuple[float, float, float | None]:
    one = request.images[0].storage[0]
    assert (one.scale, one.offset) == (request.images[0].card.bands[0].scale, request.images[0].card.bands[0].offset)
    return one.scale, one.offset, one.nodata


def test_how_files_are_stored_is_said_by_the_user_else_by_the_file_else_by_the_card(tmp_path):
    names = ["B02", "B8A"]
    plain = write(tmp_path / "plain.tif", reflectance(8, 8, count=2), names=names)
    assert stored(two(plain)) == (0.0001, 0, 0)
    assert stored(two(plain, settings=["sentinel2.offset=-1000", "sentinel2.nodata=7"])) == (0.0001, -1000, 7)
    own = write(tmp_path / "own.tif", reflectance(8, 8, count=2), names=names, scale=0.0002, offset=-0.1, nodata=9)
    assert stored(two(own)) == (0.0002, -500, 9)
    assert stored(two(own, settings=["sentinel2.offset=0"])) == (0.0002, 0, 9)
    with open_scene(two(own)) as scene:
        expected = reflectance(8, 8, count=2) * 0.0002 - 0.1
        np.testing.assert_allclose(scene.read(0, 0, 8, 8)["sentinel2"], expected, atol=1e-6)
    with pytest.raises(InputError, match=r"--set sentinel1\.offset=1: no sensor 'sentinel1' here; there are sentinel2"):
        two(plain, settings=["sentinel1.offset=1"])


def test_a_setting_may_be_of_one_image_of_a_sensor(tmp_path):
    path = str(write(tmp_path / "x.tif", reflectance(8, 8, count=2), names=["B02", "B8A"]))
    cards = {"sentinel2@before": TWO, "sentinel2@after": TWO}
    request = make_request(cards, {key: [path] for key in cards}, settings=["sentinel2@after.offset=-1000"])
    assert [image.storage[0].offset for image in request.images] == [0, -1000]


def pair(tmp_path: Path, **options) -> Grid:
    """The grid of radar at 10 m and optics at 20 m."""
    radar = write(tmp_path / "s1.tif", backscatter(40, 40), names=["VV", "VH"], transform=at(left=LEFT + 3))
    optics = write(tmp_path / "s2.tif", reflectance(20, 20, count=2), names=["B02", "B8A"], transform=at(20))
    given = {"sentinel1": [str(radar)], "sentinel2": [str(optics)]}
    return make_request({"sentinel1": S1, "sentinel2": TWO}, given, **options).grid


def test_the_grid_is_that_of_the_first_the_finest_or_another_file(tmp_path):
    assert pair(tmp_path) == Grid(crs=UTM, left=LEFT + 3, top=TOP, pixel_width=10, pixel_height=10, height=40, width=40)
    assert pair(tmp_path, first="sentinel2").pixel_width == 20
    left, _, _, top = transform_bounds(UTM, "EPSG:32632", LEFT, TOP - 400, LEFT + 400, TOP)
    other = write(tmp_path / "like.tif", reflectance(7, 9), crs="EPSG:32632", transform=at(25, left=left, top=top))
    assert pair(tmp_path, like=other) == Grid(
        crs="EPSG:32632", left=left, top=top, pixel_width=25, pixel_height=25, height=7, width=9
    )


def test_rectangular_pixels_and_coordinate_systems_without_number_are_kept(tmp_path):
    crs = "+proj=tmerc +lat_0=0 +lon_0=25 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m"
    path = write(
        tmp_path / "x.tif", reflectance(8, 8, count=2), names=["B02", "B8A"], crs=crs,
        transform=Affine(12.5, 0, 7, 0, -10.25, 9),
    )  # fmt: skip
    request = two(path)
    assert request.grid.transform == Affine(12.5, 0, 7, 0, -10.25, 9)
    with rasterio.open(path) as source:
        assert rasterio.crs.CRS.from_user_input(request.grid.crs) == source.crs


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (at() @ Affine.rotation(10), r"x\.tif is rotated .*gdalwarp"),
        (Affine(10, 0, LEFT, 0, 10, TOP), r"x\.tif does not lie north up"),
        (Affine(10, 0, math.nan, 0, -10, TOP), r"x\.tif: its geotransform 10, 0, nan, .* is no numbers"),
    ],
)
def test_what_does_not_lie_north_up_is_refused(tmp_path, transform, message):
    path = write(tmp_path / "x.tif", reflectance(8, 8, count=2), names=["B02", "B8A"], transform=transform)
    with pytest.raises(InputError, match=message):
        two(path)


def test_a_coordinate_system_must_say_where_on_the_earth(tmp_path):
    named = {"names": ["B02", "B8A"]}
    local = rasterio.crs.CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]')
    with pytest.raises(InputError, match=r"local\.tif: its coordinate system does not say where on the earth"):
        two(write(tmp_path / "local.tif", reflectance(8, 8, count=2), crs=local, **named))
    with pytest.warns(InputWarning, match=r"none\.tif has a geotransform but no coordinate system"):
        request = two(write(tmp_path / "none.tif", reflectance(8, 8, count=2), crs=None, transform=at(), **named))
    assert request.grid.crs == ""
    beyond = two(write(tmp_path / "far.tif", reflectance(8, 8, count=2), transform=at(left=1e9), **named))
    with pytest.raises(InputError, match=r"does not lie within its coordinate system, EPSG:\d+"):
        beyond.grid.lon_lat_bounds()


def test_a_file_whose_values_are_scaled_by_nothing_is_refused(tmp_path):
    path = write(tmp_path / "x.tif", reflectance(8, 8, count=2), names=["B02", "B8A"])
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.0, 0.0), (1.0, 1.0)
    with pytest.raises(
        InputError, match=r"x\.tif, band B02: the file says value = stored \* 0.*--set sentinel2\.scale"
    ):
        two(path)
    assert two(path, settings=("sentinel2.scale=0.5", "sentinel2.offset=0")).images[0].card.bands[0].scale == 0.5


def test_control_points_alone_are_refused(tmp_path):
    points = [GroundControlPoint(row=r, col=c, x=c, y=-r) for r, c in ((0, 0), (0, 8), (8, 0), (8, 8))]
    path = write(tmp_path / "x.tif", reflectance(8, 8, count=2), names=["B02", "B8A"], gcps=points)
    with pytest.raises(InputError, match=r"x\.tif has only control points"):
        two(path)


def test_images_of_different_places_are_refused(tmp_path):
    near = write(tmp_path / "near.tif", backscatter(8, 8), names=["VV", "VH"])
    given = {"sentinel1": [str(near)]}
    for name, where in (("far", at(left=LEFT + 80_000)), ("beside", at(left=LEFT + 80))):
        other = write(tmp_path / f"{name}.tif", reflectance(8, 8, count=2), names=["B02", "B8A"], transform=where)
        given["sentinel2"] = [str(other)]
        with pytest.raises(InputError, match=rf"{name}\.tif shows none of the ground of \S+near\.tif.*longitude 15"):
            make_request({"sentinel1": S1, "sentinel2": TWO}, given)


def test_without_coordinates_pixels_must_be_the_same(tmp_path):
    def pictures(height: int, crs: str | None) -> SceneRequest:
        before = write(tmp_path / "a.tif", np.ones((3, 8, 8), np.uint8), photometric="RGB", crs=None)
        after = write(tmp_path / "b.tif", np.ones((3, height, 8), np.uint8), photometric="RGB", crs=crs)
        cards = {"rgb@before": RGB, "rgb@after": RGB}
        return make_request(cards, {"rgb@before": [str(before)], "rgb@after": [str(after)]})

    grid = pictures(8, None).grid
    assert (grid.crs, grid.height, grid.width, grid.transform) == ("", 8, 8, Affine.identity())
    with open_scene(pictures(8, None)) as scene:
        assert scene.read(2, 2, 4, 4)["rgb@after"].shape == (3, 4, 4)
    with pytest.raises(InputError, match=r"a\.tif \(8 x 8 pixels\) and \S+b\.tif \(9 x 8\) have no coordinate system"):
        pictures(9, None)
    with pytest.raises(InputError, match=r"a\.tif has no coordinate system, and \S+b\.tif has one.*gdal_translate"):
        pictures(8, UTM)


@pytest.mark.real_data
def test_real_folders_give_all_bands(real_data):
    patch = next((real_data / "BigEarthNet-v1/BigEarthNet-v1.0").iterdir())
    radar = next((real_data / "BigEarthNet-v1/BigEarthNet-S1-v1.0").glob(f"*{patch.name[-6:].split('_', 1)[1]}"))
    cards = {"sentinel1": S1, "sentinel2_l2a": L2A}
    with open_scene(make_request(cards, {"sentinel1": [str(radar)], "sentinel2_l2a": [str(patch)]})) as scene:
        assert (scene.grid.height, scene.grid.width, scene.grid.pixel_width) == (120, 120, 10)
        assert all(np.isfinite(image).all() for image in scene.read(0, 0, 120, 120).values())
    landsat = make_request({"landsat8": load_sensor("landsat8")}, {"landsat8": [str(real_data / "Landsat8/l8_north")]})
    assert places(landsat, "landsat8")["B8"] == ("l8_B8.tif", 1)
    assert (landsat.grid.height, landsat.grid.width, landsat.grid.pixel_width) == (601, 1254, 15)
