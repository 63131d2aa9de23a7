"""Shards: the same samples as from files, whatever happens while they are written or afterwards."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from shard_data import NOISE, content_of, flip, make_manifest, options
from small_runs import SCRIPT, invoke, read_log, refused, run, write_data, write_recipe
from torch.utils.data import DataLoader

from msgfm.data.layouts import LayoutOptions, index_layout
from msgfm.data.masks import read_mask
from msgfm.data.mixture import Batch, MixtureDataset, MixtureOrder, MixtureSampler, Source, shuffled
from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage, read_manifest, write_manifest
from msgfm.data.sharding.cut import NO_DATA, cut_manifest
from msgfm.data.sharding.sources import fingerprint
from msgfm.data.sharding.write import write_shards
from msgfm.data.shards.codec import DamagedItemError, array_of, pack, unpack
from msgfm.data.shards.read import open_shards
from msgfm.data.shards.verify import verify_shards
from msgfm.errors import InputError
from msgfm.files import lock_folder
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import Sensor, load_sensor

TYPES = ("u1", "i1", "<u2", ">u2", "<i2", "<i4", "<f2", "<f4", "<f8", "<i8", "<c8", "?")


@given(st.data(), st.sampled_from(TYPES), st.tuples(*[st.integers(1, 7)] * 3))
def test_every_type_comes_back_as_it_was_with_its_mask(data: st.DataObject, kind: str, shape: tuple[int, ...]):
    values = data.draw(arrays.arrays(kind, shape))
    mask = data.draw(arrays.arrays(bool, shape))
    item = unpack(
        memoryview(pack({"sample": "it"}, [({}, np.ma.MaskedArray(values)), ({}, np.ma.array(values, mask=mask))]))
    )
    plain, masked = array_of(item, 0), array_of(item, 1)
    assert plain.dtype == values.dtype.newbyteorder("<")
    assert plain.data.tobytes() == masked.data.tobytes() == values.astype(plain.dtype).tobytes()
    assert not np.ma.is_masked(plain)
    assert np.array_equal(np.ma.getmaskarray(masked), mask)


def test_no_flipped_bit_of_a_sample_goes_unseen():
    rng = np.random.default_rng(0)
    packed = pack({"sample": "it"}, [({}, np.ma.MaskedArray(rng.integers(0, 99, (2, 9, 9), np.uint16)))])
    for bit in range(8 * len(packed)):
        changed = bytearray(packed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedItemError):
            unpack(memoryview(changed))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_manifest(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def _shards(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "shards"
    assert len(write_shards(manifest, folder, options()).chunks) == 3, "a test of chunks needs several"
    return folder


@pytest.fixture
def shards(_shards: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for name, content in content_of(_shards).items():
        (folder / name).write_bytes(content)
    return folder


def assert_same_samples(files: Manifest, packed: Manifest) -> None:
    assert (packed.sensors, packed.classes, packed.mask_classes) == (files.sensors, files.classes, files.mask_classes)
    for ours, theirs in zip(packed.samples, files.samples, strict=True):
        same = ("sample", "scene", "split", "labels")
        assert [getattr(ours, name) for name in same] == [getattr(theirs, name) for name in same]
        read = read_sample(packed.root, ours, packed.sensors)
        expected = read_sample(files.root, theirs, files.sensors)
        assert list(read) == list(expected)
        for key, image in expected.items():
            assert read[key].dtype == np.float32
            assert read[key].tobytes() == image.tobytes(), f"{ours.sample}, {key}"
        assert np.array_equal(read_mask(packed.root, ours), read_mask(files.root, theirs))


def test_shards_hold_the_same_samples_as_the_files(manifest: Manifest, shards: Path):
    assert_same_samples(manifest, open_shards(shards))
    assert verify_shards(shards) == []
    assert {path.name for path in shards.iterdir()} == {
        "shards.json", "index.json", "manifest.parquet", "chunk-0-0.bin", "chunk-0-1.bin", "chunk-0-2.bin"
    }  # fmt: skip


def test_shards_can_be_moved_and_need_no_files(manifest: Manifest, shards: Path, tmp_path: Path):
    moved = shards.rename(tmp_path / "elsewhere")
    again = open_shards(moved)
    assert str(manifest.root) not in (moved / "shards.json").read_text()
    assert_same_samples(manifest, again)


def test_litdata_reads_them(manifest: Manifest, shards: Path):
    from litdata import StreamingDataset

    names = [unpack(memoryview(item)).header["sample"] for item in StreamingDataset(str(shards), shuffle=False)]
    assert names == [sample.sample for sample in manifest.samples]


def test_processes_change_no_byte(manifest: Manifest, shards: Path, tmp_path: Path):
    write_shards(manifest, tmp_path / "two", options(workers=2))
    assert content_of(tmp_path / "two") == content_of(shards)


def test_a_process_gets_the_samples_of_its_chunks_alone(manifest: Manifest, tmp_path: Path, monkeypatch):
    from msgfm.data.sharding import write

    sent: list[Manifest] = []
    work = write.in_processes

    def spy(function, jobs, workers):
        sent.extend(plan.manifest for plan, _ in jobs)
        return work(function, jobs, 1)

    monkeypatch.setattr(write, "in_processes", spy)
    made = write_shards(manifest, tmp_path / "out", options(crop=24, workers=2))
    assert len(sent) == len(made.chunks) > 2
    assert sum(len(part.samples) for part in sent) == 28, "each tile travels once"


def test_a_flipped_byte_is_named_with_chunk_and_sample_and_makes_no_image(shards: Path):
    packed = open_shards(shards)
    flip(shards / "chunk-0-1.bin", (shards / "chunk-0-1.bin").stat().st_size // 2)
    (problem,) = verify_shards(shards)
    unreadable = []
    for sample in packed.samples:
        try:
            read_sample(packed.root, sample, packed.sensors)
        except InputError as error:
            assert f"sample {sample.sample}" in str(error) and "chunk-0-1.bin" in str(error)
            unreadable.append(sample.sample)
    assert len(unreadable) == 1
    assert f"chunk-0-1.bin, sample {unreadable[0]}:" in problem
    told = invoke("data", "verify", shards)
    assert told.exit_code == 2
    assert f"chunk-0-1.bin, sample {unreadable[0]}" in told.stderr.replace("\n", "")


def test_a_flipped_byte_anywhere_is_found(shards: Path):
    whole = content_of(shards)
    rng = random.Random(1)
    for name, content in whole.items():
        for position in {0, 5, len(content) - 1, *(rng.randrange(len(content)) for _ in range(6))}:
            flip(shards / name, position)
            try:
                assert any(name in problem for problem in verify_shards(shards)), (name, position)
            except InputError as error:
                assert "shards.json" in str(error) and name == "shards.json"
            (shards / name).write_bytes(content)
    assert verify_shards(shards) == []


def test_a_damaged_sample_counts_as_a_bad_file(shards: Path):
    packed = open_shards(shards)
    source = one_source(packed, ["sentinel1"])
    flip(shards / "chunk-0-0.bin", 2000)
    batches = list(loader(source, batch_size=1, workers=0, start=0, end=7))
    bad = [message for batch in batches for message in batch.bad]
    assert len(bad) >= 1 and all("chunk-0-0.bin" in message and "sample place" in message for message in bad)
    assert all(np.isfinite(batch.images["sentinel1"].numpy()).any() for batch in batches)


def test_missing_and_short_chunks_are_refused_before_training(shards: Path):
    (shards / "chunk-0-1.bin").write_bytes(b"short")
    with pytest.raises(InputError, match=r"chunk-0-1\.bin is missing or not"):
        open_shards(shards)
    (shards / "shards.json").unlink()
    with pytest.raises(InputError, match="unfinished"):
        verify_shards(shards)
    recipe = write_recipe(shards.parent / "recipe.yaml", {"it": shards})
    assert "unfinished" in refused("pretrain", recipe)


def test_shards_made_anew_in_their_place_give_the_new_images(manifest: Manifest, tmp_path: Path):
    folder = tmp_path / "again"
    write_shards(manifest, folder, options())
    assert_same_samples(manifest, open_shards(folder))
    for path in folder.iterdir():
        path.unlink()
    turned = replace(manifest, samples=manifest.samples[::-1])
    write_shards(turned, folder, options())
    assert_same_samples(turned, open_shards(folder))


def test_a_chunk_cut_inside_its_table_is_named_by_verify(shards: Path):
    for content in (b"", b"\x03\x00", (shards / "chunk-0-1.bin").read_bytes()[:9]):
        (shards / "chunk-0-1.bin").write_bytes(content)
        damage = verify_shards(shards)
        assert damage and all("chunk-0-1.bin" in line for line in damage)


def test_a_chunk_that_goes_missing_is_not_called_damaged(shards: Path):
    packed = open_shards(shards)
    (shards / "chunk-0-0.bin").unlink()
    with pytest.raises(InputError, match=r"chunk-0-0\.bin is missing"):
        read_sample(packed.root, packed.samples[0], packed.sensors)


def test_damaged_shards_are_mended_to_the_same_bytes(manifest: Manifest, shards: Path):
    whole = content_of(shards)
    flip(shards / "chunk-0-1.bin", 1000)
    (shards / "chunk-0-2.bin").unlink()
    write_shards(manifest, shards, options())
    assert content_of(shards) == whole


@pytest.mark.parametrize("lost", ["index.json", "manifest.parquet"])
def test_a_lost_list_is_made_again(manifest: Manifest, shards: Path, lost: str):
    whole = content_of(shards)
    (shards / lost).unlink()
    write_shards(manifest, shards, options())
    assert content_of(shards) == whole
    flip(shards / lost, 100)
    write_shards(manifest, shards, options())
    assert content_of(shards) == whole


def test_a_lost_manifest_leaves_out_what_was_left_out(tmp_path: Path):
    files = make_manifest(tmp_path / "files")
    (tmp_path / "files" / "2_fine.tif").unlink()
    write_shards(files, tmp_path / "out", options(skip_bad=1))
    whole = content_of(tmp_path / "out")
    (tmp_path / "out" / "manifest.parquet").unlink()
    write_shards(files, tmp_path / "out", options(skip_bad=1))
    assert content_of(tmp_path / "out") == whole


def test_a_damaged_shards_json_says_what_helps_and_that_helps(manifest: Manifest, shards: Path):
    whole = content_of(shards)
    for damaged in (b"[]", b"{", whole["shards.json"].replace(b"chunk-0-1", b"chunk-0-7")):
        (shards / "shards.json").write_bytes(damaged)
        for ask in (lambda: verify_shards(shards), lambda: write_shards(manifest, shards, options())):
            with pytest.raises(InputError, match=r"shards\.json is damaged .*delete it and run `msgfm data shard"):
                ask()
    (shards / "shards.json").unlink()
    write_shards(manifest, shards, options())
    assert content_of(shards) == whole


def test_shards_of_something_else_are_not_written_over(manifest: Manifest, shards: Path):
    whole = content_of(shards)
    with pytest.raises(InputError, match="of another chunk_size"):
        write_shards(manifest, shards, options(90_000))
    with pytest.raises(InputError, match="of another manifest"):
        write_shards(replace(manifest, samples=manifest.samples[:5]), shards, options())
    with lock_folder(shards), pytest.raises(InputError, match="another run"):
        write_shards(manifest, shards, options())
    assert content_of(shards) == whole


def test_what_shards_are_of_does_not_hang_on_how_cards_are_printed(
    manifest: Manifest, shards: Path, monkeypatch: pytest.MonkeyPatch
):
    before = one_source(open_shards(shards), ["sentinel1"]).digest
    monkeypatch.setattr(Sensor, "__repr__", lambda self: "as another version of pydantic prints it")
    write_shards(manifest, shards, options())
    assert one_source(open_shards(shards), ["sentinel1"]).digest == before
    other = replace(manifest, sensors=manifest.sensors | {"rgb": load_sensor("rgb").with_setting("nodata", 0)})
    with pytest.raises(InputError, match="of another manifest"):
        write_shards(other, shards, options())


def test_files_of_others_are_not_written_over(manifest: Manifest, shards: Path, tmp_path: Path):
    folder = tmp_path / "mine"
    folder.mkdir()
    write_manifest(manifest, folder / "manifest.parquet")
    whole = content_of(folder)
    for place in (folder, manifest.root):
        with pytest.raises(InputError, match=r"holds .* but no shards; choose an empty or new folder"):
            write_shards(manifest, place, options())
    assert content_of(folder) == whole
    packed = content_of(shards)
    with pytest.raises(InputError, match="holds the shards that the manifest lists"):
        write_shards(open_shards(shards), shards, options())
    assert content_of(shards) == packed


def test_a_full_disk_is_told_and_the_run_goes_on_later(
    manifest: Manifest, shards: Path, tmp_path: Path, disk_full_after: Callable[[int], AbstractContextManager[None]]
):
    out = tmp_path / "later"
    with disk_full_after(30_000), pytest.raises(InputError, match="cannot write"):
        write_shards(manifest, out, options())
    assert not (out / "shards.json").exists()
    write_shards(manifest, out, options())
    assert content_of(out) == content_of(shards)


def start_and_stop(files: Manifest, out: Path, broken: Path) -> None:
    """A run that ends at a file that cannot be read, with the chunks before it finished."""
    content = broken.read_bytes()
    broken.write_bytes(b"not an image")
    with pytest.raises(InputError, match="finished chunks are kept"):
        write_shards(files, out, options())
    broken.write_bytes(content)
    assert (out / ".chunk-0-0.bin.json").exists() and not (out / "shards.json").exists()


def test_files_that_changed_between_two_runs_are_packed_anew(tmp_path: Path):
    files = make_manifest(tmp_path / "files")
    start_and_stop(files, tmp_path / "out", tmp_path / "files" / "6_fine.tif")
    for name in ("0_radar.tif", "6_radar.tif"):
        write_geotiff(tmp_path / "files" / name, np.full((2, 48, 48), -9, np.float32))
    write_shards(files, tmp_path / "out", options())
    assert_same_samples(files, open_shards(tmp_path / "out"))
    write_shards(files, tmp_path / "other", options())
    assert content_of(tmp_path / "out") == content_of(tmp_path / "other")


def test_chunks_of_unchanged_files_are_kept(tmp_path: Path):
    files = make_manifest(tmp_path / "files")
    start_and_stop(files, tmp_path / "out", tmp_path / "files" / "6_fine.tif")
    before = (tmp_path / "out" / "chunk-0-0.bin").stat().st_ino
    write_shards(files, tmp_path / "out", options())
    assert (tmp_path / "out" / "chunk-0-0.bin").stat().st_ino == before


def test_shards_of_shards_go_on_too(shards: Path, tmp_path: Path):
    packed = open_shards(shards)
    last = packed.samples[-1]
    assert fingerprint(shards, [last]) == fingerprint(packed.root, [last]) != fingerprint(shards, packed.samples[:1])
    write_shards(packed, tmp_path / "again", options())
    assert_same_samples(packed, open_shards(tmp_path / "again"))


def test_what_does_not_keep_to_its_card_is_refused(manifest: Manifest, tmp_path: Path):
    files = tmp_path / "files"
    good = make_manifest(files)
    linear = np.full((2, 48, 48), 0.05, np.float32) + np.random.default_rng(0).random((2, 48, 48), np.float32) / 10
    write_geotiff(files / "2_radar.tif", linear)
    (files / "5_fine.tif").write_bytes(b"not an image")
    others = tuple(kind for kind in NOISE if kind not in ("linear-power", "unreadable"))
    with pytest.raises(InputError, match=r"2_radar\.tif(.|\n)*linear-power"):
        write_shards(good, tmp_path / "out", options(accept=others))
    index = write_shards(good, tmp_path / "out", options(accept=others, skip_bad=2))
    assert set(index.left_out) == {"place2", "place5"}
    packed = open_shards(tmp_path / "out")
    assert_same_samples(replace(good, samples=tuple(s for s in good.samples if s.sample not in index.left_out)), packed)


def test_tiles_are_windows_of_the_whole_image(manifest: Manifest, tmp_path: Path):
    tiled = cut_manifest(manifest, 20)
    write_shards(manifest, tmp_path / "out", options(crop=20))
    packed = open_shards(tmp_path / "out")
    assert_same_samples(tiled, packed)
    assert [sample.sample for sample in packed.samples[:9]] == [
        f"place0#{row},{column}" for row in (0, 20, 28) for column in (0, 20, 28)
    ]
    for tile in packed.samples:
        name, _, corner = tile.sample.partition("#")
        row, column = map(int, corner.split(","))
        whole = next(sample for sample in manifest.samples if sample.sample == name)
        assert (tile.scene, tile.split) == (whole.scene, whole.split)
        area = np.s_[..., row : row + 20, column : column + 20]
        expected = read_sample(manifest.root, whole, manifest.sensors)["sentinel1"][area]
        assert np.array_equal(read_sample(packed.root, tile, packed.sensors)["sentinel1"], expected, equal_nan=True)
        assert np.array_equal(read_mask(packed.root, tile), read_mask(manifest.root, whole)[area])
    with pytest.raises(InputError, match="multiple of 2"):
        cut_manifest(manifest, 21)
    assert cut_manifest(manifest, 48) == manifest


STRICT = tuple(kind for kind in NOISE if kind not in ("constant-band", "empty-band", "unreadable"))


def write_mosaic(root: Path, flat: int = 30) -> Manifest:
    """Sentinel-2 of 60 x 60 whose B02 is of one value in its first `flat` rows, with a corner of 30 x 30 outside."""
    bands = ("B02", "B03", "B04")
    stored = np.random.default_rng(5).integers(100, 3000, (3, 60, 60)).astype(np.uint16)
    stored[0, :flat] = 12
    stored[:, 30:, 30:] = 65535
    write_geotiff(root / "mosaic.tif", stored, nodata=65535)
    image = SensorImage(
        sensor="sentinel2",
        height=60,
        width=60,
        files=(RasterFile(path="mosaic.tif", bands=bands, file_bands=(1, 2, 3)),),
    )
    mask = RasterFile(path="mask.tif", bands=("mask",), file_bands=(1,))
    write_geotiff(root / mask.path, np.ones((1, 60, 60), np.uint8))
    sample = Sample(sample="mosaic", scene="mosaic", split="train", images=(image,), mask=mask)
    return Manifest(root=root, layout="x", sensors={"sentinel2": load_sensor("sentinel2")}, samples=(sample,))


def test_tiles_without_data_are_dropped_and_counted(tmp_path: Path):
    mosaic = write_mosaic(tmp_path / "files")
    index = write_shards(mosaic, tmp_path / "out", options(crop=15, accept=STRICT))
    outside = {f"mosaic#{row},{column}" for row in (30, 45) for column in (30, 45)}
    assert set(index.left_out) == outside
    packed = open_shards(tmp_path / "out")
    kept = [sample for sample in cut_manifest(mosaic, 15).samples if sample.sample not in outside]
    assert_same_samples(replace(mosaic, samples=tuple(kept)), packed)
    write_manifest(mosaic, tmp_path / "it.parquet")
    accepted = [word for kind in STRICT for word in ("--accept", kind)]
    told = run("data", "shard", tmp_path / "it.parquet", tmp_path / "told", "--crop", 15, *accepted)
    assert "dropped 4 tiles without data" in told and "12 samples" in told
    assert "left out" not in told
    (tmp_path / "out" / "manifest.parquet").unlink()
    assert write_shards(mosaic, tmp_path / "out", options(crop=15, accept=STRICT)).left_out == index.left_out
    assert open_shards(tmp_path / "out").samples == packed.samples


def test_a_pair_of_which_a_tile_has_one_image_is_no_pair_there(tmp_path: Path):
    files = tmp_path / "files"
    pair = make_manifest(files, 1, 60)
    radar = np.random.default_rng(0).normal(-12, 3, (2, 60, 60)).astype(np.float32)
    radar[:, :, :30] = np.nan
    write_geotiff(files / "0_radar.tif", radar)
    index = write_shards(pair, tmp_path / "out", options(crop=30, accept=STRICT))
    assert list(index.left_out) == ["place0#0,0", "place0#30,0"]
    assert all(set(sample.sensors) == {"sentinel1", "sentinel2"} for sample in open_shards(tmp_path / "out").samples)


def test_a_tile_without_data_is_dropped_whatever_its_numbers_are(tmp_path: Path):
    mosaic = write_mosaic(tmp_path / "files")
    numbers = np.random.default_rng(6).normal(0, 9, (3, 60, 60)).astype(np.complex64)
    numbers[:, 30:, 30:] = np.nan
    write_geotiff(tmp_path / "files" / "mosaic.tif", numbers)
    index = write_shards(mosaic, tmp_path / "out", options(crop=30))
    assert index.left_out == {"mosaic#30,30": NO_DATA}


@pytest.mark.parametrize("blank_first", [True, False])
def test_a_file_that_cannot_be_read_is_told_of_a_tile_without_data_too(tmp_path: Path, blank_first: bool):
    mosaic = write_mosaic(tmp_path / "files")
    broken = tmp_path / "files" / "broken.tif"
    write_geotiff(broken, np.random.default_rng(1).integers(1, 3000, (3, 60, 60)).astype(np.uint16))
    broken.write_bytes(broken.read_bytes()[:-2000])
    images = (mosaic.samples[0].images[0], replace(_of("broken.tif", mosaic.samples[0]), role="after"))
    pair = replace(mosaic.samples[0], images=images if blank_first else images[::-1])
    chosen = options(crop=30, skip_bad=4, accept=tuple(kind for kind in NOISE if kind != "unreadable"))
    with pytest.raises(InputError, match=r"no sample can be used$"):
        write_shards(replace(mosaic, samples=(pair,)), tmp_path / "out", chosen)


def test_an_image_without_data_is_not_dropped_unseen(tmp_path: Path):
    mosaic = write_mosaic(tmp_path / "files")
    write_geotiff(tmp_path / "files" / "mosaic.tif", np.full((3, 60, 60), 65535, np.uint16), nodata=65535)
    with pytest.raises(InputError, match="no pixel has data"):
        write_shards(mosaic, tmp_path / "whole", options(accept=STRICT))
    with pytest.raises(InputError, match="no sample can be used: 16 tiles are without data"):
        write_shards(mosaic, tmp_path / "out", options(crop=15, accept=STRICT))


def test_whether_a_band_is_of_one_value_the_whole_image_says(tmp_path: Path):
    some = write_mosaic(tmp_path / "some")
    assert len(write_shards(some, tmp_path / "out", options(crop=30, accept=STRICT)).left_out) == 1
    everywhere = write_mosaic(tmp_path / "everywhere", flat=60)
    with pytest.raises(InputError, match="band B02: error constant-band"):
        write_shards(everywhere, tmp_path / "none", options(crop=30, accept=STRICT))


def test_what_a_tile_is_too_little_to_judge_by_the_whole_image_says(tmp_path: Path):
    """Half of it is sea: its tiles are of one number, as a border is that nobody declared."""
    heights = 20 + 5 * np.add.outer(np.arange(64), np.sin(np.arange(64) / 5)).astype(np.float32)
    heights[:, :40] = 0
    heights[30:34, 10:14] = 3
    write_geotiff(tmp_path / "files" / "sea.tif", heights[None])
    run("data", "index", "image-folder", tmp_path / "files", "--sensor", "dsm", "--out", tmp_path / "it.parquet")
    run("data", "shard", tmp_path / "it.parquet", tmp_path / "tiles", "--crop", 16)
    assert len(open_shards(tmp_path / "tiles").samples) == 16
    write_geotiff(tmp_path / "files" / "sea.tif", 100 * heights[None])
    refused = invoke("data", "shard", tmp_path / "it.parquet", tmp_path / "other", "--crop", 16)
    assert refused.exit_code == 2
    assert "centimetres" in refused.stderr


def test_real_images_that_are_clean_are_clean_in_tiles(real_data: Path, tmp_path: Path):
    sensors = [
        f"{sensor}={folder}" for sensor, folder in (("dsm", "DEM"), ("rgb", "S2RGB"), ("sentinel2_l2a", "S2L2A"))
    ]
    words = [word for sensor in sensors for word in ("--sensor", sensor)]
    run("data", "index", "pairs", real_data / "TerraMesh", *words, "--out", tmp_path / "it.parquet")
    for size in (56, 112):
        run("data", "shard", tmp_path / "it.parquet", tmp_path / str(size), "--crop", size)
        assert len(open_shards(tmp_path / str(size)).samples) == 3 * (224 // size) ** 2


def test_stopped_between_chunks_tiles_without_data_stay_dropped(tmp_path: Path):
    files = tmp_path / "files"
    mosaic = write_mosaic(files)
    other = replace(mosaic.samples[0], sample="other", images=(_of("other.tif", mosaic.samples[0]),))
    write_geotiff(files / "other.tif", np.random.default_rng(1).integers(1, 3000, (3, 60, 60)).astype(np.uint16))
    both = replace(mosaic, samples=(*mosaic.samples, other))
    chosen = options(2_000, crop=15, accept=STRICT)
    write_shards(both, tmp_path / "at_once", chosen)
    content = (files / "other.tif").read_bytes()
    (files / "other.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="finished chunks are kept"):
        write_shards(both, tmp_path / "out", chosen)
    (files / "other.tif").write_bytes(content)
    assert len(list((tmp_path / "out").glob(".chunk*.json"))) >= 8, "the first image's chunks were finished"
    write_shards(both, tmp_path / "out", replace(chosen, workers=2))
    assert content_of(tmp_path / "out") == content_of(tmp_path / "at_once")


def _of(path: str, sample: Sample) -> SensorImage:
    (image,) = sample.images
    return replace(image, files=(replace(image.files[0], path=path),))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_says_that_the_same_command_goes_on_and_it_does(tmp_path: Path, workers: int):
    listing = write_many(tmp_path / "files", 30, size=440)  # more than a MB each, so each makes a chunk
    out = tmp_path / "out"
    arguments = [str(word) for kind in NOISE for word in ("--accept", kind)]
    command = [str(SCRIPT), "data", "shard", str(listing), str(out), "--chunk-mb", "1", "--workers", str(workers)]
    process = subprocess.Popen([*command, *arguments], stdout=-1, stderr=-1, text=True, start_new_session=True)
    while not list(out.glob(".chunk*.json")) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    said, told = process.communicate(timeout=60)
    assert (process.returncode, said, told) == (130, "", "stopped; the same command goes on\n")
    assert not (out / "shards.json").exists(), "it was stopped before the end"
    assert "30 samples in 30 chunks" in run(*command[1:], *arguments)


def test_commands(manifest: Manifest, tmp_path: Path):
    write_manifest(manifest, tmp_path / "it.parquet")
    accepted = [word for kind in NOISE for word in ("--accept", kind)]
    assert "7 samples in 1 chunks" in run("data", "shard", tmp_path / "it.parquet", tmp_path / "out", *accepted)
    assert "as it was written" in run("data", "verify", tmp_path / "out")
    assert "no shards" in refused("data", "verify", tmp_path)
    assert "no kind of finding 'noise'" in refused("data", "shard", tmp_path / "it.parquet", "x", "--accept", "noise")
    assert invoke("data", "shard", tmp_path / "it.parquet", tmp_path / "x", "--crop", "big").exit_code == 2


def test_what_is_no_shards_is_called_what_it_is(manifest: Manifest, shards: Path, tmp_path: Path):
    assert "a file, not a folder of shards" in refused("data", "verify", shards / "chunk-0-0.bin")
    for place in ("gs://bucket/it", "s3:bucket", "s3:/bucket/it", "https://host/it"):
        with pytest.raises(InputError, match=r"only s3://bucket/prefix or a folder"):
            write_shards(manifest, place, options())
        recipe = write_recipe(tmp_path / "recipe.yaml", {"it": place})
        assert "only s3://bucket/prefix or a folder" in refused("pretrain", recipe)
    (tmp_path / "empty").mkdir()
    recipe = write_recipe(tmp_path / "recipe.yaml", {"it": tmp_path / "empty"})
    for told in (refused("pretrain", recipe), refused("data", "check", tmp_path / "empty")):
        assert f"--out {tmp_path / 'empty'}" not in told.replace("\n", "")


def test_a_folder_of_shards_is_read_as_its_manifest(shards: Path):
    assert read_manifest(shards) == read_manifest(shards / "manifest.parquet")
    accepted = [word for kind in NOISE for word in ("--accept", kind)]
    assert "sentinel1" in run("data", "stats", shards)
    assert run("data", "check", shards, *accepted) == run("data", "check", shards / "manifest.parquet", *accepted)


def test_what_cannot_be_read_cannot_be_accepted(tmp_path: Path):
    broken = make_manifest(tmp_path / "files", 1)
    (tmp_path / "files" / "0_fine.tif").unlink()
    with pytest.raises(InputError, match=r"0_fine\.tif") as told:
        write_shards(broken, tmp_path / "out", options(accept=tuple(kind for kind in NOISE if kind != "unreadable")))
    assert "--accept" not in str(told.value)


def write_many(folder: Path, count: int, size: int = 32) -> Path:
    """A manifest of photographs whose first pixel says which it is."""
    samples = []
    for k in range(count):
        image = np.full((3, size, size), 7 * k % 251, np.uint8)
        write_geotiff(folder / f"{k:03d}.tif", image)
        files = (RasterFile(path=f"{k:03d}.tif", bands=("R", "G", "B"), file_bands=(1, 2, 3)),)
        image_of = SensorImage(sensor="rgb", height=size, width=size, files=files)
        samples.append(Sample(sample=f"{k:03d}", scene=f"{k:03d}", split="train", images=(image_of,)))
    cards = {"rgb": load_sensor("rgb")}
    write_manifest(Manifest(root=folder, layout="x", sensors=cards, samples=tuple(samples)), folder / "it.parquet")
    return folder / "it.parquet"


@pytest.mark.slow
def test_killed_at_ten_points_and_continued_the_bytes_are_the_same(tmp_path: Path):
    listing = read_manifest(write_many(tmp_path / "files", 240))
    begun = time.monotonic()
    write_shards(listing, tmp_path / "whole", options(75_000))
    per_chunk = (time.monotonic() - begun) / 20
    expected = content_of(tmp_path / "whole")
    assert len(expected) == 20 + 3
    killed, rng, finished = tmp_path / "killed", random.Random(0), []

    def count() -> int:
        return len(list(killed.glob(".chunk*.json")))

    for number in range(10):
        arguments = (listing, killed, options(75_000, workers=1 + number % 2))
        process = multiprocessing.get_context("fork").Process(target=write_shards, args=arguments)
        process.start()
        goal = count() + rng.randrange(2)
        while count() < goal and process.is_alive():
            time.sleep(0.001)
        time.sleep(rng.random() * per_chunk)
        process.kill()
        process.join()
        time.sleep(0.3)  # its workers see that it is gone
        finished.append(count())
    assert not (killed / "shards.json").exists(), "all kills came before the end"
    assert len(set(finished)) > 3, "chunks were finished between kills"
    write_shards(listing, killed, options(75_000))
    assert content_of(killed) == expected


def one_source(packed: Manifest, sensors: list[str]) -> Source:
    samples = [
        replace(sample, images=tuple(image for image in sample.images if image.sensor in sensors and not image.role))
        for sample in packed.samples
    ]
    cards = {name: packed.sensors[name] for name in sensors}
    only = replace(packed, samples=tuple(samples), sensors=cards)
    return Source(name="it", manifests=(only,), sensors=tuple(sensors), batch_size=1, lr=1.0)


def loader(source: Source, *, batch_size: int, workers: int, start: int, end: int, **order: int) -> DataLoader[Batch]:
    data = MixtureDataset(
        [source], source.sensors, image_size=32, mask_patch_size=8, mask_ratio=0.5, cross_sensor_share=0.0, seed=0
    )
    stream = MixtureOrder([len(source)], [batch_size], seed=3, world_size=1, accumulate=1, **order)
    sampler = MixtureSampler(stream, rank=0, start=start, end=end)
    return DataLoader(data, batch_sampler=sampler, collate_fn=lambda batch: batch, num_workers=workers)


@pytest.mark.parametrize("order", [{}, {"block": 10, "window": 2}])
def test_resumed_in_the_middle_of_an_epoch_with_fewer_workers_every_sample_comes_once(
    tmp_path: Path, order: dict[str, int]
):
    listing = write_many(tmp_path / "files", 60)
    write_shards(read_manifest(listing), tmp_path / "shards", options(75_000))
    source = one_source(open_shards(tmp_path / "shards"), ["rgb"])
    seen = []
    for workers, start, end in ((2, 0, 9), (1, 9, 20)):
        for batch in loader(source, batch_size=3, workers=workers, start=start, end=end, **order):
            seen += [round(float(image[0, 0, 0]) * 255) for image in batch.images["rgb"]]
    assert sorted(seen) == sorted(7 * k % 251 for k in range(60))
    assert seen != sorted(seen)


@pytest.mark.parametrize(
    ("length", "block", "window"), [(100, 7, 3), (100, 10, 1), (5, 10, 4), (64, 1, 8), (64, 8, 99)]
)
def test_a_shuffle_in_windows_leaves_no_sample_out_and_few_blocks_open(length: int, block: int, window: int):
    order = shuffled(length, (1, 2, 3), block, window)
    assert sorted(order) == list(range(length))
    assert order.tolist() == shuffled.__wrapped__(length, (1, 2, 3), block, window).tolist()
    assert length < 10 or order.tolist() != shuffled(length, (1, 2, 4), block, window).tolist()
    blocks = order // block
    for k in set(blocks.tolist()):
        places = np.flatnonzero(blocks == k)
        assert places.max() - places.min() < block * window, "a block is done within its window"


def test_training_from_shards_is_training_from_files(tmp_path: Path):
    manifests = write_data(tmp_path / "data")
    packed = {}
    accepted = [word for kind in NOISE for word in ("--accept", kind)]
    for name, path in manifests.items():
        packed[name] = tmp_path / "shards" / name
        run("data", "shard", path, packed[name], *accepted)
    logs, scores = [], []
    for kind, chosen in (("files", manifests), ("shards", packed)):
        (tmp_path / kind).mkdir(exist_ok=True)
        run("pretrain", write_recipe(tmp_path / kind / "recipe.yaml", chosen, epochs=1))
        logs.append(read_log(tmp_path / kind / "run"))
        scores.append((tmp_path / kind / "run" / "scores.csv").read_text())
    assert logs[0].column("loss") == logs[1].column("loss")
    assert logs[0].column("grad_norm") == logs[1].column("grad_norm")
    assert scores[0] == scores[1]
    assert all(0 <= share <= 1 for share in logs[1].numbers("data_wait"))


def test_real_images_come_back_and_train_alike(real_data: Path, tmp_path: Path):
    chosen = {
        "bigearthnet": ("bigearthnet", real_data / "BigEarthNet-v1"),
        "ssl4eo": ("ssl4eo-s12", real_data / "SSL4EO-S12"),
        "levir": ("image-folder", real_data / "LEVIR-CD-256" / "A"),
    }
    files, packed = {}, {}
    for name, (layout, root) in chosen.items():
        files[name], packed[name] = tmp_path / f"{name}.parquet", tmp_path / "shards" / name
        write_manifest(index_layout(layout, root, LayoutOptions(), split="train").manifest, files[name])
        run("data", "shard", files[name], packed[name])
        theirs, ours = read_manifest(files[name]), open_shards(packed[name])
        for sample, original in zip(ours.samples, theirs.samples, strict=True):
            expected = read_sample(theirs.root, original, theirs.sensors)
            for key, image in read_sample(ours.root, sample, ours.sensors).items():
                assert image.tobytes() == expected[key].tobytes()
    losses = []
    for kind, manifests in (("files", files), ("packed", packed)):
        (tmp_path / kind).mkdir()
        run("pretrain", write_recipe(tmp_path / kind / "recipe.yaml", manifests, epochs=1))
        losses.append(read_log(tmp_path / kind / "run").column("loss"))
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == len(losses[0]) > 2
