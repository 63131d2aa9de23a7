"""How values become colours that people look at: stretches, and colours that can be told apart."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""H x W x 1 or 3."""
Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's, which people who see few colours can tell apart."""

_GOLDEN = 0.618033988749895  # of a turn: however many hues were taken, the next falls into the widest gap


def stretch_of(truth: NDArray[np.float32]) -> tuple[float, float]:
    """The 2nd and 98th percentile of what is there."""
    values = truth[np.isfinite(truth)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (2, 98))
    return float(low), float(max(high, low + 1e-6))


def colour(picture: Picture, low: float | NDArray[np.float32], high: float | NDArray[np.float32]) -> Picture:
    """0..1 for display, three channels; no data is black. `low` and `high` are one number, or one a channel."""
    scaled = np.clip((picture - low) / (high - low), 0, 1)
    return np.repeat(np.nan_to_num(scaled), 3 // scaled.shape[2], axis=2)


def class_colour(position: int) -> Colour:
    """A colour for the class at that place in a legend, 0..255: Okabe and Ito's hues first, then hues of our own.

    Black and grey are left out, as they look like no data.
    """
    if position < len(COLOURS) - 2:
        red, green, blue = bytes.fromhex(COLOURS[position][1:])
        return red, green, blue
    lightness = (0.35, 0.5, 0.65)[position % 3]
    channels = colorsys.hls_to_rgb(position * _GOLDEN % 1, lightness, 0.6)
    red, green, blue = (round(255 * channel) for channel in channels)
    return red, green, blue
