"""Where images lie, on a disk or behind an address, and how patiently they are fetched."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ADDRESSES = ("http://", "https://", "s3://", "/vsi")
# How a cloud-optimised GeoTIFF is read with few requests. GDAL's own variables of the environment come first
# (GDAL_HTTP_HEADERS, AWS_NO_SIGN_REQUEST...); CPL_VSIL_CURL_ALLOWED_EXTENSIONS is left alone, since signed addresses
# end in a query, and EMPTY_DIR keeps GDAL from looking for side files.
_GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_INGESTED_BYTES_AT_OPEN": 32768,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": 16 * 2**20,
    "CPL_VSIL_CURL_CACHE_SIZE": 128 * 2**20,
}

# What S3, Google's and Azure's storage, and CloudFront add to an address that they sign.
_SIGNATURE = re.compile(
    r"X-(Amz|Goog)-.*|AWSAccessKeyId|GoogleAccessId|Key-Pair-Id|Policy|Signature|Expires|"
    r"s[eiprstv]|spr|sig|sk[estv]|skoid|sktid|(access_)?token",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Network:
    """How patient reading over the network is.

    Args:
        timeout_s: for one request.
        retries: of a request that fails or hangs; the wait before each is about twice the one before.
        wait_s: before the first of them.
    """

    timeout_s: float = 30.0
    retries: int = 3
    wait_s: float = 1.0

    def options(self) -> Mapping[str, Any]:
        """For GDAL, but for those that the environment sets."""
        options = _GDAL_OPTIONS | {
            "GDAL_HTTP_TIMEOUT": max(1, round(self.timeout_s)),
            "GDAL_HTTP_CONNECTTIMEOUT": max(1, round(self.timeout_s)),
            "GDAL_HTTP_MAX_RETRY": self.retries,
            "GDAL_HTTP_RETRY_DELAY": self.wait_s,
        }
        # what is set here would outweigh GDAL's own look at the environment
        return {name: value for name, value in options.items() if name not in os.environ}


def is_address(place: str) -> bool:
    """Whether it is `http(s)://`, `s3://` or any `/vsi...` of GDAL, and no path."""
    return place.startswith(_ADDRESSES)


def without_secrets(place: str) -> str:
    """An address as it may be kept and shown: without user, password and what follows `?`, as signatures do."""
    return re.sub(r"//[^/@]*@", "//", re.split("[?#]", place, maxsplit=1)[0]) if is_address(place) else place


def unsigned(place: str) -> str:
    """An address without its signature, which is another one each time that it is asked for."""
    if not is_address(place) or "?" not in place:
        return place
    address, _, query = place.partition("?")
    kept = [one for one in query.split("&") if not _SIGNATURE.fullmatch(one.partition("=")[0])]
    return "?".join([address, *filter(None, ["&".join(kept)])])


def gdal_name(place: str) -> str:
    """What GDAL calls an address; a path is its own name."""
    if place.startswith(("http://", "https://")):
        return f"/vsicurl/{place}"
    if place.startswith("s3://"):
        return f"/vsis3/{place.removeprefix('s3://')}"
    return place
