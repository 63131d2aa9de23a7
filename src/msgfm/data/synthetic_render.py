"""What each sensor sees of a synthetic scene: Sentinel-2, Sentinel-1, an aerial camera, and a surface model.

The spectra and backscatter below are round numbers inside the ranges of the sources named beside them; they are not
copied from any one table. `tests/test_synthetic.py` compares the images' statistics with real ones.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic_fields import Array, Random, power_law_field
from msgfm.data.synthetic_world import Cover, Scene

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
S2_NATIVE_PX = (6, 1, 1, 1, 2, 2, 2, 1, 2, 6, 6, 2, 2)  # native pixel in units of 10 m (Drusch et al., RSE 120, 2012)
LOOKS = 4.4  # equivalent number of looks of IW GRD at high resolution (ESA, Sentinel-1 Product Specification)

# Surface reflectance in the order of S2_BANDS. Ranges: ECOSTRESS spectral library (Meerdink et al., RSE 230, 2019) for
# soils, roofs, pavement and leaves; PROSAIL for closed canopies (Jacquemoud et al., RSE 113, 2009).
_SPECTRA = {
    "clear water": (0.030, 0.028, 0.025, 0.015, 0.012, 0.008, 0.007, 0.006, 0.005, 0.004, 0.002, 0.003, 0.002),
    "turbid water": (0.060, 0.075, 0.105, 0.085, 0.075, 0.045, 0.040, 0.032, 0.028, 0.020, 0.005, 0.010, 0.006),
    "pale soil": (0.090, 0.120, 0.170, 0.225, 0.255, 0.280, 0.300, 0.320, 0.330, 0.340, 0.360, 0.400, 0.340),
    "red soil": (0.045, 0.055, 0.085, 0.150, 0.180, 0.200, 0.220, 0.240, 0.255, 0.260, 0.290, 0.330, 0.290),
    "crop": (0.025, 0.032, 0.072, 0.038, 0.100, 0.320, 0.410, 0.435, 0.455, 0.450, 0.300, 0.220, 0.105),
    "straw": (0.060, 0.080, 0.125, 0.170, 0.200, 0.245, 0.270, 0.300, 0.320, 0.330, 0.320, 0.330, 0.230),
    "broadleaf": (0.016, 0.020, 0.043, 0.023, 0.068, 0.220, 0.280, 0.300, 0.315, 0.310, 0.200, 0.135, 0.058),
    "needleleaf": (0.012, 0.015, 0.029, 0.018, 0.042, 0.125, 0.160, 0.175, 0.185, 0.185, 0.120, 0.075, 0.032),
    "asphalt": (0.080, 0.090, 0.100, 0.110, 0.115, 0.120, 0.125, 0.130, 0.135, 0.135, 0.140, 0.150, 0.140),
    "paving": (0.150, 0.180, 0.215, 0.240, 0.250, 0.260, 0.265, 0.270, 0.275, 0.275, 0.280, 0.300, 0.280),
    "tiles": (0.050, 0.060, 0.090, 0.190, 0.230, 0.260, 0.280, 0.300, 0.310, 0.320, 0.340, 0.370, 0.350),
    "slate": (0.090, 0.100, 0.110, 0.115, 0.120, 0.125, 0.130, 0.135, 0.140, 0.140, 0.150, 0.160, 0.155),
    "metal": (0.280, 0.310, 0.330, 0.335, 0.340, 0.345, 0.350, 0.350, 0.350, 0.350, 0.350, 0.350, 0.330),
}
# Top of atmosphere = path + transmission * surface. Rayleigh falls as wavelength ** -4; B9 lies in a water vapour band,
# B10 in one that leaves almost nothing of the ground (6S: Vermote et al., IEEE TGRS 35, 1997).
_PATH = (0.108, 0.078, 0.045, 0.025, 0.020, 0.016, 0.013, 0.011, 0.009, 0.004, 0.0008, 0.001, 0.0005)
_TRANSMISSION = (0.80, 0.84, 0.88, 0.92, 0.93, 0.94, 0.95, 0.95, 0.96, 0.33, 0.003, 0.97, 0.95)


def sun(rng: Random) -> tuple[float, float]:
    """Azimuth (clockwise from north) and elevation, in radians, of a mid-morning sun of the northern mid-latitudes."""
    return float(np.radians(rng.uniform(125, 165))), float(np.radians(rng.uniform(35, 62)))


def surface_reflectance(scene: Scene, rng: Random, bands: tuple[str, ...] = S2_BANDS) -> Array:
    """Reflectance of the ground, roads, roofs and crowns, without light and air: (bands, H, W), 0..1."""
    columns = [S2_BANDS.index(band) for band in bands]
    spectrum = {name: np.array(values, np.float32)[columns, None, None] for name, values in _SPECTRA.items()}
    texture = 0.07 * power_law_field(rng, scene.size, 0.9)
    redness, sediment, needles = rng.random(3).astype(np.float32)
    soil = _mix(spectrum["pale soil"], spectrum["red soil"], np.clip(redness + 0.25 * scene.tint, 0, 1))
    soil = soil * (1.15 - 0.6 * scene.moisture) * (1 + 0.1 * scene.furrow * (scene.cover == Cover.CROP))
    ripe = np.where(scene.cover == Cover.CROP, np.clip(-scene.tint - 0.3, 0, 0.6), 0.15 * (1 - scene.moisture))
    ground = _mix(soil, spectrum["straw"], ripe)
    ground = _mix(ground, spectrum["paving"], np.where(scene.cover == Cover.TOWN, 0.5 - 0.4 * scene.tint, 0))
    ground = _mix(ground, spectrum["crop"] * (1.05 - 0.15 * scene.tint), scene.vegetation)
    water = _mix(spectrum["clear water"], spectrum["turbid water"], np.clip(0.7 * sediment**3 + 0.5 * texture, 0, 1))
    ground = np.where(scene.cover == Cover.WATER, water, ground)
    ground = _mix(ground, spectrum["asphalt"], scene.road)
    roofs = np.stack([spectrum[name][:, 0, 0] for name in ("tiles", "tiles", "slate", "paving", "metal")], axis=1)
    roof = roofs[:, (scene.roof * roofs.shape[1]).astype(np.int64)] * (0.85 + 0.3 * (scene.roof * 37 % 1))
    ground = _mix(ground, roof, scene.building)
    conifers = np.clip(needles + 0.8 * scene.species - 0.4, 0, 1)
    crowns = _mix(spectrum["broadleaf"], spectrum["needleleaf"], conifers) * (0.8 + 0.5 * scene.species)
    ground = _mix(ground, crowns, scene.canopy)
    bumps = np.where(scene.cover == Cover.WATER, 0.2 * texture, texture)
    return np.asarray(np.clip(ground * (1 + bumps), 0, 1), np.float32)


def render_sentinel2(scene: Scene, rng: Random) -> NDArray[np.uint16]:
    """Level-1C numbers (13, H, W): top-of-atmosphere reflectance times 10000, without the offset of 2022."""
    azimuth, elevation = sun(rng)
    light = 0.2 + 0.8 * _sunlight(scene.terrain_m, scene.gsd_m, azimuth, elevation)  # a fifth comes from the sky
    haze = rng.uniform(0.8, 1.25) + 0.04 * power_law_field(rng, scene.size, 2.5)
    path, passed = (np.array(row, np.float32)[:, None, None] for row in (_PATH, _TRANSMISSION))
    image = path * haze + passed * (1.12 - 0.12 * haze) * surface_reflectance(scene, rng) * light
    for row, factor in enumerate(S2_NATIVE_PX):
        blur = _native_resolution(scene.size, factor)
        image[row] = blur @ image[row] @ blur.T
    image *= 1 + rng.standard_normal(image.shape, np.float32) / 150  # signal to noise about 150
    return np.clip(np.round(image * 10000), 1, 65535).astype(np.uint16)


def render_sentinel1(scene: Scene, rng: Random, *, speckle: bool = True) -> Array:
    """Backscatter sigma0 in dB (2, H, W): VV, VH.

    Levels lie within the C-band ranges of Ulaby and Dobson (Handbook of Radar Scattering Statistics for Terrain, 1989)
    and the Sentinel-1 global backscatter model (Bauer-Marschallinger et al., Scientific Data 8, 2021). Plants over
    soil follow the water-cloud model (Attema and Ulaby, Radio Science 13, 1978).
    """
    incidence = np.radians(rng.uniform(31, 45))
    heading = rng.choice((-1.0, 1.0))  # the beam travels east (ascending) or west (descending)
    cosine, projected = _local_incidence(scene, incidence, heading)
    wind_db = rng.normal(0, 2.0)
    rough_db = 2.0 * scene.tint * (scene.cover != Cover.WATER) + 0.8 * power_law_field(rng, scene.size, 1.2)
    facing = np.abs(np.cos(scene.street_azimuth)) ** 8 + np.abs(np.sin(scene.street_azimuth)) ** 8
    echo = 2.5 * (scene.roof * 53 % 1) ** 2  # few walls stand just so
    walls = scene.building * np.clip(scene.building_m / 8, 0, 2) * echo * (0.2 + 0.8 * facing)
    # Volume scattering fills with biomass: leaf water on the ground, then wood above it.
    plants = -np.expm1(-2 * 1.4 * scene.vegetation / cosine)
    wood = -np.expm1(-4 * scene.canopy / cosine)
    bands = []
    # columns: dry soil, gain of wet soil, plants, wood, water, wind's share, walls, noise floor; all in dB
    for dry, gain, leaves, crowns, water, wind, corner, floor in (
        (-14.5, 7.0, -10.5, -9.3, -20.5, 1.0, 2.0, -26.0),
        (-22.5, 5.5, -16.0, -14.8, -28.5, 0.5, -6.5, -28.0),
    ):
        soil = _power(dry + gain * scene.moisture + rough_db)
        soil = np.where(scene.cover == Cover.WATER, _power(water + wind * wind_db), soil)
        soil = _mix(soil, _power(dry - 4), scene.road)  # smooth asphalt mirrors the beam away
        ground = soil * (1 - plants) + _power(leaves) * plants
        ground = ground * (1 - wood) + _power(crowns + 0.4 * rough_db) * wood
        power = (ground * cosine / np.cos(incidence) + _power(corner) * walls) * projected
        bands.append(power + _power(floor))
    sigma0 = np.stack(bands)
    if speckle:
        sigma0 = sigma0 * _speckle(rng, sigma0.shape)
    return np.asarray(10 * np.log10(sigma0), np.float32)


def render_rgb(scene: Scene, rng: Random) -> NDArray[np.uint8]:
    """An aerial photograph (3, H, W) with cast shadows, haze, and a camera's own exposure and tone curve."""
    azimuth, elevation = sun(rng)
    lit = _sunlight(scene.surface_m, scene.gsd_m, azimuth, elevation) * ~_in_shadow(scene, azimuth, elevation)
    skylight = np.array([0.16, 0.20, 0.27], np.float32)[:, None, None]  # shadows are blue
    radiance = surface_reflectance(scene, rng, ("B04", "B03", "B02")) * (skylight + (1 - skylight) * lit)
    radiance += rng.uniform(0.0, 0.02) * np.array([0.5, 0.7, 1.0], np.float32)[:, None, None]
    balance = np.array([1.0, 1.0, 1.08], np.float32) * rng.normal(1, 0.04, 3).astype(np.float32)
    exposed = radiance * balance[:, None, None] * rng.uniform(1.9, 4.2)
    image = 255 * np.clip(exposed, 0, None) ** (1 / 2.2) + 2.5 * rng.standard_normal(exposed.shape, np.float32)
    return np.asarray(np.clip(np.round(image), 0, 255), np.uint8)


