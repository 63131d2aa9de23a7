"""The latent scene of the synthetic data: one piece of ground that every sensor then looks at.

Shapes come from a few classic devices: power-law random fields for relief and soil, a jittered Voronoi partition for
fields, level sets of smooth fields for rivers, and rectangles on a warped street grid for towns. Sizes are in metres,
so that the same code makes a 10 m scene of a kilometre and a 1 m scene of a block of houses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic_fields import Array, Mask, Random, power_law_field, voronoi
from msgfm.data.synthetic_objects import (
    COARSE_GSD_M,
    build_houses,
    draw_roads,
    plant_trees,
    street_coordinates,
    town_streets,
)


class Cover(IntEnum):
    """What the ground is, below roads, buildings and tree crowns."""

    WATER = 0
    FOREST = 1
    CROP = 2
    GRASS = 3
    BARE = 4
    TOWN = 5


# Probability, by cover, that a lot has a house and that a place for a tree has one.
HOUSES = np.array([0.0, 0.0, 0.01, 0.01, 0.01, 0.85], np.float32)
TREES = np.array([0.0, 0.97, 0.0, 0.05, 0.01, 0.22], np.float32)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A square of ground; every array is (size, size), rows run south, columns east.

    Args:
        setting: a key of `SETTINGS`, what the scene is mostly about.
        gsd_m: ground size of a pixel.
        street_azimuth: direction of the streets and of the house walls along them, radians clockwise from east.
        terrain_m: height of the ground, float32, flat on water.
        cover: `Cover`, uint8.
        tint: random number in -1..1, constant over a parcel (crop, tillage, soil).
        furrow: sowing lines in -1..1, where pixels are small enough to show them.
        vegetation: share of the ground that is green, 0..1.
        moisture: 0 (dry) to 1 (saturated).
        road, building, canopy: share of the pixel covered by each, 0..1; canopy hides what is below.
        building_m, tree_m: height above the terrain, 0 where there is none.
        roof, species: random numbers in 0..1, constant over a building or a crown, that choose its spectrum.
    """

    setting: str
    gsd_m: float
    street_azimuth: float
    terrain_m: Array
    cover: NDArray[np.uint8]
    tint: Array
    furrow: Array
    vegetation: Array
    moisture: Array
    road: Array
    building: Array
    building_m: Array
    canopy: Array
    tree_m: Array
    roof: Array
    species: Array

    @property
    def size(self) -> int:
        """Pixels along each side."""
        return len(self.terrain_m)

    @property
    def surface_m(self) -> Array:
        """Height of the uppermost surface: terrain, roofs and crowns."""
        return self.terrain_m + np.maximum(self.building_m, self.tree_m)


@dataclass(frozen=True)
class _Setting:
    """Shares of the parcels, and of the area for water; what is left over is crops."""

    town: float
    forest: float
    bare: float
    grass: float
    water: tuple[float, float]


SETTINGS = {
    "farmland": _Setting(0.05, 0.10, 0.06, 0.20, (-0.15, 0.06)),
    "forest": _Setting(0.0, 0.65, 0.05, 0.25, (-0.1, 0.08)),
    "lake": _Setting(0.08, 0.25, 0.15, 0.25, (0.15, 0.5)),
    "town": _Setting(0.65, 0.08, 0.06, 0.15, (-0.2, 0.08)),
}


def make_scene(rng: Random, *, size: int, gsd_m: float, season: float = 0.8) -> Scene:
    """Draws a scene.

    Args:
        rng: the only source of chance.
        size: pixels along each side.
        gsd_m: ground size of a pixel in metres.
        season: how green crops and meadows are, from 0 (winter) to 1 (early summer).
    """
    extent_m = size * gsd_m
    setting = str(rng.choice(tuple(SETTINGS)))
    shares = SETTINGS[setting]
    terrain, water = _relief(rng, size, extent_m, rng.uniform(*shares.water))
    azimuth = rng.uniform(0, np.pi)
    u, v = street_coordinates(rng, size, gsd_m, azimuth)
    length_m, width_m = extent_m / rng.uniform(4, 8), extent_m / rng.uniform(5, 10)
    parcel, border = voronoi(rng, u, v, length_m, width_m, rectangular=True)
    cover, tint = _land_cover(rng, shares, terrain, water, parcel)
    through, streets = draw_roads(rng, u, v, gsd_m), town_streets(u, v, gsd_m)
    road = np.where(cover == Cover.TOWN, np.maximum(through, streets), through)
    building, building_m, roof = build_houses(rng, u, v, gsd_m, HOUSES[cover], np.maximum(through, streets))
    hedge = (border < 0.09) & (power_law_field(rng, size, 1.5) > 0.3) & (cover != Cover.WATER)
    trees = np.where(hedge, 0.8, TREES[cover]) * (np.maximum(road, building) < 0.3)
    canopy, tree_m, species = plant_trees(rng, gsd_m, trees.astype(np.float32))
    moisture = _moisture(rng, terrain, water, tint)
    return Scene(
        setting=setting,
        gsd_m=gsd_m,
        street_azimuth=azimuth,
        terrain_m=terrain,
        cover=cover,
        tint=tint,
        furrow=_furrows(u, gsd_m, tint),
        vegetation=_vegetation(rng, cover, tint, moisture, season),
        moisture=moisture,
        road=road,
        building=building,
        building_m=building_m,
        canopy=canopy,
        tree_m=tree_m,
        roof=roof,
        species=species,
    )


