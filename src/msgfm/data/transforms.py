"""Random crop and flip, the same for all images of a sample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

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


def centre_crop(images: Mapping[str, Image], size: int) -> dict[str, Image]:
    """The middle square of every image, filled up with no data where the image is smaller."""
    height, width = next(iter(images.values())).shape[1:]
    top, left = max(height - size, 0) // 2, max(width - size, 0) // 2
    return {name: fill_up(image[:, top : top + size, left : left + size], size) for name, image in images.items()}


def fill_up(image: Image, size: int) -> Image:
    """Adds rows below and columns on the right, without data, up to `size`."""
    missing = ((0, 0), (0, max(size - image.shape[1], 0)), (0, max(size - image.shape[2], 0)))
    return np.pad(image, missing, constant_values=np.nan)
