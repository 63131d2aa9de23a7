"""Where the bands of a sensor lie in what the user gives for it: files, folders, addresses, catalogue items."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgfm.data.catalogue.request import Statements
from msgfm.data.layouts.listing import IMAGE_SUFFIXES
from msgfm.errors import InputError
from msgfm.geo.network import Network, is_address
from msgfm.geo.raster import RasterInfo
from msgfm.geo.source import RasterSource
from msgfm.scenes.inputs.item import is_item, read_item
from msgfm.scenes.inputs.names import remedy, said_names, stated_names
from msgfm.scenes.inputs.offer import BandOffer
from msgfm.scenes.inputs.safe import is_sentinel1, metadata_of, read_product
from msgfm.sensors import Sensor

_SUFFIXES = (*IMAGE_SUFFIXES, ".jp2", ".vrt")


class Headers(dict[str, RasterInfo]):
    """Headers of files, each opened once, when it is first asked for."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def __missing__(self, place: str) -> RasterInfo:
        with RasterSource(place, self._network) as source:
            self[place] = source.info
        return self[place]


def locate(
    key: str,
    card: Sensor,
    given: Sequence[str],
    names: Sequence[str],
    said: Statements,
    headers: Headers,
    network: Network,
) -> dict[str, BandOffer]:
    """Where each band of a card lies in what the user gives for it.

    Args:
        key: of the input.
        card: the bands that are needed, with the user's settings.
        given: paths of files and folders, patterns, addresses, STAC items.
        names: of the bands of files that do not say them, in their order; empty where nothing was said.
        said: what the user states of how files are stored.
        headers: filled here.
        network: how patient to be.

    Returns:
        By band, in the card's order.

    Raises:
        InputError: a band is nowhere or in several places, a file does not say which bands it has, or something cannot
            be read.
    """
    offers: list[tuple[str, BandOffer]] = []
    plain: list[str] = []
    folders = False
    for place in _expanded(key, given):
        folder = Path(place)
        product = None if is_address(place) else metadata_of(folder if folder.is_dir() else folder.parent)
        if product is not None and (folder.is_dir() or folder == product):
            offers += read_product(product, card).items()
        elif is_item(place):
            offers += read_item(place, card, said, network).items()
        elif not is_address(place) and folder.is_dir():
            folders = True
            plain += _images_in(folder, key)
        else:
            plain.append(place)
    if names and (offers or folders):
        raise InputError(
            f"--bands {card.name}=...: names are for files, and {', '.join(given)} is a folder or product; give the "
            f"files of its bands one by one, in the order of the names"
        )
    offers += _in_files(plain, card, names, headers, in_folder=folders)
    found: dict[str, BandOffer] = {}
    for band, offer in offers:
        if band in found and found[band] != offer:
            raise InputError(
                f"band {band} of {key} is in {found[band].place} and in {offer.place}; give one of them (of images "
                f"side by side make one: gdalbuildvrt ONE.vrt ...)"
            )
        found[band] = offer
    if missing := [band for band in card.band_names if band not in found]:
        has = f"has {', '.join(found)}" if found else f"has no band of {card.name} by name"
        count = headers[plain[0]].image_bands if len(plain) == 1 else len(plain) or len(card.bands)
        raise InputError(
            f"{key}: no band {', '.join(missing)}: {', '.join(given)} {has}; the model takes "
            f"{', '.join(card.band_names)}. Name each file by its band, or name the bands: {remedy(card, count)}"
        )
    return {band: found[band] for band in card.band_names}


def items_in(key: str, given: Sequence[str]) -> tuple[str, ...]:
    """Paths and addresses of the catalogue items among what is given for an input."""
    return tuple(filter(is_item, _expanded(key, given)))


def _expanded(key: str, given: Sequence[str]) -> Iterator[str]:
    """Absolute paths of what patterns stand for and of other paths, addresses as they are."""
    for text in given:
        if is_address(text):
            yield text
        elif os.path.exists(text):  # Path's own raises where a name is too long
            yield str(Path(text).absolute())
        elif matches := sorted(glob.glob(text)):
            images = [path for path in map(Path, matches) if path.is_dir() or path.suffix.lower() in _SUFFIXES]
            yield from (str(path.absolute()) for path in images or map(Path, matches))
        elif text.startswith("-"):
            raise InputError(f"no such option: {text} (see --help)")
        else:
            raise InputError(f"{key}: no file or folder {text}")


def _images_in(folder: Path, key: str) -> list[str]:
    """The images that lie in a folder itself."""
    if is_sentinel1(folder):
        raise InputError(
            f"{folder} is a Sentinel-1 product in the radar's own geometry and in digital numbers; calibrate and "
            f"terrain-correct it first (SNAP, or a collection such as sentinel-1-rtc)"
        )
    images = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not images:
        raise InputError(
            f"{key}: the folder {folder} has no images ({', '.join(_SUFFIXES)}) and is no Sentinel-2 product with its "
            f"MTD_MSIL1C.xml or MTD_MSIL2A.xml; give the folder that holds the files of the bands"
        )
    return [str(path.absolute()) for path in images]


def _in_files(
    places: Sequence[str], card: Sensor, names: Sequence[str], headers: Headers, *, in_folder: bool
) -> Iterator[tuple[str, BandOffer]]:
    """The bands of a card in files that hold nothing but images."""
    if names and len(places) > 1:
        if len(names) != len(places) or any(headers[place].image_bands != 1 for place in places):
            raise InputError(
                f"--bands {card.name}={','.join(names)}: {len(names)} names for {len(places)} files; give one file and "
                f"the names of its bands, or as many files of one band as names, in their order"
            )
        for place, name in zip(places, names, strict=True):
            yield from _offered(place, stated_names(place, headers[place], card, (name,)))
        return
    for place in places:
        info = headers[place]
        if names:
            yield from _offered(place, stated_names(place, info, card, names))
            continue
        said = said_names(place, info, card)
        if not any(said) and len(card.bands) == info.image_bands == 1 and len(places) == 1:
            said = card.band_names  # the only one in the place of the only one
        if not any(said) and info.image_bands > 1 and not in_folder:
            written = ", ".join(text for text in info.descriptions if text)
            told = (
                f"calls its bands {written}, none of which is of {card.name}" if written else "does not name its bands"
            )
            raise InputError(
                f"{place} {told}; if it is an image of {card.name}, say which they are: "
                f"{remedy(card, info.image_bands)}"
            )
        yield from _offered(place, said)


def _offered(place: str, names: Sequence[str | None]) -> Iterator[tuple[str, BandOffer]]:
    for i, band in enumerate(names):
        if band is not None:
            yield band, BandOffer(place=place, file_band=i + 1)


def own_nodata(info: RasterInfo) -> float | None:
    """The number that a file calls no data; None where it names none, or NaN."""
    return None if info.nodata is None or math.isnan(info.nodata) else info.nodata
