"""UC Merced, EuroSAT, Million-AID and GeoPile in small copies of their folders, and on the real ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from layout_trees import index, picture, read, samples, splits, tif

from msgfm.errors import InputError


@pytest.mark.parametrize("below", ["", "UCMerced_LandUse"])
def test_ucmerced_classes_are_folders_and_lists_make_the_splits(tmp_path: Path, below: str) -> None:
    pixels = {
        name: picture(tmp_path / below / "Images" / name[:-2] / f"{name}.tif")
        for name in ("airplane00", "airplane01", "beach00", "beach01")
    }
    for split, name in (("train", "airplane00"), ("val", "beach01"), ("test", "beach00")):
        (tmp_path / f"uc_merced-{split}.txt").write_text(f"{name}.tif\n")
    result = index("ucmerced", tmp_path)
    assert splits(result) == {"airplane00": "train", "beach01": "val", "beach00": "test"}  # airplane01 is in no list
    assert result.manifest.classes == ("airplane", "beach") and result.labels == {"airplane": 1, "beach": 2}
    assert samples(result)["beach01"].labels == ("beach",)
    np.testing.assert_allclose(
        read(result, "beach01")["rgb"], pixels["beach01"].transpose(2, 0, 1) / np.float32(255), rtol=1e-6
    )


def test_an_image_in_two_lists_is_an_error(tmp_path: Path) -> None:
    picture(tmp_path / "Images" / "beach" / "beach00.tif")
    for split in ("train", "test"):
        (tmp_path / f"uc_merced-{split}.txt").write_text("beach00.tif\n")
    with pytest.raises(InputError, match=r"uc_merced-test\.txt: beach00\.tif is in the list of train, too"):
        index("ucmerced", tmp_path)


def test_eurosat_knows_that_b8a_comes_last_and_joins_the_picture(tmp_path: Path) -> None:
    bands = tif(tmp_path / "EuroSAT_MS" / "River" / "River_7.tif", 13, 8, 8)
    picture(tmp_path / "EuroSAT_RGB" / "River" / "River_7.jpg")
    picture(tmp_path / "EuroSAT_RGB" / "Forest" / "Forest_1.jpg")
    (tmp_path / "eurosat-train.txt").write_text("Forest_1.jpg\n")
    (tmp_path / "eurosat-test.txt").write_text("River_7.jpg\n")
    result = index("eurosat", tmp_path)
    assert splits(result) == {"Forest_1": "train", "River_7": "test"}
    assert samples(result)["River_7"].sensors == ("sentinel2", "rgb")
    assert (samples(result)["River_7"].labels, result.manifest.classes) == (("River",), ("Forest", "River"))
    sensor, image = result.manifest.sensors["sentinel2"], read(result, "River_7")["sentinel2"]
    np.testing.assert_allclose(image[sensor.index_of("B8A")], bands[12] * 1e-4, rtol=1e-6)
    np.testing.assert_allclose(image[sensor.index_of("B09")], bands[8] * 1e-4, rtol=1e-6)


def test_eurosat_needs_one_of_its_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the folders EuroSAT_MS"):
        index("eurosat", tmp_path)


def test_millionaid_labels_are_all_of_its_folders(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "agriculture_land" / "arable_land" / "dry_field" / "P1.jpg")
    picture(tmp_path / "train" / "water_area" / "beach" / "P2.jpg")
    picture(tmp_path / "test" / "P3.jpg")
    result = index("millionaid", tmp_path)
    labels = {name: sample.labels for name, sample in samples(result).items()}
    assert labels == {
        "test/P3": (),
        "train/agriculture_land/arable_land/dry_field/P1": ("agriculture_land", "arable_land", "dry_field"),
        "train/water_area/beach/P2": ("water_area", "beach"),
    }
    assert result.splits == {"train": 2, "test": 1}
    assert result.manifest.classes == ("agriculture_land", "arable_land", "beach", "dry_field", "water_area")
    assert index("millionaid", tmp_path, split="train").splits == {"train": 3}


def test_geopile_takes_what_lies_in_its_folder(tmp_path: Path) -> None:
    picture(tmp_path / "GeoPileV0" / "a" / "b" / "1.png")
    picture(tmp_path / "GeoPileV0" / "c" / "2.jpg")
    picture(tmp_path / "figure.png")
    assert sorted(samples(index("geopile", tmp_path))) == ["GeoPileV0/a/b/1.png", "GeoPileV0/c/2.jpg"]
    assert sorted(samples(index("geopile", tmp_path / "GeoPileV0"))) == ["a/b/1.png", "c/2.jpg"]


@pytest.mark.real_data
def test_real_ucmerced(real_data: Path) -> None:
    result = index("ucmerced", real_data / "UCMerced_LandUse")
    assert result.splits == {"train": 21 * 24, "val": 21 * 8, "test": 21 * 8}
    assert len(result.labels) == 21 and set(result.labels.values()) == {40}
    drawn = index("ucmerced", real_data / "UCMerced_LandUse", fraction=0.25, seed=1)
    train = Counter(one.labels[0] for one in drawn.manifest.samples if one.split == "train")
    assert set(train.values()) == {6} and len(train) == 21
    assert drawn.splits["test"] == result.splits["test"]


@pytest.mark.real_data
def test_real_eurosat(real_data: Path) -> None:
    result = index("eurosat", real_data / "EuroSAT")
    assert result.combinations == {"sentinel2 + rgb": 2}
    image = read(result, "Pasture_300")["sentinel2"]
    sensor = result.manifest.sensors["sentinel2"]
    near, water_vapour = (image[sensor.index_of(band)].mean() for band in ("B8A", "B09"))
    assert near > 2 * water_vapour  # grass is bright at 865 nm, and water vapour takes most of 945 nm
