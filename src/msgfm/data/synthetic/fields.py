"""Random shapes that the synthetic ground is made of: fractal fields, parcels, crowns, strips.

Fields are sums of octaves of value noise: small grids of independent normal numbers, enlarged by separable cubic
B-splines (two small matrix products each). That costs a tenth of a Fourier synthesis of the same size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]
Random = np.random.Generator

_LOW_BYTES = np.uint32(0x00FF00FF)
_NEGLIGIBLE = 0.015  # octaves weaker than this share of the strongest are left out


def fractal_fields(rng: Random, count: int, size: int, exponent: float, cells: int = 3) -> Array:
    """Random fields (count, size, size) whose spectral amplitude falls as `frequency ** -exponent`; mean 0, std 1.

    Natural relief has exponents near 2 (Turcotte, Fractals and Chaos in Geology and Geophysics, 1997). An octave of
    a two-dimensional field with amplitude f ** -b holds a variance in proportion to f ** (2 - 2 b), so the octaves
    are weighted by 2 ** -(b - 1) each.

    Args:
        rng: the only source of chance.
        count: independent fields.
        size: pixels along each side.
        exponent: 0 is white, 1 equal variance in each octave, 2 and more smooth.
        cells: cells of the coarsest octave along each side.
    """
    grids = []
    while cells <= size // 2:
        grids.append(cells)
        cells *= 2
    weights = 2.0 ** (-(exponent - 1) * np.arange(len(grids) + 1))
    weights /= weights.max()
    left, right = [], []
    for cells, weight in zip(grids, weights[:-1], strict=True):
        if weight < _NEGLIGIBLE:
            continue
        spline = _cubic_spline(size, cells)
        knots = rng.standard_normal((count, cells + 3, cells + 3), np.float32) * np.float32(weight)
        left.append(spline @ knots)
        right.append(spline.T)
    field: Array = np.concatenate(left, axis=2) @ np.concatenate(right)  # all octaves in one product
    if weights[-1] >= 0.1:  # pixel by pixel; the splines take away about half of the other octaves' variance
        field += approximate_normals(rng, field.shape) * np.float32(0.6 * weights[-1])
    for one in field:
        one -= one.mean()
        flat = one.ravel()
        one *= np.float32(np.sqrt(flat.size / np.dot(flat, flat)))
    return field


def fractal_field(rng: Random, size: int, exponent: float, cells: int = 3) -> Array:
    """One of `fractal_fields`: (size, size)."""
    field: Array = fractal_fields(rng, 1, size, exponent, cells)[0]
    return field


@lru_cache(maxsize=128)
def _cubic_spline(size: int, cells: int) -> Array:
    """Weights (size, cells + 3) of the uniform cubic B-spline's knots at the centres of `size` pixels."""
    place = (np.arange(size) + 0.5) * (cells / size)
    left = np.floor(place).astype(np.int64)
    t = place - left
    weights = np.zeros((size, cells + 3), np.float32)
    pieces = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for i, piece in enumerate(pieces):
        weights[np.arange(size), left + i] = piece / 6
    weights.setflags(write=False)
    return weights


