"""Shards: the same samples as from files, whatever happens while they are written or afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shard_data import NOISE, assert_same_samples, content_of, flip, loader, make_manifest, one_source, options
from small_runs import invoke, refused, run, write_recipe

from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest, read_manifest, write_manifest
from msgfm.data.sharding.sources import fingerprint
from msgfm.data.sharding.write import write_shards
from msgfm.data.shards.codec import unpack
from msgfm.data.shards.read import open_shards
from msgfm.data.shards.verify import verify_shards
from msgfm.errors import InputError
from msgfm.files import lock_folder
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import Sensor, load_sensor


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
