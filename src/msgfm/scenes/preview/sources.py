"""What is given as an image of a preview: a file, or bands that lie in several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgfm.data.catalogue.request import Statements
from msgfm.errors import InputError
from msgfm.geo.composite import BandOfFile, CompositeSource
from msgfm.geo.network import Network, is_address
from msgfm.geo.overview import OverviewSource
from msgfm.scenes.inputs.item import is_item
from msgfm.scenes.inputs.locate import Headers, locate
from msgfm.scenes.inputs.offer import BandOffer
from msgfm.scenes.inputs.safe import metadata_of
from msgfm.scenes.preview.looks import CLASSES
from msgfm.sensors import Sensor, load_sensor

_CARDS = ("sentinel2", "sentinel2_l2a", "landsat8", "worldview3", "rgb", "irrg", "sentinel1")
"""Whose bands are looked for, in this order."""


def open_source(place: str, asked: str, network: Network) -> OverviewSource:
    """Opens what is to be shown.

    Args:
        place: path or address of an image; a Sentinel-2 product (`.SAFE`), a folder of files of one band each, or a
            STAC item, of which the bands that show red, green and blue are taken, or backscatter.
        asked: bands by name, with commas; empty for these.
        network: how patient to be.

    Raises:
        InputError: it cannot be read, or its bands are those of no sensor.
    """
    if not (is_item(place) or (not is_address(place) and Path(place).is_dir())):
        return OverviewSource(place, network)
    if asked == CLASSES:
        raise InputError(f"{place} is no map of classes; give the file that is one")
    headers, wanted = Headers(network), tuple(name.strip() for name in asked.split(",") if name)
    reason: InputError | None = None
    for card in _cards(place):
        try:
            names = wanted or (card.band_names if card.name == "sentinel1" else card.display)
            offers = locate(
                card.name, card.select(names), [place], (), Statements(settings=(), power=""), headers, network
            )
        except InputError as error:
            reason = reason or error
            continue
        bands = [_band(name, offers[name]) for name in offers]
        return CompositeSource(place, bands, headers, network)
    raise InputError(
        f"{place}: its bands are not known as red, green and blue of a sensor; give the files of images, or name bands "
        f"with --show {place}=...; of {_CARDS[0]}: {reason}"
    )


def _cards(place: str) -> Iterator[Sensor]:
    metadata = None if is_address(place) or not Path(place).is_dir() else metadata_of(Path(place))
    names: Sequence[str] = _CARDS
    if metadata is not None:
        names = ("sentinel2_l2a",) if "L2A" in metadata.name else ("sentinel2",)
    return map(load_sensor, names)


def _band(name: str, offer: BandOffer) -> BandOfFile:
    scale = offer.scale
    return BandOfFile(
        name=name,
        place=offer.place,
        file_band=offer.file_band,
        scale=scale,
        offset=None if scale is None else (offer.offset or 0.0) * scale,  # GDAL adds after scaling
        nodata=offer.nodata,
    )
