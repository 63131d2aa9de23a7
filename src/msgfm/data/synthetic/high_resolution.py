"""What sees single houses and trees: an aerial camera, WorldView-3 (eight bands and PAN), a surface model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic.atmosphere import air
from msgfm.data.synthetic.conditions import Conditions
from msgfm.data.synthetic.fields import Array, Random, approximate_normals
from msgfm.data.synthetic.illumination import in_shadow, sunlight
from msgfm.data.synthetic.mixing import abundances, mix
from msgfm.data.synthetic.scene import Scene
from msgfm.data.synthetic.spectra import CAMERA_WINDOWS, WORLDVIEW3_WINDOWS, band_spectra, pan_weights

PAN_RATIO = 4  # of the pixels of the eight bands to those of PAN
WORLDVIEW3_BANDS = (*WORLDVIEW3_WINDOWS, "PAN")
_FULL_SCALE = 2047  # 11 bits
# Digital numbers for a reflectance of 1 at the top of the atmosphere: sunlight in the band times gain, fitted to the
# means of SpaceNet 2 (the sensor card's).
_GAIN = np.array([1850, 2750, 3850, 3550, 2800, 2450, 2150, 2100], np.float32)

# By camera band: share of skylight, haze, and the camera's gain.
_COLOURS = {"R": (0.22, 0.5, 1.0), "G": (0.25, 0.7, 1.05), "B": (0.32, 1.0, 1.3), "NIR": (0.19, 0.3, 0.6)}


def render_photograph(
    scene: Scene, conditions: Conditions, rng: Random, bands: tuple[str, ...] = ("R", "G", "B")
) -> NDArray[np.uint8]:
    """An aerial photograph (bands, H, W) with cast shadows, haze, and a camera's own exposure and tone curve.

    Shadows are lit by the sky alone, which is blue; the tone curve is a power of 1 / 1.8, a little harder than sRGB;
    noise is that of 8 bits and a small sensor.

    Args:
        scene: what is seen.
        conditions: the sun.
        rng: of haze, exposure (a mean brightness that the camera aims at), balance and noise.
        bands: of `spectra.CAMERA_WINDOWS`.
    """
    colour = np.array([_COLOURS[band] for band in bands], np.float32)
    radiance = _ground(scene, conditions, tuple(CAMERA_WINDOWS[band] for band in bands), colour[:, 0])
    radiance += (rng.uniform(0.0, 0.015) * colour[:, 1])[:, None, None]
    balance = colour[:, 2] * rng.normal(1, 0.04, len(bands)).astype(np.float32)
    exposure = np.clip(rng.uniform(0.19, 0.37) / radiance[:3].mean(), 1.5, 7)
    exposed = radiance * (balance * np.float32(exposure))[:, None, None]
    image = 255 * np.clip(exposed, 0, None) ** np.float32(1 / 1.8) + 2.5 * approximate_normals(rng, exposed.shape)
    return np.asarray(np.clip(np.round(image), 0, 255), np.uint8)


def render_worldview3(
    scene: Scene, conditions: Conditions, rng: Random, *, noise: bool = True
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Digital numbers of 11 bits of the eight bands and of PAN, whose pixels are the scene's own.

    PAN is the sum of the bands at its own resolution, each weighted by its part in PAN's window
    (`spectra.pan_weights`). The bands are then averaged over blocks of 4 x 4 pixels, as their larger detectors do:
    so PAN averaged over these blocks equals the weighted sum of the bands, but for noise and rounding.

    Returns:
        (8, H / 4, W / 4) and (1, H, W).
    """
    windows = tuple(WORLDVIEW3_WINDOWS.values())
    ground = _ground(scene, conditions, windows, np.linspace(0.28, 0.12, 8, dtype=np.float32))
    sky = air(windows, conditions)
    path = sky.molecules + sky.aerosol * np.float32(conditions.haze)
    sharp = (ground * sky.transmission[:, None, None] + path[:, None, None]) * _GAIN[:, None, None]
    pan = np.tensordot(np.array(list(pan_weights().values()), np.float32), sharp, axes=1)[None]
    size = scene.size // PAN_RATIO
    bands = sharp.reshape(8, size, PAN_RATIO, size, PAN_RATIO).mean(axis=(2, 4))
    if noise:
        bands = bands * (1 + approximate_normals(rng, bands.shape) / 120)
        pan = pan * (1 + approximate_normals(rng, pan.shape) / 80)
    return _digital(bands), _digital(pan)


def render_dsm(scene: Scene, rng: Random) -> Array:
    """A photogrammetric surface model (1, H, W): terrain, roofs and crowns in metres above sea level.

    Matching blurs edges by a pixel or so and is good to about a decimetre (Hirschmueller, IEEE TPAMI 30, 2008).
    """
    surface = scene.surface_m
    blurred = surface.copy()
    blurred[1:-1] = 0.5 * surface[1:-1] + 0.25 * (surface[:-2] + surface[2:])
    result = blurred.copy()
    result[:, 1:-1] = 0.5 * blurred[:, 1:-1] + 0.25 * (blurred[:, :-2] + blurred[:, 2:])
    return np.asarray(result + 0.05 * approximate_normals(rng, result.shape), np.float32)[None]


def _digital(number: Array) -> NDArray[np.uint16]:
    return np.clip(np.round(number), 1, _FULL_SCALE).astype(np.uint16)


def _ground(scene: Scene, conditions: Conditions, windows: tuple[tuple[int, int], ...], skylight: Array) -> Array:
    """Light from the ground (bands, H, W), 1 for a white level surface in the sun."""
    direct = sunlight(scene.surface_m, scene.gsd_m, conditions) * ~in_shadow(scene, conditions)
    share = skylight[:, None, None]
    return mix(band_spectra(windows), abundances(scene)) * (share + (1 - share) * direct)
