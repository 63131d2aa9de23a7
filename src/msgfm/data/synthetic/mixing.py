"""Linear spectral mixing: which share of each pixel's light comes from which endmember.

A pixel's reflectance is the sum of its endmembers' spectra, weighted by the area that each shows to the sky (Keshava
and Mustard, IEEE Signal Processing Magazine 19, 2002). Brightness that has no colour (texture, slope, crowns' own
shade) multiplies the weights, so that mixing all bands is one matrix product.
"""

from __future__ import annotations

import numpy as np

from msgfm.data.synthetic.cover import Cover
from msgfm.data.synthetic.fields import Array
from msgfm.data.synthetic.scene import Scene
from msgfm.data.synthetic.spectra import ENDMEMBERS

_INDEX = {name: i for i, name in enumerate(ENDMEMBERS)}
_ROOFS = ("tiles", "tiles", "slate", "paving", "metal")
_EXTINCTION = 0.55  # of leaves at mid-latitude sun heights


def green_share(leaf_area: Array) -> Array:
    """Share of the ground that leaves hide from above (Beer and Lambert's law; Monsi and Saeki, 1953)."""
    return np.asarray(1 - np.exp(np.float32(-_EXTINCTION) * leaf_area))


def abundances(scene: Scene) -> Array:
    """Weights (endmembers, H, W) of `spectra.ENDMEMBERS`; each pixel's add up to its brightness factor, near 1."""
    share = np.zeros((len(ENDMEMBERS), scene.size, scene.size), np.float32)
    crown, below = scene.canopy, 1 - scene.canopy
    roof = scene.building * below
    below = below - roof
    paved = scene.road * below
    open_ground = below - paved
    grain = 1 + np.float32(0.06) * scene.texture
    water = open_ground * (scene.cover == int(Cover.WATER))
    turbid = np.clip(np.float32(scene.sediment) + 0.04 * scene.texture, 0, 1)
    share[_INDEX["turbid water"]] = water * turbid
    share[_INDEX["clear water"]] = water - share[_INDEX["turbid water"]]
    _land(share, scene, (open_ground - water) * grain)
    share[_INDEX["asphalt"]] = paved * grain
    if scene.building.any():
        kind = (scene.roof * np.float32(0.9999 * len(_ROOFS))).astype(np.int8)
        shade = scene.roof * np.float32(37)
        lit = roof * (np.float32(0.8) + np.float32(0.4) * (shade - np.floor(shade)))
        for i, name in enumerate(_ROOFS):
            share[_INDEX[name]] += lit * (kind == i)
    _crowns(share, scene, crown * grain)
    return share


def _land(share: Array, scene: Scene, land: Array) -> None:
    """Leaves, dry plants, paved yards and soil of the open ground."""
    leaves = land * green_share(scene.leaf_area)
    rest = land - leaves
    share[_INDEX["green leaves"]] = leaves * (1 - np.float32(0.12) * scene.tint)
    dry = rest * scene.litter
    share[_INDEX["straw"]] += dry
    rest = rest - dry
    town = scene.cover == int(Cover.TOWN)
    if town.any():
        yards = rest * (0.5 - 0.4 * scene.tint) * town
        share[_INDEX["paving"]] += yards
        rest = rest - yards
    rest *= 1 + np.float32(0.1) * scene.furrow + np.float32(0.35) * scene.tint  # tillage, crusts, stones
    wet = rest * scene.moisture
    red = np.clip(np.float32(scene.redness) + 0.5 * scene.tint, 0, 1)
    share[_INDEX["wet red soil"]] = wet * red
    share[_INDEX["wet pale soil"]] = wet - share[_INDEX["wet red soil"]]
    rest = rest - wet
    share[_INDEX["red soil"]] = rest * red
    share[_INDEX["pale soil"]] = rest - share[_INDEX["red soil"]]


def _crowns(share: Array, scene: Scene, crown: Array) -> None:
    """Needles, leaves, and the branches of trees that have lost them; each crown has a brightness of its own."""
    crown = crown * (0.8 + 0.45 * scene.species)
    needles = crown * np.clip(np.float32(scene.conifers - 0.4) + 0.8 * scene.species, 0, 1)
    share[_INDEX["needleleaf"]] = needles
    deciduous = crown - needles
    share[_INDEX["broadleaf"]] = deciduous * np.float32(scene.leaves)
    share[_INDEX["bare branches"]] = deciduous * np.float32(1 - scene.leaves)


def mix(spectra: Array, weights: Array) -> Array:
    """Reflectance (bands, H, W) of spectra (bands, endmembers) and weights (endmembers, H, W)."""
    return np.asarray((spectra @ weights.reshape(len(weights), -1)).reshape(len(spectra), *weights.shape[1:]))
