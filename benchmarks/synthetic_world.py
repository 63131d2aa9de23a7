"""The synthetic world against real images: statistics side by side, scenes a second on one core, and a picture.

    python benchmarks/synthetic_world.py [FOLDER WITH THE REAL PACK] [--picture FILE.png]

Speed is that of one thread, wall clock and processor time, without writing files. Statistics: mean, standard deviation
within an image and percentiles of each band over all images (medians over images, so that one snow scene does not make
the table), correlation of bands, and correlation of pixels at a distance.
"""

from __future__ import annotations

import argparse
import io
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic.clouds import draw_clouds
from msgfm.data.synthetic.high_resolution import WORLDVIEW3_BANDS, render_dsm, render_photograph, render_worldview3
from msgfm.data.synthetic.kinds import KINDS, Place
from msgfm.data.synthetic.labels import building_mask, land_cover_labels, urban_labels
from msgfm.data.synthetic.sentinel2 import BANDS, render_sentinel2
from msgfm.geo.raster import read_bands
from msgfm.sensors import load_sensor

Image = NDArray[np.float64]
_CHANGED = 7  # a scene with many houses
LAGS = (1, 2, 4, 16)
SCENES = 48
OFFSET_FILES = ("TerraMesh/S2L1C/282D", "TerraMesh/S2L1C/609U")  # hold baseline 04.00's 1000 (README of the pack)
SNOW = "609U"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", nargs="?", type=Path, help="folder of the real pack")
    parser.add_argument("--picture", type=Path, help="file for a picture of all renderings (PNG)")
    parser.add_argument("--scenes", type=int, default=SCENES, help="synthetic scenes for each table")
    arguments = parser.parse_args()
    print_speed()
    real = real_images(arguments.real) if arguments.real else {}
    for name, (bands, images) in synthetic_images(arguments.scenes).items():
        print_table(name, bands, images, real.get(name, []))
    if arguments.picture:
        draw(arguments.picture)


def print_speed() -> None:
    """Scenes a second at 256 px on one core."""
    sentinel = [Place(kind="sen12ms", index=i, seed=1, size=256) for i in range(24)]
    aerial = [Place(kind="segmentation", index=i, seed=1, size=256) for i in range(24)]

    def base(i: int) -> None:
        for _ in KINDS["sen12ms"].pictures(sentinel[i]):
            pass

    def everything(i: int) -> None:
        base(i)
        place, conditions = sentinel[i], sentinel[i].conditions
        clouds = draw_clouds(place.chance(7), conditions, place.size, 10.0)
        render_sentinel2(place.scene(), conditions, place.chance(8), clouds=clouds)
        place, conditions = aerial[i], aerial[i].conditions
        scene = place.scene()
        render_photograph(scene, conditions, place.chance(8))
        render_dsm(scene, place.chance(9))
        render_worldview3(scene, conditions, place.chance(10))
        urban_labels(scene), building_mask(scene)

    print("| 256 px, one thread | scenes/s, wall clock | scenes/s, processor time |")
    print("|---|---|---|")
    for name, job in (
        ("base set: scene, Sentinel-1, Sentinel-2 (13 bands), land cover labels", base),
        ("all sensors: base set, cloudy twin, 0.5 m scene with RGB, DSM, WorldView-3 MS + PAN, labels", everything),
    ):
        job(0)
        wall, processor = time.perf_counter(), time.process_time()
        for i in range(len(sentinel)):
            job(i)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(f"| {name} | {len(sentinel) / wall:.1f} | {len(sentinel) / processor:.1f} |")


def synthetic_images(scenes: int) -> dict[str, tuple[tuple[str, ...], list[Image]]]:
    """Images by table: reflectance, dB, 0..255, metres, digital numbers."""

    def made(kind: str, which: int, size: int) -> list[Image]:
        places = [Place(kind=kind, index=i, seed=3, size=size) for i in range(scenes)]
        return [list(KINDS[kind].pictures(place))[which].pixels.astype(np.float64) for place in places]

    return {
        "Sentinel-2, reflectance": (BANDS, [image / 10_000 for image in made("sen12ms", 1, 256)]),
        "Sentinel-1, dB": (("VV", "VH"), made("sen12ms", 0, 256)),
        "RGB, 0..255": (("R", "G", "B"), made("rgb", 0, 256)),
        "Surface heights above their mean, m": (
            ("height",),
            [image - image.mean() for image in made("rgb_dsm", 1, 256)],
        ),
        "WorldView-3, digital numbers (real: means and deviations of the sensor card, SpaceNet 2)": (
            WORLDVIEW3_BANDS[:-1],
            made("pansharpen", 0, 512),
        ),
    }


