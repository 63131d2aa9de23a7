"""Shards whose making is stopped or killed: the same command goes on, and the bytes are the same."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from shard_data import NOISE, assert_same_samples, content_of, make_manifest, options, write_many
from small_runs import SCRIPT, run

from msgfm.data.records import Manifest, read_manifest
from msgfm.data.sharding.write import write_shards
from msgfm.data.shards.read import open_shards
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff


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
