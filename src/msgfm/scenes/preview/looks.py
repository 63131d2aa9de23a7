"""Which bands of a file are shown, and as what: found in what the file says of itself, or asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgfm.data.layouts.listing import SENTINEL2_L1C, SENTINEL2_L2A, card_band
from msgfm.errors import InputError
from msgfm.geo.facts import BandFacts, RasterFacts
from msgfm.sensors import load_sensor

Kind = Literal["classes", "radar", "colour", "values"]

CLASSES = "classes"  # what is asked for instead of bands
_POLARISATION = re.compile(r"(?<![A-Z])([HV][HV])(?![A-Z])", re.IGNORECASE)
_CARDS = ("sentinel2", "landsat8", "rgb", "worldview3", "irrg")  # of which one may name a file's bands, in this order
_NAMELESS = ("", "bands")  # the latter by xarray
# Files without names: what as many bands, in order, most often are.
_USUAL = {len(SENTINEL2_L1C): SENTINEL2_L1C, len(SENTINEL2_L2A): SENTINEL2_L2A}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is shown of a file.

    Args:
        kind: names of classes, backscatter, a picture of three bands, or one band's values.
        bands: positions in the file, counted from 1: one; three; or two of `radar`, which are shown with their ratio.
        labels: what to call them.
        because: why they were taken, where nothing in the file says so; empty where it does.
    """

    kind: Kind
    bands: tuple[int, ...]
    labels: tuple[str, ...]
    because: str = ""


def may_be_classes(facts: RasterFacts) -> bool:
    """Whether a file can be a map of classes: one band of whole numbers that are not scaled."""
    (band, *more) = facts.bands
    return not more and band.dtype.startswith(("int", "uint")) and band.scale == 1 and band.offset == 0


def look_of(facts: RasterFacts, asked: str = "") -> Look:
    """How to show a file; a map of classes without a palette is not known from its header (`may_be_classes`).

    Args:
        facts: of the file.
        asked: one band or three, by name or position, with commas; or `classes`; empty for what the file suggests.

    Raises:
        InputError: what was asked for cannot be.
    """
    if asked == CLASSES:
        if not may_be_classes(facts):
            raise InputError(
                f"{facts.place} is no map of classes, which has one band of whole numbers; it has {_described(facts)}"
            )
        return classes_look(facts)
    if asked:
        return _asked(facts, asked)
    if facts.palette:
        return classes_look(facts)
    return _radar(facts) or _colour(facts) or Look(kind="values", bands=(1,), labels=(_label(facts, 1),))


def classes_look(facts: RasterFacts) -> Look:
    """Its one band as a map of classes."""
    return Look(kind="classes", bands=(1,), labels=(_label(facts, 1),))


def _asked(facts: RasterFacts, asked: str) -> Look:
    positions = tuple(_position(facts, name.strip()) for name in asked.split(","))
    if len(positions) not in (1, 3):
        raise InputError(
            f"{asked!r} names {len(positions)} bands of {facts.place}; name one, or three as red,green,blue"
        )
    labels = tuple(_label(facts, band) for band in positions)
    if _is_radar(facts):
        return Look(kind="radar", bands=positions, labels=labels)
    return Look(kind="colour" if len(positions) == 3 else "values", bands=positions, labels=labels)


def _position(facts: RasterFacts, name: str) -> int:
    names = [band.name for band in facts.bands]
    found = [i for i, other in enumerate(names, start=1) if other.lower() == name.lower()]
    if not found:
        found = [i for i, other in enumerate(names, start=1) if _plain(other) == _plain(name)]
    if not found and name.isdecimal() and 1 <= int(name) <= len(names):
        found = [int(name)]
    if len(found) != 1:
        problem = f"{len(found)} bands" if found else "no band"
        raise InputError(f"{facts.place} has {problem} {name!r}; it has {_described(facts)}; counted from 1")
    return found[0]


def _plain(name: str) -> str:
    """`b8` of `B08`."""
    return re.sub(r"^([a-z]+)0+(?=\d)", r"\1", name.lower())


def _radar(facts: RasterFacts) -> Look | None:
    if not _is_radar(facts):
        return None
    named = [_polarisation(band.name) for band in facts.bands]
    if any(named):
        because = ""
    elif len(facts.bands) == 1:  # one file a band
        named, because = [_polarisation(Path(facts.place).stem)], "by the file's name"
    else:
        named, because = ["VV", "VH"], "two bands of decimal numbers are taken for VV and VH"
    for pair in (("VV", "VH"), ("HH", "HV")):
        if set(pair) <= set(named):
            bands = tuple(named.index(name) + 1 for name in pair)
            return Look(kind="radar", bands=bands, labels=pair, because=because)
    first = next(i for i, name in enumerate(named, start=1) if name)
    return Look(kind="radar", bands=(first,), labels=(named[first - 1],), because=because)


def _is_radar(facts: RasterFacts) -> bool:
    if any(_polarisation(band.name) for band in facts.bands):
        return True
    if any(map(is_named, facts.bands)):
        return False
    if not all(band.dtype.startswith("float") for band in facts.bands):
        return False
    return len(facts.bands) == 2 or (len(facts.bands) == 1 and bool(_polarisation(Path(facts.place).stem)))


def _polarisation(name: str) -> str:
    """`VV` of `VV`, `Sigma0_VV_db` or `S1A_..._VV`; empty where there is none, or more than one."""
    found = {match.upper() for match in _POLARISATION.findall(name)}
    return found.pop() if len(found) == 1 else ""


def _colour(facts: RasterFacts) -> Look | None:
    """Red, green and blue: by the names of bands, by the colours that the file gives them, by their number."""
    names = [band.name.upper().removeprefix("SR_") for band in facts.bands]  # SR_B4: surface reflectance of Landsat
    for card in map(load_sensor, _CARDS):
        known = [card_band(name, card) for name in names]
        if set(card.display) <= set(known):
            return _three(facts, tuple(known.index(band) + 1 for band in card.display))
    colours = [band.colour for band in facts.bands]
    if {"red", "green", "blue"} <= set(colours):
        return _three(facts, tuple(colours.index(name) + 1 for name in ("red", "green", "blue")))
    usual = _USUAL.get(len(names))
    if usual and not any(map(is_named, facts.bands)):
        bands = tuple(usual.index(name) + 1 for name in ("B04", "B03", "B02"))
        return _three(facts, bands, f"{len(names)} bands without names are taken for {usual[0]} to {usual[-1]}")
    if len(names) < 3:
        return None
    return _three(facts, (1, 2, 3), "no name tells which bands are red, green and blue")


def _three(facts: RasterFacts, bands: tuple[int, ...], because: str = "") -> Look:
    return Look(kind="colour", bands=bands, labels=tuple(_label(facts, band) for band in bands), because=because)


def is_named(band: BandFacts) -> bool:
    """Whether the file says what a band is."""
    return band.name not in _NAMELESS


def _label(facts: RasterFacts, band: int) -> str:
    facts_of_it = facts.bands[band - 1]
    return facts_of_it.name if is_named(facts_of_it) else f"band {band}"


def _described(facts: RasterFacts) -> str:
    names = [band.name for band in facts.bands]
    count = f"{len(names)} band{'s' if len(names) > 1 else ''} of {facts.bands[0].dtype}"
    return f"{count}: {', '.join(names)}" if all(map(is_named, facts.bands)) and len(names) <= 20 else count
