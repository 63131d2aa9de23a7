"""Manifests of given pixels, for the tests of statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage
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


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, " ".join((result.stdout + result.stderr).split())
