"""STAC items as we need them: time, place, orbit, cloud, and where each band lies and how it is stored."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from msgfm.data.catalogue.products import other_names
from msgfm.data.catalogue.request import CatalogueRequest, Statements
from msgfm.data.catalogue.search import item_time
from msgfm.data.catalogue.storage import Stored, stored_as
from msgfm.data.layouts.listing import card_band
from msgfm.errors import InputError
from msgfm.geo.grid import Bounds
from msgfm.sensors import Sensor

_PICTURES = {"thumbnail", "overview", "visual", "metadata"}


@dataclass(frozen=True, kw_only=True)
class BandSource:
    """One band of an item: where it is and how it is stored."""

    band: str
    address: str
    file_band: int
    stored: Stored


@dataclass(frozen=True, kw_only=True)
class CatalogueItem:
    """One image of a catalogue.

    Args:
        sensor: name of its card.
        id: in its collection.
        time: when it was taken (UTC).
        bbox: west, south, east, north.
        geometry: its footprint (GeoJSON).
        bands: those wanted, in the card's order.
        cloud: percent; None where it is not stated.
        platform: as `sentinel-2a`.
        orbit: number of the relative orbit.
        orbit_state: `ascending` or `descending`.
        version: what tells newer processing of the same data from older, for sorting.
    """

    sensor: str
    id: str
    time: datetime
    bbox: Bounds
    geometry: Mapping[str, Any]
    bands: tuple[BandSource, ...]
    cloud: float | None = None
    platform: str = ""
    orbit: int | None = None
    orbit_state: str = ""
    version: str = ""


def read_item(item: Mapping[str, Any], sensor: Sensor, request: CatalogueRequest) -> CatalogueItem:
    """Reads a STAC item of version 1.0 or 1.1.

    Args:
        item: as JSON, addresses absolute.
        sensor: the card, with the request's settings.
        request: which bands are wanted, and what is stated of their storage.

    Raises:
        InputError: a band is not there, or the item does not say how it is stored.
    """
    properties = item["properties"]
    wanted = request.bands_of(sensor.name)
    found = find_bands(item, sensor, request.statements(), wanted)
    if missing := [band for band in wanted if band not in found]:
        raise InputError(
            f"item {item['id']} has no {', '.join(missing)} of {sensor.name} among its assets "
            f"({', '.join(item['assets'])}); leave bands out with --bands {sensor.name}=..."
        )
    box = item["bbox"]
    half = len(box) // 2
    cloud, orbit = properties.get("eo:cloud_cover"), properties.get("sat:relative_orbit")
    return CatalogueItem(
        sensor=sensor.name,
        id=item["id"],
        time=item_time(item).astimezone(UTC),
        bbox=(box[0], box[1], box[half], box[half + 1]),
        geometry=item["geometry"],
        bands=tuple(found[band] for band in wanted),
        cloud=None if cloud is None else float(cloud),
        platform=str(properties.get("platform", "")).lower(),
        orbit=None if orbit is None else int(orbit),
        orbit_state=str(properties.get("sat:orbit_state", "")).lower(),
        version=" ".join(str(properties.get(key, "")) for key in ("s2:processing_baseline", "created", "updated")),
    )


def described_bands(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an asset says of each of its bands, in the file's order, under one set of names for STAC 1.0 and 1.1.

    Keys, where stated: name, common_name, scale, offset, nodata, data_type, unit, spatial_resolution. An asset that
    lists no bands is taken to have one.
    """
    lists = [asset.get(key) or [] for key in ("bands", "eo:bands", "raster:bands")]
    count = max(1, *map(len, lists))
    found: list[dict[str, Any]] = []
    for i in range(count):
        said = dict(asset)  # version 1.1: what all bands share may stand at the asset
        for listed in lists:
            said |= listed[i] if i < len(listed) else {}
        plain = {key.removeprefix("raster:").removeprefix("eo:"): value for key, value in said.items()}
        if not any(lists):
            plain.pop("name", None)
        found.append(plain)
    return found


def find_bands(
    item: Mapping[str, Any], sensor: Sensor, said: Statements, wanted: Sequence[str]
) -> dict[str, BandSource]:
    """Where an item has each band that is wanted, and how it is stored there; bands that it lacks are left out.

    Args:
        item: as JSON, addresses absolute.
        sensor: the card, settings applied.
        said: what the user says of how files are stored.
        wanted: names on the card.

    Raises:
        InputError: the item does not say how a band is stored.
    """
    best: dict[str, tuple[tuple[Any, ...], str, int, dict[str, Any]]] = {}
    for key, asset in item["assets"].items():
        if _PICTURES.intersection(asset.get("roles") or ()) or not _is_raster(asset):
            continue
        bands = described_bands(asset)
        for i, described in enumerate(bands):
            if described.get("data_type") == "uint8":  # pictures and classes
                continue
            band, rank = _band_of(key if len(bands) == 1 else "", described, sensor)
            if band is None:
                continue
            coarse = float(described.get("spatial_resolution") or described.get("gsd") or _suffix_m(key))
            order = (rank, "jp2" in str(asset.get("type", "")), coarse, key)
            if band not in best or order < best[band][0]:
                best[band] = (order, key, i + 1, described)
    found = {}
    for band in wanted:
        if band in best:
            _, key, position, described = best[band]
            stored = stored_as(item, described, band, said, sensor)
            address = item["assets"][key]["href"]
            found[band] = BandSource(band=band, address=address, file_band=position, stored=stored)
    return found


def _is_raster(asset: Mapping[str, Any]) -> bool:
    kind = str(asset.get("type", "image/"))
    return kind.startswith("image/") and not kind.startswith(("image/png", "image/jpeg"))


def _band_of(key: str, described: Mapping[str, Any], sensor: Sensor) -> tuple[str | None, int]:
    """Which band, and how it is known: by the asset's key (0), the band's name (1) or its common name (2)."""
    names = other_names(sensor.name)
    said = (re.sub(r"_\d+m$", "", key), described.get("name"), described.get("common_name"))
    for rank, name in enumerate(said):
        if name:
            band = card_band(str(name), sensor) or names.get(str(name).lower())
            if band is not None:
                return band, rank
    return None, len(said)


def _suffix_m(key: str) -> float:
    """`B05_20m` is 20."""
    found = re.search(r"_(\d+)m$", key)
    return float(found[1]) if found else math.inf
