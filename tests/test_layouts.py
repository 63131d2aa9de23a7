"""Layouts on small copies of each data set's folders, and on the real ones against rasterio read directly."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from layout_trees import image_of
from PIL import Image as Picture

from msgfm.data.layouts import LAYOUTS, IndexResult, LayoutOptions, index_layout
from msgfm.data.layouts.headers import check_headers
from msgfm.data.layouts.listing import Listing, listed
from msgfm.data.layouts.pairs import parse_spec
from msgfm.data.layouts.splits import draw_split
from msgfm.data.masks import read_mask
from msgfm.data.reader import read_sample
from msgfm.data.records import RasterFile, read_manifest, write_manifest
from msgfm.data.statistics import measure
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import load_sensor

S2_DN = 1500


def tif(path: Path, count: int = 1, size: int | tuple[int, int] = 8, value: float = S2_DN, **more: object) -> None:
    """A GeoTIFF whose band k holds `value + k`, k from 0; integers for Sentinel-2's numbers, else floats."""
    shape = (count, size, size) if isinstance(size, int) else (count, *size)
    bands = np.arange(count).reshape(-1, 1, 1) + np.full(shape, value)
    write_geotiff(path, bands.astype(np.uint16 if value >= 1 else np.float32), **more)  # type: ignore[arg-type]