def render_dsm(scene: Scene, rng: Random) -> Array:
    """A photogrammetric surface model (1, H, W) in metres above sea level, good to about a decimetre."""
    noise = 0.05 * power_law_field(rng, scene.size, 0.5)
    return (scene.surface_m + noise)[None].astype(np.float32)


def _mix(first: Array, second: Array, share: Array) -> Array:
    return first + (second - first) * share


def _power(decibel: Array | float) -> Array:
    return np.asarray(10 ** (np.asarray(decibel, np.float32) / 10), np.float32)


def _slopes(height_m: Array, gsd_m: float) -> tuple[Array, Array]:
    """Rise per metre towards the east and towards the north."""
    south, east = np.gradient(height_m, gsd_m)
    return np.asarray(east, np.float32), np.asarray(-south, np.float32)


def _sunlight(height_m: Array, gsd_m: float, azimuth: float, elevation: float) -> Array:
    """Direct light on the slopes (H, W), 1 on the level: cosine of the sun's incidence over that of flat ground."""
    east, north = _slopes(height_m, gsd_m)
    towards_sun = np.sin(azimuth) * east + np.cos(azimuth) * north
    cosine = (np.sin(elevation) - np.cos(elevation) * towards_sun) / np.sqrt(1 + east**2 + north**2)
    return np.asarray(np.clip(cosine / np.sin(elevation), 0, 1.6), np.float32)


