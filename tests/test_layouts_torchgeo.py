"""Our reading of data sets against TorchGeo's, on the same files: pixels, labels and splits.

The files are small copies in the native structure that both take; TorchGeo neither downloads nor checks sums.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from layout_trees import RNG, decibels, image_of, index, mask, picture, read, read_labels, samples, tif
from PIL import Image as Picture

from msgfm.data.layouts import IndexResult, LayoutOptions, index_layout

datasets = pytest.importorskip("torchgeo.datasets")

L1C = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
L2A = tuple(band for band in L1C if band != "B10")
SPLITS = ("train", "val", "test")


def same(ours: np.ndarray, theirs: object, scale: float = 1e-4) -> None:
    """Our physical values and TorchGeo's stored ones."""
    np.testing.assert_allclose(ours, np.asarray(theirs, np.float64) * scale, rtol=1e-5, atol=1e-7)


def test_eurosat(tmp_path: Path) -> None:
    folder = tmp_path / datasets.EuroSAT.base_dir
    for name in (f"{kind}_{n}" for kind in ("AnnualCrop", "Forest", "River") for n in range(4)):
        tif(folder / name.partition("_")[0] / f"{name}.tif", 13, 64, 64)
    for n, split in enumerate(SPLITS):  # the fourth of each class is in no list
        names = (f"{kind}_{(n + i) % 3}.jpg\n" for i, kind in enumerate(("AnnualCrop", "Forest", "River")))
        (tmp_path / f"eurosat-{split}.txt").write_text("".join(names))
    result = index("eurosat", tmp_path)
    for split in SPLITS:
        reference = datasets.EuroSAT(tmp_path, split, bands=L1C)
        compare_scenes(result, split, reference, "sentinel2", 1e-4)


def test_ucmerced(tmp_path: Path) -> None:
    for name in (f"{kind}{n:02}" for kind in ("beach", "forest") for n in range(3)):
        picture(tmp_path / "UCMerced_LandUse" / "Images" / name[:-2] / f"{name}.tif", 256)
    for n, split in enumerate(SPLITS):
        (tmp_path / f"uc_merced-{split}.txt").write_text(f"beach{n:02}.tif\nforest{(n + 1) % 3:02}.tif\n")
    result = index("ucmerced", tmp_path)
    for split in SPLITS:
        compare_scenes(result, split, datasets.UCMerced(tmp_path, split), "rgb", 1 / 255)


def compare_scenes(result: IndexResult, split: str, reference: Any, sensor: str, scale: float) -> None:
    """Data sets with a folder per class."""
    ours = {one.sample for one in result.manifest.samples if one.split == split}
    assert ours == {Path(path).stem for path, _ in reference.imgs}
    for i, (path, _) in enumerate(reference.imgs):
        one, sample = samples(result)[Path(path).stem], reference[i]
        same(read(result, one.sample)[sensor], sample["image"], scale)
        assert one.labels == (reference.classes[int(sample["label"])],)


@pytest.mark.parametrize("task", ["multi-label", "multi-class"])
def test_millionaid(tmp_path: Path, task: str) -> None:
    for split in ("train", "test"):
        for name in ("agriculture_land/arable_land/dry_field/P1", "water_area/beach/P2", "water_area/lake/P3"):
            picture(tmp_path / split / f"{name}.jpg")
    result = index("millionaid", tmp_path)
    for split in ("train", "test"):
        reference = datasets.MillionAID(tmp_path, task, split)
        assert len(reference) == result.splits[split] == 3
        for file, sample in zip(reference.files, reference, strict=False):
            one = samples(result)[Path(file["image"]).relative_to(tmp_path).with_suffix("").as_posix()]
            theirs = tuple(reference.classes[i] for i in sample["label"])
            assert (one.labels if task == "multi-label" else one.labels[-1:]) == theirs
            # one libjpeg and another round differently
            theirs_rgb = np.asarray(sample["image"], np.float64) / 255
            np.testing.assert_allclose(read(result, one.sample)["rgb"], theirs_rgb, atol=2.1 / 255)
    if task == "multi-label":
        assert result.manifest.classes == tuple(datasets.MillionAID(tmp_path, task).classes)