def approximate_normals(rng: Random, shape: tuple[int, ...]) -> Array:
    """Numbers of mean 0 and variance 1, sums of four random bytes: a fifth of the time of exact normals.

    By the central limit theorem nearly normal (excess kurtosis -0.3, none beyond 3.5); for noise of sensors, where
    tails do not matter.
    """
    count = int(np.prod(shape))
    words = rng.integers(0, 2**64 - 1, (count + 1) // 2, np.uint64, endpoint=True).view(np.uint32)[:count]
    pairs = (words & _LOW_BYTES) + ((words >> np.uint32(8)) & _LOW_BYTES)
    sums = ((pairs & np.uint32(0xFFFF)) + (pairs >> np.uint32(16))).astype(np.float32)
    sums -= np.float32(510)
    sums *= np.float32(1 / np.sqrt(4 * (256**2 - 1) / 12))
    return sums.reshape(shape)


def quantile(field: Array, share: float) -> float:
    """The value below which `share` of the field lies, from every fourth row and column of large fields."""
    step = 4 if len(field) >= 128 else 1
    return float(np.quantile(field[::step, ::step], share))


def parcels(rng: Random, u: Array, v: Array, length: float, width: float) -> tuple[Labels, Array, int]:
    """Cuts the plane into strips along v and each strip into parcels, as fields lie side by side.

    Args:
        rng: the only source of chance.
        u: coordinate across the strips, in any unit.
        v: coordinate along them.
        length: median width of a strip; single ones differ by a third (lognormal).
        width: median length of a parcel in its strip, likewise.

    Returns:
        The number of each pixel's parcel, its distance to the parcel's border (unit of u and v), and how many
        numbers there are (not all of them need have pixels).
    """
    low_u, low_v = float(u.min()), float(v.min())
    high_u, high_v = float(u.max()), float(v.max())
    strips = _cuts(rng, low_u, high_u, length, 1)
    cuts = _cuts(rng, low_v, high_v, width, strips.shape[1] - 1)
    strip, edge_u = _between(u, strips, np.zeros(1, np.int32))
    piece, edge_v = _between(v, cuts, strip)
    number = (strip * cuts.shape[1] + piece).astype(np.int32)
    return number, np.minimum(edge_u, edge_v), cuts.size


def _cuts(rng: Random, low: float, high: float, typical: float, rows: int) -> Array:
    """Rows of rising numbers from below `low` to above `high`."""
    count = int((high - low) / (0.5 * typical)) + 6
    steps = typical * np.exp(0.33 * rng.standard_normal((rows, count)))
    places = low - typical * rng.random((rows, 1)) - steps[:, :1] + np.cumsum(steps, axis=1)
    places[:, 0] = np.minimum(places[:, 0], low)
    places[:, -1] = np.maximum(places[:, -1], high + typical)
    return places.astype(np.float32)


def _between(value: Array, cuts: Array, row: Labels) -> tuple[Labels, Array]:
    """Which gap of row `row` of `cuts` holds each value, and the distance to the nearer end, by a table."""
    low, high = float(value.min()), float(cuts[:, -1].max())
    steps = 2048
    scale = (steps - 1) / max(high - low, 1e-6)
    slots = low + (np.arange(steps) + 0.5) / scale
    table = np.stack([np.searchsorted(cut, slots, side="right") for cut in cuts]).astype(np.int32) - 1
    table = np.clip(table, 0, cuts.shape[1] - 2)
    slot = ((value - np.float32(low)) * np.float32(scale)).astype(np.int32)
    gap = table.ravel()[row * np.int32(steps) + slot]
    first = row * np.int32(cuts.shape[1]) + gap
    flat = cuts.ravel()
    return gap, np.maximum(np.minimum(value - flat[first], flat[first + 1] - value), 0)


def crowns(rng: Random, size: int, gsd_m: float, spacing_m: float) -> tuple[Labels, Array, Array]:
    """Nearest of jittered grid points: number of the point, and metres east and south of it; round cells.

    The points of the 3 x 3 grid cells around a pixel suffice.
    """
    place = np.arange(size, dtype=np.float32) * np.float32(gsd_m / spacing_m) + 1
    cell = place.astype(np.int32)
    within = place - cell
    columns = int(cell[-1]) + 3
    jitter = rng.uniform(0.12, 0.88, (2, columns * columns)).astype(np.float32)
    own = cell[:, None] * np.int32(columns) + cell[None, :]
    nearest = np.full((size, size), np.inf, np.float32)
    number, east, south = np.zeros_like(own), np.zeros_like(nearest), np.zeros_like(nearest)
    for k in (-1, 0, 1):
        for m in (-1, 0, 1):
            other = own + np.int32(k * columns + m)
            down = (within - k)[:, None] - jitter[0][other]
            right = (within - m)[None, :] - jitter[1][other]
            distance = down * down + right * right
            closer = distance < nearest
            np.copyto(nearest, distance, where=closer)
            np.copyto(number, other, where=closer)
            np.copyto(east, right, where=closer)
            np.copyto(south, down, where=closer)
    return number, east * np.float32(spacing_m), south * np.float32(spacing_m)


def overlap(distance_m: Array, half_m: Array | float, gsd_m: float) -> Array:
    """Share of a pixel in a strip of half width `half_m` whose middle is `distance_m` away, thin strips included."""
    reach = (half_m - np.abs(distance_m)) / gsd_m + 0.5
    return np.asarray(np.clip(reach, 0, np.minimum(1, 2 * np.asarray(half_m) / gsd_m)), np.float32)


def slopes(height_m: Array, gsd_m: float) -> tuple[Array, Array]:
    """Rise per metre towards the east and towards the north, by central differences (one-sided at the edges)."""
    east, north = np.empty_like(height_m), np.empty_like(height_m)
    half = np.float32(0.5 / gsd_m)
    east[:, 1:-1] = (height_m[:, 2:] - height_m[:, :-2]) * half
    east[:, 0], east[:, -1] = (height_m[:, 1] - height_m[:, 0]) / gsd_m, (height_m[:, -1] - height_m[:, -2]) / gsd_m
    north[1:-1] = (height_m[:-2] - height_m[2:]) * half
    north[0], north[-1] = (height_m[0] - height_m[1]) / gsd_m, (height_m[-2] - height_m[-1]) / gsd_m
    return east, north


def shifted(image: Array, rows: int, columns: int) -> Array:
    """The value `rows` down and `columns` right of each pixel; the edge's own beyond the edge."""
    size = len(image)
    down = np.clip(np.arange(size) + rows, 0, size - 1)
    right = np.clip(np.arange(size) + columns, 0, size - 1)
    return image[down[:, None], right[None, :]]