def _in_shadow(scene: Scene, azimuth: float, elevation: float) -> NDArray[np.bool_]:
    """Where something towards the sun stands above the ray: steps of one pixel, as far as the tallest thing casts."""
    surface = scene.surface_m
    tallest = float(np.maximum(scene.building_m, scene.tree_m).max())
    shadow = np.zeros(surface.shape, np.bool_)
    for step in range(1, 1 + int(tallest / np.tan(elevation) / scene.gsd_m)):
        rows, columns = round(-np.cos(azimuth) * step), round(np.sin(azimuth) * step)
        rise = np.tan(elevation) * step * scene.gsd_m
        towards = _shifted(surface, rows, columns)
        shadow |= towards > surface + rise
    return shadow


def _shifted(image: Array, rows: int, columns: int) -> Array:
    """The value `rows` down and `columns` right of each pixel; the edge's own beyond the edge."""
    size = len(image)
    down = np.clip(np.arange(size) + rows, 0, size - 1)
    right = np.clip(np.arange(size) + columns, 0, size - 1)
    return image[down[:, None], right[None, :]]


def _local_incidence(scene: Scene, incidence: float, heading: float) -> tuple[Array, Array]:
    """Cosine of the local incidence angle, and the ground area per slant-range cell against that of level ground."""
    east, north = _slopes(scene.terrain_m, scene.gsd_m)
    length = np.sqrt(1 + east**2 + north**2)
    cosine = np.clip((np.cos(incidence) - heading * -np.sin(incidence) * east) / length, 0.1, 1)
    projected = np.sin(incidence) / np.sqrt(np.clip(1 - cosine**2, 0.03, 1))
    return np.asarray(cosine, np.float32), np.asarray(np.clip(projected, 0.3, 4), np.float32)


