"""Scenes that the tests of the synthetic world share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from msgfm.data.synthetic.conditions import Conditions, draw_conditions
from msgfm.data.synthetic.cover import Cover
from msgfm.data.synthetic.scene import Scene, make_scene

SUMMER = replace(
    draw_conditions(np.random.default_rng(0), "summer"),
    sun_azimuth=np.radians(150.0),
    sun_elevation=np.radians(45.0),
    haze=1.0,
    radar_azimuth=np.radians(80.0),
    radar_incidence=np.radians(38.0),
    wind_db=0.0,
)


def chance(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def some_scene(
    *seed: int, setting: str = "farmland", size: int = 96, gsd_m: float = 10.0, conditions: Conditions = SUMMER
) -> Scene:
    return make_scene(chance(*seed), conditions, setting=setting, size=size, gsd_m=gsd_m)


def flat_scene(cover: Cover, *, size: int = 128, gsd_m: float = 10.0) -> Scene:
    """Level ground of one cover with nothing on it."""
    zero = np.zeros((size, size), np.float32)
    return Scene(
        setting="farmland",
        gsd_m=gsd_m,
        street_azimuth=0.0,
        leaves=1.0,
        redness=0.3,
        sediment=0.1,
        conifers=0.5,
        terrain_m=zero + 100,
        cover=np.full((size, size), cover, np.uint8),
        tint=zero,
        furrow=zero,
        texture=zero,
        roughness=zero,
        leaf_area=zero,
        litter=zero,
        moisture=zero + 0.5,
        road=zero,
        building=zero,
        building_m=zero,
        roof=zero,
        canopy=zero,
        tree_m=zero,
        species=zero,
    )
