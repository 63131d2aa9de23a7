"""What catalogues offer of each sensor: names of collections and assets, and the form in which we write images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgfm.errors import InputError
from msgfm.sensors import Sensor

_OPTICAL = {
    "B01": ("coastal",),
    "B02": ("blue",),
    "B03": ("green",),
    "B04": ("red",),
    "B05": ("rededge1", "rededge071"),
    "B06": ("rededge2", "rededge075"),
    "B07": ("rededge3", "rededge078"),
    "B08": ("nir",),
    "B8A": ("nir08",),
    "B09": ("nir09",),
    "B10": ("cirrus",),
    "B11": ("swir16",),
    "B12": ("swir22",),
}


@dataclass(frozen=True, kw_only=True)
class Written:
    """How images are written, whatever the catalogue's own form: one form, so that all items go into one manifest.

    Args:
        dtype: numpy's name.
        scale: of the card: physical = (stored + offset) * scale.
        offset: likewise.
        nodata: the stored number; None is NaN.
    """

    dtype: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None

    def card(self, sensor: Sensor) -> Sensor:
        """The card of a sensor whose files are written so."""
        for field in ("scale", "offset", "nodata"):
            sensor = sensor.with_setting(field, getattr(self, field))
        return sensor


@dataclass(frozen=True, kw_only=True)
class Product:
    """One sensor as catalogues know it.

    Args:
        collections: names that catalogues use, the best first.
        names: what catalogues call each band beside the card's own name: asset keys and common names.
        written: the form in which we write it.
        fixed: whether it has no date, as heights; it then coincides with everything.
    """

    collections: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    written: Written
    fixed: bool = False


# Reflectance goes into the form of processing baseline 04.00, in which both older and newer numbers are whole and above
# 0: taking 1000 away from newer ones would cut off what is below zero.
_REFLECTANCE = Written(dtype="uint16", scale=0.0001, offset=-1000, nodata=0)

PRODUCTS: dict[str, Product] = {
    "sentinel1": Product(collections=("sentinel-1-rtc", "sentinel-1-grd"), names={}, written=Written(dtype="float32")),
    "sentinel2": Product(collections=("sentinel-2-l1c",), names=_OPTICAL, written=_REFLECTANCE),
    "sentinel2_l2a": Product(collections=("sentinel-2-c1-l2a", "sentinel-2-l2a"), names=_OPTICAL, written=_REFLECTANCE),
    "dsm": Product(
        collections=("cop-dem-glo-30",),
        names={"height": ("data", "dem", "elevation")},
        written=Written(dtype="float32"),
        fixed=True,
    ),
}


def other_names(sensor: str) -> dict[str, str]:
    """The card's band by what catalogues call it beside, in lower case; none of a sensor that they do not have."""
    names = PRODUCTS[sensor].names if sensor in PRODUCTS else {}
    return {alias: band for band, aliases in names.items() for alias in aliases}


def require_products(sensors: tuple[str, ...]) -> None:
    """Raises `InputError` for a sensor that catalogues are not known to have, or one named twice."""
    for name in sensors:
        if name not in PRODUCTS:
            raise InputError(f"--sensors: {name!r} cannot be had from a catalogue; {', '.join(PRODUCTS)} can")
        if sensors.count(name) > 1:
            raise InputError(f"--sensors: {name} stands twice")
    if not sensors or PRODUCTS[sensors[0]].fixed:
        raise InputError(f"--sensors: name first the sensor whose dates count, and then {', '.join(sensors) or 'more'}")
