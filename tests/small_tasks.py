"""Small data and small fine-tuning runs for the tests that go through the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from small_runs import TINY_MODEL, run, write_data, write_recipe

from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage, write_manifest
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import load_sensor

CLASSES = ("dim", "grey", "bright")
COUNTS = {"train": 12, "val": 3, "test": 4}


def write_task_data(folder: Path, size: int = 32) -> Path:
    """Writes images of one place each, and their manifest; returns that.

    Every sample has sentinel1, rgb, rgb@cloudy (rgb under a white square), rgb@before and rgb@after (a bright block
    came), one label (how bright it is) and a mask of the block, 0 and 1, with 9 (no class) along its upper edge.
    """
    samples = []
    for split, count in COUNTS.items():
        for i in range(count):
            samples.append(_write_sample(folder, f"{split}_{i:02d}", split, i % 3, size))
    manifest = Manifest(
        root=folder,
        layout="test",
        sensors={name: load_sensor(name) for name in ("rgb", "sentinel1")},
        samples=tuple(samples),
        classes=CLASSES,
        mask_classes={0: "unchanged", 1: "changed"},
    )
    write_manifest(manifest, folder / "task.parquet")
    return folder / "task.parquet"


def _write_sample(folder: Path, name: str, split: str, label: int, size: int) -> Sample:
    rng = np.random.default_rng(list(name.encode()))
    before = (rng.normal(0, 12, (3, size, size)) + 50 + 70 * label).clip(0, 255)
    top, left = rng.integers(4, size // 2, 2)
    after, cloudy, mask = before.copy(), before.copy(), np.zeros((1, size, size), np.uint8)
    after[:, top : top + 10, left : left + 10] = 250 - 60 * label
    mask[:, top : top + 10, left : left + 10] = 1
    mask[:, 0] = 9
    cloudy[:, : size // 2, : size // 2] = 255
    radar = rng.normal(-12, 3, (2, size, size)) + 2 * label
    arrays = {"rgb": before, "cloudy": cloudy, "before": before, "after": after}
    files = {key: (folder / key / f"{name}.tif", array.astype(np.uint8)) for key, array in arrays.items()}
    files |= {"sentinel1": (folder / "sentinel1" / f"{name}.tif", radar.astype(np.float32))}
    files |= {"mask": (folder / "mask" / f"{name}.tif", mask)}
    for path, array in files.values():
        write_geotiff(path, array)
    images = [_image("sentinel1", "", "sentinel1", name, size), _image("rgb", "", "rgb", name, size)]
    images += [_image("rgb", role, role, name, size) for role in ("cloudy", "before", "after")]
    file = RasterFile(path=f"mask/{name}.tif", bands=("mask",), file_bands=(1,))
    return Sample(sample=name, scene=name, split=split, images=tuple(images), labels=(CLASSES[label],), mask=file)


def _image(sensor: str, role: str, folder: str, name: str, size: int) -> SensorImage:
    bands = load_sensor(sensor).band_names
    file = RasterFile(path=f"{folder}/{name}.tif", bands=bands, file_bands=tuple(range(1, len(bands) + 1)))
    return SensorImage(sensor=sensor, role=role, height=size, width=size, files=(file,))


TASKS: dict[str, dict[str, Any]] = {
    "classification": {"task": {"kind": "classification"}, "inputs": ["sentinel1", "rgb"]},
    "segmentation": {"task": {"kind": "segmentation"}, "inputs": ["rgb@after", "sentinel1"]},
    "restoration": {
        "task": {"kind": "restoration", "target": "rgb", "over": "rgb@cloudy"},
        "inputs": ["sentinel1", "rgb@cloudy"],
    },
    "change_detection": {"task": {"kind": "change_detection"}, "inputs": ["rgb@before", "rgb@after"]},
}
ENCODER = TINY_MODEL["encoder"]


def write_finetune_recipe(path: Path, manifest: Path, kind: str, **changes: Any) -> Path:
    """A recipe of one task and seed on 24-pixel crops: a mixture, gate noise, stochastic depth, two epochs."""
    recipe = {
        "out": str(path.parent / "run"),
        "data": {"manifest": str(manifest), "image_size": 24, "unlisted": "ignore"},
        **TASKS[kind],
        "encoder": ENCODER,
        "epochs": 2,
        "batch_size": 4,
        "seeds": [0],
        "optim": {"lr": 2e-3, "warmup_epochs": 0.5},
        "hardware": {"accelerator": "cpu", "precision": "32-true", "num_workers": 0},
        "log": {"checkpoint_every_steps": 1000, "picture_every_steps": None, "tensorboard": False},
    }
    path.write_text(yaml.safe_dump(recipe | changes))
    return path


def pretrain_small(folder: Path) -> Path:
    """The folder of a pretrained model of sentinel1, rgb and dsm; hardly trained."""
    recipe = write_recipe(folder / "pretrain.yaml", write_data(folder / "pretraining"), epochs=1)
    run("pretrain", recipe, f"out={folder / 'pretrained'}")
    return folder / "pretrained"
