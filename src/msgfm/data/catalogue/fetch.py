"""Reads one block of a coincidence and writes its patches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.data.catalogue.items import BandSource, CatalogueItem
from msgfm.data.catalogue.match import Acquisition, Coincidence
from msgfm.data.catalogue.places import Block
from msgfm.data.catalogue.products import PRODUCTS, Written
from msgfm.data.catalogue.request import CatalogueRequest
from msgfm.data.catalogue.storage import decibel_of, require_calibrated
from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.geo.grid import Grid
from msgfm.geo.network import Network
from msgfm.geo.raster import write_geotiff
from msgfm.geo.warp import read_on_grid

_Physical = NDArray[np.float32]


def patch_path(sensor: str, pair: str, place: str) -> str:
    """Of a patch's file, relative to the data set's folder."""
    return f"{sensor}/{pair}/{place}.tif"


def record_path(out: Path, pair: str, block: str) -> Path:
    """Of what says that a block is done."""
    return out / "records" / pair / f"{block}.json"


def done(out: Path, pair: Coincidence, block: Block) -> list[str] | None:
    """Names of the patches that a block gave, if it is done and their files are there; else None."""
    try:
        places: list[str] = json.loads(record_path(out, pair.name, block.name).read_text())["patches"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sensors = [one.sensor for one in pair.acquisitions]
    there = all((out / patch_path(sensor, pair.name, place)).is_file() for sensor in sensors for place in places)
    return places if there else None


def fetch_block(pair: Coincidence, block: Block, request: CatalogueRequest) -> list[str]:
    """Reads all sensors of a block, writes the patches that have enough data, and last a record of them.

    Raises:
        InputError: an image cannot be read; the message names item and address.
    """
    images: dict[str, _Physical] = {}
    missing = np.zeros((block.grid.height, block.grid.width), bool)
    places = list(block.patches)
    for one in pair.acquisitions:
        if places:  # else nothing is left to be filled, and nothing more need travel
            images[one.sensor] = read_acquisition(one, block.grid, request.network)
            missing |= np.isnan(images[one.sensor]).any(axis=0)
            places = [name for name in places if missing[_at(block, name, request.size)].mean() <= request.max_nodata]
    for place in places:
        row, column = block.patches[place]
        for sensor, image in images.items():
            written = PRODUCTS[sensor].written
            write_geotiff(
                request.out / patch_path(sensor, pair.name, place),
                encode(image[:, *_at(block, place, request.size)], written),
                crs=block.grid.crs,
                transform=block.grid.window(row, column, request.size, request.size).transform,
                descriptions=request.bands_of(sensor),
                nodata=np.nan if written.nodata is None else written.nodata,
            )
    with write_atomically(record_path(request.out, pair.name, block.name)) as temporary:
        temporary.write_text(json.dumps({"patches": places, "of": len(block.patches)}))
    return places


def _at(block: Block, place: str, size: int) -> tuple[slice, slice]:
    row, column = block.patches[place]
    return slice(row, row + size), slice(column, column + size)


def read_acquisition(acquisition: Acquisition, grid: Grid, network: Network) -> _Physical:
    """All items of an overpass on a grid, the first one on top.

    Returns:
        C x h x w in physical units (dB, reflectance, metres), NaN where there is no data.
    """
    result: _Physical = np.full((len(acquisition.items[0].bands), grid.height, grid.width), np.nan, np.float32)
    around = grid.lon_lat_bounds()
    for item in acquisition.items:
        west, south, east, north = item.bbox
        if not (west < around[2] and around[0] < east and south < around[3] and around[1] < north):
            continue
        for into, source in zip(result, item.bands, strict=True):
            if np.isnan(into).any():
                np.copyto(into, _read_band(item, source, grid, network), where=np.isnan(into))
    return result


def _read_band(item: CatalogueItem, source: BandSource, grid: Grid, network: Network) -> _Physical:
    """One band of an item in physical units."""
    stored = source.stored
    try:
        values, dtype = read_on_grid(source.address, source.file_band, grid, nodata=stored.nodata, network=network)
    except InputError as error:
        raise InputError(f"item {item.id}, band {source.band} of {item.sensor}: {error}") from error
    require_calibrated(item.sensor, dtype, item.id)
    if (stored.scale, stored.offset) != (1.0, 0.0):
        values = (values * np.float64(stored.scale) + stored.offset).astype(np.float32)
    return decibel(values, f"item {item.id}, band {source.band}") if stored.power else values


def decibel(power: _Physical, where: str) -> _Physical:
    """10 * log10; what is not above zero has no logarithm and no data.

    Raises:
        InputError: more than a hundredth is negative, so it is no power.
    """
    valid = power[np.isfinite(power)]
    if valid.size and (valid < 0).mean() > 0.01:
        raise InputError(
            f"{where}: {(valid < 0).mean():.0%} of the values are negative (median {np.median(valid):.4g}), so they "
            f"are no linear power; if they are decibel, say --power db"
        )
    return decibel_of(power)


def encode(image: _Physical, written: Written) -> NDArray[Any]:
    """Physical numbers to stored ones; data never become the no-data number."""
    if written.dtype == "float32":
        return image
    limits = np.iinfo(written.dtype)
    stored = np.rint(image.astype(np.float64) / written.scale - written.offset)
    assert written.nodata == limits.min  # so what is too low is cut off above it
    stored = np.clip(stored, limits.min + 1, limits.max)
    return np.where(np.isnan(stored), written.nodata, stored).astype(written.dtype)
