"""What is done to a training sample at random: images and what is predicted are cropped, flipped and turned alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from msgfm.data.masks import UNLABELLED

Layers = dict[str, NDArray[np.generic]]
"""Images (C, H, W), and masks (H, W), on one grid."""


def crop(layers: Mapping[str, NDArray[np.generic]], row: int, column: int, size: int) -> Layers:
    """A square of every layer; what lies beyond is no data, or not labelled."""
    return {name: _fill(layer[..., row : row + size, column : column + size], size) for name, layer in layers.items()}


def _fill(layer: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    height, width = layer.shape[-2:]
    if (height, width) == (size, size):
        return layer
    beyond = [(0, 0)] * (layer.ndim - 2) + [(0, size - height), (0, size - width)]
    return np.pad(layer, beyond, constant_values=UNLABELLED if layer.dtype.kind == "i" else np.nan)


def random_corner(height: int, width: int, size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Row and column of a random square that lies within the image, as far as it is as large."""
    return int(rng.integers(max(height - size, 0) + 1)), int(rng.integers(max(width - size, 0) + 1))


def middle_corner(height: int, width: int, size: int) -> tuple[int, int]:
    """Row and column of the middle square."""
    return max(height - size, 0) // 2, max(width - size, 0) // 2


def flip_and_turn(layers: Mapping[str, NDArray[np.generic]], rng: np.random.Generator) -> Layers:
    """One of the eight ways to lay a square on itself, the same for all layers."""
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    turned = {name: np.rot90(layer, turns, axes=(-2, -1)) for name, layer in layers.items()}
    return {name: layer[..., ::-1] if flip else layer for name, layer in turned.items()}


def draw_missing(sensors: Sequence[str], kept: str | None, share: float, rng: np.random.Generator) -> set[str]:
    """Names of sensors that a sample goes without: each with this probability; one is always left.

    Args:
        sensors: those that the sample has, each once.
        kept: one that always stays; None is none.
        share: the probability.
        rng: the sample's own generator.
    """
    order = rng.permutation(len(sensors))
    missing = {sensors[i] for i in order if rng.random() < share and sensors[i] != kept}
    if len(missing) == len(sensors):
        missing.discard(sensors[order[0]])
    return missing
