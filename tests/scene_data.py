"""Files that scenes are made of, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio import Affine

UTM = "EPSG:32633"
LEFT, TOP = 500_000.0, 5_000_000.0


def at(metres: float = 10, left: float = LEFT, top: float = TOP) -> Affine:
    """North-up square pixels."""
    return Affine(metres, 0, left, 0, -metres, top)


def write(
    path: Path,
    array: np.ndarray[Any, Any],
    *,
    crs: str | None = UTM,
    transform: Affine | None = None,
    names: Sequence[str] = (),
    nodata: float | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
    block: int = 0,
    **more: Any,
) -> Path:
    """Writes C x H x W as a GeoTIFF (or what `driver` says)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = array.shape
    if "gcps" not in more and not (crs is None and transform is None):
        more["transform"] = at() if transform is None else transform
    tiles = {"tiled": True, "blockxsize": block, "blockysize": block} if block else {}
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": array.dtype.name}
    with rasterio.open(path, "w", **(profile | tiles | more), crs=crs, nodata=nodata) as target:
        target.write(array)
        target.scales, target.offsets = [scale] * count, [offset] * count
        for band, name in enumerate(names, start=1):
            target.set_band_description(band, name)
    return path


def ground(height: int, width: int, *, seed: int = 0, count: int = 1) -> np.ndarray[Any, Any]:
    """Smooth hills between 0 and 1, C x H x W."""
    draw = np.random.default_rng(seed)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    bands = []
    for _ in range(count):
        waves = draw.uniform(0.02, 0.2, (6, 2))
        phases = draw.uniform(0, 6.3, 6)
        hills = sum(np.sin(a * rows + b * columns + p) for (a, b), p in zip(waves, phases, strict=True))
        bands.append(hills / 12 + 0.5)
    return np.stack(bands).astype(np.float32)


def reflectance(height: int, width: int, *, seed: int = 0, count: int = 1) -> np.ndarray[Any, Any]:
    """As Sentinel-2 is stored."""
    return (500 + 2000 * ground(height, width, seed=seed, count=count)).astype(np.uint16)


def backscatter(height: int, width: int, *, seed: int = 1) -> np.ndarray[Any, Any]:
    """VV and VH in dB."""
    hills = ground(height, width, seed=seed)[0]
    return np.stack([hills * 20 - 22, hills * 18 - 28]).astype(np.float32)