def _speckle(rng: Random, shape: tuple[int, ...]) -> Array:
    """Multiplicative speckle of mean 1 and variance 1 / `LOOKS`, correlated over neighbours as in resampled GRD.

    Wilson and Hilferty (PNAS 17, 1931): the cube root of a gamma variate is all but normal, so a correlated normal
    field gives a correlated gamma field.
    """
    field = rng.standard_normal((shape[0], shape[1] + 2, shape[2] + 2), np.float32)
    field = 0.5 * (field[:, :-2] + field[:, 2:]) + field[:, 1:-1]
    field = 0.5 * (field[..., :-2] + field[..., 2:]) + field[..., 1:-1]
    normal = field / 1.5  # the kernel (0.5, 1, 0.5) has norm sqrt(1.5) along each axis
    return np.clip(1 - 1 / (9 * LOOKS) + normal / (3 * np.sqrt(LOOKS)), 0.05, None) ** 3  # type: ignore[no-any-return]


@cache
def _native_resolution(size: int, factor: int) -> Array:
    """Matrix (size, size) that averages blocks of `factor` pixels and interpolates linearly between their centres.

    At the 10 m grid itself it is the optics' own blur: about a quarter of the light falls on the neighbours.
    """
    if factor == 1:
        optics = np.eye(size) + 0.18 * (np.eye(size, k=1) + np.eye(size, k=-1))
        return np.asarray(optics / optics.sum(axis=1, keepdims=True), np.float32)
    blocks = -(-size // factor)
    block = np.arange(size) // factor
    down = (block[None, :] == np.arange(blocks)[:, None]).astype(np.float32)
    down /= down.sum(axis=1, keepdims=True)
    place = (np.arange(size) + 0.5) / factor - 0.5
    up = np.clip(1 - np.abs(place[:, None] - np.arange(blocks)[None, :]), 0, 1)
    return np.asarray((up / up.sum(axis=1, keepdims=True)) @ down, np.float32)
