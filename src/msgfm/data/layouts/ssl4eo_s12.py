"""SSL4EO-S12 v1 (Wang et al., 2023): `{s1,s2c,s2a}/<location>/<product>/<band>.tif`."""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path

from msgfm.data.layouts.listing import (
    SENTINEL1,
    SENTINEL2_L1C,
    SENTINEL2_L2A,
    LayoutOptions,
    Listing,
    listed,
    load_cards,
)
from msgfm.data.records import RasterFile
from msgfm.errors import InputError

_PRODUCTS = {"s2c": ("sentinel2", SENTINEL2_L1C), "s2a": ("sentinel2_l2a", SENTINEL2_L2A)}


def list_ssl4eo_s12(root: Path, options: LayoutOptions) -> Listing:
    """The first Sentinel-1 product by date goes with the first Sentinel-2 product of the location, and so on.

    A location is a scene. The 20 m and 60 m bands lie up to a fraction of a pixel off the 10 m grid; this is ignored.
    """
    if options.product not in _PRODUCTS:
        raise InputError(f"product {options.product!r}: SSL4EO-S12 has s2c (L1C) and s2a (L2A)")
    sentinel2, bands = _PRODUCTS[options.product]
    sensors = load_cards(("sentinel1", sentinel2), options.sensors)
    locations = sorted(
        {path.name for kind in ("s1", options.product) for path in root.glob(f"{kind}/*") if path.is_dir()}
    )
    samples = []
    for location in locations:
        pairs = zip_longest(_products(root / "s1" / location), _products(root / options.product / location))
        for i, (s1, s2) in enumerate(pairs):
            files = {
                "sentinel1": _files(root, s1, SENTINEL1),
                sentinel2: _files(root, s2, bands),
            }
            samples.append(listed(f"{location}_{i}", location, files))
    return Listing(sensors=sensors, samples=samples)


def _products(folder: Path) -> list[Path]:
    """Product folders by the time in their names: Sentinel-1's begin with the satellite."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: (_time(path), path.name))


def _time(product: Path) -> str:
    match = re.search(r"\d{8}T\d{6}", product.name)
    if match is None:
        raise InputError(f"{product}: its name has no time (as 20200604T054639), by which products are paired")
    return match[0]


def _files(root: Path, product: Path | None, bands: tuple[str, ...]) -> list[RasterFile]:
    """One file per band, named B1, not B01."""
    if product is None:
        return []
    folder = product.relative_to(root).as_posix()
    return [
        RasterFile(path=f"{folder}/{re.sub('^B0', 'B', band)}.tif", bands=(band,), file_bands=(1,)) for band in bands
    ]
