"""Manifests: what is written is what is read, and nothing else passes for one."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from msgfm.data.records import (
    METADATA_KEY,
    Manifest,
    RasterFile,
    Sample,
    SensorImage,
    read_manifest,
    write_manifest,
)
from msgfm.errors import InputError
from msgfm.sensors import load_sensor


def manifest(root: Path) -> Manifest:
    whole = RasterFile(path="a/s1.tif", bands=("VV", "VH"), file_bands=(1, 2))
    window = RasterFile(path="b/dsm.tif", bands=("height",), file_bands=(4,), window=(0, 8, 16, 24))
    images = (
        SensorImage(sensor="sentinel1", height=120, width=110, files=(whole,)),
        SensorImage(sensor="dsm", height=16, width=24, files=(window,)),
    )
    samples = (
        Sample(sample="one", scene="x", split="train", images=images),
        Sample(sample="two", scene="y", split="val", images=images[:1]),
    )
    sensors = {name: load_sensor(name) for name in ("sentinel1", "dsm")}
    return Manifest(root=root.resolve(), layout="pairs", sensors=sensors, samples=samples)


def test_round_trip(tmp_path: Path) -> None:
    written = manifest(tmp_path / "data")
    write_manifest(written, tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet") == written
    assert [path.name for path in tmp_path.iterdir()] == ["m.parquet"]


def test_millions_of_samples_fit_in_memory(tmp_path: Path) -> None:
    """A sample of two images costs about a kilobyte: names of its own, and bands that it shares with all others."""
    some, count = manifest(tmp_path), 4000
    first = some.samples[0]
    many = tuple(replace(first, sample=f"{first.sample}_{i}", scene=f"{first.scene}_{i}") for i in range(count))
    write_manifest(replace(some, samples=many), tmp_path / "m.parquet")
    tracemalloc.start()
    try:
        read = read_manifest(tmp_path / "m.parquet")
        kept = tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()
    assert read.samples == many
    assert kept < 1500
    one, other = (sample.images[0].files[0] for sample in read.samples[:2])
    assert one.bands is other.bands


def test_manifest_and_images_move_together_or_the_manifest_alone(tmp_path: Path) -> None:
    here, there, away = tmp_path / "here", tmp_path / "there", tmp_path / "away"
    (here / "data").mkdir(parents=True)
    write_manifest(manifest(here / "data"), here / "m.parquet")
    write_manifest(manifest(away), here / "other.parquet")
    here.rename(there)
    assert read_manifest(there / "m.parquet").root == (there / "data").resolve()
    assert read_manifest(there / "other.parquet").root == away.resolve()


def test_only_keeps_a_split_and_names_those_there_are(tmp_path: Path) -> None:
    both = manifest(tmp_path)
    assert [sample.sample for sample in both.only("val").samples] == ["two"]
    assert both.only("all") == both
    with pytest.raises(InputError, match="'test'; it has train, val"):
        both.only("test")


def test_what_is_no_manifest_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no")
    table = pa.table({"a": [1]})
    pq.write_table(table, tmp_path / "plain.parquet")
    newer = table.replace_schema_metadata({METADATA_KEY: json.dumps({"format_version": 99}).encode()})
    pq.write_table(newer, tmp_path / "newer.parquet")
    for name, message in (
        ("gone.parquet", "no manifest .*gone.parquet"),
        ("text.parquet", "text.parquet is not a manifest of msgfm, nor Parquet at all"),
        ("plain.parquet", "plain.parquet is not a manifest of msgfm but another Parquet table: 1 rows with columns a;"),
        ("newer.parquet", "format 99"),
    ):
        with pytest.raises(InputError, match=message):
            read_manifest(tmp_path / name)


def test_a_table_of_others_is_called_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "it.parquet"
    patches = pa.table({name: ["x", "y"] for name in ("patch_id", "labels", "split", "country", "s1", "s2", "c")})
    write_manifest(manifest(tmp_path), path)
    ours = pq.read_table(path)
    header = ours.schema.metadata[METADATA_KEY]
    misspelt = header.replace(b'"name"', b'"nam"')
    for table, message in (
        (
            patches,
            "but another Parquet table: 2 rows with columns patch_id, labels, split, country, s1, s2 and 1 more;",
        ),
        (patches.replace_schema_metadata({b"geo": b"{}", b"pandas": b"{}"}), "but GeoParquet: 2 rows"),
        (patches.replace_schema_metadata({b"pandas": b"{}"}), "but a table of pandas: 2 rows"),
        (ours.replace_schema_metadata({}), "one that another program has rewritten: its metadata, with cards and root"),
        (ours.replace_schema_metadata({METADATA_KEY: b"[]"}), "a manifest with damaged metadata"),
        (ours.replace_schema_metadata({METADATA_KEY: b'{"format_version": 2}'}), "damaged .*'sensors'"),
        (
            ours.replace_schema_metadata({METADATA_KEY: misspelt}),
            "damaged .*ValidationError",
        ),
        (ours.drop_columns("images"), "changed by another program .*'images'"),
        (patches.replace_schema_metadata({METADATA_KEY: header}), "changed by another program .*'images'"),
    ):
        pq.write_table(table, path)
        with pytest.raises(InputError, match=message) as told:
            read_manifest(path)
        assert str(path) in str(told.value)
        assert "msgfm data index" in str(told.value)


def test_a_failed_write_leaves_the_old_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.parquet"
    write_manifest(manifest(tmp_path), path)
    before = path.read_bytes()

    def full(table: pa.Table, where: Path) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(InputError, match=r"cannot write .*No space left"):
        write_manifest(manifest(tmp_path), path)
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["m.parquet"]
