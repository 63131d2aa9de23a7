"""From what the user gives for each sensor to the bands of files that a scene is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgfm.errors import InputError
from msgfm.geo.align import grid_of
from msgfm.geo.network import Network, is_address
from msgfm.geo.raster import RasterInfo
from msgfm.geo.source import RasterSource
from msgfm.scenes.request import BandStorage, SceneFile, SceneImage, SceneRequest
from msgfm.sensors import Sensor


def make_request(
    cards: Mapping[str, Sensor],
    given: Mapping[str, Sequence[str]],
    bands: Mapping[str, Sequence[str]],
    like: Path | None = None,
    *,
    settings: Sequence[str] = (),
    first: str | None = None,
    network: Network | None = None,
) -> SceneRequest:
    """Finds the bands that a model needs in what the user gives, and the grid to read them on.

    Args:
        cards: by key, in the model's order: the bands that it takes (`InputImage.card`).
        given: by key: files, folders, addresses or STAC items.
        bands: by key: names of the bands of files that do not say them, in the files' order.
        like: a raster whose grid is taken.
        settings: how files are stored, as `sentinel2.offset=-1000`; what they say themselves does not count then.
        first: the key whose grid is taken; None is that with the finest bands, the first in the model's order of
            several.
        network: how patient to be.

    Raises:
        InputError: what is given does not fit the cards; with file, band and remedy.
    """
    network = network or Network()
    if unknown := sorted(given.keys() - cards.keys()):
        raise InputError(f"the model has no input {unknown[0]!r}; it takes {', '.join(cards)}")
    images, headers = [], {}
    for key, card in cards.items():
        if key not in given:
            raise InputError(f"no image of {key} is given; the model takes {', '.join(cards)}")
        (place,) = given[key]
        place = place if is_address(place) else str(Path(place).absolute())
        with RasterSource(place, network) as source:
            headers[place] = source.info
        names = tuple(bands.get(key) or card.band_names)
        images.append(_image(key, card, place, source.info, names))
    grid = grid_of(headers[images[0].files[0].place], images[0].files[0].place)
    return SceneRequest(images=tuple(images), grid=grid, network=network)


def _image(key: str, card: Sensor, place: str, info: RasterInfo, names: Sequence[str]) -> SceneImage:
    if len(names) != info.image_bands:
        raise InputError(f"{place} has {info.image_bands} bands, {len(names)} are named")
    file = SceneFile(
        place=place, bands=card.band_names, file_bands=tuple(names.index(band) + 1 for band in card.band_names)
    )
    own = info.nodata if info.nodata is not None and not math.isnan(info.nodata) else None
    storage = tuple(
        BandStorage(
            dtype=info.dtype, scale=band.scale, offset=band.offset, nodata=own if own is not None else band.nodata
        )
        for band in card.bands
    )
    return SceneImage(key=key, card=card, files=(file,), storage=storage)
