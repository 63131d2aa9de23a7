"""What is done to a sample at random (crop, flip, brightness), and the squares that scores are taken on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from msgfm.sensors import Sensor

Image = NDArray[np.float32]


def crop_and_flip(images: Mapping[str, Image], size: int, rng: np.random.Generator) -> dict[str, Image]:
    """Cuts one random square out of every image of a sample and flips them alike.

    Args:
        images: per sensor (C, H, W) on one grid, NaN where there is no data.
        size: side of the square in pixels; smaller images are filled up with no data on the right and below.
        rng: the sample's own generator.

    Returns:
        Per sensor (C, size, size).
    """
    height, width = next(iter(images.values())).shape[1:]
    top = int(rng.integers(max(height - size, 0) + 1))
    left = int(rng.integers(max(width - size, 0) + 1))
    flip_vertically, flip_horizontally = rng.random(2) < 0.5
    out = {}
    for name, image in images.items():
        crop = fill_up(image[:, top : top + size, left : left + size], size)
        crop = crop[:, ::-1] if flip_vertically else crop
        crop = crop[:, :, ::-1] if flip_horizontally else crop
        out[name] = np.ascontiguousarray(crop)
    return out


def jitter_radiometry(
    images: Mapping[str, Image], sensors: Mapping[str, Sensor], strength: float, rng: np.random.Generator
) -> dict[str, Image]:
    """Changes brightness and contrast of each image at random, as other light, air or season would.

    Contrast by one factor per image, brightness by a shift per band: x -> mean + (1 + a)(x - mean) + b std, with the
    card's mean and std, and a and b uniform in -strength..strength. So that a model cannot learn a few places by heart.

    Args:
        images: per sensor (C, H, W) in physical units, NaN where there is no data.
        sensors: their cards.
        strength: largest change, in standard deviations of the card (brightness) and as a share (contrast).
        rng: the sample's own generator.
    """
    out = {}
    for name in sorted(images):
        bands = sensors[name].bands
        mean = np.array([band.mean for band in bands], np.float32)[:, None, None]
        std = np.array([band.std for band in bands], np.float32)[:, None, None]
        contrast = np.float32(1 + rng.uniform(-strength, strength))
        brightness = rng.uniform(-strength, strength, (len(bands), 1, 1)).astype(np.float32)
        out[name] = mean + contrast * (images[name] - mean) + brightness * std
    return out


def centre_crop(images: Mapping[str, Image], size: int) -> dict[str, Image]:
    """The middle square of every image, filled up with no data where the image is smaller."""
    height, width = next(iter(images.values())).shape[1:]
    top, left = max(height - size, 0) // 2, max(width - size, 0) // 2
    return {name: fill_up(image[:, top : top + size, left : left + size], size) for name, image in images.items()}


def squares_over(images: Mapping[str, Image], size: int, most: int) -> list[dict[str, Image]]:
    """Squares that cover every image of a sample, as few as can, spread evenly; they overlap where size is no divisor.

    Args:
        images: per sensor (C, H, W) on one grid.
        size: side of a square in pixels; smaller images are filled up with no data on the right and below.
        most: of more squares than these, so many are taken, spread evenly.

    Returns:
        Per square, per sensor (C, size, size); row by row.
    """
    height, width = next(iter(images.values())).shape[1:]
    places = [(top, left) for top in _starts(height, size) for left in _starts(width, size)]
    count = min(len(places), most)
    chosen = [places[(2 * i + 1) * len(places) // (2 * count)] for i in range(count)]
    return [
        {name: fill_up(image[:, top : top + size, left : left + size], size) for name, image in images.items()}
        for top, left in chosen
    ]


def _starts(length: int, size: int) -> list[int]:
    """First pixels of the fewest stretches of `size` that cover a length, spread evenly."""
    count = max(-(-length // size), 1)
    rest = max(length - size, 0)
    return [round(i * rest / (count - 1)) for i in range(count)] if count > 1 else [0]


def fill_up(image: Image, size: int) -> Image:
    """Adds rows below and columns on the right, without data, up to `size`."""
    missing = ((0, 0), (0, max(size - image.shape[1], 0)), (0, max(size - image.shape[2], 0)))
    return np.pad(image, missing, constant_values=np.nan)
