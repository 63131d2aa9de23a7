"""Sunlight on slopes, and the shadows that houses and trees cast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic.conditions import Conditions
from msgfm.data.synthetic.fields import Array, shifted, slopes
from msgfm.data.synthetic.scene import Scene


def sunlight(height_m: Array, gsd_m: float, conditions: Conditions) -> Array:
    """Direct light on the slopes (H, W), 1 on the level: cosine of the sun's incidence over that of level ground.

    The cosine correction of Teillet et al. (Canadian Journal of Remote Sensing 8, 1982) the other way round, bounded
    at 1.6 as low suns on steep slopes are in practice.
    """
    east, north = slopes(height_m, gsd_m)
    cotangent = np.float32(1 / np.tan(conditions.sun_elevation))
    sine, cosine = (np.float32(f(conditions.sun_azimuth)) for f in (np.sin, np.cos))
    towards_sun = sine * east + cosine * north
    lit = (1 - cotangent * towards_sun) / np.sqrt(1 + east * east + north * north)
    return np.asarray(np.clip(lit, 0, 1.6), np.float32)


def in_shadow(scene: Scene, conditions: Conditions) -> NDArray[np.bool_]:
    """Where something towards the sun stands above the ray: steps of one pixel, as far as the tallest thing casts."""
    surface = scene.surface_m
    rise_per_m = np.tan(conditions.sun_elevation)
    tallest_m = float(np.maximum(scene.building_m, scene.tree_m).max())
    shadow = np.zeros(surface.shape, np.bool_)
    for step in range(1, 1 + int(tallest_m / rise_per_m / scene.gsd_m)):
        rows = round(-np.cos(conditions.sun_azimuth) * step)
        columns = round(np.sin(conditions.sun_azimuth) * step)
        shadow |= shifted(surface, rows, columns) > surface + np.float32(rise_per_m * step * scene.gsd_m)
    return shadow
