"""Data of restoration: targets, degraded inputs (Wald's protocol), shares of clouds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import run
from task_data import batch, image, load, positions, save, write_masked

from msgfm.data.records import Sample, read_manifest
from msgfm.data.tasks.clouds import cloud_share
from msgfm.data.tasks.read import TARGET
from msgfm.data.tasks.wald import degrade
from msgfm.errors import InputError
from msgfm.geo.raster import read_bands
from msgfm.models.panchromatic import find_panchromatic
from msgfm.models.tasks import Restoration
from msgfm.sensors import load_sensor


def restoration(target: str, over: str | None = None) -> Restoration:
    return Restoration.model_validate({"target": target, "over": over})


@pytest.fixture(scope="module")
def sharp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place with bands on a grid of 16 x 24 and a panchromatic image on one four times finer."""
    root = tmp_path_factory.mktemp("sharp")
    rng = np.random.default_rng(0)
    bands = rng.integers(100, 900, (8, 16, 24)).astype(np.uint16)
    pan = rng.integers(100, 900, (1, 64, 96)).astype(np.uint16)
    images = (image(root, "worldview3", "a", bands), image(root, "worldview3_pan", "a", pan))
    samples = [Sample(sample=split, scene=split, split=split, images=images) for split in ("train", "test")]
    return save(root, samples)


def test_the_target_is_another_image_of_the_sample(tmp_path: Path) -> None:
    manifest = write_masked(tmp_path, keys=("sentinel1", "rgb"))
    data = load(manifest, restoration("sentinel1:VH"), "rgb", image_size=12, test=None)
    assert data.classes == ()
    assert data.notes == ("1 samples left out: has no sentinel1, which the task needs",)
    one = batch(data.train, 3)
    place = (one.images["rgb"][:, :1] * 255).round()
    torch.testing.assert_close(one.target, -place / 10 - 2)
    assert one.clouds is not None
    assert one.clouds.isnan().all()


def test_reduced_resolution_has_the_bands_as_they_are_for_truth(sharp: Path) -> None:
    data = load(
        sharp, restoration("worldview3", "worldview3"), "worldview3 worldview3_pan", image_size=24, val=None, wald=4
    )
    assert data.ratio == 0.25
    one = batch(data.test)
    assert one.target.shape == (1, 8, 24, 24)
    assert one.images["worldview3_pan"].shape == (1, 1, 24, 24)
    truth, coarse = one.target[0, :, :16], one.images["worldview3"][0, :, :16]
    assert truth.isfinite().all()
    assert float(truth.std()) > 4 * float(coarse.std())  # of noise, a blur over 4 x 4 pixels leaves little
    assert float(truth.mean()) == pytest.approx(float(coarse.mean()), rel=0.02)
    assert one.target[0, :, 16:].isnan().all()


def test_full_resolution_has_no_truth(sharp: Path) -> None:
    data = load(
        sharp, restoration("worldview3", "worldview3"), "worldview3 worldview3_pan", image_size=24, val=None, wald=4
    )
    assert data.full_resolution is not None
    assert data.full_resolution.pan == "worldview3_pan"
    one = batch(data.full_resolution.dataset)
    assert one.images["worldview3_pan"].shape == (1, 1, 96, 96)
    assert one.images["worldview3_pan"][0, 0, :64].isfinite().all()
    assert one.target.shape == (1, 8, 96, 96)
    assert one.target.isnan().all()


def test_what_is_judged_at_full_resolution_is_the_images_as_stored(sharp: Path) -> None:
    """With the target's bands in its order; of a target named by role, too."""
    task = restoration("worldview3:NIR1,BLUE", "worldview3")
    data = load(sharp, task, "worldview3 worldview3_pan", image_size=24, val=None, wald=4)
    assert data.full_resolution is not None
    coarse, pan = data.full_resolution.read(0)
    card = load_sensor("worldview3")
    listed = read_manifest(sharp).samples[0]
    files = {shown.sensor: sharp.parent / shown.files[0].path for shown in listed.images}
    stored = read_bands(files["worldview3"], [card.index_of("NIR1") + 1, card.index_of("BLUE") + 1])
    np.testing.assert_array_equal(coarse, np.ma.getdata(stored))
    np.testing.assert_array_equal(pan, np.ma.getdata(read_bands(files["worldview3_pan"], [1])))
    assert data.splits["test_full_resolution"].samples == data.splits["test"].samples
    assert data.truths["test_full_resolution"] != data.truths["test"]


