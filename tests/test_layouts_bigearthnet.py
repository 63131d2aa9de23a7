"""BigEarthNet v1 and v2: 43 classes to 19, patches under snow and clouds, splits, reference maps."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layout_trees import decibels, index, read_labels, samples, splits, tif

from msgfm.data.layouts.bigearthnet import corine_classes
from msgfm.errors import InputError

SIZES = {"B01": 2, "B09": 2, "B02": 12, "B03": 12, "B04": 12, "B08": 12}
L2A = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


def write_s2(folder: Path, labels: list[str] | None = None) -> None:
    for band in L2A:
        tif(folder / f"{folder.name}_{band}.tif", 1, *(SIZES.get(band, 6),) * 2)
    if labels is not None:
        (folder / f"{folder.name}_labels_metadata.json").write_text(json.dumps({"labels": labels}))


def write_s1(folder: Path, s2: str) -> None:
    for band in ("VV", "VH"):
        decibels(folder / f"{folder.name}_{band}.tif", 12, bands=1)
    (folder / f"{folder.name}_labels_metadata.json").write_text(json.dumps({"corresponding_s2_patch": s2}))


def test_the_classes_are_torchgeos() -> None:
    torchgeo = pytest.importorskip("torchgeo.datasets")
    classes, names, codes = corine_classes()
    reference = torchgeo.BigEarthNet
    assert list(classes) == reference.class_sets[19]
    expected = {reference.class_sets[43][old]: classes[new] for old, new in reference.label_converter.items()}
    assert names == expected
    assert codes == {code: classes[new] for code, new in torchgeo.BigEarthNetV2.clc_codes.items()}


def test_v1_maps_classes_and_leaves_out_what_the_official_splits_leave_out(tmp_path: Path) -> None:
    s2 = tmp_path / "BigEarthNet-v1.0"
    patches = {
        "S2A_X_0_1": ["Vineyards", "Sea and ocean", "Olive groves", "Airports"],
        "S2A_X_0_2": ["Airports", "Dump sites"],
        "S2A_X_0_3": ["Pastures"],
        "S2A_X_0_4": ["Pastures"],
        "S2A_X_0_5": ["Transitional woodland/shrub"],
    }
    for name, labels in patches.items():
        write_s2(s2 / name, labels)
    write_s1(tmp_path / "BigEarthNet-S1-v1.0" / "S1_1", "S2A_X_0_1")
    (tmp_path / "train.csv").write_text("S2A_X_0_1,S1_1\nS2A_X_0_2,S1_2\nS2A_X_0_3,S1_3\n")
    with gzip.open(tmp_path / "test.csv.gz", "wt") as file:
        file.write("S2A_X_0_4,S1_4\nS2A_X_0_5,S1_5\n")
    (tmp_path / "patches_with_seasonal_snow.csv").write_text("S2A_X_0_3\n")
    with gzip.open(tmp_path / "patches_with_cloud_and_shadow.csv.gz", "wt") as file:
        file.write("S2A_X_0_4\n")
    result = index("bigearthnet", tmp_path)
    assert splits(result) == {"S2A_X_0_1": "train", "S2A_X_0_5": "test"}
    # in the order of the 19
    assert samples(result)["S2A_X_0_1"].labels == ("Permanent crops", "Marine waters")
    assert samples(result)["S2A_X_0_5"].labels == ("Transitional woodland, shrub",)
    assert result.combinations == {"sentinel1 + sentinel2_l2a": 1, "sentinel2_l2a": 1}


def write_v2(root: Path, rows: list[dict[str, object]], **columns: list[object]) -> None:
    for row in rows:
        patch, s1 = str(row["patch_id"]), str(row["s1_name"])
        write_s2(root / "BigEarthNet-S2" / patch.rsplit("_", 2)[0] / patch)
        folder = root / "BigEarthNet-S1" / s1.rsplit("_", 3)[0] / s1
        for band in ("VV", "VH"):
            decibels(folder / f"{s1}_{band}.tif", 12, bands=1)
        reference = root / "Reference_Maps" / patch.rsplit("_", 2)[0] / patch / f"{patch}_reference_map.tif"
        tif(reference, 1, 12, 12, low=311, high=314)
    table = pa.Table.from_pylist(rows)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, root / "metadata.parquet")


ROWS: list[dict[str, object]] = [
    {
        "patch_id": f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{i}_5",
        "labels": ["Mixed forest", "Arable land"],
        "split": split,
        "s1_name": f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{i}_5",
    }
    for i, split in enumerate(("train", "validation", "test"))
]


def test_v2_reads_its_table(tmp_path: Path) -> None:
    write_v2(tmp_path, ROWS, contains_seasonal_snow=[False, False, True], contains_cloud_or_shadow=[False] * 3)
    result = index("bigearthnet-v2", tmp_path)
    names = [str(row["patch_id"]) for row in ROWS]
    assert splits(result) == {names[0]: "train", names[1]: "val"}
    first = samples(result)[names[0]]
    assert first.labels == ("Arable land", "Mixed forest") and first.sensors == ("sentinel1", "sentinel2_l2a")
    assert first.scene == "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
    assert set(read_labels(result, names[0]).flat) <= {311, 312, 313}
    assert result.manifest.mask_classes[312] == "Coniferous forest"


def test_v2_passes_over_patches_that_are_not_there_and_refuses_other_tables(tmp_path: Path) -> None:
    write_v2(tmp_path, ROWS[:1])
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "metadata.parquet")
    assert len(samples(index("bigearthnet-v2", tmp_path))) == 1
    pq.write_table(pa.Table.from_pylist([ROWS[0] | {"split": "dev"}]), tmp_path / "metadata.parquet")
    with pytest.raises(InputError, match=r"metadata\.parquet is not BigEarthNet v2's table: it has split 'dev'"):
        index("bigearthnet-v2", tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "metadata.parquet")
    with pytest.raises(InputError, match="is not BigEarthNet v2's table"):
        index("bigearthnet-v2", tmp_path)
    (tmp_path / "metadata.parquet").unlink()
    with pytest.raises(InputError, match=r"no file .*metadata\.parquet.*zenodo"):
        index("bigearthnet-v2", tmp_path)


@pytest.mark.real_data
def test_real_v1(real_data: Path) -> None:
    result = index("bigearthnet", real_data / "BigEarthNet-v1")
    assert result.splits == {"train": 2, "val": 1, "test": 1}
    labels = {name: sample.labels for name, sample in samples(result).items()}
    assert labels["S2A_MSIL2A_20170617T113321_4_55"] == ("Pastures",)
    assert labels["S2A_MSIL2A_20170613T101031_87_48"] == (
        "Arable land",
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
    )
    assert np.sum([*result.labels.values()]) == sum(map(len, labels.values()))
