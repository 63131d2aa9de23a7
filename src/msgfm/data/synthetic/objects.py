"""What stands on the synthetic ground: roads, houses on their lots, and trees. Sizes are in metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic.fields import Array, Mask, Random, approximate_normals, crowns, fractal_field, overlap

BLOCK_U_M, BLOCK_V_M = 96.0, 60.0  # between the streets of a town
LOT_U_M, LOT_V_M = 24.0, 30.0
COARSE_GSD_M = 3.0  # above it, single trees, furrows and the gap between house and street are not resolved
_LOTS = 64 * 64


def street_coordinates(rng: Random, size: int, gsd_m: float, azimuth: float) -> tuple[Array, Array]:
    """Metres along and across the streets: a rotated grid, bent a little by a smooth field."""
    pixel = np.arange(size, dtype=np.float32) * np.float32(gsd_m)
    bend = fractal_field(rng, size, 3.2) * np.float32(0.03 * size * gsd_m)
    cosine, sine = np.float32(np.cos(azimuth)), np.float32(np.sin(azimuth))
    u = (cosine * pixel)[None, :] + (sine * pixel)[:, None] + bend
    v = (cosine * pixel)[:, None] - (sine * pixel)[None, :] + bend
    return u, v


def draw_roads(rng: Random, u: Array, v: Array, gsd_m: float) -> Array:
    """Share of each pixel under the one or two roads that pass through (over water, on a bridge)."""
    half_m = rng.uniform(3.0, 5.0)
    road = np.zeros(u.shape, np.float32)
    for along, probability in ((u, 0.7), (v, 0.4)):
        if rng.random() < probability:
            place = rng.uniform(*np.quantile(along[::4, ::4], (0.25, 0.75)))
            road = np.maximum(road, overlap(along - np.float32(BLOCK_U_M * round(place / BLOCK_U_M)), half_m, gsd_m))
    return road


def town_streets(u: Array, v: Array, gsd_m: float, half_m: float = 3.0) -> Array:
    """Share of each pixel under streets, if all of the ground were town."""
    to_u = np.abs(u - np.round(u / BLOCK_U_M) * BLOCK_U_M)
    to_v = np.abs(v - np.round(v / BLOCK_V_M) * BLOCK_V_M)
    return overlap(np.minimum(to_u, to_v), half_m, gsd_m)


def build_houses(
    rng: Random, u: Array, v: Array, gsd_m: float, density: Array, road: Array
) -> tuple[Array, Array, Array]:
    """Share under roofs, their height in metres and a number in 0..1 that is the house's own (material, facade).

    A lot holds at most one house, with the probability that `density` has on average under it; none where the density
    is 0 under any part of it.
    """
    u_lots, v_lots = u * np.float32(1 / LOT_U_M), v * np.float32(1 / LOT_V_M)
    i, j = np.floor(u_lots).astype(np.int32), np.floor(v_lots).astype(np.int32)
    numbers = ((i & 63) << 6) | (j & 63)
    draw = rng.random((8, _LOTS), np.float32)
    share, height_m, own = (np.zeros(u.shape, np.float32) for _ in range(3))
    # Most lots stay empty: only the pixels of the others are looked at.
    built = np.zeros(_LOTS, np.bool_)
    built[numbers[np.take(draw[6], numbers) < density]] = True
    at = np.flatnonzero(np.take(built, numbers))
    if not at.size:
        return share, height_m, own
    lot, density, road = numbers.ravel()[at], density.ravel()[at], road.ravel()[at]
    u_lots, v_lots = (place.ravel()[at] - corner.ravel()[at] for place, corner in ((u_lots, i), (v_lots, j)))
    half_u, half_v = 3.5 + 5.5 * draw[0], 3.5 + 4.5 * draw[1]
    large = draw[2] > 0.85  # blocks and halls with flat roofs
    half_u, half_v = np.where(large, np.float32(10), half_u), np.where(large, np.float32(10), half_v)
    eaves_m = np.where(large, 8 + 14 * draw[3], 3 + 4 * draw[3])
    across = (v_lots - np.float32(0.5)) * np.float32(LOT_V_M) - ((2 * draw[4] - 1) * 2)[lot]
    along = (u_lots - np.float32(0.5)) * np.float32(LOT_U_M) - ((2 * draw[5] - 1) * 1.5)[lot]
    inside = overlap(along, half_u[lot], gsd_m) * overlap(across, half_v[lot], gsd_m)
    stands = draw[6] < _mean_by_lot(lot, density, inside)
    stands &= _mean_by_lot(lot, density == 0, inside) == 0
    if gsd_m <= COARSE_GSD_M:
        stands &= _mean_by_lot(lot, road > 0, inside) == 0
    roofed = stands[lot] * inside * (1 - road)
    pitch = np.where(large, np.float32(0), 0.6 * half_v)[lot]
    ridge_m = pitch * np.clip(1 - np.abs(across) / half_v[lot], 0, 1)
    share.ravel()[at] = roofed
    height_m.ravel()[at] = (roofed > 0.3) * (eaves_m[lot] + ridge_m)
    own.ravel()[at] = draw[7][lot] * stands[lot]
    return share, height_m, own


def plant_trees(rng: Random, gsd_m: float, density: Array) -> tuple[Array, Array, Array]:
    """Share under crowns, their height in metres and a number in 0..1 that chooses the species.

    Single crowns where pixels are small, stands where they are not.
    """
    size = len(density)
    stand_m = np.maximum(np.float32(rng.uniform(7, 18)) + 1.5 * fractal_field(rng, size, 1.5), 3)
    if gsd_m > COARSE_GSD_M:
        ragged = density * (1 - np.float32(0.12) * np.abs(approximate_normals(rng, density.shape)))
        return ragged, ragged * stand_m, np.clip(0.5 + 0.25 * fractal_field(rng, size, 1.2), 0, 1)
    tree, east_m, south_m = crowns(rng, size, gsd_m, 5.5)
    count = int(tree.max()) + 1
    pixels = np.bincount(tree.ravel(), minlength=count).clip(1)
    wanted = np.bincount(tree.ravel(), density.ravel(), minlength=count) / pixels
    radius_m = rng.uniform(2.0, 4.2, count).astype(np.float32)
    grows = rng.random(count) < wanted
    from_middle_m = (1 + 0.18 * fractal_field(rng, size, 0.8)) * np.sqrt(east_m * east_m + south_m * south_m)
    own_m = radius_m[tree]
    dome = np.sqrt(np.clip(1 - np.square(from_middle_m / own_m), 0, 1))
    room = density > 0  # a crown may lean over the neighbour's ground, not over roofs and roads
    canopy = np.where(grows[tree] & room, overlap(from_middle_m, own_m, gsd_m), np.float32(0))
    top_m = rng.uniform(0.7, 1.15, count).astype(np.float32)[tree] * stand_m
    tree_m = np.where(canopy > 0, top_m * (0.55 + 0.45 * dome), np.float32(0))
    return canopy, tree_m, rng.random(count, np.float32)[tree]


def _mean_by_lot(lot: NDArray[np.int32], field: Array | Mask, weight: Array) -> NDArray[np.float64]:
    """Weighted mean of `field` over the pixels of each lot, 0 for lots without pixels."""
    total = np.bincount(lot, weight, minlength=_LOTS)
    return np.bincount(lot, weight * field, minlength=_LOTS) / np.maximum(total, 1e-6)
