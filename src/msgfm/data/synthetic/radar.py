"""Sentinel-1, C-band, ground range detected: backscatter sigma0 in dB, VV and VH.

Levels lie within the C-band ranges of Ulaby and Dobson (Handbook of Radar Scattering Statistics for Terrain, 1989) and
of the Sentinel-1 global backscatter model (Bauer-Marschallinger et al., Scientific Data 8, 2021). Left out: layover and
radar shadow, which need steeper ground than these scenes have, and the bright stars of single metal objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msgfm.data.synthetic.conditions import Conditions
from msgfm.data.synthetic.cover import Cover
from msgfm.data.synthetic.fields import Array, Random, approximate_normals, slopes
from msgfm.data.synthetic.scene import Scene

# Equivalent number of looks on the 10 m grid. ESA's Product Specification gives 4.4 for IW GRD; terrain correction
# resamples it, which averages: what is left on the flattest patches of the real pack is 6 to 7.
LOOKS = 6.5
# Speckle is correlated over neighbours: pixels of 10 m, resolution of about 20 m, resampled. Measured likewise.
_SPECKLE_KERNEL = np.array([0.15, 0.7, 1.0, 0.7, 0.15], np.float32)


@dataclass(frozen=True, kw_only=True)
class _Polarisation:
    """Levels in dB of dry soil, leaves, wood, open water, walls and noise (equivalent sigma0); the rest are gains."""

    dry: float
    wet_gain: float
    rough_gain: float
    leaves: float
    wood: float
    water: float
    wind: float
    walls: float
    noise: float


_BANDS = (
    _Polarisation(
        dry=-13.5, wet_gain=4.5, rough_gain=1.0, leaves=-10.8, wood=-10.2, water=-20.0, wind=1.0, walls=4.0, noise=-27.0
    ),
    _Polarisation(
        dry=-20.5,
        wet_gain=3.5,
        rough_gain=0.5,
        leaves=-16.6,
        wood=-15.6,
        water=-28.5,
        wind=0.5,
        walls=-5.0,
        noise=-31.0,
    ),
)


def render_sentinel1(scene: Scene, conditions: Conditions, rng: Random, *, speckle: bool = True) -> Array:
    """Backscatter in dB, (2, H, W): VV, VH.

    - soil: grows with moisture and roughness, falls with the square of the cosine of the local incidence angle
      (Lambert's law for clutter; Ulaby et al., Microwave Remote Sensing II, 1982);
    - plants over soil: the water-cloud model (Attema and Ulaby, Radio Science 13, 1978), with the leaf area for the
      water content; crowns likewise, with their wood;
    - slopes: a slope that faces the radar has more ground in a cell of slant range: sin(incidence) over
      sin(local incidence) (Ulander, IEEE TGRS 34, 1996);
    - walls: ground and wall form a corner (double bounce), strongest where the wall's normal points to the radar
      (Franceschetti et al., IEEE TGRS 40, 2002);
    - noise equivalent sigma0, added to the power; multi-look speckle, multiplied.
    """
    cosine, projected = _local_incidence(scene, conditions)
    reference = float(np.cos(conditions.radar_incidence))
    fall = projected * np.square(cosine * np.float32(1 / reference))
    land = (scene.cover != int(Cover.WATER)).astype(np.float32)
    rough_db = (np.float32(0.3) + 0.5 * land) * scene.roughness + 1.2 * land * scene.tint
    path = 1 / cosine
    plants = 1 - np.exp(np.float32(-0.55) * scene.leaf_area * path)
    wood = 1 - np.exp(np.float32(-3.5) * scene.canopy * path)
    walls = _walls(scene, conditions)
    sigma0 = np.empty((2, scene.size, scene.size), np.float32)
    for row, band in enumerate(_BANDS):
        open_water = np.float32(band.water + band.wind * conditions.wind_db)
        bare = open_water + land * (np.float32(band.dry) - open_water + np.float32(band.wet_gain) * scene.moisture)
        power = _power(bare + np.float32(band.rough_gain) * rough_db)
        power += (_power(np.float32(band.dry - 4)) - power) * scene.road  # smooth asphalt mirrors the beam away
        power += (_power(np.float32(band.leaves)) - power) * plants
        power += (_power(band.wood + np.float32(0.6 * band.rough_gain) * rough_db) - power) * wood
        power *= fall
        power += _power(np.float32(band.walls)) * walls
        power += _power(np.float32(band.noise))
        sigma0[row] = power
    if speckle:
        sigma0 *= multilook_speckle(rng, sigma0.shape)
    return np.asarray(10 * np.log10(sigma0), np.float32)


def _power(decibel: Array | np.float32) -> Array:
    return np.exp(decibel * np.float32(np.log(10) / 10), dtype=np.float32)


def _local_incidence(scene: Scene, conditions: Conditions) -> tuple[Array, Array]:
    """Cosine of the local incidence angle, and the ground area per slant-range cell against that of level ground."""
    east, north = slopes(scene.terrain_m, scene.gsd_m)
    away, ahead = np.float32(np.sin(conditions.radar_azimuth)), np.float32(np.cos(conditions.radar_azimuth))
    sine, cosine = (np.float32(f(conditions.radar_incidence)) for f in (np.sin, np.cos))
    rising = away * east + ahead * north  # along the look direction; such slopes face the radar
    local = np.clip((cosine + sine * rising) / np.sqrt(1 + east * east + north * north), 0.1, 1)
    projected = sine / np.sqrt(np.clip(1 - local * local, 0.03, 1))
    return np.asarray(local, np.float32), np.asarray(np.clip(projected, 0.3, 4), np.float32)


def _walls(scene: Scene, conditions: Conditions) -> Array:
    """Double bounce: share of the pixel that is built, by the height of its walls and by how they face the radar."""
    if not scene.building.any():
        return np.zeros_like(scene.building)
    east, south = np.sin(conditions.radar_azimuth), -np.cos(conditions.radar_azimuth)
    along = np.cos(scene.street_azimuth) * east + np.sin(scene.street_azimuth) * south
    facing = along**8 + (1 - along**2) ** 4  # one or the other pair of walls
    echo = scene.roof * np.float32(53)
    echo = np.float32(1.5) * np.square(echo - np.floor(echo))  # few walls stand just so
    return np.asarray(
        scene.building * np.clip(scene.building_m / 8, 0, 2) * echo * np.float32(0.15 + 0.85 * facing), np.float32
    )


def multilook_speckle(rng: Random, shape: tuple[int, ...]) -> Array:
    """Factors (bands, H, W) of mean 1 and variance 1 / `LOOKS`, gamma-distributed, correlated over neighbours.

    The intensity of L averaged looks is a gamma variate (Oliver and Quegan, Understanding Synthetic Aperture Radar
    Images, 2004). The cube root of a gamma variate is all but normal (Wilson and Hilferty, PNAS 17, 1931), so a
    smoothed field of normals gives a correlated gamma field.
    """
    reach = len(_SPECKLE_KERNEL) - 1
    field = approximate_normals(rng, (shape[0], shape[1] + reach, shape[2] + reach))
    height, width = shape[1:]
    kernel = _SPECKLE_KERNEL / np.float32(np.linalg.norm(_SPECKLE_KERNEL))
    rows = sum(weight * field[:, i : i + height] for i, weight in enumerate(kernel))
    normal = sum(weight * rows[..., i : i + width] for i, weight in enumerate(kernel))
    root = np.clip(np.float32(1 - 1 / (9 * LOOKS)) + normal * np.float32(1 / (3 * np.sqrt(LOOKS))), 0.05, None)
    return np.asarray(root * root * root)
