"""The latent scene: one piece of ground that every sensor then looks at.

Shapes come from a few classic devices: fractal fields for relief and soil, lognormal strips for fields, level sets of
smooth fields for rivers and woods, and rectangles on a warped street grid for towns. Sizes are in metres, so that the
same code makes a 10 m scene of a kilometre and a 0.5 m scene of a block of houses. A scene has one grid: what a
sensor resolves more coarsely is averaged from it; it cannot be enlarged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic.conditions import Conditions
from msgfm.data.synthetic.cover import HOUSES, SETTINGS, TREES, Cover, ground_plants, land_cover, leaves_out
from msgfm.data.synthetic.fields import Array, Random, fractal_field, parcels
from msgfm.data.synthetic.objects import (
    COARSE_GSD_M,
    build_houses,
    draw_roads,
    plant_trees,
    street_coordinates,
    town_streets,
)
from msgfm.data.synthetic.terrain import relief, soil_moisture

_SMALLEST_PARCEL_M = 24.0  # a lot


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A square of ground on one day; every array is (size, size), rows run south, columns east.

    Args:
        setting: a key of `SETTINGS`, what the scene is mostly about.
        gsd_m: ground size of a pixel.
        street_azimuth: direction of the streets and of the house walls along them, radians clockwise from east.
        leaves: share of the summer's leaves on deciduous trees.
        redness: of the soil, from pale loess (0) to iron-rich (1).
        sediment: in the water, 0 (clear) to 1 (turbid).
        conifers: how far the woods are needle-leaved, 0..1.
        terrain_m: height of the ground, flat on water.
        cover: `Cover`.
        tint: random number in -1..1, constant over a parcel (crop, tillage, soil).
        furrow: sowing lines in -1..1, where pixels are small enough to show them.
        texture: fine differences of brightness and growth; mean 0, std 1.
        roughness: of the ground to the radar; mean 0, std 1.
        leaf_area: m2 of leaves per m2 of ground, below the trees.
        litter: share of dry plants in what is not green.
        moisture: 0 (dry) to 1 (saturated).
        road: share of the pixel, 0..1, as `building` and `canopy`; canopy hides what is below.
        building: share of the pixel.
        building_m: height above the terrain, 0 where there is none.
        roof: random number in 0..1, constant over a building, that chooses its materials.
        canopy: share of the pixel.
        tree_m: height above the terrain, 0 where there is none.
        species: random number in 0..1, constant over a crown, that chooses its spectrum.
    """

    setting: str
    gsd_m: float
    street_azimuth: float
    leaves: float
    redness: float
    sediment: float
    conifers: float
    terrain_m: Array
    cover: NDArray[np.uint8]
    tint: Array
    furrow: Array
    texture: Array
    roughness: Array
    leaf_area: Array
    litter: Array
    moisture: Array
    road: Array
    building: Array
    building_m: Array
    roof: Array
    canopy: Array
    tree_m: Array
    species: Array

    @property
    def size(self) -> int:
        """Pixels along each side."""
        return len(self.terrain_m)

    @property
    def surface_m(self) -> Array:
        """Height of the uppermost surface: terrain, roofs and crowns."""
        return self.terrain_m + np.maximum(self.building_m, self.tree_m)


def make_scene(rng: Random, conditions: Conditions, *, setting: str, size: int, gsd_m: float) -> Scene:
    """Draws a scene.

    Args:
        rng: the only source of chance.
        conditions: the day (leaves, crops) and the rain.
        setting: a key of `SETTINGS`.
        size: pixels along each side.
        gsd_m: ground size of a pixel in metres.
    """
    extent_m = size * gsd_m
    shares = SETTINGS[setting]
    terrain, water = relief(rng, size, extent_m, rng.uniform(*shares.water), shares.river, shares.ruggedness)
    azimuth = rng.uniform(0, np.pi)
    u, v = street_coordinates(rng, size, gsd_m, azimuth)
    length_m, width_m = (max(extent_m / rng.uniform(7, most), _SMALLEST_PARCEL_M) for most in (15, 12))
    parcel, border_m, count = parcels(rng, u, v, length_m, width_m)
    cover, tints = land_cover(rng, shares, terrain, water, parcel, count)
    tint = np.take(tints, parcel)
    through, streets = draw_roads(rng, u, v, gsd_m), town_streets(u, v, gsd_m)
    every_road = np.maximum(through, streets)
    road = np.maximum(through, streets * (cover == int(Cover.TOWN)))
    building, building_m, roof = build_houses(rng, u, v, gsd_m, np.take(HOUSES, cover), every_road)
    hedge = (border_m < 0.06 * length_m) & (fractal_field(rng, size, 1.5) > 0.5)
    hedge &= (cover == int(Cover.CROP)) | (cover == int(Cover.GRASS))
    trees = np.take(TREES, cover)
    trees[hedge] = 0.8
    trees *= np.maximum(road, building) < 0.3
    canopy, tree_m, species = plant_trees(rng, gsd_m, trees)
    texture, roughness = fractal_field(rng, size, 0.9), fractal_field(rng, size, 1.2)
    moisture = soil_moisture(rng, terrain, water, tint, conditions.wetness - shares.drought)
    leaf_area, litter = ground_plants(cover, tints, parcel, moisture, texture, conditions.day, shares.drought)
    redness, sediment, conifers = rng.random(3)
    return Scene(
        setting=setting,
        gsd_m=gsd_m,
        street_azimuth=azimuth,
        leaves=leaves_out(conditions.day),
        redness=float(0.3 + 0.4 * redness),
        sediment=float(0.8 * sediment**2),
        conifers=float(conifers),
        terrain_m=terrain,
        cover=cover,
        tint=tint,
        furrow=_furrows(u, gsd_m, tint),
        texture=texture,
        roughness=roughness,
        leaf_area=leaf_area,
        litter=litter,
        moisture=moisture,
        road=road,
        building=building,
        building_m=building_m,
        roof=roof,
        canopy=canopy,
        tree_m=tree_m,
        species=species,
    )


def _furrows(u: Array, gsd_m: float, tint: Array) -> Array:
    """Sowing lines across the streets' direction, a few pixels apart; none where pixels are too large for them."""
    if gsd_m > COARSE_GSD_M:
        return np.zeros_like(u)
    return np.asarray(np.sin(2 * np.pi * u / (4.0 * max(gsd_m, 0.75) * (1 + 0.2 * tint))), np.float32)
