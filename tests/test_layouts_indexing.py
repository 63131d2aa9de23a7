"""What is common to all layouts: bad files, options, drawn splits."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio
from even_images import S2_DN, index, names, picture, tif

from msgfm.data.layouts.headers import check_headers
from msgfm.data.layouts.listing import Listing, listed
from msgfm.data.layouts.splits import draw_split
from msgfm.data.records import RasterFile
from msgfm.errors import InputError
from msgfm.sensors import load_sensor


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
