"""Asks a STAC API, or a file of items, what there is of a place and time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from msgfm.data.catalogue.products import PRODUCTS
from msgfm.data.catalogue.request import CatalogueRequest
from msgfm.errors import InputError
from msgfm.geo.network import Network

if TYPE_CHECKING:
    from pystac_client import Client

Item = dict[str, Any]
HEADERS = "MSGFM_STAC_HEADERS"
_PLANETARY_COMPUTER = "planetarycomputer.microsoft.com"


def find_items(request: CatalogueRequest) -> dict[str, list[Item]]:
    """All items of each sensor that touch the bbox within the time, as JSON objects with absolute addresses.

    Raises:
        InputError: the catalogue cannot be reached, has no collection of a sensor, or nothing there and then.
    """
    if request.source.startswith(("http://", "https://")):
        found = _ask(request)
    else:
        found = _look_up(request, _read_collection(Path(request.source)))
    for sensor, items in found.items():
        if not items:
            raise InputError(
                f"{request.source} has nothing of {sensor} within --bbox {','.join(f'{x:g}' for x in request.bbox)} "
                f"and --dates {request.start:%Y-%m-%d}/{request.end:%Y-%m-%d}; widen them, or name another "
                f"collection with --collection {sensor}=NAME"
            )
    return found


def _ask(request: CatalogueRequest) -> dict[str, list[Item]]:
    try:
        from pystac_client.exceptions import APIError
        from requests.exceptions import RequestException
    except ImportError as error:
        raise InputError(f"a catalogue needs pystac-client ({error}): pip install 'msgfm[stac]'") from error
    try:
        client = _open(request.source, request.network)
        offered = sorted(collection.id for collection in client.get_collections())
        found = {}
        for sensor in request.sensors:
            search = client.search(
                collections=[_collection(sensor, request, offered)],
                bbox=request.bbox,
                datetime=None if PRODUCTS[sensor].fixed else [request.start, request.end],
                limit=100,
            )
            found[sensor] = [with_absolute_addresses(item, request.source) for item in search.items_as_dicts()]
    except (APIError, RequestException) as error:
        reason = " ".join(str(error).split())[:500]
        raise InputError(
            f"the catalogue {request.source} does not answer as a STAC API ({reason}); what may pass was tried "
            f"{request.network.retries + 1} times: look at the address, or try later"
        ) from error
    except InputError:  # a ValueError, and clear already
        raise
    except (KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise InputError(f"{request.source} is not a STAC API with item search ({error})") from error
    return found


def _open(address: str, network: Network) -> Client:
    from pystac_client import Client
    from pystac_client.stac_api_io import StacApiIO
    from urllib3.util import Retry

    retry = Retry(
        total=network.retries,
        backoff_factor=network.wait_s,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,  # a search is a POST, and changes nothing
    )
    io = StacApiIO(headers=headers_of(os.environ.get(HEADERS, "")), max_retries=retry, timeout=network.timeout_s)
    return Client.open(address, stac_io=io)


def headers_of(text: str) -> dict[str, str]:
    """`NAME: VALUE`, one on a line."""
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, value = line.partition(":")
        if not colon:
            raise InputError(f"{HEADERS}: a line without a colon; write NAME: VALUE, one on a line")
        found[name.strip()] = value.strip()
    return found


def _collection(sensor: str, request: CatalogueRequest, offered: Sequence[str]) -> str:
    wanted = (request.collections[sensor],) if sensor in request.collections else PRODUCTS[sensor].collections
    for name in wanted:
        if name in offered:
            return name
    raise InputError(
        f"{request.source} has no collection {' or '.join(wanted)} for {sensor}; it has "
        f"{', '.join(offered) or 'none'}: name one with --collection {sensor}=NAME"
    )


def _read_collection(path: Path) -> list[Item]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        features: list[Item] = content["features"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is neither an address (https://...) nor a file of STAC items ({error})") from error
    return [with_absolute_addresses(item, str(path.resolve())) for item in features]


def _look_up(request: CatalogueRequest, items: Sequence[Item]) -> dict[str, list[Item]]:
    """What an API would answer."""
    offered = sorted({str(item.get("collection")) for item in items})
    found = {}
    for sensor in request.sensors:
        name = _collection(sensor, request, offered)
        found[sensor] = [
            item
            for item in items
            if item.get("collection") == name
            and _touches(item["bbox"], request.bbox)
            and (PRODUCTS[sensor].fixed or request.start <= item_time(item) <= request.end)
        ]
    return found


def _touches(ours: Sequence[float], other: Sequence[float]) -> bool:
    half = len(ours) // 2  # boxes may have heights
    return ours[0] < other[2] and other[0] < ours[half] and ours[1] < other[3] and other[1] < ours[half + 1]


def item_time(item: Mapping[str, Any]) -> datetime:
    """When it was taken: `datetime`, else the start of its interval.

    Raises:
        InputError: it has neither.
    """
    properties = item["properties"]
    text = properties.get("datetime") or properties.get("start_datetime")
    if text is None:
        raise InputError(f"item {item['id']} has neither datetime nor start_datetime")
    return datetime.fromisoformat(text)


def with_absolute_addresses(item: Item, source: str) -> Item:
    """The item with absolute addresses of its assets; those of Planetary Computer are signed when they are opened.

    Args:
        item: as JSON.
        source: address or path that it was read from.
    """
    own = next((link["href"] for link in item.get("links", ()) if link.get("rel") == "self"), source)
    assets = {}
    for key, asset in item.get("assets", {}).items():
        href = _join(own, asset["href"])
        if urlsplit(source).hostname == _PLANETARY_COMPUTER:
            href = signed_by_planetary_computer(href, item["collection"])
        assets[key] = asset | {"href": href}
    return item | {"assets": assets}


def signed_by_planetary_computer(href: str, collection: str) -> str:
    """Has GDAL fetch a short-lived token for the file; without one Planetary Computer's storage answers nobody."""
    if not href.startswith("https://"):
        return href
    return f"/vsicurl?pc_url_signing=yes&pc_collection={quote(collection, safe='')}&url={quote(href, safe='')}"


def _join(base: str, href: str) -> str:
    if "://" in href or href.startswith("/"):
        return href
    if base.startswith(("http://", "https://")):
        return urljoin(base, href)
    return str(Path(base).parent / href)
