"""STAC items: where one has each band, and how it is stored there."""

from __future__ import annotations

import json
import math
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgfm.data.catalogue.items import find_bands
from msgfm.data.catalogue.request import Statements
from msgfm.data.catalogue.search import HEADERS, headers_of, with_absolute_addresses
from msgfm.data.layouts.listing import IMAGE_SUFFIXES
from msgfm.errors import InputError
from msgfm.geo.network import Network
from msgfm.scenes.inputs.offer import BandOffer
from msgfm.scenes.inputs.times import span_of_item
from msgfm.sensors import Sensor

_TEMPORARY = 500  # from this HTTP status on, and 429, the server may answer the next time
_BUSY = 429
_IMAGES = (*IMAGE_SUFFIXES, ".jp2", ".vrt")


def is_item(place: str) -> bool:
    """Whether a path or address is that of JSON, or of an item in a STAC API."""
    path = urlsplit(place).path if "://" in place else place
    if path.lower().endswith((".json", ".geojson")):
        return True
    return "://" in place and "/items/" in path and not path.lower().endswith(_IMAGES)


def read_item(place: str, card: Sensor, said: Statements, network: Network) -> dict[str, BandOffer]:
    """The bands of a card that an item has.

    Args:
        place: path or address of the item.
        card: with the user's settings.
        said: what the user states of how files are stored.
        network: how patient to be.

    Raises:
        InputError: it cannot be read, is no item, or does not say how a band is stored.
    """
    item = _one_item(_read_json(place, network), place)
    try:
        item = with_absolute_addresses(item, place if "://" in place else str(Path(place).absolute()))
        found = find_bands(item, card, said, card.band_names)
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{place} is not a STAC item as its standard has it ({error!r})") from error
    offers = {}
    for band, source in found.items():
        scale = source.stored.scale
        if not (scale and math.isfinite(scale)):
            raise InputError(f"{place}, band {band}: scale {scale:g}; say the right one: --set {card.name}.scale=...")
        # STAC adds the offset after scaling; rounded, since -0.1 / 0.0001 is -1000.0000000000001
        offset = round(source.stored.offset / scale, 6)
        offers[band] = BandOffer(
            place=source.address,
            file_band=source.file_band,
            scale=scale,
            offset=offset,
            nodata=source.stored.nodata,
            power=source.stored.power,
            taken=span_of_item(item),
        )
    return offers


def _one_item(content: Any, place: str) -> dict[str, Any]:
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection":
        features = content.get("features") or []
        if len(features) != 1:
            raise InputError(f"{place} has {len(features)} items; give the file or address of one of them")
        content = features[0]
        kind = content.get("type") if isinstance(content, dict) else None
    if kind != "Feature" or "assets" not in content:
        raise InputError(f"{place} is not a STAC item (a GeoJSON Feature with assets)")
    return dict(content)


def _read_json(place: str, network: Network) -> Any:
    try:
        return json.loads(_fetch(place, network) if "://" in place else Path(place).read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {place} as a STAC item ({error})") from error


def _fetch(address: str, network: Network) -> bytes:
    if not address.startswith(("http://", "https://")):
        raise InputError(f"{address}: a STAC item is read from a file or from http(s)://")
    request = urllib.request.Request(address, headers=headers_of(os.environ.get(HEADERS, "")))
    reason = ""
    for attempt in range(network.retries + 1):
        if attempt:
            time.sleep(network.wait_s * 2 ** (attempt - 1))
        try:
            with urllib.request.urlopen(request, timeout=network.timeout_s) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}"
            if error.code < _TEMPORARY and error.code != _BUSY:
                break
        except OSError as error:
            reason = str(error)
    raise InputError(f"cannot read {address} ({reason}); look at the address, or try later")
