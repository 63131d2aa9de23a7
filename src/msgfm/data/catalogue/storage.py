"""What the stored numbers of an item mean. Where its metadata do not say, nothing is assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.data.catalogue.request import Statements
from msgfm.errors import InputError
from msgfm.sensors import Sensor

_HARMONISED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINES = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
_SHIFTED_SINCE = 4.0  # processing baseline 04.00 adds 1000
_SHIFT = -1000.0
# Collections whose documentation says linear power while their items do not (Planetary Computer: gamma naught).
_LINEAR_COLLECTIONS = ("sentinel-1-rtc",)
_LINEAR_UNITS = ("linear", "linear power", "power", "m2/m2", "m^2/m^2", "w/w")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How one band is stored.

    Args:
        scale: of STAC: physical = stored * scale + offset.
        offset: likewise, in physical units.
        nodata: the stored number, where the file itself names none.
        power: whether it is then linear power, to be made decibel.
    """

    scale: float
    offset: float
    nodata: float | None
    power: bool = False


def stored_as(
    item: Mapping[str, Any], described: Mapping[str, Any], band: str, said: Statements, sensor: Sensor
) -> Stored:
    """How an item stores a band, by `--set`, else by its metadata.

    Args:
        item: the whole of it.
        described: what it says of the band (`items.described_bands`).
        band: name on the card.
        said: the settings and the kind of power.
        sensor: the card, settings applied.

    Raises:
        InputError: the metadata do not say, or contradict themselves.
    """
    card = sensor.bands[sensor.index_of(band)]
    stated = said.of_band(sensor.name, band)
    nodata = described.get("nodata")
    nodata = card.nodata if "nodata" in stated or not isinstance(nodata, int | float) else float(nodata)
    scale = card.scale if "scale" in stated else described.get("scale")
    if sensor.name.startswith("sentinel2"):
        scale = card.scale if scale is None else float(scale)
        if "offset" in stated:
            return Stored(scale=scale, offset=card.offset * scale, nodata=nodata)
        return Stored(scale=scale, offset=_reflectance_offset(item, described, scale, sensor.name), nodata=nodata)
    scale = 1.0 if scale is None else float(scale)
    offset = card.offset * scale if "offset" in stated else float(described.get("offset") or 0.0)
    power = sensor.name == "sentinel1" and _is_power(item, described, said)
    return Stored(scale=scale, offset=offset, nodata=nodata, power=power)


def _reflectance_offset(item: Mapping[str, Any], described: Mapping[str, Any], scale: float, sensor: str) -> float:
    """What Sentinel-2's metadata say, in reflectance.

    A catalogue that took the 1000 away says so in a property of its own, and that counts even where the band still
    states the offset (Earth Search does both; its maintainers call the property right). Else the band's own offset
    counts, else the processing baseline.
    """
    properties = item["properties"]
    applied = next((properties[key] for key in _HARMONISED if properties.get(key) is not None), None)
    if applied:
        return 0.0
    baseline = _baseline(properties)
    shift = None if baseline is None else (_SHIFT * scale if baseline >= _SHIFTED_SINCE else 0.0)
    said = described.get("offset")
    if said is not None:
        if applied is False and shift is not None and abs(float(said) - shift) > scale / 2:
            raise InputError(
                f"item {item['id']} contradicts itself: its bands state the offset {float(said):g}, yet baseline "
                f"{baseline:05.2f} whose 1000 was not taken away ({_HARMONISED[0]} is false) means {shift:g}; look at "
                f"dark pixels and say --set {sensor}.offset=-1000 or --set {sensor}.offset=0"
            )
        return float(said)
    if shift is None:
        raise InputError(
            f"item {item['id']} does not say whether the 1000 of processing baseline 04.00 is in its numbers (no "
            f"offset in raster:bands or bands, none of {', '.join((*_BASELINES, *_HARMONISED))}); say it with "
            f"--set {sensor}.offset=-1000 if it is, --set {sensor}.offset=0 if not"
        )
    return shift


def _baseline(properties: Mapping[str, Any]) -> float | None:
    for key in _BASELINES:
        try:
            return float(properties[key])
        except (KeyError, TypeError, ValueError):
            continue
    # ESA's product name: S2A_MSIL2A_20230628T070631_N0509_R106_...
    for part in str(properties.get("s2:product_uri", "")).split("_"):
        if len(part) == 5 and part[0] == "N" and part[1:].isdecimal():
            return int(part[1:]) / 100
    return None


def _is_power(item: Mapping[str, Any], described: Mapping[str, Any], said: Statements) -> bool:
    """Whether Sentinel-1's numbers are linear power (True) or decibel (False)."""
    product = str(item["properties"].get("sar:product_type", "")).upper()
    if str(described.get("data_type", "")).startswith(("uint", "int", "cint", "complex", "cfloat")):
        raise InputError(_uncalibrated(item["id"], f"its bands are {described['data_type']}"))
    if said.power:
        return said.power == "linear"
    unit = str(described.get("unit") or "").strip().lower()
    if unit in ("db", "decibel"):
        return False
    if unit in _LINEAR_UNITS or item.get("collection") in _LINEAR_COLLECTIONS:
        return True
    if product in ("GRD", "SLC"):
        raise InputError(_uncalibrated(item["id"], f"its sar:product_type is {product}"))
    raise InputError(
        f"item {item['id']} does not say whether its backscatter is linear power or decibel (no unit in raster:bands "
        f"or bands); say it with --power linear or --power db"
    )


def _uncalibrated(item: str, why: str) -> str:
    return (
        f"item {item} holds digital numbers, not calibrated backscatter ({why}); take a collection that is calibrated "
        f"and terrain corrected (--collection sentinel1=sentinel-1-rtc), or, where these are floating-point "
        f"backscatter all the same, say --power linear or --power db"
    )


def require_calibrated(sensor: str, dtype: str, item: str) -> None:
    """Refuses radar images whose files hold whole or complex numbers."""
    if sensor == "sentinel1" and not dtype.startswith("float"):
        raise InputError(_uncalibrated(item, f"its files are {dtype}"))


def decibel_of(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """10 * log10 of linear power; what is not above zero has no logarithm, and becomes NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        decibel: NDArray[np.float32] = np.where(power > 0, 10 * np.log10(power), np.float32(np.nan))
    return decibel


def power_of(decibel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The linear power that decibels stand for; NaN stays NaN."""
    power: NDArray[np.float32] = np.power(np.float32(10), decibel / np.float32(10))
    return power