def _relief(rng: Random, size: int, extent_m: float, water_share: float) -> tuple[Array, Mask]:
    """Terrain in metres and where water stands on it: a river in a valley of its own, and what lies lowest."""
    base = power_law_field(rng, size, 2.4)
    low, river = float(np.quantile(base, 0.05)), np.zeros(base.shape, np.bool_)
    if rng.random() < 0.45:
        course = power_law_field(rng, size, 3.0)
        south, east = np.gradient(course)
        steepness = np.hypot(south, east)
        distance = np.abs(course) / np.maximum(steepness, 0.5 * float(steepness.mean())) / size  # in scene widths
        width = rng.uniform(0.02, 0.07)
        river = distance < width / 2
        base = low + (base - low) * (1 - np.exp(-((distance / (4 * width)) ** 2))).astype(np.float32)
    level = float(np.quantile(base, max(water_share, 0.0))) if water_share > 0 else -np.inf
    water = river | (base < level)
    base = np.where(river, max(low, level), np.maximum(base, level))
    relief_m = extent_m * 10 ** rng.uniform(-2.4, -1.5)  # gentle plains to hills
    return (rng.uniform(20, 800) + relief_m * base).astype(np.float32), water


def _land_cover(
    rng: Random, shares: _Setting, terrain: Array, water: Mask, parcel: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], Array]:
    """Cover of each parcel, then woods with natural outlines and water on top; and the tint of each parcel."""
    size = terrain.shape[0]
    number = np.bincount(parcel.ravel()).clip(1)

    def mean_of(field: Array) -> NDArray[np.float64]:
        return np.asarray(np.bincount(parcel.ravel(), weights=field.ravel()) / number)

    y, x = np.mgrid[:size, :size] / size
    centre = rng.uniform(0.2, 0.8, 2)
    remoteness = mean_of(np.hypot(x - centre[0], y - centre[1])) + rng.normal(0, 0.06, number.size)
    woods = power_law_field(rng, size, 1.8) + 0.7 * (terrain - terrain.mean()) / terrain.std()
    wooded = mean_of(woods) + rng.normal(0, 0.3, number.size)
    present = np.bincount(parcel.ravel()) > 0
    kind = rng.random(number.size)
    cover = np.select([kind < shares.bare, kind < shares.bare + shares.grass], [Cover.BARE, Cover.GRASS], Cover.CROP)
    cover[wooded > np.quantile(wooded[present], 1 - shares.forest)] = Cover.FOREST
    cover[remoteness < np.quantile(remoteness[present], shares.town)] = Cover.TOWN
    picture = cover[parcel]
    picture[(woods > np.quantile(woods, 1 - 0.5 * shares.forest)) & (picture != Cover.TOWN)] = Cover.FOREST
    picture[water] = Cover.WATER
    return picture.astype(np.uint8), rng.uniform(-1, 1, number.size).astype(np.float32)[parcel]


def _furrows(u: Array, gsd_m: float, tint: Array) -> Array:
    """Sowing lines across the streets' direction, a few pixels apart; none where pixels are too large for them."""
    if gsd_m > COARSE_GSD_M:
        return np.zeros_like(u)
    return np.asarray(np.sin(2 * np.pi * u / (4.0 * max(gsd_m, 0.75) * (1 + 0.2 * tint))), np.float32)


def _moisture(rng: Random, terrain: Array, water: Mask, tint: Array) -> Array:
    """Wet after recent rain or not at all, wetter in the low places, a little different from field to field."""
    lowness = (terrain.mean() - terrain) / (terrain.std() + 1e-6)
    wetness = rng.normal(-0.4, 0.9) + 0.6 * lowness + 0.35 * power_law_field(rng, len(terrain), 1.5) + 0.4 * tint
    return np.where(water, 1, 1 / (1 + np.exp(-wetness))).astype(np.float32)


def _vegetation(rng: Random, cover: NDArray[np.uint8], tint: Array, moisture: Array, season: float) -> Array:
    """Green share of the ground: crops differ from field to field, meadows follow the water."""
    crop = np.clip(0.45 + 0.9 * tint, 0.02, 0.97) * season  # some fields bare, some closed
    grass = np.clip(0.35 + 0.6 * moisture + 0.15 * tint, 0.1, 0.95) * (0.4 + 0.6 * season)
    town = np.clip(0.4 + 0.5 * tint, 0.05, 0.8) * (0.5 + 0.5 * season)
    by_cover = [np.zeros_like(tint), np.full_like(tint, 0.5), crop, grass, 0.1 * (1 + tint), town]
    green = np.choose(cover, by_cover) * (1 + 0.12 * power_law_field(rng, len(tint), 1.0))
    return np.asarray(np.clip(green, 0, 1), np.float32)