def picture(path: Path, count: int = 3, size: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(np.full((size, size, count)[: 3 if count > 1 else 2], 100, np.uint8)).save(path)


def index(layout: str, root: Path, *sensors: str, **more: object) -> IndexResult:
    fields = {key: more.pop(key) for key in ("scenes", "product", "tile_size") if key in more}
    return index_layout(layout, root, LayoutOptions(sensors=sensors, **fields), **more)  # type: ignore[arg-type]


def names(result: IndexResult) -> list[str]:
    return [sample.sample for sample in result.manifest.samples]


def read(result: IndexResult, sample: str) -> dict[str, np.ndarray]:
    found = next(one for one in result.manifest.samples if one.sample == sample)
    return read_sample(result.manifest.root, found, result.manifest.sensors)


# image-folder


def test_image_folder_takes_every_image_and_no_other_file(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "b" / "c" / "2.JPG")
    picture(tmp_path / "3.png", count=4)  # alpha is no band
    picture(tmp_path / ".hidden.png")
    (tmp_path / "readme.txt").write_text("x")
    result = index("image-folder", tmp_path, split="test")
    assert names(result) == ["3.png", "a/1.png", "b/c/2.JPG"]
    assert result.splits == {"test": 3}
    np.testing.assert_allclose(read(result, "a/1.png")["rgb"], 100 / 255, rtol=1e-6)


def test_image_folder_keeps_official_splits(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        picture(tmp_path / "Images" / f"{name}.png")
    (tmp_path / "train.txt").write_text("Images/1.png\n")
    (tmp_path / "test.txt").write_text("Images/3.png\n\n")
    result = index("image-folder", tmp_path, val_fraction=1)
    assert {sample.sample: sample.split for sample in result.manifest.samples} == {
        "Images/1.png": "train",
        "Images/3.png": "test",
    }


# sen12ms


def sen12ms(root: Path) -> None:
    def patch(kind: str, patch: str, roi: str = "ROIs1158_spring") -> Path:
        return root / f"{roi}_{kind}" / f"{kind}_1" / f"{roi}_{kind}_1_{patch}.tif"

    tif(patch("s1", "p30"), 2, value=-10)
    tif(patch("s2", "p30"), 13)
    tif(patch("s2_cloudy", "p30"), 13, value=9000)
    tif(patch("s1", "p31"), 2, value=-10)
    tif(patch("s2", "p32", "ROIs2017_winter"), 13)


def test_sen12ms_pairs_patches_and_lists_single_ones(tmp_path: Path) -> None:
    sen12ms(tmp_path)
    result = index("sen12ms", tmp_path)
    assert {sample.sample: (sample.scene, sample.sensors) for sample in result.manifest.samples} == {
        "ROIs1158_spring_1_p30": ("ROIs1158_spring_1", ("sentinel1", "sentinel2")),
        "ROIs1158_spring_1_p31": ("ROIs1158_spring_1", ("sentinel1",)),
        "ROIs2017_winter_1_p32": ("ROIs2017_winter_1", ("sentinel2",)),
    }
    assert result.combinations == {"sentinel1 + sentinel2": 1, "sentinel1": 1, "sentinel2": 1}
    s2 = read(result, "ROIs1158_spring_1_p30")["sentinel2"]
    order = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
    for position, band in enumerate(order):
        row = result.manifest.sensors["sentinel2"].index_of(band)
        np.testing.assert_allclose(s2[row], (S2_DN + position) * 1e-4, rtol=1e-5)


def test_sen12ms_has_its_own_test_list_and_land_cover(tmp_path: Path) -> None:
    sen12ms(tmp_path)
    (tmp_path / "test_list.txt").write_text("ROIs1158_spring_s1_1_p31.tif\n")
    cover = np.stack([np.full((8, 8), value, np.int16) for value in (12, 0, 0, 0)])
    write_geotiff(tmp_path / "ROIs1158_spring_lc" / "lc_1" / "ROIs1158_spring_lc_1_p30.tif", cover)
    result = index("sen12ms", tmp_path)
    assert {sample.sample: sample.split for sample in result.manifest.samples} == {
        "ROIs1158_spring_1_p30": "train",
        "ROIs1158_spring_1_p31": "test",
        "ROIs2017_winter_1_p32": "train",
    }
    first = result.manifest.samples[0]
    assert image_of(first, "sentinel2").files[0].path.startswith("ROIs1158_spring_s2/")  # not the cloudy one
    assert set(read_mask(tmp_path, first).flat) == {12} and result.manifest.mask_classes[12] == "croplands"


# bigearthnet


def bigearthnet(root: Path) -> None:
    for i, patch in enumerate(("S2A_X_0_1", "S2A_X_0_2", "S2B_Y_5_5")):
        for band in ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]:
            size = {"B01": 2, "B09": 2, "B02": 12, "B03": 12, "B04": 12, "B08": 12}.get(band, 6)
            tif(root / "BigEarthNet-v1.0" / patch / f"{patch}_{band}.tif", size=size)
        if i < 2:
            folder = root / "BigEarthNet-S1-v1.0" / f"S1_{i}"
            for band in ("VV", "VH"):
                tif(folder / f"S1_{i}_{band}.tif", size=12, value=-10)
            (folder / f"S1_{i}_labels_metadata.json").write_text(f'{{"corresponding_s2_patch": "{patch}"}}')


def test_bigearthnet_with_its_csv_files(tmp_path: Path) -> None:
    bigearthnet(tmp_path)
    (tmp_path / "bigearthnet-train.csv").write_text("S2A_X_0_1,S1_0\nS2B_Y_5_5\n")
    (tmp_path / "bigearthnet-test.csv").write_text("S2A_X_0_2,S1_1\n")
    result = index("bigearthnet", tmp_path)
    assert {sample.sample: (sample.scene, sample.split, sample.sensors) for sample in result.manifest.samples} == {
        "S2A_X_0_1": ("S2A_X", "train", ("sentinel1", "sentinel2_l2a")),
        "S2A_X_0_2": ("S2A_X", "test", ("sentinel1", "sentinel2_l2a")),
        "S2B_Y_5_5": ("S2B_Y", "train", ("sentinel2_l2a",)),
    }
    s2 = read(result, "S2B_Y_5_5")["sentinel2_l2a"]
    assert s2.shape == (12, 12, 12)
    np.testing.assert_allclose(s2, S2_DN * 1e-4, rtol=1e-5)


def test_bigearthnet_without_csv_files_finds_partners_in_the_metadata(tmp_path: Path) -> None:
    bigearthnet(tmp_path)
    result = index("bigearthnet", tmp_path)
    assert result.combinations == {"sentinel1 + sentinel2_l2a": 2, "sentinel2_l2a": 1}
    assert "BigEarthNet-S1-v1.0/S1_1/" in image_of(result.manifest.samples[1], "sentinel1").files[0].path


# ssl4eo-s12


def test_ssl4eo_pairs_products_by_date(tmp_path: Path) -> None:
    s1 = ("S1B_IW_GRDH_1SDV_20200101T000000_x", "S1A_IW_GRDH_1SDV_20200901T000000_x")
    s2 = ("20200201T000000_T1", "20201001T000000_T1", "20200601T000000_T1")
    for product in s1:
        for band in ("VV", "VH"):
            tif(tmp_path / "s1" / "0000001" / product / f"{band}.tif", value=-10)
    for product in s2:
        for band in ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"]:
            tif(tmp_path / "s2a" / "0000001" / product / f"{band}.tif")
    result = index("ssl4eo-s12", tmp_path, product="s2a")
    folders = [[Path(image.files[0].path).parent.name for image in sample.images] for sample in result.manifest.samples]
    assert folders == [[s1[0], s2[0]], [s1[1], s2[2]], [s2[1]]]
    assert {sample.scene for sample in result.manifest.samples} == {"0000001"}
    shutil.copytree(tmp_path / "s2a", tmp_path / "s2c")
    with pytest.raises(InputError, match=r"bad files: 3, .*\n.*no file .*20200201T000000_T1/B10\.tif"):
        index("ssl4eo-s12", tmp_path, product="s2c")


# mdas


def test_mdas_cuts_tiles_whose_windows_show_the_same_ground(tmp_path: Path) -> None:
    """RGB at 0.2 m and surface model at 0.3 m, as in MDAS: a tile of 6 px is one of 4 px there."""
    rows, columns = np.mgrid[0:18, 0:24]
    colour = np.stack([rows * 10, columns * 10, rows * 0, rows * 0 + 255]).astype(np.uint8)
    height = np.mgrid[0:12, 0:16][0].astype(np.float32)[None]
    area = tmp_path / "Augsburg_data_4_publication" / "sub_area_1"
    place = {"crs": "EPSG:32632"}
    write_geotiff(area / "3K_RGB_sub_area1.tif", colour, transform=rasterio.Affine(0.2, 0, 0, 0, -0.2, 0), **place)  # type: ignore[arg-type]
    write_geotiff(area / "3K_DSM_sub_area1.tif", height, transform=rasterio.Affine(0.3, 0, 0, 0, -0.3, 0), **place)  # type: ignore[arg-type]
    result = index("mdas", tmp_path, tile_size=6)
    assert len(names(result)) == 3 * 4 and names(result)[:2] == ["sub_area_1_r0_c0", "sub_area_1_r0_c12"]
    sample = next(one for one in result.manifest.samples if one.sample == "sub_area_1_r12_c6")
    assert [image.files[0].window for image in sample.images] == [(12, 6, 6, 6), (8, 4, 4, 4)]
    images = read(result, "sub_area_1_r12_c6")
    np.testing.assert_allclose(images["rgb"][0], colour[0, 12:18, 6:12] / 255, rtol=1e-5)
    assert images["dsm"].shape == (1, 6, 6)
    # A slope of one metre per pixel of 0.3 m is 2/3 m per pixel of 0.2 m: exact but at the tile's edges.
    np.testing.assert_allclose(np.diff(images["dsm"][0, 1:5, 0]), 2 / 3, rtol=1e-5)


def test_mdas_takes_the_city_where_it_is_there(tmp_path: Path) -> None:
    for area in ("entire_city", "sub_area_2"):
        write_geotiff(tmp_path / area / "3K_RGB.tif", np.full((4, 30, 30), 90, np.uint8))
        write_geotiff(tmp_path / area / "3K_dsm.tif", np.full((1, 20, 20), 480, np.float32))
    result = index("mdas", tmp_path, tile_size=3)
    assert len(names(result)) == 100
    assert {sample.scene for sample in result.manifest.samples} == {
        f"entire_city_{i}_{j}" for i in (0, 1) for j in (0, 1)
    }
    (tmp_path / "entire_city" / "3K_dsm.tif").unlink()
    with pytest.raises(InputError, match=r"entire_city has 0 files 3K_DSM\*"):
        index("mdas", tmp_path)


# pairs


def test_pairs_joins_folders_by_stem_and_counts_single_ones(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tif(tmp_path / "s1" / f"{name}.tif", 2, value=-10)
    tif(tmp_path / "dem" / "b.tif", value=0.5)
    tif(tmp_path / "dem" / "deep" / "c.tif", value=0.5)
    result = index("pairs", tmp_path, "sentinel1=s1", "dsm=dem/")
    assert {sample.sample: sample.sensors for sample in result.manifest.samples} == {
        "a": ("sentinel1",),
        "b": ("sentinel1", "dsm"),
        "deep/c": ("dsm",),
    }
    assert result.combinations == {"sentinel1": 1, "sentinel1 + dsm": 1, "dsm": 1}


def test_pairs_placeholders(tmp_path: Path) -> None:
    tif(tmp_path / "train" / "rome" / "S1_x_7_old.tif", 2, value=-10)
    for band in ("B2", "B8A", "B11"):
        tif(tmp_path / "train" / "rome" / "s2" / f"7_{band}.tif", size=8 if band == "B2" else 4, value=2000)
    tif(tmp_path / "train" / "rome" / "s2" / "7_QA60.tif")
    tif(tmp_path / "test" / "oslo" / "S1_y_7_new.tif", 2, value=-10)
    result = index(
        "pairs", tmp_path, "sentinel1={split}/{scene}/S1_*_{id}_*.tif", "sentinel2={split}/{scene}/s2/{id}_{band}.tif"
    )
    assert {one.sample: (one.scene, one.split, one.sensors) for one in result.manifest.samples} == {
        "oslo/7": ("oslo", "test", ("sentinel1",)),
        "rome/7": ("rome", "train", ("sentinel1", "sentinel2")),
    }
    s2 = read(result, "rome/7")["sentinel2"]
    has_data = [band for band, image in zip(result.manifest.sensors["sentinel2"].band_names, s2, strict=True)
                if np.isfinite(image).all()]  # fmt: skip
    assert has_data == ["B02", "B8A", "B11"]


def test_pairs_tells_a_folder_in_an_image_place(tmp_path: Path) -> None:
    (tmp_path / "images" / "b.tif").mkdir(parents=True)
    with pytest.raises(InputError, match=r"b\.tif is a folder, but is named like an image"):
        index("pairs", tmp_path, "sentinel2=images/{id}.tif")


def test_pairs_bands_by_name_and_by_position_and_scenes_from_a_csv(tmp_path: Path) -> None:
    tif(tmp_path / "images" / "1.tif", 5)
    tif(tmp_path / "images" / "2.tif", 5)
    (tmp_path / "where.csv").write_text("patch,location\n1,left\n2,right\n99,elsewhere\n")
    result = index("pairs", tmp_path, "sentinel2:B04,B02=images/{id}.tif@5,1-1", scenes=Path("where.csv"))
    assert [sample.scene for sample in result.manifest.samples] == ["left", "right"]
    s2, sensor = read(result, "1")["sentinel2"], result.manifest.sensors["sentinel2"]
    assert s2[sensor.index_of("B04"), 0, 0] == pytest.approx((S2_DN + 4) * 1e-4)
    assert s2[sensor.index_of("B02"), 0, 0] == pytest.approx(S2_DN * 1e-4)
    (tmp_path / "where.csv").write_text("1,left\n")
    with pytest.raises(InputError, match=r"where\.csv has no scene for 1 samples, as 2"):
        index("pairs", tmp_path, "sentinel2:B04,B02=images@1-2", scenes=Path("where.csv"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rgb", "write CARD"),
        ("rgg=images", "did you mean 'rgb'"),
        ("rgb:R,X=images", "no band 'X'"),
        ("rgb:R,R=images", "named twice"),
        ("rgb=images@1-2", "picks 2 bands of the file for 3"),
        ("rgb=images@0-2", "counted from 1"),
        ("rgb={id}_{band}.tif@1-3", "nothing to pick"),
        ("rgb@=images", "a role is a word"),
    ],
)
def test_a_specification_that_cannot_be_read(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_spec(spec)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ((), "needs a --sensor"),
        (("rgb=nowhere",), "no folder below .* has no {id}"),
        (("rgb=nowhere/{id}.png",), "no file below"),
        (("rgb=rgb/{id}.{ext}",), "no placeholder {ext}"),
        (("rgb=[a]/{id}.png",), "no file below"),
        (("rgb=rgb/*{id}.*",), r"a\.png and .*a\.tif both give"),
        (("rgb=rgb/{id}.png", "dsm={scene}/{id}.tif"), r"all patterns have \{scene\}, or none"),
    ],
)
def test_patterns_that_do_not_fit_the_folders(tmp_path: Path, specs: tuple[str, ...], message: str) -> None:
    picture(tmp_path / "rgb" / "a.png")
    tif(tmp_path / "rgb" / "a.tif", 3)
    with pytest.raises(InputError, match=message):
        index("pairs", tmp_path, *specs)


# what is common to all


def test_bad_files_are_all_named_and_can_be_left_out(tmp_path: Path) -> None:
    for name in "abcde":
        tif(tmp_path / "s1" / f"{name}.tif", 2, value=-10, descriptions=("VV", "VH"))
        tif(tmp_path / "s2" / f"{name}.tif", 13)
    (tmp_path / "s1" / "a.tif").write_text("no")
    tif(tmp_path / "s2" / "b.tif", 12)
    tif(tmp_path / "s1" / "c.tif", 2, value=-10, descriptions=("VH", "VV"))
    tif(tmp_path / "s2" / "d.tif", 13, size=(8, 4))
    with pytest.raises(InputError, match="bad files: 4, --skip-bad allows 3") as caught:
        index("pairs", tmp_path, "sentinel1=s1", "sentinel2=s2", skip_bad=3)
    for message in (
        "s1/a.tif: truncated, or not an image",
        "s2/b.tif: has 12 bands, expected are the 13 of sensor sentinel2",
        "--sensor sentinel2:B01,...=PATTERN",
        "s1/c.tif: names its band 1 'VH', where VV was expected",
        "s2/d.tif: 8 x 4 pixels do not cover the same ground as",
    ):
        assert message in str(caught.value)
    result = index("pairs", tmp_path, "sentinel1=s1", "sentinel2=s2", skip_bad=4)
    assert names(result) == ["e"] and len(result.left_out) == 4


def test_a_bad_file_of_two_samples_takes_both_out_and_counts_once(tmp_path: Path) -> None:
    for name in ("1", "2"):
        tif(tmp_path / f"s1_{name}.tif", 2, value=-10)
    tif(tmp_path / "B2.tif", size=(8, 4), value=2000)  # of another shape than the other band
    listing = Listing(
        sensors={"sentinel2": load_sensor("sentinel2")},
        samples=[
            listed(name, name, {"sentinel2": [RasterFile(path=path, bands=(band,), file_bands=(1,))
                                              for path, band in (("s1_1.tif", "B03"), ("B2.tif", "B02"))]})
            for name in ("1", "2")
        ],
    )  # fmt: skip
    good, problems = check_headers(tmp_path, listing.samples, listing.sensors)
    assert good == [] and list(problems) == ["B2.tif"]


def test_a_pair_of_two_places_is_an_error(tmp_path: Path) -> None:
    for folder, east in (("s1", 0), ("s2", 80)):
        place = rasterio.Affine(10, 0, 500000 + east, 0, -10, 4600000)
        count, value = (2, -10) if folder == "s1" else (13, S2_DN)
        tif(tmp_path / folder / "a.tif", count, value=value, crs="EPSG:32631", transform=place)
    with pytest.raises(InputError, match=r"s2/a\.tif: its coordinates .*500080 .* are not those of .*s1/a\.tif"):
        index("pairs", tmp_path, "sentinel1=s1", "sentinel2=s2")


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for layout, more, message in (
        ("image-foldr", {}, "did you mean 'image-folder'"),
        ("image-folder", {"split": "training"}, "train, val or test"),
        ("image-folder", {"val_fraction": 20}, "from 0 to 1"),
        ("sen12ms", {}, "nothing found in layout sen12ms"),
        ("bigearthnet", {}, "no folder BigEarthNet-v1.0"),
        ("mdas", {}, "neither entire_city nor"),
    ):
        with pytest.raises(InputError, match=message):
            index(layout, tmp_path, **more)
    with pytest.raises(InputError, match="no folder"):
        index("image-folder", tmp_path / "gone")


def test_split_draw_depends_on_scene_and_seed_alone_and_has_the_share_asked_for() -> None:
    scenes = [f"scene{i}" for i in range(4000)]
    drawn = [draw_split(scene, 0.2, seed=1) for scene in scenes]
    share = drawn.count("val") / len(drawn)
    assert abs(share - 0.2) < 4 * (0.2 * 0.8 / 4000) ** 0.5
    assert drawn != [draw_split(scene, 0.2, seed=2) for scene in scenes]
    assert {draw_split(scene, 0, 1) for scene in scenes} == {"train"}
    assert {draw_split(scene, 1, 1) for scene in scenes} == {"val"}
    # Another process, another machine: the value itself is part of the interface.
    assert [draw_split(scene, 0.5, 0) for scene in scenes[:6]] == ["train", "train", "val", "val", "train", "val"]


def test_drawn_splits_keep_scenes_whole(tmp_path: Path) -> None:
    for i in range(12):
        for j in range(3):
            picture(tmp_path / f"place{i}" / f"{j}.png")
    result = index("pairs", tmp_path, "rgb={scene}/{id}.png", val_fraction=0.4, seed=3)
    by_scene = {}
    for sample in result.manifest.samples:
        by_scene.setdefault(sample.scene, set()).add(sample.split)
    assert all(len(splits) == 1 for splits in by_scene.values())
    assert set(result.splits) == {"train", "val"}


# the real pack

GREY = "name: {name}\nunit: '1'\nscale: 0.00392156862745098\nvalid_range: [0, 1]\nbands: [{bands}]\n"
HLS = ",".join(f"{{name: {name}}}" for name in ("B1", "B2", "B3", "B4", "B5", "B6", "B7"))
CARDS = {
    "ombria_s1": GREY.format(name="ombria_s1", bands="{name: VV}"),
    "ombria_s2": GREY.format(name="ombria_s2", bands="{name: B11}, {name: B08}, {name: B03}"),
    "hls": f"name: hls\nunit: reflectance\nscale: 0.0001\nvalid_range: [-0.2, 2]\nbands: [{HLS}]\n",
}
L2A = "B01,B02,B03,B04,B05,B06,B07,B08,B8A,B09,B11,B12"
HAND = "v1.1/data/flood_events/HandLabeled"
REAL = [
    ("image-folder", "UCMerced_LandUse", {}, {"rgb": 840}),
    ("image-folder", "EuroSAT/EuroSAT_RGB", {}, {"rgb": 2}),
    ("image-folder", "LEVIR-CD-256/A", {}, {"rgb": 8}),
    ("image-folder", "Dunes-RGB-Seg/images", {}, {"rgb": 10}),
    ("sen12ms", "SEN12MS-CR", {}, {"sentinel1 + sentinel2": 1, "sentinel1": 7}),
    ("bigearthnet", "BigEarthNet-v1", {}, {"sentinel1 + sentinel2_l2a": 4}),
    ("ssl4eo-s12", "SSL4EO-S12", {}, {"sentinel1 + sentinel2": 2}),
    ("ssl4eo-s12", "SSL4EO-S12", {"product": "s2a"}, {"sentinel1 + sentinel2_l2a": 2}),
    (
        "pairs",
        "TerraMesh",
        {"sensors": ("sentinel1=S1RTC", "sentinel2_l2a=S2L2A", "rgb=S2RGB", "dsm=DEM")},
        {"sentinel1 + sentinel2_l2a + rgb + dsm": 3},
    ),
    ("pairs", "TerraMesh", {"sensors": (f"sentinel2:{L2A}=S2L2A",)}, {"sentinel2": 3}),
    ("pairs", "TerraMesh", {"sensors": ("sentinel2=S2L1C",)}, {"sentinel2": 3}),
    (
        "pairs",
        "EuroSAT",
        {
            "sensors": (
                f"sentinel2:{L2A.replace('B8A,', '').replace('B11', 'B10,B11')},B8A=EuroSAT_MS",
                "rgb=EuroSAT_RGB",
            )
        },
        {"sentinel2 + rgb": 2},
    ),
    ("pairs", "RGB-DSM", {"sensors": ("rgb=tuniu_river_uav/rgb", "dsm=tuniu_river_uav/dsm")}, {"rgb + dsm": 6}),
    (
        "pairs",
        "Sen1Floods11",
        {"sensors": (f"sentinel1={HAND}/S1Hand/{{id}}_S1Hand.tif", f"sentinel2={HAND}/S2Hand/{{id}}_S2Hand.tif")},
        {"sentinel1 + sentinel2": 1},
    ),
    ("pairs", "Sen1Floods11-S1", {"sensors": (f"sentinel1={HAND}/S1Hand",)}, {"sentinel1": 6}),
    (
        "pairs",
        "OMBRIA",
        {
            "sensors": (
                "ombria_s1.yaml=OmbriaS1/{split}/BEFORE/S1_before_{id}.png",
                "ombria_s2.yaml=OmbriaS2/{split}/BEFORE/S2_before_{id}.png",
            )
        },
        {"ombria_s1 + ombria_s2": 175},
    ),
    (
        "pairs",
        "Optical-SAR-dataset",
        {"sensors": ("rgb=dataset/opt", "ombria_s1.yaml=dataset/sar")},
        {"rgb + ombria_s1": 36},
    ),
    (
        "pairs",
        "HLS-Water12",
        {"sensors": ("hls.yaml=images/{id}.tif@1-7", "dsm=images/{id}.tif@10"), "scenes": Path("locations.csv")},
        {"hls + dsm": 68},
    ),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("layout", "folder", "fields", "combinations"), REAL)
def test_real_folders(
    real_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    folder: str,
    fields: dict[str, object],
    combinations: dict[str, int],
) -> None:
    """All samples are found, and the first one's bands hold what rasterio reads from the files."""
    monkeypatch.chdir(tmp_path)
    for name, card in CARDS.items():
        Path(f"{name}.yaml").write_text(card)
    result = index_layout(layout, real_data / folder, LayoutOptions(**fields), val_fraction=0.2)  # type: ignore[arg-type]
    assert result.combinations == combinations
    assert result.left_out == ()
    write_manifest(result.manifest, tmp_path / "m.parquet")
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest == result.manifest
    sample = max(manifest.samples, key=lambda sample: len(sample.images))
    images = read_sample(manifest.root, sample, manifest.sensors)
    for image in sample.images:
        sensor, array = manifest.sensors[image.sensor], images[image.sensor]
        assert array.shape == (len(sensor.bands), *next(iter(images.values())).shape[1:])
        present = set()
        for file in image.files:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with rasterio.open(manifest.root / file.path) as source:
                    stored = source.read(list(file.file_bands)).astype(np.float64)
                    nodata = source.nodata
            for name, band in zip(file.bands, stored, strict=True):
                card = sensor.bands[sensor.index_of(name)]
                expected = np.where((band == card.nodata) | (band == nodata), np.nan, (band + card.offset) * card.scale)
                found = array[sensor.index_of(name)]
                present.add(name)
                if found.shape == expected.shape:
                    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
                else:  # a coarser band: blocks keep their mean about
                    assert np.nanmean(found) == pytest.approx(np.nanmean(expected), rel=0.01)
        for name in set(sensor.band_names) - present:
            assert np.isnan(array[sensor.index_of(name)]).all()


@pytest.mark.real_data
def test_real_scenes_of_hls_stay_together(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "hls.yaml").write_text(CARDS["hls"])
    spec = f"{tmp_path / 'hls.yaml'}=images/{{id}}.tif@1-7"
    root = real_data / "HLS-Water12"
    result = index("pairs", root, spec, scenes=root / "locations.csv", val_fraction=0.3)
    locations = dict(line.split(",") for line in (root / "locations.csv").read_text().split()[1:])
    assert {sample.sample: sample.scene for sample in result.manifest.samples} == locations
    val = {sample.scene for sample in result.manifest.samples if sample.split == "val"}
    assert 0 < len(val) < len(set(locations.values()))
    assert not val & {sample.scene for sample in result.manifest.samples if sample.split == "train"}


@pytest.mark.real_data
def test_real_statistics_are_those_of_the_files(real_data: Path) -> None:
    found = measure(index("bigearthnet", real_data / "BigEarthNet-v1").manifest, split="all").sensors
    for sensor, band, scale in (("sentinel2_l2a", "B04", 1e-4), ("sentinel1", "VV", 1)):
        files = sorted((real_data / "BigEarthNet-v1").rglob(f"*_{band}.tif"))
        pixels = np.stack([rasterio.open(path).read(1).astype(np.float64) * scale for path in files])
        one = found[sensor].bands[band]
        if sensor == "sentinel1":
            pixels = pixels.clip(-30, 5)
        np.testing.assert_allclose((one.mean, one.std), (pixels.mean(), pixels.std()), rtol=1e-6)
        assert one.valid_share == 1 and len(files) == 4


@pytest.mark.real_data
def test_real_bands_without_names_need_them(real_data: Path) -> None:
    with pytest.raises(InputError, match=r"bad files: 3, .*\n.*S2L2A.*has 12 bands, expected are the 13"):
        index("pairs", real_data / "TerraMesh", "sentinel2=S2L2A")


def test_every_layout_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    assert [layout for layout in LAYOUTS if f"`{layout}`" not in text] == []
