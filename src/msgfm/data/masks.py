"""Reads the labels of a sample's pixels: values, or colours that stand for values, on the grid of its finest image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msgfm.data.records import RasterFile, Sample, mask_size_problem
from msgfm.data.stored import read_stored
from msgfm.errors import InputError

UNLABELLED = -1


def read_mask(
    root: Path, sample: Sample, colours: Mapping[int, tuple[int, int, int]] | None = None
) -> NDArray[np.int32]:
    """Reads a sample's mask.

    Args:
        root: the folder that the manifest's paths start from.
        sample: a sample with a mask.
        colours: `Manifest.mask_colours`.

    Returns:
        H x W, on the grid of the sample's finest image (the nearest pixel where the mask has that of a coarser one),
        the values of `Manifest.mask_classes`. `UNLABELLED` where the file has NaN or a colour that stands for nothing;
        other values that mean no class are as they are stored.

    Raises:
        InputError: the sample has no mask, the file is gone or broken, holds no whole numbers, or has another
            size than each of the sample's images.
    """
    if sample.mask is None:
        raise InputError(f"sample {sample.sample} has no mask; its data set's layout in docs/data.md says what has one")
    values = read_labels(root, sample.mask, colours)
    if problem := mask_size_problem((values.shape[0], values.shape[1]), sample.images):
        raise InputError(f"{root / sample.mask.path}: sample {sample.sample} has {problem}")
    finest = max(sample.images, key=lambda image: image.height * image.width)
    rows, columns = (_nearest(old, new) for old, new in zip(values.shape, (finest.height, finest.width), strict=True))
    return values[np.ix_(rows, columns)]


def read_labels(
    root: Path, mask: RasterFile, colours: Mapping[int, tuple[int, int, int]] | None = None
) -> NDArray[np.int32]:
    """Reads a mask on its own grid, h x w; else as `read_mask`."""
    stored = np.ma.getdata(read_stored(root, mask))
    return _from_colours(stored, colours) if colours else _whole_numbers(stored[0], root / mask.path)


def _from_colours(stored: NDArray[np.generic], colours: Mapping[int, tuple[int, int, int]]) -> NDArray[np.int32]:
    values = np.full(stored.shape[1:], UNLABELLED, np.int32)
    for value, colour in colours.items():
        values[(stored == np.array(colour).reshape(3, 1, 1)).all(axis=0)] = value
    return values


def _whole_numbers(stored: NDArray[np.generic], path: Path) -> NDArray[np.int32]:
    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 4:
        return stored.astype(np.int32)
    numbers = stored.astype(np.float64)
    numbers[~np.isfinite(numbers)] = UNLABELLED
    if (odd := numbers[(numbers != np.round(numbers)) | (np.abs(numbers) >= 2**31)]).size:
        raise InputError(f"{path}: a mask holds class numbers, this one {odd[0]:g}; is it an image?")
    return numbers.astype(np.int32)


def _nearest(old: int, new: int) -> NDArray[np.intp]:
    """For each new pixel the old one that its centre lies in."""
    return ((np.arange(new) + 0.5) * old / new).astype(np.intp)
