"""BigEarthNet-MM v1.0 (Sumbul et al., 2021): one folder per patch, one file per band."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from msgfm.data.layouts.listing import SENTINEL1, SENTINEL2_L2A, LayoutOptions, Listing, listed, load_cards
from msgfm.data.records import RasterFile
from msgfm.errors import InputError

_S2 = "BigEarthNet-v1.0"
_S1 = "BigEarthNet-S1-v1.0"


def list_bigearthnet(root: Path, options: LayoutOptions) -> Listing:
    """`BigEarthNet-v1.0/<S2 patch>/<S2 patch>_B01.tif`, `BigEarthNet-S1-v1.0/<S1 patch>/<S1 patch>_VV.tif`.

    CSV files at the root with `train`, `val` or `test` in their names give pairs and splits, a line `<S2>,<S1>` or
    `<S2>` each; without any, Sentinel-1's `_labels_metadata.json` names its partner, and splits are drawn. A patch
    without Sentinel-1 is a sample with one sensor. The scene is the Sentinel-2 product (satellite and time).
    """
    sensors = load_cards(("sentinel1", "sentinel2_l2a"), options.sensors)
    if not (root / _S2).is_dir():
        raise InputError(f"{root} has no folder {_S2}; ROOT is the folder that holds {_S2} and {_S1}")
    samples = []
    for s2, s1, split in _rows_of_csv(root) or _rows_of_metadata(root):
        files = {"sentinel2_l2a": _patch(_S2, s2, SENTINEL2_L2A)}
        if s1 and (root / _S1 / s1).is_dir():
            files = {"sentinel1": _patch(_S1, s1, SENTINEL1), **files}
        samples.append(listed(s2, s2.rsplit("_", 2)[0], files, split))
    return Listing(sensors=sensors, samples=samples)


def _patch(folder: str, patch: str, bands: tuple[str, ...]) -> list[RasterFile]:
    return [RasterFile(path=f"{folder}/{patch}/{patch}_{band}.tif", bands=(band,), file_bands=(1,)) for band in bands]


def _rows_of_csv(root: Path) -> list[tuple[str, str, str]]:
    """S2 patch, S1 patch (or nothing), split."""
    rows = []
    for path in sorted(root.glob("*.csv")):
        splits = [split for split in ("train", "val", "test") if split in path.stem]
        if len(splits) != 1:
            continue
        for line in csv.reader(path.read_text().splitlines()):
            if line and line[0].startswith("S2"):
                rows.append((line[0].strip(), line[1].strip() if len(line) > 1 else "", splits[0]))
    return rows


def _rows_of_metadata(root: Path) -> list[tuple[str, str, str]]:
    partners = {}
    for path in sorted(root.glob(f"{_S1}/*/*_labels_metadata.json")):
        try:
            partners[json.loads(path.read_text())["corresponding_s2_patch"]] = path.parent.name
        except (ValueError, KeyError) as error:
            raise InputError(f"{path} does not name its corresponding_s2_patch ({error}); fetch it again") from error
    patches = sorted(path.name for path in (root / _S2).iterdir() if path.is_dir())
    return [(patch, partners.get(patch, ""), "") for patch in patches]