def real_images(root: Path) -> dict[str, list[Image]]:
    """The pack's images by table, in the same units; snow left out."""

    def read(path: Path) -> Image:
        return np.ma.filled(read_bands(path).astype(np.float64), np.nan)

    sentinel2 = []
    for path in [
        *root.glob("SEN12MS-CR/ROIs*_s2/*/*.tif"),
        *root.glob("TerraMesh/S2L1C/*.tif"),
        *root.glob("Sen1Floods11/**/S2Hand/*.tif"),
    ]:
        if SNOW not in path.name:
            offset = 1000 if any(name in str(path) for name in OFFSET_FILES) else 0
            sentinel2.append((read(path) - offset) / 10_000)
    sentinel1 = [*root.glob("SEN12MS-CR/ROIs*_s1/*/*.tif"), *root.glob("Sen1Floods11*/**/S1Hand/*.tif")]
    sentinel1 += [path for path in root.glob("TerraMesh/S1RTC/*.tif") if SNOW not in path.name]
    heights = [read(path) for path in root.glob("RGB-DSM/tuniu_river_uav/dsm/*.tif")]
    return {
        "Sentinel-2, reflectance": sentinel2,
        "Sentinel-1, dB": [read(path) for path in sentinel1],
        "RGB, 0..255": [read(path) for path in sorted(root.glob("UCMerced_LandUse/Images/*/*.jpg"))[::4]],
        "Surface heights above their mean, m": [image - np.nanmean(image) for image in heights],
    }


def print_table(name: str, bands: Sequence[str], made: list[Image], real: list[Image]) -> None:
    """One table: each band, then correlations, made against real."""
    columns: list[tuple[str, Callable[[Image], Image]]] = [
        ("mean", lambda image: np.nanmean(image, axis=(1, 2))),
        ("std", lambda image: np.nanstd(image, axis=(1, 2))),
        ("2 %", lambda image: np.nanpercentile(image, 2, axis=(1, 2))),
        ("50 %", lambda image: np.nanpercentile(image, 50, axis=(1, 2))),
        ("98 %", lambda image: np.nanpercentile(image, 98, axis=(1, 2))),
        *((f"lag {lag}", lambda image, lag=lag: autocorrelation(image, lag)) for lag in LAGS),
    ]
    digits = 3 if "reflectance" in name else 1
    print(f"\n{name}: {len(made)} synthetic, {len(real)} real images, `synthetic / real`\n")
    print("| band | " + " | ".join(title for title, _ in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    typical = [(middle(function, made), middle(function, real) if real else None) for _, function in columns]
    card = load_sensor("worldview3") if "WorldView" in name else None
    for row, band in enumerate(bands):
        cells = []
        for (title, _), (ours, theirs) in zip(columns, typical, strict=True):
            places = 2 if title.startswith("lag") else digits
            other = None if theirs is None else theirs[row]
            if card is not None and title in ("mean", "std"):
                entry = card.bands[card.index_of(band)]
                other = entry.mean if title == "mean" else entry.std
            cells.append(f"{ours[row]:.{places}f} / " + ("-" if other is None else f"{other:.{places}f}"))
        print(f"| {band} | " + " | ".join(cells) + " |")
    if pairs := {13: ("B02 B03", "B03 B04", "B04 B08", "B08 B8A", "B08 B11", "B11 B12"), 2: ("VV VH",)}.get(len(bands)):
        cells = []
        for pair in pairs:
            first, second = (list(bands).index(band) for band in pair.split())
            by_image = [[correlation(image[first], image[second]) for image in images] for images in (made, real)]
            cells.append(f"{pair} " + " / ".join(f"{np.median(found):.2f}" if found else "-" for found in by_image))
        print("\nCorrelation of bands: " + ", ".join(cells))


def middle(function: Callable[[Image], Image], images: list[Image]) -> Image:
    """Median over images."""
    return np.asarray(np.median([function(image) for image in images], axis=0))


def correlation(a: Image, b: Image) -> float:
    """Of the pixels that both have."""
    valid = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[valid], b[valid])[0, 1])


