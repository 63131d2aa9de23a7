"""Vaihingen, Potsdam, WHU buildings, Sen1Floods11 and TerraMesh in small copies of their folders, and on real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layout_trees import RNG, decibels, index, mask, picture, read, read_labels, samples, splits, tif
from PIL import Image as Picture

from msgfm.errors import InputError

COLOURS = [(255, 0, 0), (255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0)]


def truth(path: Path, size: int = 8) -> np.ndarray:
    """A picture in the contest's colours; gives the class numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    classes = RNG.integers(0, 6, (size, size))
    Picture.fromarray(np.array(COLOURS, np.uint8)[classes]).save(path)
    return classes


def vaihingen(root: Path, labels: str = "") -> tuple[np.ndarray, np.ndarray]:
    for tile in (1, 2, 37):
        last = picture(root / "top" / f"top_mosaic_09cm_area{tile}.tif")
        tif(root / "dsm" / f"dsm_09cm_matching_area{tile}.tif", 1, 8, 8, low=240, high=320, dtype="float32")
        classes = truth(root / labels / f"top_mosaic_09cm_area{tile}.tif")
    return last, classes


@pytest.mark.parametrize("labels", ["", "gts_for_participants"])
def test_vaihingen(tmp_path: Path, labels: str) -> None:
    pixels, classes = vaihingen(tmp_path, labels)
    (tmp_path / "dsm" / "dsm_09cm_matching_area2.tif").unlink()
    result = index("vaihingen", tmp_path)
    assert splits(result) == {"area1": "train", "area2": "test", "area37": "train"}
    assert result.combinations == {"irrg + dsm": 2, "irrg": 1}
    np.testing.assert_array_equal(read_labels(result, "area37"), classes)
    assert result.manifest.mask_classes[5] == "car"
    np.testing.assert_allclose(read(result, "area37")["irrg"], pixels.transpose(2, 0, 1) / np.float32(255), rtol=1e-6)
    as_rgb = index("vaihingen", tmp_path, "rgb")
    np.testing.assert_array_equal(read(as_rgb, "area37")["rgb"], read(result, "area37")["irrg"])
    with pytest.raises(InputError, match="a card named 'sentinel1' has no place"):
        index("vaihingen", tmp_path, "sentinel1")


def test_the_contests_splits_are_torchgeos() -> None:
    torchgeo = pytest.importorskip("torchgeo.datasets")
    from msgfm.data.layouts.isprs import _POTSDAM_TEST, _VAIHINGEN_TEST

    assert {f"top_mosaic_09cm_area{tile}.tif" for tile in _VAIHINGEN_TEST} == set(torchgeo.Vaihingen2D.splits["test"])
    assert {f"top_potsdam_{tile}" for tile in _POTSDAM_TEST} == set(torchgeo.Potsdam2D.splits["test"])


def test_potsdam_has_four_bands_of_which_a_card_may_take_three(tmp_path: Path) -> None:
    pixels = tif(tmp_path / "4_Ortho_RGBIR" / "top_potsdam_2_10_RGBIR.tif", 4, 8, 8, high=255, dtype="uint8")
    tif(tmp_path / "4_Ortho_RGBIR" / "top_potsdam_7_13_RGBIR.tif", 4, 8, 8, high=255, dtype="uint8")
    tif(tmp_path / "1_DSM" / "dsm_potsdam_02_10.tif", 1, 8, 8, low=30, high=60, dtype="float32")
    classes = truth(tmp_path / "5_Labels_all" / "top_potsdam_2_10_label.tif")
    result = index("potsdam", tmp_path)
    assert splits(result) == {"2_10": "train", "7_13": "test"}
    assert result.combinations == {"rgbir + dsm": 1, "rgbir": 1}
    np.testing.assert_allclose(read(result, "2_10")["rgbir"], pixels / np.float32(255), rtol=1e-6)
    np.testing.assert_array_equal(read_labels(result, "2_10"), classes)
    for card, order in (("rgb", [0, 1, 2]), ("irrg", [3, 0, 1])):
        found = read(index("potsdam", tmp_path, card), "2_10")[card]
        np.testing.assert_allclose(found, pixels[order] / np.float32(255), rtol=1e-6)


def test_potsdam_from_its_three_band_orthophotos(tmp_path: Path) -> None:
    pixels = tif(tmp_path / "3_Ortho_IRRG" / "top_potsdam_2_10_IRRG.tif", 3, 8, 8, high=255, dtype="uint8")
    found = read(index("potsdam", tmp_path, "irrg"), "2_10")["irrg"]
    np.testing.assert_allclose(found, pixels / np.float32(255), rtol=1e-6)


