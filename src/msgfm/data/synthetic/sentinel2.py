"""Sentinel-2 MSI, Level-1C: top-of-atmosphere reflectance of 13 bands at 10, 20 and 60 m on the 10 m grid."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic.atmosphere import air
from msgfm.data.synthetic.clouds import Clouds, cover_with, passed
from msgfm.data.synthetic.conditions import Conditions
from msgfm.data.synthetic.fields import Array, Random, approximate_normals, fractal_fields
from msgfm.data.synthetic.illumination import sunlight
from msgfm.data.synthetic.mixing import abundances, mix
from msgfm.data.synthetic.scene import Scene
from msgfm.data.synthetic.spectra import SENTINEL2_WINDOWS, band_spectra

BANDS = tuple(SENTINEL2_WINDOWS)
NATIVE_PX = (6, 1, 1, 1, 2, 2, 2, 1, 2, 6, 6, 2, 2)  # native pixel in units of 10 m (Drusch et al., RSE 120, 2012)
QUANTIFICATION = 10_000
_WINDOWS = tuple(SENTINEL2_WINDOWS.values())
_SKYLIGHT = np.float32(0.2)  # share of the light that comes from the sky, not from the sun
_NOISE = np.float32(1 / 150)  # signal to noise ratio about 150 (Drusch et al., 2012)
_UNEVEN = np.float32(0.1)  # of the haze within a scene
_OPTICS = (0.13, 0.74, 0.13)  # what falls on a neighbour at 10 m: modulation transfer near 0.25 at Nyquist


def render_sentinel2(
    scene: Scene, conditions: Conditions, rng: Random, *, clouds: Clouds | None = None, offset: int = 0
) -> NDArray[np.uint16]:
    """Level-1C numbers: round(reflectance * 10000) + offset, at least 1, since 0 is no data.

    Each band is mixed on its own grid: the endmembers' shares are averaged over its pixels, the bands are mixed and
    get their noise there, and are then brought to the 10 m grid bilinearly.

    Args:
        scene: what is seen.
        conditions: sun and air.
        rng: of the noise and of the haze's unevenness. The same state gives a clean and a cloudy twin.
        clouds: over the scene; None is a clear day.
        offset: 1000 writes what processing baseline 04.00 writes (ESA, 2022).

    Returns:
        (13, H, W) in the order of `BANDS`.
    """
    weights = abundances(scene)
    weights *= _light(scene, conditions, clouds)
    spectra, sky = band_spectra(_WINDOWS), air(_WINDOWS, conditions)
    haze = np.float32(conditions.haze) * (1 + _UNEVEN * fractal_fields(rng, 1, scene.size, 2.5))
    stored = np.empty((len(BANDS), scene.size, scene.size), np.uint16)
    for factor, step in ((1, 1), (2, 2), (6, 3)):
        rows = [row for row, native in enumerate(NATIVE_PX) if native == factor]
        weights, haze = _coarser(weights, step), _coarser(haze, step)
        band = mix(spectra[rows] * sky.transmission[rows, None], weights)
        band += sky.aerosol[rows, None, None] * haze
        band += sky.molecules[rows, None, None]
        if factor == 1:
            band = _blurred(band)
        noise = approximate_normals(rng, band.shape)
        noise *= _NOISE
        noise += 1
        band *= noise
        band = _finer(band, factor, scene.size)
        if clouds is not None:
            band = cover_with(clouds, band, tuple(_WINDOWS[row] for row in rows))
        stored[rows] = _quantised(band)
    return np.clip(stored + np.int32(offset), 1, 65535).astype(np.uint16) if offset else stored


def _quantised(reflectance: Array) -> NDArray[np.uint16]:
    reflectance *= QUANTIFICATION
    reflectance += np.float32(0.5)
    return np.clip(reflectance, 1, 65535, out=reflectance).astype(np.uint16)


def _light(scene: Scene, conditions: Conditions, clouds: Clouds | None) -> Array:
    direct = sunlight(scene.terrain_m, scene.gsd_m, conditions)
    if clouds is not None:
        direct *= passed(clouds.towards_sun)
    return _SKYLIGHT + (1 - _SKYLIGHT) * direct


def _coarser(image: Array, factor: int) -> Array:
    """Means of blocks of `factor` x `factor` pixels; the last blocks may be narrower."""
    if factor == 1:
        return image
    if factor == 2 and image.shape[1] % 2 == 0:
        rows = image[:, ::2] + image[:, 1::2]
        return np.float32(0.25) * (rows[..., ::2] + rows[..., 1::2])
    block = _blocks(image.shape[1], factor)
    return np.asarray(block @ image @ block.T)


def _finer(image: Array, factor: int, size: int) -> Array:
    """Bilinear, from the centres of the coarse pixels."""
    if factor == 1:
        return image
    between = _bilinear(image.shape[1], factor, size)
    return np.asarray(between @ image @ between.T)


def _blurred(image: Array) -> Array:
    """The optics' blur: along rows, then along columns; the edges keep their own light."""
    side, middle = np.float32(_OPTICS[0]), np.float32(_OPTICS[1])
    for axis in (1, 2):
        first = (slice(None),) * axis
        after, before = (*first, slice(1, None)), (*first, slice(None, -1))
        result = image * middle
        result[after] += side * image[before]
        result[before] += side * image[after]
        for edge in (0, -1):
            result[(*first, edge)] += side * image[(*first, edge)]
        image = result
    return image


@lru_cache(maxsize=16)
def _blocks(size: int, factor: int) -> Array:
    """Matrix (blocks, size) of means over `factor` pixels."""
    block = np.arange(size) // factor
    matrix: Array = (block[None, :] == np.arange(-(-size // factor))[:, None]).astype(np.float32)
    matrix /= matrix.sum(axis=1, keepdims=True)
    matrix.setflags(write=False)
    return matrix


@lru_cache(maxsize=16)
def _bilinear(blocks: int, factor: int, size: int) -> Array:
    """Matrix (size, blocks) of linear interpolation between the centres of blocks."""
    place = (np.arange(size) + 0.5) / factor - 0.5
    matrix: Array = np.clip(1 - np.abs(place[:, None] - np.arange(blocks)[None, :]), 0, 1).astype(np.float32)
    matrix /= matrix.sum(axis=1, keepdims=True)
    matrix.setflags(write=False)
    return matrix
