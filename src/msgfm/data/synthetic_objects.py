"""What stands on the synthetic ground: roads, houses on their lots, and trees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic_fields import Array, Mask, Random, overlap, power_law_field, voronoi

BLOCK_U_M, BLOCK_V_M = 96.0, 60.0  # between the streets of a town
LOT_U_M, LOT_V_M = 24.0, 30.0
COARSE_GSD_M = 3.0  # above it, single trees, furrows and the gap between house and street are not resolved


def street_coordinates(rng: Random, size: int, gsd_m: float, azimuth: float) -> tuple[Array, Array]:
    """Metres along and across the streets: a rotated grid, bent a little by a smooth field."""
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    bend = 0.03 * size * power_law_field(rng, size, 3.2)
    u = np.cos(azimuth) * x + np.sin(azimuth) * y + bend
    v = np.cos(azimuth) * y - np.sin(azimuth) * x + bend
    return (u * gsd_m).astype(np.float32), (v * gsd_m).astype(np.float32)


def draw_roads(rng: Random, u: Array, v: Array, gsd_m: float) -> Array:
    """Share of each pixel under the one or two roads that pass through (over water, on a bridge)."""
    half_m = rng.uniform(3.0, 5.0)
    road = np.zeros(u.shape, np.float32)
    for along, probability in ((u, 0.7), (v, 0.4)):
        if rng.random() < probability:
            place = rng.uniform(*np.quantile(along, (0.25, 0.75)))
            road = np.maximum(road, overlap(along - BLOCK_U_M * round(place / BLOCK_U_M), half_m, gsd_m))
    return road


def town_streets(u: Array, v: Array, gsd_m: float, half_m: float = 3.0) -> Array:
    """Share of each pixel under streets, if all of the ground were town."""
    to_u = np.abs((u + BLOCK_U_M / 2) % BLOCK_U_M - BLOCK_U_M / 2)
    to_v = np.abs((v + BLOCK_V_M / 2) % BLOCK_V_M - BLOCK_V_M / 2)
    return overlap(np.minimum(to_u, to_v), half_m, gsd_m)


def build_houses(
    rng: Random, u: Array, v: Array, gsd_m: float, density: Array, road: Array
) -> tuple[Array, Array, Array]:
    """Share under roofs, their height in metres and a number that chooses the material.

    A lot holds at most one house, with the probability that `density` has on average under it; none where the density
    is 0 under any part of it.
    """
    i, j = np.floor(u / LOT_U_M).astype(np.int64), np.floor(v / LOT_V_M).astype(np.int64)
    lot = (i % 64) * 64 + j % 64
    draw = rng.random((64 * 64, 8)).astype(np.float32)
    half_u, half_v = 3.5 + 5.5 * draw[:, 0], 3.5 + 4.5 * draw[:, 1]
    large = draw[:, 2] > 0.85  # blocks and halls with flat roofs
    half_u, half_v = np.where(large, 10.0, half_u), np.where(large, 10.0, half_v)
    eaves_m = np.where(large, 8 + 14 * draw[:, 3], 3 + 4 * draw[:, 3])
    across = v - (j + 0.5) * LOT_V_M - (2 * draw[lot, 4] - 1) * 2
    along = u - (i + 0.5) * LOT_U_M - (2 * draw[lot, 5] - 1) * 1.5
    inside = overlap(along, half_u[lot], gsd_m) * overlap(across, half_v[lot], gsd_m)
    stands = draw[:, 6] < _mean_by_number(lot, density, inside)
    stands &= _mean_by_number(lot, density == 0, inside) == 0
    if gsd_m <= COARSE_GSD_M:
        stands &= _mean_by_number(lot, road > 0, inside) == 0
    share = np.where(stands[lot], inside * (1 - road), 0)
    ridge_m = np.where(large, 0, 0.6 * half_v)[lot] * np.clip(1 - np.abs(across) / half_v[lot], 0, 1)
    height_m = np.where(share > 0.3, eaves_m[lot] + ridge_m, 0)
    return share.astype(np.float32), height_m.astype(np.float32), draw[lot, 7]


def plant_trees(rng: Random, gsd_m: float, density: Array) -> tuple[Array, Array, Array]:
    """Share under crowns, their height in metres and a number that chooses the species.

    Single crowns where pixels are small, stands where they are not.
    """
    size = density.shape[0]
    stand_m = (rng.uniform(9, 20) + 1.5 * power_law_field(rng, size, 1.5)).clip(3)
    if gsd_m > COARSE_GSD_M:
        ragged = density * (1 - 0.12 * np.abs(power_law_field(rng, size, 0.4))).clip(0, 1)
        kind = np.clip(0.5 + 0.25 * power_law_field(rng, size, 1.2), 0, 1)
        return ragged.astype(np.float32), (ragged * stand_m).astype(np.float32), kind
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    tree, _ = voronoi(rng, x * gsd_m, y * gsd_m, 5.5, 5.5, rectangular=False)
    count = np.bincount(tree.ravel()).clip(1)
    middle_x = np.bincount(tree.ravel(), weights=x.ravel()) / count
    middle_y = np.bincount(tree.ravel(), weights=y.ravel()) / count
    at = np.round(middle_y).astype(np.int64), np.round(middle_x).astype(np.int64)
    radius_m = rng.uniform(2.0, 4.2, count.size).astype(np.float32)
    grows = rng.random(count.size) < density[at]
    ragged = 1 + 0.18 * power_law_field(rng, size, 0.8)
    from_middle_m = gsd_m * ragged * np.hypot(x - middle_x[tree], y - middle_y[tree])
    dome = np.sqrt(np.clip(1 - (from_middle_m / radius_m[tree]) ** 2, 0, 1))
    canopy = np.where(grows[tree], overlap(from_middle_m, radius_m[tree], gsd_m), 0)
    top_m = (stand_m[at] * rng.uniform(0.7, 1.15, count.size))[tree]
    tree_m = np.where(canopy > 0, top_m * (0.55 + 0.45 * dome), 0)
    return canopy.astype(np.float32), tree_m.astype(np.float32), rng.random(count.size).astype(np.float32)[tree]


def _mean_by_number(number: NDArray[np.int64], field: Array | Mask, weight: Array) -> NDArray[np.float64]:
    """Weighted mean of `field` over the pixels of each number, 0 for numbers without pixels: (highest number + 1,)."""
    total = np.bincount(number.ravel(), weight.ravel(), minlength=64 * 64)
    return np.bincount(number.ravel(), (weight * field).ravel(), minlength=64 * 64) / np.maximum(total, 1e-6)
