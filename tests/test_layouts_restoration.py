"""SEN12MS-CR (cloud removal) and SpaceNet 2 (pan-sharpening) in small copies of their folders, and on real ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from layout_trees import decibels, index, read, samples, splits, tif

from msgfm.data.layouts.sen12ms_cr import SPLITS
from msgfm.data.reader import read_sensor_image


def triplet(root: Path, roi: str, scene: int, patch: int, kinds: tuple[str, ...] = ("s1", "s2", "s2_cloudy")) -> None:
    for kind in kinds:
        path = root / f"{roi}_{kind}" / f"{kind}_{scene}" / f"{roi}_{kind}_{scene}_p{patch}.tif"
        if kind == "s1":
            decibels(path)
        else:
            tif(path, 13, 8, 8, low=5000 if kind == "s2_cloudy" else 100, high=9000 if kind == "s2_cloudy" else 3000)


def test_sen12ms_cr_joins_triplets_and_splits_by_region(tmp_path: Path) -> None:
    triplet(tmp_path, "ROIs1158_spring", 106, 1)
    triplet(tmp_path, "ROIs1868_summer", 106, 1)  # the same number in another season is another region
    triplet(tmp_path, "ROIs2017_winter", 22, 4, ("s1", "s2_cloudy"))
    result = index("sen12ms-cr", tmp_path)
    assert splits(result) == {
        "ROIs1158_spring_106_p1": "test",
        "ROIs1868_summer_106_p1": "train",
        "ROIs2017_winter_22_p4": "val",
    }
    whole = samples(result)["ROIs1158_spring_106_p1"]
    assert [image.key for image in whole.images] == ["sentinel1", "sentinel2", "sentinel2@cloudy"]
    assert [image.key for image in samples(result)["ROIs2017_winter_22_p4"].images] == ["sentinel1", "sentinel2@cloudy"]
    assert result.combinations == {
        "sentinel1 + sentinel2 + sentinel2@cloudy": 2,
        "sentinel1 + sentinel2@cloudy": 1,
    }
    images = read(result, "ROIs1158_spring_106_p1")
    assert images["sentinel2@cloudy"].min() >= 0.5 > 0.3 >= images["sentinel2"].max()
    # clear images alone, as for pretraining
    assert index("sen12ms", tmp_path).combinations == {"sentinel1 + sentinel2": 2, "sentinel1": 1}


def test_sen12ms_cr_holds_ten_regions_out_for_each() -> None:
    assert Counter(SPLITS.values()) == {"val": 10, "test": 10}


def spacenet2(root: Path) -> dict[str, np.ndarray]:
    """Both ways of naming folders, and chips of one city in two parts."""
    written = {}
    for area, number in (
        ("SN2_buildings/train/AOI_2_Vegas", 9),
        ("SN2_buildings/train/AOI_2_Vegas", 10),
        ("AOI_5_Khartoum_Test_public", 9),
    ):
        city = "_".join(Path(area).name.split("_")[:3])
        for product, bands, size in (("MUL", 8, 4), ("PAN", 1, 16), ("MUL-PanSharpen", 8, 16)):
            path = root / area / product / f"{product}_{city}_img{number}.tif"
            written[f"{area}/{number}/{product}"] = tif(path, bands, size, size, high=2000)
    return written


def test_spacenet2_keeps_the_two_grids_apart(tmp_path: Path) -> None:
    written = spacenet2(tmp_path)
    result = index("spacenet2", tmp_path)
    vegas = "SN2_buildings/train/AOI_2_Vegas"
    assert splits(result) == {
        f"{vegas}/img9": "train",
        f"{vegas}/img10": "train",
        "AOI_5_Khartoum_Test_public/img9": "test",
    }
    sample, sensors = samples(result)[f"{vegas}/img10"], result.manifest.sensors
    shapes = {image.key: (image.height, image.width) for image in sample.images}
    assert shapes == {"worldview3": (4, 4), "worldview3_pan": (16, 16), "worldview3@pansharpened": (16, 16)}
    for product, image in zip(("MUL", "PAN", "MUL-PanSharpen"), sample.images, strict=True):
        found = read_sensor_image(tmp_path, image, sensors[image.sensor])
        np.testing.assert_array_equal(found, written[f"{vegas}/10/{product}"].astype(np.float32))


@pytest.mark.real_data
def test_real_sen12ms_cr(real_data: Path) -> None:
    result = index("sen12ms-cr", real_data / "SEN12MS-CR")
    keys = {name: [image.key for image in sample.images] for name, sample in samples(result).items()}
    assert keys["ROIs1970_fall_139_p839"] == ["sentinel1", "sentinel2", "sentinel2@cloudy"]
    assert keys["ROIs1868_summer_19_p30"] == ["sentinel1", "sentinel2@cloudy"]
    assert result.splits == {"train": 6, "val": 1, "test": 1}
    images = read(result, "ROIs1970_fall_139_p839")
    blue = result.manifest.sensors["sentinel2"].index_of("B02")
    assert images["sentinel2@cloudy"][blue].mean() > 1.5 * images["sentinel2"][blue].mean()
