"""The data sets that a synthetic world can hold: which scenes they show, what is rendered, under which names.

Folders and names are those of real data sets, so that `msgfm data index` reads them by the same layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.random import SeedSequence, default_rng
from numpy.typing import NDArray

from msgfm.data.synthetic.change import before_and_after, building_change
from msgfm.data.synthetic.clouds import draw_clouds
from msgfm.data.synthetic.conditions import SEASONS, Conditions, draw_conditions
from msgfm.data.synthetic.cover import SETTINGS
from msgfm.data.synthetic.fields import Random
from msgfm.data.synthetic.high_resolution import (
    PAN_RATIO,
    WORLDVIEW3_BANDS,
    render_dsm,
    render_photograph,
    render_worldview3,
)
from msgfm.data.synthetic.labels import LAND_COVER_BANDS, building_mask, in_colours, land_cover_labels, urban_labels
from msgfm.data.synthetic.radar import render_sentinel1
from msgfm.data.synthetic.scene import Scene, make_scene
from msgfm.data.synthetic.sentinel2 import BANDS as SENTINEL2_BANDS
from msgfm.data.synthetic.sentinel2 import render_sentinel2

SENTINEL_GSD_M = 10.0
AERIAL_GSD_M = 0.5
WORLDVIEW3_GSD_M = 0.31

# SEN12MS's own region numbers stand for a season each.
_ROIS = dict(zip(SEASONS, ("ROIs1158", "ROIs1868", "ROIs1970", "ROIs2017"), strict=True))
_RGB = ("R", "G", "B")
_EVERY = tuple(SETTINGS)
_BUILT = ("town", "town", "town", "farmland")

# One stream of chance for the setting, one for the conditions, one for the ground, and one for each rendering.
_SETTING, _CONDITIONS, _GROUND, _FIRST, _SECOND, _THIRD, _LATER = range(7)

Pixels = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One scene of one data set, before it is drawn: all of it follows from these numbers.

    Args:
        kind: a key of `KINDS`.
        index: number of the scene.
        seed: of the world.
        size: pixels along each side of the finest image.
        offset: in stored Sentinel-2 numbers.
    """

    kind: str
    index: int
    seed: int
    size: int
    offset: int = 0

    def chance(self, step: int) -> Random:
        """A generator of its own for each step, so that no rendering changes another."""
        return default_rng(SeedSequence(self.seed, spawn_key=(KINDS[self.kind].stream, self.index, step)))

    @property
    def setting(self) -> str:
        """Which of `cover.SETTINGS` the scene is about; data sets of single pictures have all in turn."""
        settings = KINDS[self.kind].settings
        if self.kind == "rgb":
            return settings[self.index % len(settings)]
        return settings[int(self.chance(_SETTING).integers(len(settings)))]

    @property
    def conditions(self) -> Conditions:
        """Date, sun, air and radar path; the Sentinel data sets have the seasons in turn."""
        satellite = KINDS[self.kind].gsd_m == SENTINEL_GSD_M
        season = SEASONS[self.index % 4] if satellite else None
        return draw_conditions(self.chance(_CONDITIONS), season, survey=not satellite)

    def scene(self, conditions: Conditions | None = None) -> Scene:
        """The latent scene, on its own date or under other conditions."""
        gsd_m = KINDS[self.kind].gsd_m
        conditions = conditions or self.conditions
        return make_scene(self.chance(_GROUND), conditions, setting=self.setting, size=self.size, gsd_m=gsd_m)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One file: pixels (bands, H, W), names of the bands, ground size of a pixel."""

    pixels: Pixels
    bands: tuple[str, ...]
    gsd_m: float


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A data set.

    Args:
        stream: of chance; fixed, so that a new kind changes no other.
        gsd_m: ground size of the latent scene's pixels.
        settings: what its scenes are about, in equal shares.
        names: paths of a scene's files below the data set's folder.
        pictures: their contents, in the same order; drawn only as far as they are asked for.
        index_as: layout and options for `msgfm data index`.
    """

    stream: int
    gsd_m: float
    settings: tuple[str, ...]
    names: Callable[[Place], tuple[str, ...]]
    pictures: Callable[[Place], Iterator[Picture]]
    index_as: str


