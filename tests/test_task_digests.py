"""What tells splits apart whose files are the same: cards, classes, values of masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from task_data import CLASSES, image, load, save, write_labelled, write_masked

from msgfm.data.records import Sample, read_manifest, write_manifest
from msgfm.data.tasks import TaskData
from msgfm.models.tasks import Classification, Restoration, Segmentation

SIZE = {"image_size": 8, "unlisted": "ignore"}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled"), {"train": 1, "val": 1, "test": 1})


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masked(tmp_path_factory.mktemp("masked"))


@pytest.fixture(scope="module")
def clouded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clouded")
    bright = np.full((3, 8, 8), 200, np.uint8)
    images = (image(root, "rgb", "a", bright // 2), image(root, "rgb@cloudy", "a", bright))
    images += (image(root, "sentinel1", "a", np.full((2, 8, 8), -9, np.float32)),)
    return save(root, [Sample(sample="a", scene="a", split="train", images=images)])


def changed(manifest: Path, out: Path, card: str = "", **changes: Any) -> Path:
    """The same files, listed with other facts; `card` as `rgb.offset=-3`."""
    content = read_manifest(manifest)
    if card:
        path, _, value = card.partition("=")
        name, _, field = path.partition(".")
        sensors = content.sensors | {name: content.sensors[name].with_setting(field, yaml.safe_load(value))}
        content = replace(content, sensors=sensors)
    write_manifest(replace(content, **changes), out / "changed.parquet")
    return out / "changed.parquet"


def differing(one: TaskData, other: TaskData) -> set[str]:
    """In what the files of the test split are read differently, and `truth` where that concerns what is scored."""
    assert one.digests == other.digests
    assert one.truths == other.truths
    of_test = [data.readings["test"] for data in (one, other)]
    found = {what for what in of_test[0].keys() | of_test[1].keys() if of_test[0].get(what) != of_test[1].get(what)}
    return found | ({"truth"} if one.truth_readings["test"] != other.truth_readings["test"] else set())


SWAPPED = dict(enumerate(CLASSES[::-1]))
COLOURED = {0: (0, 0, 0), 1: (1, 1, 1), 2: (2, 2, 2)}


@pytest.mark.parametrize(
    ("card", "changes", "expected"),
    [
        ("", {}, set()),
        ("rgb.description=mine", {}, set()),
        ("rgb.offset=-3", {}, {"card of rgb"}),
        ("rgb.scale=0.5", {}, {"card of rgb"}),
        ("rgb.G.nodata=7", {}, {"card of rgb"}),
        ("rgb.B.mean=0.25", {}, {"card of rgb"}),
        ("sentinel1.offset=-3", {}, set()),  # no input
        ("", {"mask_classes": SWAPPED}, {"meaning of mask values", "truth"}),
        ("", {"mask_classes": dict(enumerate(CLASSES)) | {9: "lake"}}, {"meaning of mask values", "truth"}),
        ("", {"mask_colours": COLOURED}, {"meaning of mask values", "truth"}),
        ("", {"classes": CLASSES}, set()),  # of images
    ],
)
def test_masks_and_cards(masked: Path, tmp_path: Path, card: str, changes: dict[str, Any], expected: set[str]) -> None:
    task = Segmentation(classes=CLASSES)
    before = load(masked, task, "rgb", **SIZE)
    after = load(changed(masked, tmp_path, card, **changes), task, "rgb", **SIZE)
    assert differing(before, after) == expected
    assert (before.readings == after.readings) == (not expected)


def test_what_is_true_does_not_hang_on_the_inputs(masked: Path) -> None:
    """Of the last place, which is tested, the radar image is missing: no card of it is looked at."""
    one, both = (load(masked, Segmentation(), inputs, **SIZE) for inputs in ("rgb", "sentinel1 rgb"))
    assert one.truth_readings == both.truth_readings
    assert both.readings["test"].keys() == {"card of rgb", "meaning of mask values"}
    assert both.readings["val"].keys() == {"card of rgb", "card of sentinel1", "meaning of mask values"}


def test_labels_of_images(labelled: Path, tmp_path: Path) -> None:
    task = Classification(classes=CLASSES)
    before = load(labelled, task, "rgb", **SIZE)
    turned = load(changed(labelled, tmp_path, classes=CLASSES[::-1]), task, "rgb", **SIZE)
    assert differing(before, turned) == {"order of classes"}
    assert differing(before, load(changed(labelled, tmp_path, mask_classes=SWAPPED), task, "rgb", **SIZE)) == set()


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("rgb.offset=-3", {"card of rgb", "truth"}),
        ("rgb.unit=dB", {"card of rgb", "truth"}),
        ("rgb.valid_range=[0, 2]", {"card of rgb", "truth"}),  # which errors of some units are scaled by
        ("rgb.R.mean=0.25", {"card of rgb"}),  # which errors do not hang on
        ("sentinel1.offset=-3", {"card of sentinel1"}),
    ],
)
def test_images_that_are_restored(clouded: Path, tmp_path: Path, card: str, expected: set[str]) -> None:
    task = Restoration.model_validate({"target": "rgb", "over": "rgb@cloudy"})
    settings = SIZE | {"val": None, "test": "train"}
    before = load(clouded, task, "sentinel1 rgb@cloudy", **settings)
    after = load(changed(clouded, tmp_path, card), task, "sentinel1 rgb@cloudy", **settings)
    assert differing(before, after) == expected


def test_a_second_manifest_that_is_read_alike_changes_nothing(tmp_path: Path) -> None:
    one, other = (write_labelled(tmp_path / name, {"train": 1}) for name in ("one", "other"))
    settings = SIZE | {"val": None, "test": None}
    alone, both = (load(manifests, Classification(), "rgb", **settings) for manifests in ([one], [one, other]))
    assert alone.readings == both.readings
    odd = changed(other, tmp_path / "other", "rgb.offset=-3")
    assert load([one, odd], Classification(), "rgb", **settings).readings != both.readings
