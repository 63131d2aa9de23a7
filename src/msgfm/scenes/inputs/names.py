"""Which bands a file holds: by what it says itself, by its name, or by what the user says. Nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from msgfm.data.catalogue.products import other_names
from msgfm.data.layouts.listing import card_band
from msgfm.errors import InputError
from msgfm.geo.raster import RasterInfo
from msgfm.sensors import Sensor

NOT_WANTED = "-"
_COLOURS = {"red": "R", "green": "G", "blue": "B"}

Names = tuple[str | None, ...]
"""The card's name of each image band of a file, in its order; None where it is none of the card's."""


def band_in(text: str, card: Sensor) -> str | None:
    """The one band of a card that a text speaks of; None where it speaks of none, or of several.

    `T32TQM_20200623T100559_B02_10m` and `B2, blue` are B02; a catalogue's name (`nir`) counts where no other is there.
    """
    words = [word for word in re.split(r"[^A-Za-z0-9]+", text) if word]
    others = other_names(card.name) | {name: band for name, band in _COLOURS.items() if band in card.band_names}
    found = {band for word in words if (band := card_band(word, card))}
    found = found or {band for word in words if (band := others.get(word.lower())) in card.band_names}
    return found.pop() if len(found) == 1 else None


def stem_of(place: str) -> str:
    """The name of a file without folder, suffix and, of an address, query."""
    return re.sub(r"\.[A-Za-z0-9]+$", "", (urlsplit(place).path if "://" in place else place).rsplit("/", 1)[-1])


def said_names(place: str, info: RasterInfo, card: Sensor) -> Names:
    """Which bands a file says it has, in its descriptions, its name or its colours; all None where it does not.

    Raises:
        InputError: it contradicts itself.
    """
    written = info.descriptions[: info.image_bands]
    said = [band_in(text, card) if text else None for text in written]
    for band in said:
        if band is not None and said.count(band) > 1:
            positions = " and ".join(str(i + 1) for i, other in enumerate(said) if other == band)
            raise InputError(
                f"{place} calls its bands {positions} {band} of {card.name}; say what each is: "
                f"{remedy(card, info.image_bands)}"
            )
    if info.image_bands == 1:
        named = band_in(stem_of(place), card)
        if said[0] is not None and named not in (None, said[0]):
            raise InputError(
                f"{place} calls its band {written[0]!r} ({said[0]} of {card.name}), and its own name says {named}; "
                f"rename the file, or say which: {remedy(card, 1)}"
            )
        said = [said[0] or named]
    if not any(said) and set(card.band_names) == set(_COLOURS.values()) and info.image_bands == 3:
        said = [_COLOURS.get(colour) for colour in info.colours[:3]]
    return tuple(said)


def stated_names(place: str, info: RasterInfo, card: Sensor, names: Sequence[str]) -> Names:
    """What the user calls the bands of a file, in its order; `-` is a band that is not wanted.

    Raises:
        InputError: there are more or fewer, a name twice, or the file itself calls a band otherwise (one of a
            single band also by its name, unless its description agrees with the user).
    """
    if len(names) != info.image_bands:
        raise InputError(
            f"{place} has {info.image_bands} bands, --bands names {len(names)} ({', '.join(names)}); name each of them "
            f"in the file's order: {remedy(card, info.image_bands)}"
        )
    stated = tuple(None if name == NOT_WANTED else card_band(name, card) for name in names)
    wanted = [band for band in stated if band is not None]
    if twice := sorted({band for band in wanted if wanted.count(band) > 1}):
        raise InputError(f"--bands {card.name}={','.join(names)}: {twice[0]} stands twice")
    for i, (band, text) in enumerate(zip(stated, info.descriptions, strict=False)):
        own = card_band(text, card) if text else None
        if own is not None and band is not None and own != band:
            raise InputError(
                f"{place} calls its band {i + 1} {text!r}, --bands {card.name}={','.join(names)} calls it {band}; "
                f"leave --bands out, or correct it"
            )
    named = band_in(stem_of(place), card) if info.image_bands == 1 and names[0] != NOT_WANTED else None
    confirmed = stated[0] is not None and card_band(info.descriptions[0] or "", card) == stated[0]
    if named not in (None, stated[0]) and not confirmed:
        raise InputError(
            f"{place} is {named} of {card.name} by its own name, --bands {card.name}= calls it {names[0]}; leave "
            f"--bands out, give the files in the order of the names, or rename the file"
        )
    return stated


def remedy(card: Sensor, count: int) -> str:
    """`--bands sentinel2=B02,B03,...` for so many bands."""
    names: Mapping[bool, str] = {
        True: ",".join(card.band_names),
        False: ",".join([*card.band_names[: max(1, min(count - 1, 3))], *["..."] * (count > 1)]),
    }
    enough = len(card.bands) == count
    return (
        f"--bands {card.name}={names[enough]} (the {count} names in the file's order"
        f"{', if that is it' if enough else ''}; {NOT_WANTED} for one that is not among {', '.join(card.band_names)})"
    )
