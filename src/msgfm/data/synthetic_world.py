"""The latent scene of the synthetic data: one piece of ground that every sensor then looks at.

Shapes come from a few classic devices: power-law random fields for relief and soil, a jittered Voronoi partition for
fields, level sets of smooth fields for rivers, and rectangles on a warped street grid for towns. Sizes are in metres,
so that the same code makes a 10 m scene of a kilometre and a 1 m scene of a block of houses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Random = np.random.Generator

BLOCK_U_M, BLOCK_V_M = 96.0, 60.0  # between the streets of a town
LOT_U_M, LOT_V_M = 24.0, 30.0


class Cover(IntEnum):
    """What the ground is, below roads, buildings and tree crowns."""

    WATER = 0
    FOREST = 1
    CROP = 2
    GRASS = 3
    BARE = 4
    TOWN = 5


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A square of ground; every array is (size, size), rows run south, columns east.

    Args:
        setting: a key of `SETTINGS`, what the scene is mostly about.
        gsd_m: ground size of a pixel.
        street_azimuth: direction of the streets and of the house walls along them, radians clockwise from east.
        altitude_m: mean height of the terrain above sea level.
        terrain_m: height of the ground, float32, flat on water.
        cover: `Cover`, uint8.
        parcel: number of the field or lot that the pixel belongs to.
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
    altitude_m: float
    terrain_m: Array
    cover: NDArray[np.uint8]
    parcel: NDArray[np.int64]
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
        return self.terrain_m.shape[0]

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
    u, v = _street_coordinates(rng, size, gsd_m, azimuth)
    length_m, width_m = extent_m / rng.uniform(4, 8), extent_m / rng.uniform(5, 10)
    parcel, border = _voronoi(rng, u, v, length_m, width_m, rectangular=True)
    cover, tint = _land_cover(rng, shares, terrain, water, parcel)
    road, streets = _roads(rng, u, v, gsd_m, cover)
    building, building_m, roof = _buildings(rng, u, v, gsd_m, cover, np.maximum(road, streets))
    road = np.where(cover == Cover.TOWN, np.maximum(road, streets), road)
    hedge = (border < 0.09) & (power_law_field(rng, size, 1.5) > 0.3) & (cover != Cover.WATER)
    canopy, tree_m, species = _trees(rng, gsd_m, cover, hedge, np.maximum(road, building))
    moisture = _moisture(rng, terrain, water, tint)
    return Scene(
        setting=setting,
        gsd_m=gsd_m,
        street_azimuth=azimuth,
        altitude_m=float(terrain.mean()),
        terrain_m=terrain,
        cover=cover,
        parcel=parcel,
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
    return (field / field.std()).astype(np.float32)


@cache
def _amplitude(size: int, exponent: float) -> Array:
    """Spectral amplitude in the layout of `rfft2`, without the constant part."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    return np.asarray(frequency**-exponent, np.float32)


def _relief(rng: Random, size: int, extent_m: float, water_share: float) -> tuple[Array, NDArray[np.bool_]]:
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
    base = np.where(river, min(low, max(level, low)), np.maximum(base, level))
    relief_m = extent_m * 10 ** rng.uniform(-2.4, -1.5)  # gentle plains to hills
    return (rng.uniform(20, 800) + relief_m * base).astype(np.float32), water


def _street_coordinates(rng: Random, size: int, gsd_m: float, azimuth: float) -> tuple[Array, Array]:
    """Metres along and across the streets: a rotated grid, bent a little by a smooth field."""
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    bend = 0.03 * size * power_law_field(rng, size, 3.2)
    u = np.cos(azimuth) * x + np.sin(azimuth) * y + bend
    v = np.cos(azimuth) * y - np.sin(azimuth) * x + bend
    return (u * gsd_m).astype(np.float32), (v * gsd_m).astype(np.float32)


def _voronoi(
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


def _land_cover(
    rng: Random, shares: _Setting, terrain: Array, water: NDArray[np.bool_], parcel: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], Array]:
    """Cover of each parcel, then woods with natural outlines and water on top; and the tint of each parcel."""
    size = terrain.shape[0]
    number = np.bincount(parcel.ravel()).clip(1)

    def mean_of(field: Array) -> NDArray[np.float64]:
        return np.bincount(parcel.ravel(), weights=field.ravel()) / number

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


def _overlap(distance_m: Array, half_m: Array | float, gsd_m: float) -> Array:
    """Share of a pixel in a strip of half width `half_m` whose middle is `distance_m` away, thin strips included."""
    reach = (half_m - np.abs(distance_m)) / gsd_m + 0.5
    return np.clip(reach, 0, np.minimum(1, 2 * np.asarray(half_m, np.float32) / gsd_m)).astype(np.float32)


def _roads(rng: Random, u: Array, v: Array, gsd_m: float, cover: NDArray[np.uint8]) -> tuple[Array, Array]:
    """Share of each pixel under the one or two through roads, and under town streets (wherever towns may be)."""
    half_m = rng.uniform(3.0, 5.0)
    road = np.zeros(u.shape, np.float32)
    for along, probability in ((u, 0.7), (v, 0.4)):
        if rng.random() < probability:
            place = rng.uniform(*np.quantile(along, (0.25, 0.75)))
            road = np.maximum(road, _overlap(along - BLOCK_U_M * round(place / BLOCK_U_M), half_m, gsd_m))
    street_m = 3.0
    to_u = np.abs((u + BLOCK_U_M / 2) % BLOCK_U_M - BLOCK_U_M / 2)
    to_v = np.abs((v + BLOCK_V_M / 2) % BLOCK_V_M - BLOCK_V_M / 2)
    streets = _overlap(np.minimum(to_u, to_v), street_m, gsd_m)
    dry_streets = np.where(cover == Cover.WATER, 0, streets).astype(np.float32)
    return road, dry_streets  # through roads have bridges


