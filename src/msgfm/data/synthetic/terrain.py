"""Relief, the water that stands and runs in it, and how wet the ground is."""

from __future__ import annotations

import numpy as np

from msgfm.data.synthetic.fields import Array, Mask, Random, fractal_field, quantile, slopes


def relief(
    rng: Random, size: int, extent_m: float, water_share: float, river_chance: float, ruggedness: float
) -> tuple[Array, Mask]:
    """Terrain in metres and where water stands on it: a river in a valley of its own, and what lies lowest.

    Args:
        rng: the only source of chance.
        size: pixels along each side.
        extent_m: side of the scene; the height differences grow with it.
        water_share: share of the area that lies under the lake's level; none where it is 0 or less.
        river_chance: probability of a river.
        ruggedness: 1 for plains to hills; more for mountains.
    """
    base = fractal_field(rng, size, 2.2)
    low, river = quantile(base, 0.05), np.zeros(base.shape, np.bool_)
    if rng.random() < river_chance:
        course = fractal_field(rng, size, 3.0)
        east, north = slopes(course, 1.0)
        steepness = np.sqrt(east * east + north * north)
        distance = np.abs(course) / np.maximum(steepness, 0.5 * float(steepness.mean())) / size  # in scene widths
        width = rng.uniform(0.02, 0.08)
        river = distance < width / 2
        base = low + (base - low) * (1 - np.exp(-np.square(distance * np.float32(0.25 / width))))
    level = quantile(base, water_share) if water_share > 0 else -np.inf
    water = river | (base < level)
    np.maximum(base, np.float32(level), out=base)
    base[river] = max(low, level)
    relief_m = extent_m * ruggedness * 10 ** rng.uniform(-2.3, -1.5)
    return (rng.uniform(20, 800) + relief_m * base).astype(np.float32), water


def soil_moisture(rng: Random, terrain_m: Array, water: Mask, tint: Array, wetness: float) -> Array:
    """From 0 (dry) to 1 (saturated): after rain or not, wetter in the low places, different from field to field.

    A stand-in for the topographic wetness index (Beven and Kirkby, Hydrological Sciences Bulletin 24, 1979), whose
    upslope areas would cost more than all the rest.
    """
    lowness = (terrain_m.mean() - terrain_m) / (terrain_m.std() + np.float32(1e-6))
    wet = np.float32(wetness) + np.float32(0.6) * lowness + 0.35 * fractal_field(rng, len(terrain_m), 1.5) + 1.0 * tint
    moisture: Array = (1 / (1 + np.exp(-wet))).astype(np.float32)
    moisture[water] = 1
    return moisture
