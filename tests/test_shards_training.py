"""Training from shards: the order of samples, a resume in the middle, and the same losses as from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shard_data import NOISE, loader, one_source, options, write_many
from small_runs import read_log, run, write_data, write_recipe

from msgfm.data.layouts import LayoutOptions, index_layout
from msgfm.data.mixture import shuffled
from msgfm.data.reader import read_sample
from msgfm.data.records import read_manifest, write_manifest
from msgfm.data.sharding.write import write_shards
from msgfm.data.shards.read import open_shards


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
