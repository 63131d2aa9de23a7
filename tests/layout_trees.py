"""Small copies of data sets in their native folders, with random pixels, for the tests of layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from msgfm.data.layouts import IndexResult, LayoutOptions, index_layout
from msgfm.data.masks import read_mask
from msgfm.data.reader import Image, read_sample
from msgfm.data.records import Sample, SensorImage
from msgfm.geo.raster import write_geotiff

RNG = np.random.default_rng(0)


def tif(path: Path, *shape: int, low: float = 100, high: float = 3000, dtype: str = "uint16") -> np.ndarray:
    """A GeoTIFF of random numbers, C x H x W."""
    values = RNG.uniform(low, high, shape).astype(dtype)
    write_geotiff(path, values)
    return values


def decibels(path: Path, size: int = 8, bands: int = 2) -> np.ndarray:
    """Sentinel-1: VV and VH in dB."""
    return tif(path, bands, size, size, low=-24, high=-2, dtype="float32")


def picture(path: Path, size: int = 8) -> np.ndarray:
    """A colour picture of random pixels, H x W x 3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (size, size, 3), np.uint8)
    more = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}
    Picture.fromarray(pixels).save(path, **more)  # type: ignore[arg-type]
    return pixels


def mask(path: Path, size: tuple[int, int] = (8, 8), values: tuple[int, ...] = (0, 255)) -> np.ndarray:
    """A mask with these values, in one band."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.choice(np.array(values, np.uint8), size)
    Picture.fromarray(pixels).save(path)
    return pixels


def index(layout: str, root: Path, *sensors: str, **more: object) -> IndexResult:
    return index_layout(layout, root, LayoutOptions(sensors=sensors), **more)  # type: ignore[arg-type]


def samples(result: IndexResult) -> dict[str, Sample]:
    return {sample.sample: sample for sample in result.manifest.samples}


def image_of(sample: Sample, key: str) -> SensorImage:
    return next(image for image in sample.images if image.key == key)


def read(result: IndexResult, sample: str) -> dict[str, Image]:
    return read_sample(result.manifest.root, samples(result)[sample], result.manifest.sensors)


def read_labels(result: IndexResult, sample: str) -> np.ndarray:
    return read_mask(result.manifest.root, samples(result)[sample], result.manifest.mask_colours)


def splits(result: IndexResult) -> dict[str, str]:
    return {sample.sample: sample.split for sample in result.manifest.samples}
