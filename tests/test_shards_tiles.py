"""Tiles that shards are cut into: what they show, which are dropped, and what the whole image decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shard_data import NOISE, assert_same_samples, content_of, make_manifest, options
from small_runs import invoke, run

from msgfm.data.masks import read_mask
from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage, write_manifest
from msgfm.data.sharding.cut import NO_DATA, cut_manifest
from msgfm.data.sharding.write import write_shards
from msgfm.data.shards.read import open_shards
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import load_sensor


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_manifest(tmp_path_factory.mktemp("files"))


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
