"""Land cover: what grows or stands on each parcel, and how green it is on a day of the year."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic.fields import Array, Labels, Mask, Random, fractal_field, quantile


class Cover(IntEnum):
    """What the ground is, below roads, buildings and tree crowns."""

    WATER = 0
    FOREST = 1
    CROP = 2
    GRASS = 3
    BARE = 4
    TOWN = 5


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a scene is mostly about: shares of its parcels; what is left over is crops.

    Args:
        town: share of parcels, the ones nearest to a centre.
        forest: share, the highest and wildest.
        bare: share.
        grass: share.
        water: range of the share of the area under standing water; negative is none.
        river: probability of a river.
        ruggedness: factor on the height differences.
        drought: taken from the wetness and, above 1, from the leaves.
    """

    town: float = 0.0
    forest: float = 0.1
    bare: float = 0.05
    grass: float = 0.2
    water: tuple[float, float] = (-0.1, 0.15)
    river: float = 0.4
    ruggedness: float = 1.0
    drought: float = 0.0


SETTINGS = {
    "farmland": Setting(town=0.05, forest=0.10, bare=0.06, grass=0.20),
    "forest": Setting(forest=0.55, bare=0.08, grass=0.2, ruggedness=1.8),
    "lake": Setting(town=0.08, forest=0.25, bare=0.12, grass=0.25, water=(0.2, 0.5), river=0.1),
    "river": Setting(town=0.06, forest=0.25, bare=0.08, grass=0.25, water=(-0.2, 0.03), river=1.0),
    "town": Setting(town=0.65, forest=0.08, bare=0.06, grass=0.15),
    "barren": Setting(forest=0.04, bare=0.55, grass=0.24, water=(-0.3, 0.08), river=0.3, ruggedness=2.2, drought=0.7),
}

# Probability, by cover, that a lot has a house and that a place for a tree has one.
HOUSES = np.array([0.0, 0.0, 0.01, 0.01, 0.005, 0.85], np.float32)
TREES = np.array([0.0, 0.97, 0.0, 0.05, 0.01, 0.22], np.float32)


def land_cover(
    rng: Random, setting: Setting, terrain_m: Array, water: Mask, parcel: Labels, parcels: int
) -> tuple[NDArray[np.uint8], Array]:
    """Cover of each parcel, then woods with natural outlines and water on top; and the tint of each parcel (-1..1).

    Returns:
        (H, W) and (parcels,).
    """
    size = len(terrain_m)
    number = np.bincount(parcel.ravel(), minlength=parcels)
    present, number = number > 0, number.clip(1)

    def mean_of(field: Array) -> NDArray[np.float64]:
        return np.asarray(np.bincount(parcel.ravel(), weights=field.ravel(), minlength=parcels) / number)

    along = np.linspace(0, 1, size, dtype=np.float32)
    centre = rng.uniform(0.2, 0.8, 2).astype(np.float32)
    away = np.sqrt(np.square(along - centre[0])[:, None] + np.square(along - centre[1])[None, :])
    remoteness = mean_of(away) + rng.normal(0, 0.06, parcels)
    height = terrain_m - terrain_m.mean()
    woods = fractal_field(rng, size, 1.8) + height * np.float32(0.7 / (height.std() + 1e-6))
    wooded = mean_of(woods) + rng.normal(0, 0.3, parcels)
    kind = rng.random(parcels)
    cover = np.full(parcels, int(Cover.CROP), np.uint8)
    cover[kind < setting.bare + setting.grass] = int(Cover.GRASS)
    cover[kind < setting.bare] = int(Cover.BARE)
    cover[wooded > np.quantile(wooded[present], 1 - setting.forest)] = int(Cover.FOREST)
    if setting.town:
        cover[remoteness < np.quantile(remoteness[present], setting.town)] = int(Cover.TOWN)
    picture = np.take(cover, parcel)
    wild = woods > quantile(woods, 1 - 0.5 * setting.forest)
    wild &= picture != int(Cover.TOWN)
    picture[wild] = int(Cover.FOREST)
    picture[water] = int(Cover.WATER)
    return picture, rng.uniform(-1, 1, parcels).astype(np.float32)


def leaves_out(day: int) -> float:
    """Share of the summer's leaves on deciduous plants: a double logistic (Zhang et al., RSE 84, 2003)."""
    return float(0.05 + 0.95 / (1 + np.exp(-(day - 115) / 9)) / (1 + np.exp((day - 290) / 9)))


def crops(tint: Array, day: int) -> tuple[Array, Array]:
    """Leaf area and share of straw of a parcel of crops with this tint, on a day of the year; arrays of any shape.

    With a tint below 0 it is sown in autumn and stands highest in May (winter cereals); the others in late July
    (maize, beet, beans). What was harvested leaves straw.
    """
    summer = tint > 0
    peak = np.where(summer, 212 + 30 * tint, 150 + 30 * tint)
    past = day - peak
    stand = 4.8 * np.exp(-np.square(past / np.where(summer, 42, 48)))
    seedlings = np.where(~summer & ((day < 110) | (day > 300)), 0.9, 0.05)
    straw = 0.7 * np.clip((past - 25) / 20, 0, 1) * np.clip((120 - past) / 40, 0, 1)
    return np.maximum(stand, seedlings).astype(np.float32), straw.astype(np.float32)


def ground_plants(
    cover: NDArray[np.uint8], tints: Array, parcel: Labels, moisture: Array, texture: Array, day: int, drought: float
) -> tuple[Array, Array]:
    """Leaf area (m2 of leaves per m2 of ground) of what grows below the trees, and the dry share of what is not green.

    Meadows and gardens follow the season and the water. Leaf areas up to 5 are usual (Asner et al., Global Ecology
    and Biogeography 12, 2003).

    Args:
        cover: (H, W).
        tints: of the parcels, (parcels,).
        parcel: number of each pixel's, (H, W).
        moisture: (H, W).
        texture: fine differences of growth, (H, W).
        day: of the year.
        drought: `Setting.drought`.
    """
    out = leaves_out(day)
    stand, straw = crops(tints, day)
    # By cover and parcel: leaf area on dry ground, what saturated ground adds, and the dry share likewise.
    kinds: dict[Cover, tuple[Array | float, ...]] = {
        Cover.FOREST: (0.3 + 0.9 * out, 0.0, 0.6, 0.0),
        Cover.CROP: (stand, 0.0, straw, 0.0),
        Cover.GRASS: ((0.6 + 0.4 * tints) * (0.5 + 0.5 * out), 2.8 * (0.5 + 0.5 * out), 0.75, -0.6),
        Cover.BARE: (0.15 + 0.1 * tints, 0.0, 0.0, 0.0),
        Cover.TOWN: ((1.0 + 0.8 * tints) * (0.4 + 0.6 * out), 0.0, 0.0, 0.0),
    }
    table = np.zeros((4, len(Cover), len(tints)), np.float32)
    for kind, rows in kinds.items():
        for i, row in enumerate(rows):
            table[i, int(kind)] = row
    place = cover * np.int32(len(tints)) + parcel
    dry_area, wet_area, dry_share, wet_share = (np.take(row, place) for row in table.reshape(4, -1))
    grown = np.clip(1 + np.float32(0.15) * texture, 0.2, 2) * np.float32(1 / (1 + 0.5 * drought))
    return np.clip((dry_area + wet_area * moisture) * grown, 0, 7), np.clip(dry_share + wet_share * moisture, 0, 1)
