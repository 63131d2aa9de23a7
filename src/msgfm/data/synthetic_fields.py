"""Random shapes that the synthetic ground is made of: fields with a power-law spectrum, and a cell partition."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Random = np.random.Generator


def power_law_field(rng: Random, size: int, exponent: float) -> Array:
    """A random field (size, size) whose spectral amplitude falls as `frequency ** -exponent`; mean 0, std 1.

    Natural relief has exponents near 2 (Turcotte, Fractals and Chaos in Geology and Geophysics, 1997). The field is
    cut from a larger periodic one, so its opposite edges do not match.
    """
    full = size + size // 2
    amplitude = _amplitude(full, exponent)
    spectrum = rng.standard_normal((*amplitude.shape, 2), np.float32).view(np.complex64)[..., 0] * amplitude
    field = np.fft.irfft2(spectrum, s=(full, full))[:size, :size]
    field -= field.mean()
    return np.asarray(field / field.std(), np.float32)


@cache
def _amplitude(size: int, exponent: float) -> Array:
    """Spectral amplitude in the layout of `rfft2`, without the constant part."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    return np.asarray(frequency**-exponent, np.float32)


def voronoi(
    rng: Random, u: Array, v: Array, spacing_u: float, spacing_v: float, *, rectangular: bool
) -> tuple[NDArray[np.int64], Array]:
    """Cell of each pixel around jittered grid points, and how far the pixel is from the border of its cell.

    The 4-norm makes cells nearly rectangular, the 2-norm round ones. The seeds of the 3 x 3 grid cells around a pixel
    suffice. The border distance is the difference of the two nearest norms, in grid spacings.
    """
    a, b = (u - u.min()) / spacing_u + 1, (v - v.min()) / spacing_v + 1
    columns = int(b.max()) + 3
    jitter = rng.uniform(0.12, 0.88, (2, (int(a.max()) + 3) * columns)).astype(np.float32)
    i, j = a.astype(np.int64), b.astype(np.int64)
    own, within_a, within_b = i * columns + j, a - i, b - j
    nearest = np.full(u.shape, np.inf, np.float32)
    second, cell = nearest.copy(), np.zeros(u.shape, np.int64)
    for k in (-1, 0, 1):
        for m in (-1, 0, 1):
            other = own + (k * columns + m)
            square_a = np.square(within_a - jitter[0][other] - k)
            square_b = np.square(within_b - jitter[1][other] - m)
            distance = np.square(square_a) + np.square(square_b) if rectangular else square_a + square_b
            closer = distance < nearest
            second = np.minimum(second, np.maximum(nearest, distance))
            cell[closer] = other[closer]
            nearest = np.minimum(nearest, distance)
    root = 0.25 if rectangular else 0.5
    return cell, (second**root - nearest**root).astype(np.float32)


def overlap(distance_m: NDArray[np.floating], half_m: NDArray[np.floating] | float, gsd_m: float) -> Array:
    """Share of a pixel in a strip of half width `half_m` whose middle is `distance_m` away, thin strips included."""
    reach = (half_m - np.abs(distance_m)) / gsd_m + 0.5
    return np.asarray(np.clip(reach, 0, np.minimum(1, 2 * np.asarray(half_m) / gsd_m)), np.float32)