def bigearthnet_patch(folder: Path, bands: tuple[str, ...]) -> None:
    for band in bands:
        path = folder / f"{folder.name}_{band}.tif"
        if band in ("VV", "VH"):  # whole numbers: TorchGeo reads them as integers
            tif(path, 1, 120, 120, low=-24, high=-2, dtype="int16")
            continue
        tif(path, 1, *(20 if band in ("B01", "B09") else 120 if band in ("B02", "B03", "B04", "B08") else 60,) * 2)


def test_bigearthnet(tmp_path: Path) -> None:
    rows = {
        "train": ("S2A_X_1_1", "S1A_X_1", ["Vineyards", "Salt marshes", "Airports"]),
        "val": ("S2A_X_1_2", "S1A_X_2", ["Sea and ocean"]),
        "test": ("S2B_Y_3_4", "S1B_X_3", ["Pastures", "Mixed forest", "Peatbogs", "Inland marshes"]),
    }
    for split, (s2, s1, labels) in rows.items():
        (tmp_path / f"bigearthnet-{split}.csv").write_text(f"{s2},{s1}\n")
        for folder, name, bands in (("BigEarthNet-v1.0", s2, L2A), ("BigEarthNet-S1-v1.0", s1, ("VV", "VH"))):
            bigearthnet_patch(tmp_path / folder / name, bands)
            text = json.dumps({"labels": labels, "corresponding_s2_patch": s2})
            (tmp_path / folder / name / f"{name}_labels_metadata.json").write_text(text)
    result = index("bigearthnet", tmp_path)
    compare_bigearthnet(result, {split: datasets.BigEarthNet(tmp_path, split) for split in SPLITS}, rows)


def compare_bigearthnet(result: IndexResult, references: dict[str, Any], rows: dict[str, tuple[str, ...]]) -> None:
    """Whole images where a band lies on the 10 m grid; coarser bands are resampled in another way, so by their mean."""
    for split, reference in references.items():
        (sample,) = [reference[0]]
        one = samples(result)[rows[split][0]]
        assert one.split == split
        assert one.labels == tuple(
            name for name, on in zip(result.manifest.classes, sample["label"], strict=True) if on
        )
        images = read(result, one.sample)
        theirs = sample["image"] if "image" in sample else np.concatenate([sample["image_s1"], sample["image_s2"]])
        theirs = np.asarray(theirs)
        same(images["sentinel1"], theirs[[1, 0]], 1)  # theirs are in the order of the files' names: VH, VV
        for i, band in enumerate(L2A):
            ours = images["sentinel2_l2a"][i]
            if band in ("B02", "B03", "B04", "B08"):
                same(ours, theirs[2 + i])
            else:
                assert ours.mean() == pytest.approx(theirs[2 + i].mean() * 1e-4, rel=0.01)


