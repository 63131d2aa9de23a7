"""The layout `pairs`: folders and naming schemes of any kind, joined by what names share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from even_images import S2_DN, index, picture, read, tif

from msgfm.data.layouts.pairs import parse_spec
from msgfm.errors import InputError


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
