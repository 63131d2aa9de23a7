"""Small labelled data sets, written and listed without the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msgfm.data.mixture import SampleKey
from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage, write_manifest
from msgfm.data.tasks import DataConfig, TaskBatch, TaskData, TaskDataset, load_task_data
from msgfm.geo.raster import write_geotiff
from msgfm.models.inputs import InputImage
from msgfm.models.tasks import ChangeDetection, Classification, Restoration, Segmentation
from msgfm.sensors import load_sensor

CLASSES = ("field", "lake", "wood")


def positions(height: int, width: int) -> np.ndarray:
    """A number for each pixel, so that one knows where it came from."""
    return np.arange(height * width).reshape(height, width)


def image(root: Path, key: str, name: str, values: np.ndarray) -> SensorImage:
    """Writes (C, H, W) numbers as they are stored, and lists them."""
    sensor, _, role = key.partition("@")
    path = f"{key.replace('@', '_')}/{name}.tif"
    write_geotiff(root / path, values)
    bands = load_sensor(sensor).band_names
    file = RasterFile(path=path, bands=bands, file_bands=tuple(range(1, len(bands) + 1)))
    return SensorImage(sensor=sensor, height=values.shape[1], width=values.shape[2], files=(file,), role=role)


def mask(root: Path, name: str, values: np.ndarray) -> RasterFile:
    """Writes (H, W) class numbers."""
    write_geotiff(root / f"mask/{name}.tif", values[None].astype(np.int16))
    return RasterFile(path=f"mask/{name}.tif", bands=("mask",), file_bands=(1,))


def save(root: Path, samples: Sequence[Sample], **facts: Any) -> Path:
    """Writes the manifest beside the images."""
    sensors = {name: load_sensor(name) for sample in samples for name in sample.sensors}
    path = root / "manifest.parquet"
    write_manifest(Manifest(root=root, layout="pairs", sensors=sensors, samples=tuple(samples), **facts), path)
    return path


def write_labelled(root: Path, counts: dict[str, int], size: int = 8) -> Path:
    """Photographs with one label each: so many in each split and class, one scene each."""
    rng = np.random.default_rng(0)
    samples = []
    for split, count in counts.items():
        for i in range(count * len(CLASSES)):
            name = f"{split}{i:03d}"
            shown = image(root, "rgb", name, rng.integers(1, 255, (3, size, size)).astype(np.uint8))
            label = CLASSES[i % len(CLASSES)]
            samples.append(Sample(sample=name, scene=name, split=split, images=(shown,), labels=(label,)))
    return save(root, samples, classes=CLASSES)


def write_masked(root: Path, height: int = 12, width: int = 20, keys: Sequence[str] = ("sentinel1", "rgb")) -> Path:
    """Five places whose images and masks say where a pixel came from; the last lacks the first sensor."""
    place = positions(height, width)
    stored = {
        "sentinel1": np.stack([-place / 10 - 1, -place / 10 - 2]).astype(np.float32),
        "rgb": np.stack([place, place, place]).astype(np.uint8),
    }
    samples = []
    for i, split in enumerate(["train", "train", "train", "val", "test"]):
        there = keys if i < 4 else keys[1:]
        images = tuple(image(root, key, str(i), stored[key.partition("@")[0]]) for key in there)
        samples.append(
            Sample(sample=str(i), scene=str(i), split=split, images=images, mask=mask(root, str(i), place % 3))
        )
    return save(root, samples, mask_classes=dict(enumerate(CLASSES)))


def load(
    manifest: Path | list[Path],
    task: Classification | Segmentation | Restoration | ChangeDetection,
    inputs: str,
    **settings: Any,
) -> TaskData:
    """Data of a task; `inputs` as in recipes, with spaces between."""
    seed, on_train = settings.pop("run_seed", 0), settings.pop("test_on_train", False)
    config = DataConfig.model_validate({"manifest": manifest} | settings)
    images = [InputImage.model_validate(text) for text in inputs.split()]
    return load_task_data(config, task, images, seed=seed, test_on_train=on_train)


def batch(dataset: TaskDataset | None, epoch: int = 0, numbers: Sequence[int] | None = None) -> TaskBatch:
    """All windows of a data set, or some, as one batch."""
    assert dataset is not None
    return dataset.__getitems__([SampleKey(0, epoch, i) for i in (range(len(dataset)) if numbers is None else numbers)])
