"""Small images of one place for tests of previews: radar, reflectance, classes, with their coordinates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from scene_data import write

HEIGHT, WIDTH = 60, 90


def write_scene(folder: Path) -> tuple[Path, Path, Path]:
    """Sentinel-1 in dB, Sentinel-2 with three bands and an empty corner, and a map of two classes with a palette."""
    random = np.random.default_rng(0)
    radar = random.normal((-10, -17), 3, (HEIGHT, WIDTH, 2)).transpose(2, 0, 1).astype(np.float32)
    reflectance = random.integers(300, 3000, (3, HEIGHT, WIDTH)).astype(np.uint16)
    reflectance[:, :10, :10] = 0
    classes = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    classes[:, :, WIDTH // 2 :] = 1
    water = write(folder / "water.tif", classes)
    with rasterio.open(water, "r+") as target:
        target.write_colormap(1, {0: (230, 200, 140, 255), 1: (20, 60, 220, 255)})
    return (
        write(folder / "s1.tif", radar, names=("VV", "VH"), nodata=np.nan),
        write(folder / "s2.tif", reflectance, names=("B02", "B03", "B04"), nodata=0),
        water,
    )
