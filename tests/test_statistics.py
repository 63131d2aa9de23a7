"""Statistics against numpy on all pixels at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage
from msgfm.data.statistics import band_statistics, card_lines
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import Sensor


def manifest_of(root: Path, sensor: Sensor, images: list[np.ndarray], splits: list[str]) -> Manifest:
    samples = []
    for i, (array, split) in enumerate(zip(images, splits, strict=True)):
        write_geotiff(root / f"{i}.tif", array)
        count = len(array)
        file = RasterFile(path=f"{i}.tif", bands=sensor.band_names[:count], file_bands=tuple(range(1, count + 1)))
        image = SensorImage(sensor=sensor.name, height=array.shape[1], width=array.shape[2], files=(file,))
        samples.append(Sample(sample=str(i), scene=str(i), split=split, images=(image,)))
    return Manifest(root=root, layout="pairs", sensors={sensor.name: sensor}, samples=tuple(samples))


def card(**more: object) -> Sensor:
    bands = [{"name": name} for name in ("A", "B", "C")]
    return Sensor.model_validate({"name": "s", "unit": "m", "valid_range": [-500, 9000], "bands": bands} | more)


@pytest.fixture
def heights() -> list[np.ndarray]:
    """Three images, two bands, 3000 m up with a spread of one metre, a few holes, unlike sizes."""
    random = np.random.default_rng(1)
    images = [random.normal(3000 + 50 * i, 1, (2, 8, 4 + i)).astype(np.float32) for i in range(3)]
    images[1][1, :3] = np.nan
    return images


def test_statistics_are_those_of_all_pixels_together(tmp_path: Path, heights: list[np.ndarray]) -> None:
    manifest = manifest_of(tmp_path, card(), heights, ["train", "train", "val"])
    found = band_statistics(manifest, split="train")["s"]
    for i, name in enumerate("AB"):
        pixels = np.concatenate([image[i].ravel() for image in heights[:2]]).astype(np.float64)
        values = pixels[np.isfinite(pixels)]
        assert found[name].mean == pytest.approx(values.mean(), rel=1e-12)
        assert found[name].std == pytest.approx(values.std(), rel=1e-9)
        assert (found[name].minimum, found[name].maximum) == (values.min(), values.max())
        assert found[name].valid_share == pytest.approx(values.size / pixels.size)
    assert found["C"].valid_share == 0 and np.isnan(found["C"].mean)


def test_centring_takes_each_images_own_mean_away(tmp_path: Path, heights: list[np.ndarray]) -> None:
    manifest = manifest_of(tmp_path, card(centre="image"), heights, ["train"] * 3)
    found = band_statistics(manifest, split="all")["s"]["B"]
    centred = np.concatenate([(i[1].astype(np.float64) - np.nanmean(i[1].astype(np.float64))).ravel() for i in heights])
    assert found.mean == pytest.approx(0, abs=1e-9)
    assert found.std == pytest.approx(np.nanstd(centred), rel=1e-9)
    assert found.std < 2 < np.nanstd(np.concatenate([i[1].ravel() for i in heights]))


def test_clipping_is_that_of_the_card(tmp_path: Path) -> None:
    image = np.array([-40, -20, -10, 3], np.float32).reshape(1, 2, 2)
    manifest = manifest_of(tmp_path, card(clip=True, valid_range=[-30, 0]), [image], ["train"])
    found = band_statistics(manifest)["s"]["A"]
    assert found.mean == pytest.approx((-30 - 20 - 10 + 0) / 4)
    assert (found.minimum, found.maximum) == (-40, 3)


def test_card_lines_are_yaml_of_the_bands_that_have_data(tmp_path: Path, heights: list[np.ndarray]) -> None:
    manifest = manifest_of(tmp_path, card(), heights, ["train"] * 3)
    found = band_statistics(manifest)["s"]
    lines = yaml.safe_load(card_lines(manifest.sensors["s"], found))
    assert [band["name"] for band in lines["bands"]] == ["A", "B"]
    assert lines["bands"][0]["std"] == pytest.approx(found["A"].std, rel=1e-5)