def _sen12ms_names(place: Place, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Every scene has a scene number of its own and one patch."""
    season, scene = place.conditions.season, place.index + 1
    stem = f"{_ROIS[season]}_{season}"
    return tuple(f"{stem}_{kind}/{kind}_{scene}/{stem}_{kind}_{scene}_p30.tif" for kind in kinds)


def _sentinel_pair(place: Place, scene: Scene) -> Iterator[Picture]:
    sentinel = partial(Picture, gsd_m=SENTINEL_GSD_M)
    conditions = place.conditions
    yield sentinel(pixels=render_sentinel1(scene, conditions, place.chance(_FIRST)), bands=("VV", "VH"))
    clear = render_sentinel2(scene, conditions, place.chance(_SECOND), offset=place.offset)
    yield sentinel(pixels=clear, bands=SENTINEL2_BANDS)


def _sen12ms(place: Place) -> Iterator[Picture]:
    scene = place.scene()
    yield from _sentinel_pair(place, scene)
    yield Picture(pixels=land_cover_labels(scene), bands=LAND_COVER_BANDS, gsd_m=SENTINEL_GSD_M)


def _sen12ms_cr(place: Place) -> Iterator[Picture]:
    scene = place.scene()
    yield from _sentinel_pair(place, scene)
    clouds = draw_clouds(place.chance(_THIRD), place.conditions, place.size, SENTINEL_GSD_M)
    cloudy = render_sentinel2(scene, place.conditions, place.chance(_SECOND), clouds=clouds, offset=place.offset)
    yield Picture(pixels=cloudy, bands=SENTINEL2_BANDS, gsd_m=SENTINEL_GSD_M)
    yield Picture(pixels=clouds.mask()[None], bands=("0 clear, 1 cloud, 2 shadow",), gsd_m=SENTINEL_GSD_M)


def _photograph(place: Place, scene: Scene, conditions: Conditions | None = None, step: int = _FIRST) -> Picture:
    pixels = render_photograph(scene, conditions or place.conditions, place.chance(step))
    return Picture(pixels=pixels, bands=_RGB, gsd_m=scene.gsd_m)


def _rgb_dsm(place: Place) -> Iterator[Picture]:
    scene = place.scene()
    yield _photograph(place, scene)
    yield Picture(pixels=render_dsm(scene, place.chance(_SECOND)), bands=("height",), gsd_m=scene.gsd_m)


def _rgb(place: Place) -> Iterator[Picture]:
    yield _photograph(place, place.scene())


def _potsdam_names(place: Place) -> tuple[str, ...]:
    row, column = 2 + place.index // 18, 1 + place.index % 18
    tile = f"{row}_{column}"
    return (
        f"4_Ortho_RGBIR/top_potsdam_{tile}_RGBIR.tif",
        f"1_DSM/dsm_potsdam_{row:02}_{column:02}.tif",
        f"5_Labels_all/top_potsdam_{tile}_label.tif",
    )


def _segmentation(place: Place) -> Iterator[Picture]:
    scene, gsd_m = place.scene(), AERIAL_GSD_M
    pixels = render_photograph(scene, place.conditions, place.chance(_FIRST), (*_RGB, "NIR"))
    yield Picture(pixels=pixels, bands=(*_RGB, "NIR"), gsd_m=gsd_m)
    yield Picture(pixels=render_dsm(scene, place.chance(_SECOND)), bands=("height",), gsd_m=gsd_m)
    yield Picture(pixels=in_colours(urban_labels(scene)), bands=_RGB, gsd_m=gsd_m)


def _split(place: Place) -> str:
    """One in ten scenes for validation and one in ten for testing."""
    return {8: "val", 9: "test"}.get(place.index % 10, "train")


def _buildings(place: Place) -> Iterator[Picture]:
    scene = place.scene()
    yield _photograph(place, scene)
    yield Picture(pixels=building_mask(scene)[None], bands=("building",), gsd_m=scene.gsd_m)


def _change_names(place: Place) -> tuple[str, ...]:
    split = _split(place)
    return tuple(f"{split}/{folder}/{split}_{place.index + 1}.tif" for folder in ("A", "B", "label"))


def _change(place: Place) -> Iterator[Picture]:
    rng, first = place.chance(_LATER), place.conditions
    later = draw_conditions(rng, survey=True)
    before, after = before_and_after(rng, place.scene(), place.scene(later))
    yield _photograph(place, before, first, _FIRST)
    yield _photograph(place, after, later, _SECOND)
    yield Picture(pixels=building_change(before, after)[None], bands=("change",), gsd_m=AERIAL_GSD_M)


def _spacenet2_names(place: Place) -> tuple[str, ...]:
    area = "AOI_1_Synthetic"
    folder = f"{area}_{'Test' if _split(place) == 'test' else 'Train'}"
    return tuple(f"{folder}/{product}/{product}_{area}_img{place.index + 1}.tif" for product in ("MUL", "PAN"))


def _pansharpen(place: Place) -> Iterator[Picture]:
    bands, pan = render_worldview3(place.scene(), place.conditions, place.chance(_FIRST))
    yield Picture(pixels=bands, bands=WORLDVIEW3_BANDS[:-1], gsd_m=PAN_RATIO * WORLDVIEW3_GSD_M)
    yield Picture(pixels=pan, bands=WORLDVIEW3_BANDS[-1:], gsd_m=WORLDVIEW3_GSD_M)


_sentinel = partial(Kind, gsd_m=SENTINEL_GSD_M, settings=_EVERY)
_aerial = partial(Kind, gsd_m=AERIAL_GSD_M, settings=_EVERY)

KINDS: dict[str, Kind] = {
    "sen12ms": _sentinel(
        stream=0,
        names=partial(_sen12ms_names, kinds=("s1", "s2", "lc")),
        pictures=_sen12ms,
        index_as="sen12ms",
    ),
    "rgb_dsm": _aerial(
        stream=1,
        names=lambda place: (f"rgb/place{place.index:05d}.tif", f"dsm/place{place.index:05d}.tif"),
        pictures=_rgb_dsm,
        index_as="pairs --sensor rgb=rgb --sensor dsm=dsm",
    ),
    "rgb": _aerial(
        stream=2,
        names=lambda place: (f"Images/{place.setting}/{place.setting}{place.index:05d}.tif",),
        pictures=_rgb,
        index_as="ucmerced",
    ),
    "sen12ms_cr": _sentinel(
        stream=3,
        names=partial(_sen12ms_names, kinds=("s1", "s2", "s2_cloudy", "cloud_mask")),
        pictures=_sen12ms_cr,
        index_as="sen12ms-cr",
    ),
    "segmentation": replace(
        _aerial(stream=4, names=_potsdam_names, pictures=_segmentation, index_as="potsdam"),
        settings=("town", *_EVERY),
    ),
    "buildings": _aerial(
        stream=5,
        settings=_BUILT,
        names=lambda place: tuple(f"{_split(place)}/{folder}/{place.index}.tif" for folder in ("image", "label")),
        pictures=_buildings,
        index_as="whu-buildings",
    ),
    "change": _aerial(stream=6, settings=_BUILT, names=_change_names, pictures=_change, index_as="levir-cd"),
    "pansharpen": Kind(
        stream=7,
        gsd_m=WORLDVIEW3_GSD_M,
        settings=("town", "town", "barren", *_EVERY),
        names=_spacenet2_names,
        pictures=_pansharpen,
        index_as="spacenet2",
    ),
}
