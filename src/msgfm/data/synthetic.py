"""Writes a synthetic world: three data sets of made-up but plausible images, for demonstrations and tests.

The folders are laid out as their real models are, so `msgfm data index` reads them like any other data.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from affine import Affine
from numpy.random import SeedSequence, default_rng

from msgfm.data.synthetic_fields import Random
from msgfm.data.synthetic_render import S2_BANDS, render_dsm, render_rgb, render_sentinel1, render_sentinel2
from msgfm.data.synthetic_world import Scene, make_scene
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff
from msgfm.progress import track

SENTINEL_GSD_M = 10.0
AERIAL_GSD_M = 1.0
# SEN12MS's own region numbers stand for a season each; the greenness of fields in it is ours.
ROIS = (
    ("ROIs1158", "spring", 0.9),
    ("ROIs1868", "summer", 0.75),
    ("ROIs1970", "fall", 0.5),
    ("ROIs2017", "winter", 0.3),
)
SMALLEST_PX = 32

# One stream of chance for each data set, and in it one for the ground and one for each sensor.
_SENTINEL, _AERIAL, _PHOTOGRAPHS = range(3)
_GROUND, _FIRST, _SECOND = range(3)


def write_world(out: Path, *, scenes: int, seed: int, size: int = 128) -> None:
    """Writes `scenes` scenes into each of three data sets.

    - `out/sen12ms`: Sentinel-1 (VV, VH in dB) and Sentinel-2 (13 bands, reflectance x 10000) of one place, 10 m
      (layout `sen12ms`; every synthetic scene has its own scene number and one patch);
    - `out/rgb_dsm/rgb` and `out/rgb_dsm/dsm`: aerial photograph and surface heights in metres, 1 m (layout `pairs`);
    - `out/rgb/<setting>`: photographs without a partner, by what they mostly show (layout `image-folder`).

    No place appears twice. A scene's pixels follow from (seed, its index, size) alone, not from how many are written.
    The folder appears when everything is written, so a killed run leaves none.

    Raises:
        InputError: `out` exists and is not empty, a number out of range, or the disk is full.
    """
    if scenes < 1 or seed < 0 or size < SMALLEST_PX:
        raise InputError(
            f"scenes={scenes}, seed={seed}, size={size}: need at least 1 scene, a seed of 0 or more, and a size of "
            f"{SMALLEST_PX} pixels or more"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already; remove it, or choose another folder for the synthetic world")
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        for index in track(range(scenes), "making scenes", scenes):
            write_sentinel_pair(unfinished / "sen12ms", index, seed, size)
            write_aerial_pair(unfinished / "rgb_dsm", index, seed, size)
            write_photograph(unfinished / "rgb", index, seed, size)
        unfinished.replace(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_sentinel_pair(root: Path, index: int, seed: int, size: int) -> None:
    """Writes the S1 and S2 files of one scene, named as SEN12MS names them."""
    roi, season, greenness = ROIS[index % len(ROIS)]
    scene = make_scene(_chance(seed, _SENTINEL, index, _GROUND), size=size, gsd_m=SENTINEL_GSD_M, season=greenness)
    sentinel1 = render_sentinel1(scene, _chance(seed, _SENTINEL, index, _FIRST))
    sentinel2 = render_sentinel2(scene, _chance(seed, _SENTINEL, index, _SECOND))
    for kind, image, bands in (("s1", sentinel1, ("VV", "VH")), ("s2", sentinel2, S2_BANDS)):
        folder = root / f"{roi}_{season}_{kind}" / f"{kind}_{index + 1}"
        path = folder / f"{roi}_{season}_{kind}_{index + 1}_p30.tif"
        write_geotiff(path, image, crs="EPSG:32632", transform=_grid(scene, index), descriptions=bands)


def write_aerial_pair(root: Path, index: int, seed: int, size: int) -> None:
    """Writes the photograph and the surface model of one scene under the same file name."""
    scene = make_scene(_chance(seed, _AERIAL, index, _GROUND), size=size, gsd_m=AERIAL_GSD_M)
    rgb = render_rgb(scene, _chance(seed, _AERIAL, index, _FIRST))
    dsm = render_dsm(scene, _chance(seed, _AERIAL, index, _SECOND))
    name, grid = f"place{index:05d}.tif", _grid(scene, index)
    write_geotiff(root / "rgb" / name, rgb, crs="EPSG:32633", transform=grid, descriptions=("R", "G", "B"))
    write_geotiff(root / "dsm" / name, dsm, crs="EPSG:32633", transform=grid, descriptions=("height",))


def write_photograph(root: Path, index: int, seed: int, size: int) -> None:
    """Writes a photograph into the folder of its setting."""
    scene = make_scene(_chance(seed, _PHOTOGRAPHS, index, _GROUND), size=size, gsd_m=AERIAL_GSD_M)
    rgb = render_rgb(scene, _chance(seed, _PHOTOGRAPHS, index, _FIRST))
    path = root / scene.setting / f"{scene.setting}{index:05d}.tif"
    write_geotiff(path, rgb, crs="EPSG:32634", transform=_grid(scene, index), descriptions=("R", "G", "B"))


def _chance(seed: int, data_set: int, index: int, step: int) -> Random:
    return default_rng(SeedSequence(seed, spawn_key=(data_set, index, step)))


def _grid(scene: Scene, index: int) -> Affine:
    """North-up UTM grid: scenes lie in rows of forty, a scene's width apart, so that none touch."""
    spacing_m = 2 * scene.size * scene.gsd_m
    east_m, north_m = 300_000 + (index % 40) * spacing_m, 5_000_000 + (index // 40) * spacing_m
    return Affine(scene.gsd_m, 0, east_m, 0, -scene.gsd_m, north_m)
