"""Degrades images as a coarser sensor would see them, for pan-sharpening where there is no sharp truth.

Wald, Ranchin & Mangolini, PE&RS 63(6), 1997: what is fused from degraded images should be the image as it was.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from msgfm.data.reader import Image

_GAIN, _PAN_GAIN = 0.3, 0.15


def degrade(image: Image, ratio: int) -> Image:
    """Blurs an image as optics of a coarser sensor do, and takes one pixel of `ratio` x `ratio`.

    The blur is a Gaussian whose transfer at the coarser grid's Nyquist frequency is 0.3 for images of several bands and
    0.15 for a single, panchromatic one (Aiazzi et al., PE&RS 72(5), 2006; Vivone et al., IEEE TGRS 53(5), 2015, who
    have 0.15 to 0.35 by sensor and band).

    Args:
        image: C x h x w, NaN where there is no data.
        ratio: how many pixels along a side make one.

    Returns:
        C x h // ratio x w // ratio; a pixel has data where half of the blur's weight had.
    """
    gain = _PAN_GAIN if len(image) == 1 else _GAIN
    rows, columns = (_blur(length, max(length // ratio, 1), gain) for length in image.shape[1:])
    valid = np.isfinite(image)
    weight = rows @ valid.astype(np.float32) @ columns.T
    total = rows @ np.where(valid, image, np.float32(0)) @ columns.T
    return np.asarray(np.where(weight >= 0.5, total / np.maximum(weight, np.float32(0.5)), np.float32(np.nan)))


@lru_cache(maxsize=64)
def _blur(old: int, new: int, gain: float) -> Image:
    """Matrix, new x old: a Gaussian around each new pixel's centre.

    A Gaussian of deviation s has the transfer exp(-2 (pi s f)^2); f is half a cycle in each new pixel.
    """
    step = old / new
    deviation = step / np.pi * np.sqrt(-2 * np.log(gain))
    centres = (np.arange(new) + 0.5) * step
    distance = np.arange(old) + 0.5 - centres[:, None]
    weights = np.exp(-0.5 * (distance / deviation) ** 2)
    matrix: Image = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    matrix.setflags(write=False)
    return matrix
