"""No benchmark itself: the real images that input_contract.py corrupts, as their files store them, with their cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.data.checks import StoredBand, StoredImage
from msgfm.data.layouts.listing import SENTINEL2_L1C as L1C
from msgfm.data.layouts.listing import SENTINEL2_L2A as L2A
from msgfm.geo.raster import raster_info, read_bands
from msgfm.sensors import Sensor, load_sensor

Array = NDArray[Any]
CARDS = Path(__file__).parents[1] / "examples" / "cards"
_FLOODS = "v1.1/data/flood_events/HandLabeled"


def rebuilt(
    image: StoredImage, sensor: Sensor, names: Sequence[str], stored: Sequence[Array], gsd_m: float | None = None
) -> StoredImage:
    """An image with another card, other names or other numbers."""
    bands = tuple(
        StoredBand(band=sensor.bands[sensor.index_of(name)], file=image.file, stored=values)
        for name, values in zip(names, stored, strict=True)
    )
    return StoredImage(sensor=sensor, bands=bands, sample=image.sample, gsd_m=gsd_m or image.gsd_m)


@dataclass(frozen=True, kw_only=True)
class Original:
    """A clean image; `held_out` as in `Case`."""

    image: StoredImage
    held_out: bool

    @property
    def stored(self) -> list[Array]:
        """By band."""
        return [one.stored for one in self.image.bands]

    def changed(self, stored: Sequence[Array]) -> StoredImage:
        """With other numbers."""
        return rebuilt(self.image, self.image.sensor, self.image.names, stored)

    def on(self, **settings: Any) -> StoredImage:
        """With another card."""
        sensor = self.image.sensor
        for field, value in settings.items():
            sensor = sensor.with_setting(field, value)
        return rebuilt(self.image, sensor, self.image.names, self.stored)


def stacked(
    path: Path, sensor: Sensor, names: Sequence[str], *, held_out: bool, bands: Sequence[int] | None = None
) -> Original:
    """A file with all bands."""
    info = raster_info(path)
    stored = np.asarray(read_bands(path, bands).data)
    gsd = None if info.crs is None or info.crs.is_geographic else abs(info.transform.e)
    of_it = tuple(
        StoredBand(band=sensor.bands[sensor.index_of(name)], file=str(path), stored=values)
        for name, values in zip(names, stored, strict=True)
    )
    return Original(image=StoredImage(sensor=sensor, bands=of_it, gsd_m=gsd), held_out=held_out)


def by_band(paths: Sequence[Path], sensor: Sensor, names: Sequence[str], *, held_out: bool) -> Original:
    """One file for each band."""
    of_it = tuple(
        StoredBand(
            band=sensor.bands[sensor.index_of(name)], file=str(path), stored=np.asarray(read_bands(path).data[0])
        )
        for name, path in zip(names, paths, strict=True)
    )
    return Original(image=StoredImage(sensor=sensor, bands=of_it), held_out=held_out)


def sentinel2(data: Path) -> list[Original]:
    """Level-1C and Level-2A of six data sets."""
    l1c, l2a = load_sensor("sentinel2"), load_sensor("sentinel2_l2a")
    shifted = l1c.with_setting("offset", -1000)
    found = [stacked(p, l1c, L1C, held_out=False) for p in sorted((data / "SEN12MS-CR").glob("*_s2*/*/*.tif"))]
    for path in sorted((data / "TerraMesh" / "S2L1C").glob("*.tif")):
        found.append(stacked(path, l1c if path.name.startswith("38D") else shifted, L1C, held_out="609U" in path.name))
    for path in sorted((data / "TerraMesh" / "S2L2A").glob("*.tif")):
        found.append(stacked(path, l2a, L2A, held_out="609U" in path.name))
    found += [
        stacked(p, l1c, L1C, held_out=True) for p in sorted((data / "Sen1Floods11" / _FLOODS / "S2Hand").glob("*.tif"))
    ]
    eurosat = [*L1C[:8], *L1C[9:], "B8A"]
    found += [stacked(p, l1c, eurosat, held_out=True) for p in sorted((data / "EuroSAT/EuroSAT_MS").glob("*/*.tif"))]
    for k, folder in enumerate(sorted((data / "BigEarthNet-v1/BigEarthNet-v1.0").iterdir())):
        files = [folder / f"{folder.name}_{name}.tif" for name in L2A]
        found.append(by_band(files, l2a, L2A, held_out=k % 2 == 1))
    for product, sensor, names in (("s2c", l1c, L1C), ("s2a", l2a, L2A)):
        for k, folder in enumerate(sorted((data / "SSL4EO-S12" / product).glob("*/*"))):
            files = [folder / f"{'B' + name[1:].lstrip('0')}.tif" for name in names]
            found.append(by_band(files, sensor, names, held_out=k > 0))
    return found


def harmonised(data: Path, every: int = 5) -> list[Original]:
    """HLS: seven bands."""
    sensor = load_sensor(CARDS / "hls.yaml")
    paths = sorted((data / "HLS-Water12" / "images").glob("*.tif"))
    return [
        stacked(path, sensor, sensor.band_names, bands=range(1, 8), held_out=k % 2 == 1)
        for k, path in enumerate(paths)
        if k % every == 0
    ]


def sentinel1(data: Path) -> list[Original]:
    """Six data sets. The bound on their difference was not fitted: physics, and a look at all of them."""
    card, names = load_sensor("sentinel1"), ("VV", "VH")
    paths = [
        *sorted((data / "SEN12MS-CR").glob("*_s1/*/*.tif")),
        *sorted((data / "TerraMesh" / "S1RTC").glob("*.tif")),
        *sorted(data.glob(f"Sen1Floods11*/{_FLOODS}/S1Hand/*.tif")),
        *sorted((data / "M3R-CR").glob("*/*/S1_fall/*/*.tif")),
    ]
    found = [stacked(path, card, names, held_out=False) for path in paths]
    for folder in sorted((data / "BigEarthNet-v1/BigEarthNet-S1-v1.0").iterdir()):
        found.append(by_band([folder / f"{folder.name}_{name}.tif" for name in names], card, names, held_out=False))
    for folder in sorted((data / "SSL4EO-S12" / "s1").glob("*/*")):
        found.append(by_band([folder / f"{name}.tif" for name in names], card, names, held_out=False))
    return found


def pictures(data: Path, every: int = 20) -> list[Original]:
    """RGB: UC Merced, LEVIR-CD, dunes, quick-looks."""
    card = load_sensor("rgb")
    merced = sorted((data / "UCMerced_LandUse").glob("Images/*/*.jpg"))
    found = [stacked(p, card, "RGB", held_out=k % 2 == 1) for k, p in enumerate(merced) if k % every == every - 1]
    found += [stacked(p, card, "RGB", held_out=k % 2 == 1) for k, p in enumerate(merced) if k % every == 0]
    found += [stacked(p, card, "RGB", held_out=True) for p in sorted((data / "LEVIR-CD-256").glob("[AB]/*.png"))]
    return found


def heights(data: Path, every: int = 3) -> list[Original]:
    """Surface models of 0.4 m, elevation models of 10 m and 30 m."""
    dsm, dem = load_sensor("dsm"), load_sensor(CARDS / "dem.yaml")
    found = [stacked(p, dsm, ["height"], held_out=False) for p in sorted((data / "RGB-DSM").glob("*/dsm/*.tif"))]
    found += [stacked(p, dem, ["height"], held_out=False) for p in sorted((data / "TerraMesh" / "DEM").glob("*.tif"))]
    paths = sorted((data / "HLS-Water12" / "images").glob("*.tif"))
    found += [
        stacked(p, dem, ["height"], bands=[10], held_out=k % 2 == 1) for k, p in enumerate(paths) if k % every == 0
    ]
    return found
