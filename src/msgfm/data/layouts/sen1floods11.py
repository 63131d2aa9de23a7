"""Sen1Floods11: 446 hand-labelled chips of Sentinel-1 and Sentinel-2 under floods, of 11 events.

Bonafilia et al., CVPRW 2020; the bucket `sen1floods11` is described in docs/README.md of
github.com/cloudtostreet/Sen1Floods11.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from msgfm.data.layouts.listing import (
    SENTINEL1,
    SENTINEL2_L1C,
    LayoutOptions,
    Listing,
    images_in,
    listed,
    load_cards,
    mask_file,
    whole_file,
)
from msgfm.errors import InputError

_CHIPS = "data/flood_events/HandLabeled"
_LISTS = {"train": "train", "valid": "val", "test": "test", "bolivia": "test_bolivia"}
_KINDS = ("S1Hand", "S2Hand", "LabelHand")


def list_sen1floods11(root: Path, options: LayoutOptions) -> Listing:
    """`v1.1/data/flood_events/HandLabeled/{S1Hand,S2Hand,LabelHand}/<event>_<id>_<kind>.tif`; ROOT may be `v1.1`.

    `v1.1/splits/flood_handlabeled/flood_{train,valid,test,bolivia}_data.csv` make the splits train, val, test and
    test_bolivia, an event that no other split has; chips in none of them are left out, and without these files splits
    are drawn. An event is a scene. Sentinel-2 is Level-1C. In the masks 1 is water, -1 was not labelled.
    """
    sensors = load_cards(("sentinel1", "sentinel2"), options.sensors)
    base = root if (root / _CHIPS).is_dir() else root / "v1.1"
    if not (base / _CHIPS).is_dir():
        raise InputError(f"{root} has neither {_CHIPS} nor v1.1/{_CHIPS}")
    splits = _read_splits(base / "splits" / "flood_handlabeled")
    chips: dict[str, dict[str, Path]] = defaultdict(dict)
    for kind in _KINDS:
        for path in images_in(base / _CHIPS / kind):
            chips[path.stem.removesuffix(f"_{kind}")][kind] = path
    samples = []
    for name, found in sorted(chips.items()):
        files = {
            "sentinel1": [whole_file(root, found["S1Hand"], SENTINEL1)] if "S1Hand" in found else [],
            "sentinel2": [whole_file(root, found["S2Hand"], SENTINEL2_L1C)] if "S2Hand" in found else [],
        }
        if any(files.values()) and (name in splits or not splits):
            mask = mask_file(root, found["LabelHand"]) if "LabelHand" in found else None
            samples.append(listed(name, name.rpartition("_")[0], files, splits.get(name, ""), mask=mask))
    return Listing(sensors=sensors, samples=samples, mask_classes={0: "not water", 1: "water"})


def _read_splits(folder: Path) -> dict[str, str]:
    """The split of each chip; a line is `<chip>_S1Hand.tif,<chip>_LabelHand.tif`."""
    splits = {}
    for name, split in _LISTS.items():
        path = folder / f"flood_{name}_data.csv"
        for row in csv.reader(path.read_text().splitlines()) if path.is_file() else ():
            splits[row[0].strip().removesuffix("_S1Hand.tif")] = split
    return splits
