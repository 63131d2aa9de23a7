"""Clouds and the shadows that they throw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic.conditions import Conditions
from msgfm.data.synthetic.fields import Array, Random, fractal_fields, quantile

CLEAR, CLOUD, SHADOW = range(3)
VISIBLE_DEPTH = 0.5  # optical depth from which a pixel counts as cloudy, or as shaded

_ASYMMETRY = 0.85  # of the scattering by water drops in sunlight
# Brightness of a thick cloud by wavelength, nm: vapour above it at 945 and 1375, absorption by drops beyond 1500.
_COLOUR_NM = (400, 900, 935, 955, 1000, 1300, 1358, 1389, 1450, 1610, 2200)
_COLOUR = (1.0, 1.0, 0.6, 0.6, 1.0, 1.0, 0.05, 0.05, 0.7, 0.75, 0.5)


@dataclass(frozen=True, kw_only=True)
class Clouds:
    """One layer of cloud over a scene.

    Args:
        depth: optical depth straight above each pixel, (H, W).
        towards_sun: optical depth where the ray from the sun to each pixel goes through the layer, (H, W).
    """

    depth: Array
    towards_sun: Array

    def mask(self) -> NDArray[np.uint8]:
        """`CLEAR`, `CLOUD`, or `SHADOW` where there is no cloud above it: (H, W)."""
        shaded = np.where(self.towards_sun > VISIBLE_DEPTH, np.uint8(SHADOW), np.uint8(CLEAR))
        return np.where(self.depth > VISIBLE_DEPTH, np.uint8(CLOUD), shaded)


def draw_clouds(rng: Random, conditions: Conditions, size: int, gsd_m: float, cover: float | None = None) -> Clouds:
    """Draws a layer of broken cloud.

    The shadow lies `height / tan(elevation)` away from the sun. The layer is drawn on a canvas half as wide again as
    the scene, so that shadows also come from clouds outside; the height is bounded so that they fit. Optical depths
    are lognormal (Cahalan et al., Journal of the Atmospheric Sciences 51, 1994), falling to 0 at the edges.

    Args:
        rng: the only source of chance.
        conditions: the sun.
        size: pixels along each side.
        gsd_m: ground size of a pixel in metres.
        cover: share of the canvas under cloud; None draws it.
    """
    margin = size // 2
    cover = rng.uniform(0.15, 0.75) if cover is None else cover
    outline, inside = fractal_fields(rng, 2, size + margin, 1.7, 4)
    edge = np.clip((outline - quantile(outline, 1 - cover)) / 0.35, 0, 1)
    depth = (edge * edge * (3 - 2 * edge) * np.exp(rng.normal(2.0, 0.6) + 0.8 * inside)).astype(np.float32)
    cotangent = 1 / np.tan(conditions.sun_elevation)
    height_m = min(float(np.exp(rng.normal(6.9, 0.5))), margin * gsd_m / cotangent)
    away = height_m * cotangent / gsd_m
    rows = round(-np.cos(conditions.sun_azimuth) * away)  # towards the sun
    columns = round(np.sin(conditions.sun_azimuth) * away)
    top, left = max(0, -rows), max(0, -columns)
    return Clouds(
        depth=depth[top : top + size, left : left + size],
        towards_sun=depth[top + rows : top + rows + size, left + columns : left + columns + size],
    )


def passed(depth: Array) -> Array:
    """Share of the light that a cloud lets through, two-stream without absorption: 2 / (2 + (1 - g) depth).

    Bohren, American Journal of Physics 55, 1987; what is not passed is reflected.
    """
    return np.asarray(2 / (2 + np.float32(1 - _ASYMMETRY) * depth))


def cloud_colour(windows: tuple[tuple[int, int], ...]) -> Array:
    """How bright a thick cloud is in each band against a white one: (bands,)."""
    centre = np.array(windows, np.float64).mean(axis=1)
    return np.asarray(np.interp(centre, _COLOUR_NM, _COLOUR), np.float32)


def cover_with(clouds: Clouds, image: Array, windows: tuple[tuple[int, int], ...]) -> Array:
    """Lays the clouds over top-of-atmosphere reflectance (bands, H, W) of a ground that lies in their shadow already.

    Cloud and ground reflect light to and fro: R + T^2 ground / (1 - R ground), the adding method.
    """
    through = passed(clouds.depth)
    back = cloud_colour(windows)[:, None, None] * (1 - through)
    return np.asarray(back + np.square(through) * image / (1 - back * image.clip(0, 1)), np.float32)
