"""Layouts on small copies of each data set's folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from even_images import S2_DN, index, names, picture, read, tif
from layout_trees import image_of

from msgfm.data.layouts import LAYOUTS
from msgfm.data.masks import read_mask
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff

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


def test_every_layout_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    assert [layout for layout in LAYOUTS if f"`{layout}`" not in text] == []
