"""LEVIR-CD, DSIFN and OSCD: before, after and what changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layout_trees import index, mask, picture, read, read_labels, samples, splits, tif

from msgfm.data.layouts import IndexResult, LayoutOptions, index_layout
from msgfm.errors import InputError

L1C = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
OSCD = "Onera Satellite Change Detection dataset - "


def pair(folder: Path, name: str, names: tuple[str, str, str] = ("A", "B", "label"), suffix: str = ".png") -> None:
    picture(folder / names[0] / f"{name}{suffix}")
    picture(folder / names[1] / f"{name}{suffix}")
    mask(folder / names[2] / f"{name}.png")


def test_levir_cd_in_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        pair(tmp_path / split, f"{split}_1")
    result = index("levir-cd", tmp_path)
    assert splits(result) == {f"{split}/{split}_1": split for split in ("train", "val", "test")}
    assert [image.key for image in result.manifest.samples[0].images] == ["rgb@before", "rgb@after"]


def test_levir_cd_unpacked_into_one_folder_has_splits_in_the_names(tmp_path: Path) -> None:
    for name in ("train_36_0000_0256", "train_36_0512_0512", "test_7", "val_3"):
        pair(tmp_path, name)
    result = index("levir-cd", tmp_path)
    assert {name: (one.split, one.scene) for name, one in samples(result).items()} == {
        "train_36_0000_0256": ("train", "train_36"),
        "train_36_0512_0512": ("train", "train_36"),
        "test_7": ("test", "test_7"),
        "val_3": ("val", "val_3"),
    }
    before, after = (read(result, "test_7")[f"rgb@{role}"] for role in ("before", "after"))
    assert not np.allclose(before, after)
    assert set(read_labels(result, "test_7").flat) == {0, 255}
    assert result.manifest.mask_classes[255] == "changed"


def test_levir_cd_with_lists(tmp_path: Path) -> None:
    pair(tmp_path, "1")
    pair(tmp_path, "2")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "val.txt").write_text("2.png\n")
    assert splits(index("levir-cd", tmp_path)) == {"1": "train", "2": "val"}


def test_an_image_without_a_partner(tmp_path: Path) -> None:
    pair(tmp_path, "train_1")
    (tmp_path / "B" / "train_1.png").unlink()
    with pytest.raises(InputError, match=r"A/train_1\.png has no partner in .*B"):
        index("levir-cd", tmp_path)


def test_dsifn_numbers_each_part_from_the_start(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        pair(tmp_path / split, "0", ("t1", "t2", "mask"), ".jpg")
    one = mask(tmp_path / "test" / "mask" / "0.png", values=(0, 1))
    result = index("dsifn", tmp_path)
    assert splits(result) == {f"{split}/0": split for split in ("train", "val", "test")}
    np.testing.assert_array_equal(read_labels(result, "test/0"), one)
    assert result.manifest.mask_classes[1] == result.manifest.mask_classes[255]


def oscd(root: Path) -> dict[str, np.ndarray]:
    written = {}
    for city in ("abudhabi", "beirut", "mumbai"):
        for n in (1, 2):
            for band in L1C:
                name = f"S2A_X_{band}" if city == "beirut" else band
                path = root / f"{OSCD}Images" / city / f"imgs_{n}_rect" / f"{name}.tif"
                written[f"{city}{n}{band}"] = tif(path, 1, 6, 9)[0]
        (root / f"{OSCD}Images" / city / "dates.txt").write_text("date_1: 20160101\ndate_2: 20180101\n")
    for split, city in (("Train", "abudhabi"), ("Test", "beirut")):
        written[city] = mask(root / f"{OSCD}{split} Labels" / city / "cm" / "cm.png", (6, 9))
    (root / f"{OSCD}Images" / "train.txt").write_text("abudhabi")
    (root / f"{OSCD}Images" / "test.txt").write_text("beirut,mumbai")
    return written


def test_oscd(tmp_path: Path) -> None:
    written = oscd(tmp_path)
    result = index("oscd", tmp_path)
    assert splits(result) == {"abudhabi": "train", "beirut": "test", "mumbai": "test"}
    assert samples(result)["mumbai"].mask is None
    images = read(result, "beirut")
    for n, role in ((1, "before"), (2, "after")):
        expected = np.stack([written[f"beirut{n}{band}"] for band in L1C]) * np.float32(1e-4)
        np.testing.assert_allclose(images[f"sentinel2@{role}"], expected, rtol=1e-6)
    np.testing.assert_array_equal(read_labels(result, "abudhabi"), written["abudhabi"])
    (tmp_path / f"{OSCD}Images" / "abudhabi" / "imgs_2_rect" / "B10.tif").unlink()
    with pytest.raises(InputError, match=r"no file .*abudhabi/imgs_2_rect/B10\.tif"):
        index("oscd", tmp_path)
    with pytest.raises(InputError, match="has no folder 'Onera Satellite"):
        index("oscd", tmp_path / f"{OSCD}Images")


def pairs(root: Path, *sensors: str, mask: str = "", classes: tuple[str, ...] = ()) -> IndexResult:
    return index_layout("pairs", root, LayoutOptions(sensors=sensors, mask=mask, mask_classes=classes))


def test_pairs_with_roles_and_masks(tmp_path: Path) -> None:
    for name in ("1", "2"):
        picture(tmp_path / "train" / "a" / f"{name}.png")
        after = picture(tmp_path / "train" / "b" / f"{name}.png")
    labels = mask(tmp_path / "train" / "m" / "2_mask.png")
    specs = ("rgb@before={split}/a/{id}.png", "rgb@after={split}/b/{id}.png")
    result = pairs(tmp_path, *specs, mask="{split}/m/{id}_mask.png", classes=("0=dry", "255 = under water"))
    assert result.manifest.mask_classes == {0: "dry", 255: "under water"}
    assert samples(result)["1"].mask is None
    np.testing.assert_array_equal(read_labels(result, "2"), labels)
    np.testing.assert_allclose(read(result, "2")["rgb@after"], after.transpose(2, 0, 1) / np.float32(255), rtol=1e-6)
    for more, message in (
        ({"mask": "m/{id}.png"}, "--mask and --mask-class go together"),
        ({"mask": "m/{id}.png", "classes": ("0=dry",)}, r"--mask m/{id}\.png: no file below"),
        ({"mask": "{split}/a/{id}.png", "classes": ("dry=0",)}, "--mask-class dry=0: write VALUE=NAME"),
        ({"mask": "*/*/{id}.png", "classes": ("0=dry",)}, "are both masks of 1"),
    ):
        with pytest.raises(InputError, match=message):
            pairs(tmp_path, *specs, **more)  # type: ignore[arg-type]


@pytest.mark.real_data
def test_real_ombria_before_and_after_a_flood(real_data: Path, tmp_path: Path) -> None:
    """Radar and optical images of two dates and the flooded pixels, without a layout of its own."""
    card = "name: {}\nunit: '1'\nscale: 0.00392156862745098\nvalid_range: [0, 1]\nbands: [{}]\n"
    (tmp_path / "s1.yaml").write_text(card.format("s1", "{name: VV}"))
    (tmp_path / "s2.yaml").write_text(card.format("s2", "{name: B11}, {name: B08}, {name: B03}"))
    specs = [
        f"{tmp_path / kind.lower()}.yaml@{role}=Ombria{kind}/{{split}}/{role.upper()}/{kind}_{role}_{{id}}.png"
        for kind in ("S1", "S2")
        for role in ("before", "after")
    ]
    folder = "OmbriaS1/{split}/MASK/S1_mask_{id}.png"
    result = pairs(real_data / "OMBRIA", *specs, mask=folder, classes=("0=dry", "255=water"))
    assert result.splits == {"train": 152, "test": 23}
    found = samples(result)
    assert all(one.mask and len(one.images) == 4 for one in found.values())
    near: dict[bool, list[np.ndarray]] = {True: [], False: []}  # near infrared after the flood
    for name in list(found)[:12]:
        band, labels = read(result, name)["s2@after"][1], read_labels(result, name)
        assert set(labels.flat) <= {0, 255}
        for wet, pixels in near.items():
            pixels.append(band[(labels == 255) == wet])
    assert np.median(np.concatenate(near[True])) < np.median(np.concatenate(near[False]))


@pytest.mark.real_data
def test_real_levir_cd(real_data: Path) -> None:
    result = index("levir-cd", real_data / "LEVIR-CD-256")
    assert result.splits == {"train": 2, "test": 6}
    found = samples(result)
    assert found["test_2_0000_0000"].scene == found["test_2_0000_0512"].scene == "test_2"
    assert set(read_labels(result, "train_386_0512_0768").flat) == {0}
    assert {frozenset(read_labels(result, name).flat) for name in found} == {frozenset({0}), frozenset({0, 255})}