def _buildings(
    rng: Random, u: Array, v: Array, gsd_m: float, cover: NDArray[np.uint8], road: Array
) -> tuple[Array, Array, Array]:
    """Share under roofs, their height in metres and a number that chooses the material: at most one house a lot."""
    i, j = np.floor(u / LOT_U_M).astype(np.int64), np.floor(v / LOT_V_M).astype(np.int64)
    lot = (i % 64) * 64 + j % 64
    draw = rng.random((64 * 64, 8)).astype(np.float32)
    half_u, half_v = 3.5 + 5.5 * draw[:, 0], 3.5 + 4.5 * draw[:, 1]
    large = draw[:, 2] > 0.85  # blocks and halls with flat roofs
    half_u, half_v = np.where(large, 11.0, half_u), np.where(large, 11.0, half_v)
    eaves_m = np.where(large, 8 + 14 * draw[:, 3], 3 + 4 * draw[:, 3])
    across = v - (j + 0.5) * LOT_V_M - (2 * draw[lot, 4] - 1) * 3
    along = u - (i + 0.5) * LOT_U_M - (2 * draw[lot, 5] - 1) * 1.5
    inside = _overlap(along, half_u[lot], gsd_m) * _overlap(across, half_v[lot], gsd_m)
    density = np.select([cover == Cover.TOWN, cover == Cover.WATER, cover == Cover.FOREST], [0.85, 0.0, 0.0], 0.01)
    stands = (draw[lot, 6] < density) & (road < 0.05 + (gsd_m > 3))
    share = np.where(stands, inside * (1 - road), 0).astype(np.float32)
    ridge_m = np.where(large, 0, 0.6 * half_v)[lot] * np.clip(1 - np.abs(across) / half_v[lot], 0, 1)
    height = np.where(share > 0.3, eaves_m[lot] + ridge_m, 0).astype(np.float32)
    return share, height, draw[lot, 7]


def _trees(
    rng: Random, gsd_m: float, cover: NDArray[np.uint8], hedge: NDArray[np.bool_], built: Array
) -> tuple[Array, Array, Array]:
    """Share under crowns, their height in metres and a number that chooses the species.

    Single crowns where pixels are small, stands where they are not.
    """
    size = cover.shape[0]
    stand_m = (rng.uniform(9, 20) + 1.5 * power_law_field(rng, size, 1.5)).clip(3)
    density = np.array([0.0, 0.97, 0.0, 0.05, 0.01, 0.22], np.float32)[cover]
    density = np.where(hedge, 0.8, density) * (built < 0.3)
    if gsd_m > 3:
        ragged = density * (1 - 0.12 * np.abs(power_law_field(rng, size, 0.4))).clip(0, 1)
        kind = np.clip(0.5 + 0.25 * power_law_field(rng, size, 1.2), 0, 1)
        return ragged.astype(np.float32), (ragged * stand_m).astype(np.float32), kind
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    tree, _ = _voronoi(rng, x * gsd_m, y * gsd_m, 5.5, 5.5, rectangular=False)
    count = np.bincount(tree.ravel()).clip(1)
    middle_x = np.bincount(tree.ravel(), weights=x.ravel()) / count
    middle_y = np.bincount(tree.ravel(), weights=y.ravel()) / count
    at = np.round(middle_y).astype(np.int64), np.round(middle_x).astype(np.int64)
    radius_m = rng.uniform(2.0, 4.2, count.size)
    grows = rng.random(count.size) < density[at]
    ragged = 1 + 0.18 * power_law_field(rng, size, 0.8)
    from_middle_m = gsd_m * ragged * np.hypot(x - middle_x[tree], y - middle_y[tree])
    dome = np.sqrt(np.clip(1 - (from_middle_m / radius_m[tree]) ** 2, 0, 1))
    canopy = np.where(grows[tree], _overlap(from_middle_m, radius_m[tree], gsd_m), 0)
    top_m = (stand_m[at] * rng.uniform(0.7, 1.15, count.size))[tree]
    tree_m = np.where(canopy > 0, top_m * (0.55 + 0.45 * dome), 0)
    return canopy.astype(np.float32), tree_m.astype(np.float32), rng.random(count.size).astype(np.float32)[tree]


def _furrows(u: Array, gsd_m: float, tint: Array) -> Array:
    """Sowing lines along the streets' direction, of a spacing that the pixels can still show; flat where they cannot."""
    if gsd_m > 3:
        return np.zeros_like(u)
    return np.sin(2 * np.pi * u / (4.0 * max(gsd_m, 0.75) * (1 + 0.2 * tint))).astype(np.float32)


def _moisture(rng: Random, terrain: Array, water: NDArray[np.bool_], tint: Array) -> Array:
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
    return np.clip(green, 0, 1).astype(np.float32)
