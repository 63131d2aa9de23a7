"""What is true of a scene, as data sets label it: land cover, urban classes, buildings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic.cover import Cover
from msgfm.data.synthetic.scene import Scene

# MODIS MCD12Q1 (Sulla-Menashe and Friedl, User Guide, 2018), as in SEN12MS: IGBP, LCCS land cover, land use, hydrology.
LAND_COVER_BANDS = ("IGBP", "LCCS1", "LCCS2", "LCCS3")
_LAND_COVER = {
    Cover.WATER: (17, 3, 3, 3),
    Cover.FOREST: (5, 15, 10, 10),  # mixed
    Cover.CROP: (12, 31, 36, 30),
    Cover.GRASS: (10, 31, 30, 30),
    Cover.BARE: (16, 1, 1, 1),
    Cover.TOWN: (13, 1, 9, 1),
}
_NEEDLES, _BROAD = (1, 11, 10, 10), (4, 14, 10, 10)

# ISPRS 2D semantic labelling: number, name, colour.
URBAN_COLOURS = {
    0: (255, 0, 0),  # clutter: here water
    1: (255, 255, 255),  # impervious surfaces
    2: (0, 0, 255),  # building
    3: (0, 255, 255),  # low vegetation, and bare ground with it
    4: (0, 255, 0),  # tree
}
_CLUTTER, _IMPERVIOUS, _BUILDING, _LOW, _TREE = URBAN_COLOURS


def land_cover_labels(scene: Scene) -> NDArray[np.uint8]:
    """Codes of MCD12Q1, (4, H, W): what covers most of each pixel; pixel by pixel, where SEN12MS has 500 m."""
    table = np.array([_LAND_COVER[cover] for cover in Cover], np.uint8)
    if scene.conifers > 0.8:
        table[Cover.FOREST] = _NEEDLES
    elif scene.conifers < 0.2:
        table[Cover.FOREST] = _BROAD
    cover = scene.cover.copy()
    cover[(scene.canopy > 0.5) & (cover != Cover.TOWN)] = Cover.FOREST
    cover[np.maximum(scene.road, scene.building) > 0.5] = Cover.TOWN
    return np.ascontiguousarray(table[cover].transpose(2, 0, 1))


def urban_labels(scene: Scene) -> NDArray[np.uint8]:
    """Classes of the ISPRS benchmark, (H, W); there are no cars. What is seen from above counts: crowns hide roads."""
    label = np.full(scene.cover.shape, _LOW, np.uint8)
    label[scene.cover == Cover.WATER] = _CLUTTER
    label[scene.road > 0.5] = _IMPERVIOUS
    label[scene.building > 0.5] = _BUILDING
    label[scene.canopy > 0.5] = _TREE
    return label


def in_colours(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The benchmark's colours of `urban_labels`: (3, H, W)."""
    table = np.array(list(URBAN_COLOURS.values()), np.uint8)
    return np.ascontiguousarray(table[label].transpose(2, 0, 1))


def building_mask(scene: Scene) -> NDArray[np.uint8]:
    """255 on buildings, also below crowns: (H, W)."""
    return np.where(scene.building > 0.5, np.uint8(255), np.uint8(0))