def autocorrelation(image: Image, lag: int) -> Image:
    """Correlation of each band's pixels `lag` columns apart."""
    return np.array([correlation(band[:, lag:], band[:, :-lag]) for band in image])


def draw(path: Path) -> None:
    """A small picture of all renderings of one Sentinel scene and one aerial one."""
    from matplotlib import pyplot
    from PIL import Image as Pillow

    panels = sentinel_panels() + aerial_panels()
    figure, axes = pyplot.subplots(3, 6, figsize=(12, 6.4), dpi=72)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, image) in zip(axes.flat, panels, strict=False):
        axis.imshow(image, cmap="gray" if image.ndim == 2 else None)
        axis.set_title(title, fontsize=8, pad=3)
    figure.tight_layout(pad=0.4)
    buffer = io.BytesIO()
    figure.savefig(buffer)
    # A palette: speckle in true colours does not compress.
    Pillow.open(buffer).convert("RGB").quantize(96, dither=Pillow.Dither.NONE).save(path, optimize=True)
    print(f"\nwrote {path}")


def sentinel_panels(index: int = 13) -> list[tuple[str, NDArray[Any]]]:
    """A place of 2.56 km at 10 m."""
    place = Place(kind="sen12ms_cr", index=index, seed=3, size=256)
    radar, clear, cloudy, mask = (picture.pixels for picture in KINDS["sen12ms_cr"].pictures(place))
    scene = place.scene()

    def colours(image: NDArray[Any], bands: tuple[str, ...], white: float) -> NDArray[Any]:
        return np.clip(np.moveaxis(image[[BANDS.index(band) for band in bands]], 0, -1) / white, 0, 1)

    radar_colours = np.stack([(radar[0] + 22) / 20, (radar[1] + 29) / 20, (radar[0] - radar[1]) / 14], -1)
    cover = land_cover_labels(scene)[0]
    names = np.array([[20, 60, 160], [20, 100, 40], [220, 200, 90], [130, 190, 90], [200, 170, 140], [200, 60, 60]])
    codes = {17: 0, 1: 1, 4: 1, 5: 1, 12: 2, 10: 3, 16: 4, 13: 5}
    return [
        ("latent: terrain", scene.terrain_m),
        ("latent: soil moisture", scene.moisture),
        ("labels: land cover", names[np.vectorize(codes.get)(cover)]),
        ("Sentinel-2 B04 B03 B02", colours(clear, ("B04", "B03", "B02"), 2600)),
        ("Sentinel-2 B11 B08 B03", colours(clear, ("B11", "B08", "B03"), 4000)),
        ("Sentinel-2 B09 (60 m)", clear[BANDS.index("B09")].astype(float)),
        ("Sentinel-1 VV", np.clip(radar[0], -22, 0)),
        ("Sentinel-1 VV VH VV-VH", np.clip(radar_colours, 0, 1)),
        ("cloudy twin B04 B03 B02", colours(cloudy, ("B04", "B03", "B02"), 5000)),
        ("labels: cloud, shadow", mask[0]),
    ]


def aerial_panels(index: int = 20) -> list[tuple[str, NDArray[Any]]]:
    """Places at 0.5 m (RGB, DSM, labels, change) and 0.31 m (WorldView-3)."""
    place = Place(kind="segmentation", index=index, seed=3, size=256)
    rgb, height, label = (picture.pixels for picture in KINDS["segmentation"].pictures(place))
    change = Place(kind="change", index=_CHANGED, seed=3, size=256)
    before, after, changed = (picture.pixels for picture in KINDS["change"].pictures(change))
    sharp = Place(kind="pansharpen", index=index, seed=3, size=512)
    bands, pan = (picture.pixels for picture in KINDS["pansharpen"].pictures(sharp))

    def colours(image: NDArray[Any]) -> NDArray[Any]:
        return np.moveaxis(image[:3], 0, -1)

    natural = bands[[WORLDVIEW3_BANDS.index(band) for band in ("RED", "GREEN", "BLUE")]]
    return [
        ("RGB 0.5 m", colours(rgb)),
        ("DSM", height[0]),
        ("labels: ISPRS classes", colours(label)),
        ("change: before", colours(before)),
        ("change: after", colours(after)),
        ("labels: change", changed[0]),
        ("WorldView-3 MS 1.24 m", np.clip(colours(natural) / 900, 0, 1)),
        ("WorldView-3 PAN 0.31 m", np.clip(pan[0], 0, 1100)),
    ]


if __name__ == "__main__":
    main()
