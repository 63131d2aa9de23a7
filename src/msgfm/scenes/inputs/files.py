"""Makes the request of a scene: the bands that a model needs, how they are stored, and the grid to read them on."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgfm.data.catalogue.request import Statements
from msgfm.data.catalogue.storage import require_calibrated
from msgfm.data.layouts.listing import change_cards
from msgfm.errors import InputError, InputWarning
from msgfm.geo.network import Network, is_address
from msgfm.geo.raster import RasterInfo
from msgfm.scenes.inputs.grids import choose_grid
from msgfm.scenes.inputs.locate import Headers, locate, own_nodata
from msgfm.scenes.inputs.offer import BandOffer
from msgfm.scenes.inputs.request import BandStorage, SceneFile, SceneImage, SceneRequest
from msgfm.scenes.inputs.times import joined, span_of_tag
from msgfm.sensors import Band, Sensor


def make_request(
    cards: Mapping[str, Sensor],
    given: Mapping[str, Sequence[str]],
    bands: Mapping[str, Sequence[str]] | None = None,
    like: str | Path | None = None,
    *,
    first: str | None = None,
    settings: Sequence[str] = (),
    power: str = "",
    allow_missing: bool = False,
    network: Network | None = None,
) -> SceneRequest:
    """Finds the bands that a model needs in what the user gives, and the grid to read them on.

    Args:
        cards: by key, in the model's order: the bands that it takes (`InputImage.card`).
        given: by key, or by sensor where one key alone has that sensor: files, folders, patterns, addresses, STAC
            items.
        bands: likewise: names of the bands of files that do not say them, in the files' order.
        like: path or address of a raster whose grid is taken.
        first: the key whose grid is taken; None is that with the finest pixels, of several the first.
        settings: how files are stored, as `sentinel2.offset=-1000` (a key takes a sensor's place:
            `sentinel2@cloudy.offset=0`); counts more than what products, items and files say themselves.
        power: `linear` or `db`, which radar files are; empty: as an item says, else decibel.
        allow_missing: whether inputs may be left out.
        network: how patient to be.

    Returns:
        Of the inputs given, in the model's order.

    Raises:
        InputError: what is given does not fit the cards; with file, band and remedy.
    """
    network = network or Network()
    by_key = _by_key("no input", given, cards)
    names = _by_key("--bands: no input", bands or {}, by_key)
    missing = [key for key in cards if key not in by_key]
    if missing and not (by_key and allow_missing):
        raise InputError(f"no image of {', '.join(missing)} is given; the model takes {', '.join(cards)}")
    headers = Headers(network)
    images = []
    for key, card in cards.items():
        if key in by_key:
            said = Statements(settings=_settings_of(key, card.name, settings, cards), power=power)
            changed = change_cards({card.name: card}, said.settings)[card.name]
            offers = locate(key, changed, by_key[key], names.get(key, ()), said, headers, network)
            images.append(_image(key, changed, offers, said, headers))
    grid = choose_grid(
        {image.key: [file.place for file in image.files] for image in images},
        headers,
        None if like is None else _absolute(str(like)),
        first if first in by_key else None,
    )
    request = SceneRequest(images=tuple(images), grid=grid, network=network)
    for place in request.places:
        if headers[place].crs is None and not headers[place].transform.is_identity:
            warnings.warn(
                f"{place} has a geotransform but no coordinate system: nobody knows where it lies, and the result "
                f"has no coordinates; give it its own: gdal_edit.py -a_srs EPSG:... {place}",
                InputWarning,
                stacklevel=2,
            )
    return request


def _absolute(place: str) -> str:
    return place if is_address(place) else str(Path(place).absolute())


def _by_key(what: str, given: Mapping[str, Sequence[str]], keys: Iterable[str]) -> dict[str, Sequence[str]]:
    """The same by key where it is by sensor."""
    keys, found = list(keys), dict[str, Sequence[str]]()
    for name, value in given.items():
        of_sensor = [key for key in keys if key.partition("@")[0] == name]
        key = name if name in keys else of_sensor[0] if len(of_sensor) == 1 else None
        if key is None:
            several = f"{name} is one of several: " if of_sensor else ""
            raise InputError(f"{what} {name!r}; {several}there are {', '.join(keys)}")
        if key in found:
            raise InputError(f"{what.partition(':')[0]}: {key} is given twice")
        found[key] = value
    return found


def _settings_of(key: str, sensor: str, settings: Sequence[str], cards: Mapping[str, Sensor]) -> tuple[str, ...]:
    """Those of one key, the sensor's name before the dot."""
    known = {*cards, *(card.name for card in cards.values())}
    own = []
    for setting in settings:
        name, _, rest = setting.partition(".")
        if name not in known:
            raise InputError(f"--set {setting}: no sensor {name!r} here; there are {', '.join(sorted(known))}")
        if name in (key, sensor):
            own.append(f"{sensor}.{rest}")
    return tuple(own)


def _image(
    key: str, card: Sensor, offers: Mapping[str, BandOffer], said: Statements, headers: Mapping[str, RasterInfo]
) -> SceneImage:
    """An input whose bands were found, with the card as its files are stored."""
    power = _is_power(card, offers.values(), said)
    bands, storage = [], []
    for band in card.bands:
        offer, info = offers[band.name], headers[offers[band.name].place]
        if power:
            require_calibrated(card.name, info.dtype, offer.place)
        stored = _as_stored(card.name, band, offer, info, said)
        own = own_nodata(info)
        bands.append(stored)
        storage.append(
            BandStorage(
                dtype=info.dtype,
                scale=stored.scale,
                offset=stored.offset,
                nodata=stored.nodata if own is None else own,
            )
        )
    of_place: dict[str, list[str]] = defaultdict(list)
    for name, offer in offers.items():
        of_place[offer.place].append(name)
    files = tuple(
        SceneFile(place=place, bands=tuple(names), file_bands=tuple(offers[name].file_band for name in names))
        for place, names in of_place.items()
    )
    changed = card.model_copy(update={"bands": tuple(bands)})
    taken = joined(offer.taken or span_of_tag(headers[offer.place].date_time) for offer in offers.values())
    return SceneImage(key=key, card=changed, files=files, storage=tuple(storage), power=power, taken=taken)


def _is_power(card: Sensor, offers: Iterable[BandOffer], said: Statements) -> bool:
    """Whether decibels are to be made of linear power."""
    decibel = all(band.unit.lower() == "db" for band in card.bands)
    return decibel and (said.power == "linear" or (not said.power and any(offer.power for offer in offers)))


def _as_stored(sensor: str, band: Band, offer: BandOffer, info: RasterInfo, said: Statements) -> Band:
    """The card's band as it is stored: by `--set`, else by product or item, else by the file's own tags."""
    stated = said.of_band(sensor, band.name)
    scale, offset = offer.scale, offer.offset
    own = info.scales[offer.file_band - 1], info.offsets[offer.file_band - 1]
    if scale is None and own != (1.0, 0.0) and "scale" not in stated:
        if not (own[0] and math.isfinite(own[0] + own[1])):
            raise InputError(
                f"{offer.place}, band {band.name}: the file says value = stored * {own[0]:g} + {own[1]:g}; say what is "
                f"right: --set {sensor}.scale=... --set {sensor}.offset=..."
            )
        scale, offset = own[0], round(own[1] / own[0], 6)
    values = {"scale": scale, "offset": offset, "nodata": offer.nodata}
    return band.model_copy(
        update={field: value for field, value in values.items() if value is not None and field not in stated}
    )