def test_whu_buildings(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for n in (0, 1):
            picture(tmp_path / split / "image" / f"{n}.tif")
            labels = mask(tmp_path / split / "label" / f"{n}.tif")
    result = index("whu-buildings", tmp_path)
    assert result.splits == {"train": 2, "val": 2, "test": 2}
    np.testing.assert_array_equal(read_labels(result, "test/1"), labels)
    assert result.manifest.mask_classes == {0: "background", 1: "building", 255: "building"}
    with pytest.raises(InputError, match="no folder train/image"):
        index("whu-buildings", tmp_path / "train")


HAND = "data/flood_events/HandLabeled"


def sen1floods11(root: Path) -> None:
    for chip in ("Spain_1", "Spain_2", "Ghana_7", "Bolivia_9"):
        decibels(root / HAND / "S1Hand" / f"{chip}_S1Hand.tif")
        tif(root / HAND / "S2Hand" / f"{chip}_S2Hand.tif", 13, 8, 8, dtype="int16")
        tif(root / HAND / "LabelHand" / f"{chip}_LabelHand.tif", 1, 8, 8, low=-1.99, high=1.99, dtype="int16")


@pytest.mark.parametrize("below", ["", "v1.1"])
def test_sen1floods11(tmp_path: Path, below: str) -> None:
    base = tmp_path / below
    sen1floods11(base)
    assert index("sen1floods11", tmp_path).splits == {"train": 4}
    lists = base / "splits" / "flood_handlabeled"
    lists.mkdir(parents=True)
    for name, chip in (("train", "Spain_1"), ("valid", "Ghana_7"), ("bolivia", "Bolivia_9")):
        (lists / f"flood_{name}_data.csv").write_text(f"{chip}_S1Hand.tif,{chip}_LabelHand.tif\n")
    result = index("sen1floods11", tmp_path)
    assert splits(result) == {"Spain_1": "train", "Ghana_7": "val", "Bolivia_9": "test_bolivia"}  # Spain_2 is in none
    assert samples(result)["Spain_1"].scene == "Spain"
    labels = read_labels(result, "Spain_1")
    assert set(labels.flat) <= {-1, 0, 1} and result.manifest.mask_classes[1] == "water"
    assert result.combinations == {"sentinel1 + sentinel2": 3}


def terramesh(root: Path, tile: str) -> None:
    decibels(root / "S1RTC" / f"{tile}.tif")
    tif(root / "S2L1C" / f"{tile}.tif", 13, 8, 8, dtype="int16")
    tif(root / "S2L2A" / f"{tile}.tif", 12, 8, 8, dtype="int16")
    picture(root / "S2RGB" / f"{tile}.tif")
    tif(root / "DEM" / f"{tile}.tif", 1, 8, 8, dtype="int16")
    mask(root / "LULC" / f"{tile}.tif", values=(0, 1, 9))


def test_terramesh(tmp_path: Path) -> None:
    terramesh(tmp_path / "train", "a")
    terramesh(tmp_path / "val", "a")
    terramesh(tmp_path / "val", "b")
    (tmp_path / "val" / "S1RTC" / "b.tif").rename(tmp_path / "val" / "S1RTC" / "c.tif")
    result = index("terramesh", tmp_path)
    assert splits(result) == {"train/a": "train", "val/a": "val", "val/b": "val", "val/c": "val"}
    assert samples(result)["train/a"].sensors == ("sentinel1", "sentinel2", "sentinel2_l2a", "rgb", "dsm")
    assert samples(result)["val/c"].sensors == ("sentinel1",) and samples(result)["val/c"].mask is None
    assert set(read_labels(result, "val/b").flat) == {0, 1, 9}
    assert 0 not in result.manifest.mask_classes  # no data
    assert splits(index("terramesh", tmp_path / "train")) == {"a": "train"}


def test_terramesh_says_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "train" / "S1GRD").mkdir(parents=True)
    shard = tmp_path / "train" / "S1GRD" / "majortom_shard_000001.tar"
    for packed in (shard, shard.with_name("ssl4eos12_train_seasonal_data_000001.zarr.zip")):
        packed.touch()
        message = rf"{packed}: .*shards \(\.tar\).*msgfm reads GeoTIFFs.*\[{{train,val}}/\]MODALITY/TILE\.tif"
        for root in (tmp_path, tmp_path / "train", packed.parent):
            with pytest.raises(InputError, match=message):
                index("terramesh", root)
        packed.unlink()


@pytest.mark.real_data
def test_real_terramesh(real_data: Path) -> None:
    result = index("terramesh", real_data / "TerraMesh")
    assert result.combinations == {"sentinel1 + sentinel2 + sentinel2_l2a + rgb + dsm": 3}
    snow = read_labels(result, "609U_541L_3_0")
    assert set(snow.flat) == {7} and result.manifest.mask_classes[7] == "snow/ice"


@pytest.mark.real_data
def test_real_floods(real_data: Path) -> None:
    result = index("sen1floods11", real_data / "Sen1Floods11")
    labels, images = read_labels(result, "Spain_7370579"), read(result, "Spain_7370579")
    assert labels.shape == (512, 512) and set(labels.flat) <= {-1, 0, 1}
    sensor = result.manifest.sensors["sentinel2"]
    near = images["sentinel2"][sensor.index_of("B08")]
    assert near[labels == 1].mean() < 0.7 * near[labels == 0].mean()  # water is dark in the near infrared
    radar_only = index("sen1floods11", real_data / "Sen1Floods11-S1")
    assert radar_only.combinations == {"sentinel1": 6}
    backscatter = [
        (one, read(radar_only, name)["sentinel1"][0], read_labels(radar_only, name))
        for name, one in samples(radar_only).items()
    ]
    darker = [np.nanmean(vv[labels == 1]) < np.nanmean(vv[labels == 0]) for _, vv, labels in backscatter]
    assert sum(darker) >= 5
