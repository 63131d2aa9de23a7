"""BigEarthNet v1 and v2: Sentinel-1 and Sentinel-2 patches of Europe with classes of CORINE Land Cover.

v1: Sumbul et al., "BigEarthNet-MM", IEEE GRSM 9(3), 2021; splits `{train,val,test}.csv` and the lists of patches under
snow and clouds come with it (zenodo.org/records/12687186). v2: Clasen et al., "reBEN", arXiv 2407.03653, 2024; splits,
labels and partners are columns of its `metadata.parquet` (zenodo.org/records/10891137).
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from msgfm.data.layouts.listing import (
    SENTINEL1,
    SENTINEL2_L2A,
    LayoutOptions,
    Listing,
    listed,
    load_cards,
    mask_file,
)
from msgfm.data.records import RasterFile
from msgfm.errors import InputError
from msgfm.progress import track
from msgfm.yaml_text import parse_yaml

_S2 = "BigEarthNet-v1.0"
_S1 = "BigEarthNet-S1-v1.0"
_UNUSABLE = ("patches_with_seasonal_snow", "patches_with_cloud_and_shadow")
_V2_SPLITS = {"train": "train", "validation": "val", "test": "test"}


@cache
def corine_classes() -> tuple[tuple[str, ...], dict[str, str], dict[int, str]]:
    """The 19 classes; the class of each CORINE name that has one; the class of each CORINE code that has one."""
    table = parse_yaml(Path(__file__).with_name("bigearthnet_classes.yaml").read_text(encoding="utf-8"))
    names = {name: row["name"] for row in table for name in row["from"].values()}
    codes = {code: row["name"] for row in table for code in row["from"]}
    return tuple(row["name"] for row in table), names, codes


def list_bigearthnet(root: Path, options: LayoutOptions) -> Listing:
    """`BigEarthNet-v1.0/<S2 patch>/<S2 patch>_B01.tif`, `BigEarthNet-S1-v1.0/<S1 patch>/<S1 patch>_VV.tif`.

    CSV files at the root (also `.csv.gz`) with `train`, `val` or `test` in their names give pairs and splits, a line
    `<S2>,<S1>` or `<S2>` each; without any, Sentinel-1's `_labels_metadata.json` names its partner, and splits are
    drawn. A patch without Sentinel-1 is a sample with one sensor. The scene is the Sentinel-2 product (satellite and
    time). Labels are the 19 classes, from the 43 in Sentinel-2's `_labels_metadata.json`. As in the official splits,
    patches with labels of which none is among the 19 are left out, and those under snow, clouds or shadow where
    `patches_with_seasonal_snow.csv` and `patches_with_cloud_and_shadow.csv` lie at the root.
    """
    sensors = load_cards(("sentinel1", "sentinel2_l2a"), options.sensors)
    if not (root / _S2).is_dir():
        raise InputError(f"{root} has no folder {_S2}; ROOT is the folder that holds {_S2} and {_S1}")
    classes, names, _ = corine_classes()
    unusable = {row[0].strip() for path in _tables(root) if _stem(path) in _UNUSABLE for row in _rows(path)}
    samples = []
    rows = _rows_of_csv(root) or _rows_of_metadata(root)
    for s2, s1, split in track(rows, "reading labels", len(rows)):
        labels = _read_metadata(root / _S2 / s2 / f"{s2}_labels_metadata.json").get("labels")
        kept = {names[label] for label in labels or () if label in names}
        if s2 in unusable or (labels and not kept):
            continue
        files = {"sentinel2_l2a": _patch(f"{_S2}/{s2}", s2, SENTINEL2_L2A)}
        if s1 and (root / _S1 / s1).is_dir():
            files = {"sentinel1": _patch(f"{_S1}/{s1}", s1, SENTINEL1), **files}
        ordered = [name for name in classes if name in kept]
        samples.append(listed(s2, s2.rsplit("_", 2)[0], files, split, labels=ordered))
    return Listing(sensors=sensors, samples=samples, classes=classes)


def list_bigearthnet_v2(root: Path, options: LayoutOptions) -> Listing:
    """`BigEarthNet-S2/<product>/<patch>/<patch>_B01.tif`, likewise `BigEarthNet-S1`, and `Reference_Maps`.

    `metadata.parquet` at the root gives patches, partners, splits and the 19 classes; patches whose folder is not
    there are passed over, and the columns on snow, clouds and shadow are heeded where they are there (those patches
    lie in a table of their own). `Reference_Maps/<product>/<patch>/<patch>_reference_map.tif`, CORINE codes, is the
    mask. The scene is the Sentinel-2 product with its tile.
    """
    sensors = load_cards(("sentinel1", "sentinel2_l2a"), options.sensors)
    table = root / "metadata.parquet"
    if not table.is_file():
        raise InputError(
            f"no file {table}, which holds BigEarthNet v2's splits and labels (zenodo.org/records/10891137)"
        )
    classes, _, codes = corine_classes()
    samples = []
    for row in _read_v2(table):
        patch, product = row["patch_id"], row["patch_id"].rsplit("_", 2)[0]
        if not (root / "BigEarthNet-S2" / product / patch).is_dir():
            continue
        files = {"sentinel2_l2a": _patch(f"BigEarthNet-S2/{product}/{patch}", patch, SENTINEL2_L2A)}
        s1 = row["s1_name"] or ""
        folder = Path("BigEarthNet-S1", s1.rsplit("_", 3)[0], s1)
        if s1 and (root / folder).is_dir():
            files = {"sentinel1": _patch(folder.as_posix(), s1, SENTINEL1), **files}
        reference = root / "Reference_Maps" / product / patch / f"{patch}_reference_map.tif"
        mask = mask_file(root, reference) if reference.is_file() else None
        labels = [name for name in classes if name in set(row["labels"])]
        samples.append(listed(patch, product, files, _V2_SPLITS[row["split"]], labels=labels, mask=mask))
    return Listing(sensors=sensors, samples=samples, classes=classes, mask_classes=codes)


def _read_v2(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        unknown = [row["split"] for row in rows if row["split"] not in _V2_SPLITS]
        seen = [row for row in rows if row["patch_id"] and row["labels"] is not None and "s1_name" in row]
    except (pa.ArrowException, KeyError, OSError) as error:
        raise InputError(f"{path} is not BigEarthNet v2's table ({error}); fetch it again") from error
    if unknown or len(seen) < len(rows):
        what = f"split {unknown[0]!r}" if unknown else "rows without patch, labels or partner"
        raise InputError(f"{path} is not BigEarthNet v2's table: it has {what}; fetch it again")
    poor = ("contains_seasonal_snow", "contains_cloud_or_shadow")
    return [row for row in rows if not any(row.get(column) for column in poor)]


def _patch(folder: str, patch: str, bands: tuple[str, ...]) -> list[RasterFile]:
    return [RasterFile(path=f"{folder}/{patch}_{band}.tif", bands=(band,), file_bands=(1,)) for band in bands]


def _tables(root: Path) -> list[Path]:
    return sorted([*root.glob("*.csv"), *root.glob("*.csv.gz")])


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _rows(path: Path) -> Iterator[list[str]]:
    """The lines that name a Sentinel-2 patch."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        yield from (row for row in csv.reader(lines) if row and row[0].startswith("S2"))


def _rows_of_csv(root: Path) -> list[tuple[str, str, str]]:
    """S2 patch, S1 patch (or nothing), split."""
    rows = []
    for path in _tables(root):
        splits = [split for split in ("train", "val", "test") if split in _stem(path)]
        if len(splits) == 1 and _stem(path) not in _UNUSABLE:
            rows += [(row[0].strip(), row[1].strip() if len(row) > 1 else "", splits[0]) for row in _rows(path)]
    return rows


def _rows_of_metadata(root: Path) -> list[tuple[str, str, str]]:
    partners = {}
    for path in sorted(root.glob(f"{_S1}/*/*_labels_metadata.json")):
        partner = _read_metadata(path).get("corresponding_s2_patch")
        if partner is None:
            raise InputError(f"{path} does not name its corresponding_s2_patch; fetch it again")
        partners[partner] = path.parent.name
    patches = sorted(path.name for path in (root / _S2).iterdir() if path.is_dir())
    return [(patch, partners.get(patch, ""), "") for patch in patches]


def _read_metadata(path: Path) -> dict[str, Any]:
    """What a patch's JSON says; nothing where there is no such file."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); fetch it again") from error
    return found