def test_without_a_panchromatic_image_there_is_no_full_resolution(sharp: Path) -> None:
    task = restoration("worldview3", "worldview3")
    data = load(sharp, task, "worldview3", image_size=24, val=None, wald=4)
    assert data.full_resolution is None
    assert data.splits.keys() == {"train", "test"}


def test_at_full_resolution_nothing_is_finer_than_the_panchromatic_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def sample(name: str, height: int) -> Sample:
        images = (
            image(tmp_path, "worldview3", name, rng.integers(100, 900, (8, 16, 24)).astype(np.uint16)),
            image(tmp_path, "worldview3_pan", name, rng.integers(100, 900, (1, 64, 96)).astype(np.uint16)),
            image(tmp_path, "dsm", name, rng.uniform(0, 9, (1, height, height * 3 // 2)).astype(np.float32)),
        )
        return Sample(sample=name, scene=name, split="test", images=images)

    manifest = save(tmp_path, [sample("finer", 128), sample("coarser", 32)])
    task = restoration("worldview3", "worldview3")
    settings = {"image_size": 24, "train": "test", "val": None, "wald": 4}
    data = load(manifest, task, "worldview3 worldview3_pan dsm", **settings)
    assert data.full_resolution is not None
    assert [one.sample for one in data.full_resolution.dataset.samples] == ["coarser"]


def test_the_ratio_of_images_as_they_are(sharp: Path) -> None:
    listed = read_manifest(sharp)
    fine, coarse = (
        next(i for i in listed.samples[0].images if i.sensor == n) for n in ("worldview3_pan", "worldview3")
    )
    task = restoration("worldview3_pan", "worldview3")
    data = load(sharp, task, "worldview3", image_size=96, val=None)
    assert data.ratio == coarse.width / fine.width
    assert batch(data.test).target.shape == (1, 1, 96, 96)


def test_wald_needs_the_target_among_the_inputs(sharp: Path) -> None:
    with pytest.raises(InputError, match="own degraded form; worldview3 is no input"):
        load(sharp, restoration("worldview3"), "worldview3_pan", val=None, wald=4)


@pytest.mark.parametrize(("bands", "gain"), [(2, 0.3), (1, 0.15)])
@pytest.mark.parametrize("ratio", [2, 4])
def test_the_blur_has_its_gain_at_the_new_nyquist_frequency(bands: int, gain: float, ratio: int) -> None:
    """A wave of half a cycle in each new pixel, taken at its crests, so that sampling does not weaken it."""
    x = np.arange(48 * ratio) + 0.5 - ratio / 2  # 0 in the middle of the first new pixel
    wave = np.cos(np.pi * x / ratio)
    coarse = degrade(np.broadcast_to(wave, (bands, 8 * ratio, len(x))).astype(np.float32), ratio)
    assert coarse.shape == (bands, 8, 48)
    middle = coarse[:, :, 8:-8]
    assert np.abs(middle) == pytest.approx(np.full(middle.shape, gain), abs=0.02)


def test_degrading_keeps_levels_and_holes() -> None:
    flat = np.full((3, 21, 33), 7.0, np.float32)  # not a multiple: as Landsat's 2 N + 1
    flat[:, :10] = np.nan
    coarse = degrade(flat, 2)
    assert coarse.shape == (3, 10, 16)
    assert np.isnan(coarse[:, :4]).all()
    np.testing.assert_allclose(coarse[:, 6:], 7.0, rtol=1e-5)


def test_heights_from_photographs_are_those_above_the_mean(tmp_path: Path) -> None:
    place = positions(8, 8)
    images = (
        image(tmp_path, "rgb", "a", np.stack([place] * 3).astype(np.uint8)),
        image(tmp_path, "dsm", "a", (place[None] + 500).astype(np.float32)),
    )
    sample = Sample(sample="a", scene="a", split="test", images=images)
    manifest = save(tmp_path, [sample])
    one = batch(load(manifest, restoration("dsm"), "rgb", image_size=8, train="test", val=None).test)
    np.testing.assert_allclose(one.target[0, 0], place - place.mean(), atol=1e-3)


def test_jitter_would_change_what_is_to_be_restored(tmp_path: Path) -> None:
    manifest = write_masked(tmp_path)
    with pytest.raises(InputError, match="jitter"):
        load(manifest, restoration("sentinel1"), "rgb", test=None, jitter=0.2)


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clouds")
    run("data", "synth", folder / "w", "--scenes", 8, "--seed", 5, "--size", 64, "--kinds", "sen12ms_cr")
    run("data", "index", "sen12ms-cr", folder / "w" / "sen12ms_cr", "--out", folder / "m.parquet", "--check", 0)
    return folder / "m.parquet"


def test_clouds_by_the_rule_are_those_of_the_worlds_masks(clouds: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from msgfm.data.records import read_manifest, write_manifest

    task = restoration("sentinel2", "sentinel2@cloudy")
    settings = {"train": "all", "val": None, "test": "all", "image_size": 64}
    known = batch(load(clouds, task, "sentinel1 sentinel2@cloudy", **settings).test).clouds
    manifest = read_manifest(clouds)
    without = tmp_path / "without.parquet"
    stripped = tuple(replace(sample, mask=None) for sample in manifest.samples)
    write_manifest(replace(manifest, samples=stripped, mask_classes={}), without)
    told = batch(load(without, task, "sentinel1 sentinel2@cloudy", **settings).test).clouds
    assert known is not None
    assert told is not None
    assert float(known.std()) > 0.1
    assert float(np.corrcoef(known, told)[0, 1]) > 0.9
    assert float((known - told).abs().mean()) < 0.15


def test_what_is_brighter_by_more_than_4_percent_of_reflectance_is_a_cloud() -> None:
    rgb = load_sensor("sentinel2").select(["B04", "B03", "B02", "B08"])
    target = np.full((4, 8, 8), 0.1, np.float32)
    cloudy = target.copy()
    cloudy[:3, :2] += 0.045
    cloudy[:3, 2:4] += 0.035
    cloudy[3, 4:] += 0.5  # near infrared alone, as of grass that grew
    layers = {"sentinel2@cloudy": cloudy, TARGET: target}
    cards = {"sentinel2@cloudy": rgb, TARGET: rgb}
    assert cloud_share(layers, restoration("sentinel2", "sentinel2@cloudy"), cards) == 0.25


def test_the_cloudy_image_is_never_dropped(clouds: Path) -> None:
    task = restoration("sentinel2", "sentinel2@cloudy")
    settings = {"train": "all", "val": None, "test": None, "image_size": 64, "sensor_dropout": 0.8}
    one = batch(load(clouds, task, "sentinel1 sentinel2@cloudy", **settings).train)
    assert one.images["sentinel2@cloudy"].isfinite().all()
    assert one.images["sentinel1"].isnan().flatten(1).all(1).any()


def test_the_panchromatic_image_has_one_band_in_the_visible() -> None:
    names = ("worldview3", "worldview3_pan", "sentinel1", "dsm", "landsat8")
    cards = {name: load_sensor(name) for name in names}
    cards["sentinel1"] = cards["sentinel1"].select(["VV"])
    cards["landsat8"] = cards["landsat8"].select(["B10"])  # thermal
    assert find_panchromatic(cards, "worldview3") == "worldview3_pan"
    cards["landsat8"] = load_sensor("landsat8").select(["B5"])  # near infrared
    assert find_panchromatic(cards, "worldview3") == "worldview3_pan"
    cards["landsat8"] = load_sensor("landsat8").select(["B8"])
    with pytest.raises(InputError, match="worldview3_pan and landsat8 all have one band in the visible"):
        find_panchromatic(cards, "worldview3")
    assert find_panchromatic(cards, "landsat8") == "worldview3_pan"
    del cards["worldview3_pan"], cards["landsat8"]
    assert find_panchromatic(cards, "worldview3") is None
    untold = load_sensor("worldview3_pan").with_setting("wavelength_nm", None)
    with pytest.raises(InputError, match="grey a panchromatic image"):
        find_panchromatic(cards | {"grey": untold}, "worldview3")