def test_bigearthnet_v2(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = {}
    table = []
    for i, (split, labels) in enumerate(
        zip(SPLITS, (["Pastures"], ["Mixed forest", "Arable land"], ["Marine waters"]), strict=True)
    ):
        s2 = f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{i}_57"
        s1 = f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{i}_57"
        rows[split] = (s2, s1)
        bigearthnet_patch(tmp_path / "BigEarthNet-S2" / s2.rsplit("_", 2)[0] / s2, L2A)
        bigearthnet_patch(tmp_path / "BigEarthNet-S1" / s1.rsplit("_", 3)[0] / s1, ("VV", "VH"))
        path = tmp_path / "Reference_Maps" / s2.rsplit("_", 2)[0] / s2 / f"{s2}_reference_map.tif"
        tif(path, 1, 120, 120, low=311, high=314)
        table.append(
            {"patch_id": s2, "s1_name": s1, "split": {"val": "validation"}.get(split, split), "labels": labels}
        )
    pandas.DataFrame(table).to_parquet(tmp_path / "metadata.parquet")
    result = index("bigearthnet-v2", tmp_path)
    references = {split: datasets.BigEarthNetV2(tmp_path, split) for split in SPLITS}
    compare_bigearthnet(result, references, rows)
    for split, reference in references.items():
        codes = read_labels(result, rows[split][0])
        classes = [result.manifest.classes.index(result.manifest.mask_classes[code]) for code in codes.flat]
        np.testing.assert_array_equal(np.reshape(classes, codes.shape), reference[0]["mask"][0])


def test_sen12ms(tmp_path: Path) -> None:
    for roi in ("ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall", "ROIs2017_winter"):
        (tmp_path / roi).mkdir()  # what TorchGeo looks for
    for patch in (30, 31):
        for kind in ("s1", "s2", "lc"):
            path = tmp_path / "ROIs1158_spring" / f"{kind}_1" / f"ROIs1158_spring_{kind}_1_p{patch}.tif"
            if kind == "s1":
                decibels(path)
            else:
                tif(path, *((13 if kind == "s2" else 4), 8, 8), low=1, high=18 if kind == "lc" else 3000)
    (tmp_path / "train_list.txt").write_text("ROIs1158_spring_s1_1_p30.tif\n")
    (tmp_path / "test_list.txt").write_text("ROIs1158_spring_s1_1_p31.tif\n")
    result = index("sen12ms", tmp_path)
    for split, patch in (("train", 30), ("test", 31)):
        theirs = datasets.SEN12MS(tmp_path, split)[0]
        one = samples(result)[f"ROIs1158_spring_1_p{patch}"]
        images = read(result, one.sample)
        assert one.split == split
        same(images["sentinel1"], theirs["image"][:2], 1)
        same(images["sentinel2"], theirs["image"][2:])
        np.testing.assert_array_equal(read_labels(result, one.sample), theirs["mask"])


def test_oscd(tmp_path: Path) -> None:
    onera = "Onera Satellite Change Detection dataset - "
    for city, split in (("abudhabi", "Train"), ("beirut", "Test")):
        for n in (1, 2):
            for band in L1C:
                tif(tmp_path / f"{onera}Images" / city / f"imgs_{n}_rect" / f"{band}.tif", 1, 6, 9)
        (tmp_path / f"{onera}Images" / city / "dates.txt").write_text("date_1: 20160101\ndate_2: 20180101\n")
        mask(tmp_path / f"{onera}{split} Labels" / city / "cm" / "cm.png", (6, 9))
    result = index("oscd", tmp_path)
    for city, split in (("abudhabi", "train"), ("beirut", "test")):
        theirs = datasets.OSCD(tmp_path, split)[0]
        images = read(result, city)
        assert samples(result)[city].split == split
        same(images["sentinel2@before"], theirs["image"][0])
        same(images["sentinel2@after"], theirs["image"][1])
        np.testing.assert_array_equal(read_labels(result, city) == 255, np.asarray(theirs["mask"][0]) == 1)


def compare_levir(root: Path, reference: Any, split: str) -> None:
    result = index("levir-cd", root)
    ours = [one for one in result.manifest.samples if one.split == split]
    assert len(ours) == len(reference)
    for file, theirs in zip(reference.files, reference, strict=False):
        (one,) = [one for one in ours if image_of(one, "rgb@before").files[0].path.endswith(Path(file["image1"]).name)]
        images = read(result, one.sample)
        same(images["rgb@before"], theirs["image"][0], 1 / 255)
        same(images["rgb@after"], theirs["image"][1], 1 / 255)
        np.testing.assert_array_equal(read_labels(result, one.sample) == 255, np.asarray(theirs["mask"][0]) == 1)


def test_levir_cd(tmp_path: Path) -> None:
    plus = tmp_path / "LEVIR-CD+"
    for split in ("train", "test"):
        for n in (1, 2):
            for folder, name in ((tmp_path, f"{split}_{n}"), (plus / split, f"{n}")):
                picture(folder / "A" / f"{name}.png")
                picture(folder / "B" / f"{name}.png")
                mask(folder / "label" / f"{name}.png")
    for split in ("train", "test"):
        compare_levir(tmp_path, datasets.LEVIRCD(tmp_path, split), split)
        compare_levir(plus, datasets.LEVIRCDPlus(tmp_path, split), split)


def contest_truth(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.array(datasets.Vaihingen2D.colormap, np.uint8)
    Picture.fromarray(colours[RNG.integers(0, 6, (8, 8))]).save(path)


def test_vaihingen(tmp_path: Path) -> None:
    for tile in (1, 6, 37):
        picture(tmp_path / "top" / f"top_mosaic_09cm_area{tile}.tif")
        contest_truth(tmp_path / f"top_mosaic_09cm_area{tile}.tif")
    result = index("vaihingen", tmp_path)
    for split in ("train", "test"):
        reference = datasets.Vaihingen2D(tmp_path, split)
        assert len(reference) == result.splits[split]
        for file, theirs in zip(reference.files, reference, strict=False):
            name = Path(file["image"]).stem.removeprefix("top_mosaic_09cm_")
            assert samples(result)[name].split == split
            same(read(result, name)["irrg"], theirs["image"], 1 / 255)
            np.testing.assert_array_equal(read_labels(result, name), theirs["mask"])


def test_potsdam(tmp_path: Path) -> None:
    for tile in ("2_10", "2_13"):
        tif(tmp_path / "4_Ortho_RGBIR" / f"top_potsdam_{tile}_RGBIR.tif", 4, 8, 8, high=255, dtype="uint8")
        contest_truth(tmp_path / f"top_potsdam_{tile}_label.tif")
    result = index("potsdam", tmp_path)
    for split, name in (("train", "2_10"), ("test", "2_13")):
        theirs = datasets.Potsdam2D(tmp_path, split)[0]
        assert samples(result)[name].split == split
        same(read(result, name)["rgbir"], theirs["image"], 1 / 255)
        np.testing.assert_array_equal(read_labels(result, name), theirs["mask"])


def test_spacenet2(tmp_path: Path) -> None:
    for split in ("train", "test"):
        area = tmp_path / "SN2_buildings" / split / "AOI_2_Vegas_X"
        for product, bands, size in (("MUL", 8, 163), ("PAN", 1, 650)):
            tif(area / product / f"{product}_AOI_2_Vegas_img3.tif", bands, size, size, high=2000)
        (area / "geojson" / "buildings").mkdir(parents=True)
        (area / "geojson" / "buildings" / "buildings_AOI_2_Vegas_img3.geojson").write_text("")
    result = index("spacenet2", tmp_path)
    for split in ("train", "test"):
        (one,) = [one for one in result.manifest.samples if one.split == split]
        for product, sensor in (("MUL", "worldview3"), ("PAN", "worldview3_pan")):
            theirs = datasets.SpaceNet2(tmp_path, split, [2], image=product)[0]["image"]
            image = image_of(one, sensor)
            assert (image.height, image.width) == theirs.shape[1:]
            with rasterio.open(tmp_path / image.files[0].path) as source:
                np.testing.assert_array_equal(source.read(), theirs)
        same(read(result, one.sample)["worldview3_pan"], theirs, 1)


def test_mdas(tmp_path: Path) -> None:
    area = tmp_path / "Augsburg_data_4_publication" / "sub_area_1"
    tif(area / "3K_RGB_sub_area1.tif", 4, 8, 8, low=1, high=255, dtype="uint8")
    tif(area / "3K_DSM_sub_area1.tif", 1, 8, 8, low=450, high=520, dtype="float32")
    result = index_layout("mdas", tmp_path, LayoutOptions(tile_size=8))
    theirs = datasets.MDAS(tmp_path, modalities=["3K_DSM", "3K_RGB"])[0]
    images = read(result, "sub_area_1_r0_c0")
    same(images["rgb"], theirs["3K_RGB_image"][:3], 1 / 255)
    same(images["dsm"], theirs["3K_DSM_image"], 1)


def test_ssl4eo_s12(tmp_path: Path) -> None:
    for month in ("01", "04", "07", "10"):
        for kind, bands in (("s2c", L1C), ("s1", ("VV", "VH"))):
            product = f"2020{month}01T000000_X" if kind == "s2c" else f"S1A_IW_GRDH_1SDV_2020{month}02T000000_X"
            for band in bands:
                path = tmp_path / kind / "0000000" / product / f"{band.replace('B0', 'B')}.tif"
                if kind == "s1":
                    decibels(path, 264, bands=1)
                else:
                    tif(path, 1, 264, 264)
    result = index("ssl4eo-s12", tmp_path)
    s1, s2 = (datasets.SSL4EOS12(tmp_path, split, seasons=4)[0]["image"] for split in ("s1", "s2c"))
    # TorchGeo draws the order of the dates anew each time
    for sensor, theirs, scale in (("sentinel1", s1, 1), ("sentinel2", s2, 1e-4)):
        left = list(np.split(np.asarray(theirs), 4))
        for name in samples(result):
            ours = read(result, name)[sensor]
            (match,) = [i for i, one in enumerate(left) if np.allclose(ours, one * scale, rtol=1e-5)]
            left.pop(match)
        assert not left
