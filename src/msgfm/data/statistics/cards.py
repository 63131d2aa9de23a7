"""Sensor cards with measured mean and std, laid out as the built-in ones are: one line for each band."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from msgfm.data.statistics.bands import BandStatistics
from msgfm.data.statistics.measure import SensorStatistics
from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.sensors import Sensor
from msgfm.sensors.sensor import Band

_MEASURED = "Mean and std (in place of any named before): measured with `msgfm data stats`"
# What the bands of a card often share; such a value stands once, above them.
_SHARED = ("unit", "gsd_m", "scale", "offset", "nodata", "valid_range")
_WIDTH = 118


def card_paths(out: Path, sensors: Sequence[str]) -> dict[str, Path]:
    """Where the cards go: `out` itself if it is a YAML file, else `<sensor>.yaml` in it.

    Raises:
        InputError: one file for several sensors.
    """
    if out.suffix not in (".yaml", ".yml"):
        return {name: out / f"{name}.yaml" for name in sensors}
    if len(sensors) > 1:
        raise InputError(
            f"{out} is one card and the manifests have images of {', '.join(sensors)}; choose one with --sensor, "
            f"or give a folder as --out"
        )
    return {name: out for name in sensors}


def write_cards(
    paths: Mapping[str, Path], sensors: Mapping[str, SensorStatistics], origins: Mapping[str, str]
) -> list[str]:
    """Writes one card for each sensor, all or (where one cannot be made) none.

    Args:
        paths: by sensor.
        sensors: what was measured, by sensor.
        origins: manifests and split by sensor, for the description.

    Returns:
        What the user must know of them, as `measured_card` says it.

    Raises:
        InputError: as `measured_card`, or a file cannot be written.
    """
    cards = {name: measured_card(measured, origins[name]) for name, measured in sensors.items()}
    for name, (card, _) in cards.items():
        with write_atomically(paths[name]) as temporary:
            temporary.write_text(card_text(card), encoding="utf-8")
    return [note for _, notes in cards.values() for note in notes]


def measured_card(measured: SensorStatistics, origin: str) -> tuple[Sensor, list[str]]:
    """The card with the measured numbers, and what the user must know of it.

    A band that no file holds cannot be measured: it keeps the card's own numbers, or else is left out.

    Raises:
        InputError: a band that files hold has no data at all or the same value everywhere.
    """
    sensor, notes, kept, bands = measured.sensor, [], [], []
    for band in sensor.bands:
        found = measured.bands[band.name]
        if found.in_files:
            bands.append(_measured_band(sensor, band, found))
        elif band.mean is not None:
            kept.append(band.name)
            bands.append(band)
            notes.append(f"{sensor.name}: no file holds band {band.name}; it keeps the card's mean and std")
        else:
            notes.append(f"{sensor.name}: no file holds band {band.name}; the card is without it")
    if measured.storage_differs:
        notes.append(
            f"{sensor.name}: the manifests' files store it in different ways; the card has the scale, offset and "
            f"nodata of the first manifest, so index the others with --set as before"
        )
    pixels = max(found.count for found in measured.bands.values())
    text = f"{_MEASURED} on {origin}: {measured.images} images, up to {pixels} pixels a band with data."
    if kept:
        text += f" Of {', '.join(kept)} no file held anything: the card's own numbers."
    before = sensor.description.split(_MEASURED)[0].strip()
    card = sensor.select(band.name for band in bands)
    return card.model_copy(update={"bands": tuple(bands), "description": f"{before} {text}".strip()}), notes


def _measured_band(sensor: Sensor, band: Band, found: BandStatistics) -> Band:
    """With mean and std to a millionth of the std: more digits would be noise."""
    if found.count == 0:
        raise InputError(
            f"sensor {sensor.name}, band {band.name}: the files hold it, and not one pixel of it has data, so there is "
            f"no card to write; look at the files and at the card's nodata ({band.nodata}), or index without this band"
        )
    # float64 rounds the mean of equal numbers; two float32 that differ at all are much further apart
    if found.std <= 1e-12 * max(abs(found.minimum), abs(found.maximum)):
        raise InputError(
            f"sensor {sensor.name}, band {band.name}: all values are {found.minimum:g}..{found.maximum:g} and the std, "
            f"as the model sees them, is 0, by which it cannot divide; look at the files and at the card's valid_range "
            f"({band.valid_range[0]:g}..{band.valid_range[1]:g}), or index without this band"
        )
    digits = 5 - math.floor(math.log10(found.std))
    return band.model_copy(update={"mean": round(found.mean, digits) + 0.0, "std": round(found.std, digits)})


def card_text(sensor: Sensor) -> str:
    """YAML that `load_sensor` reads as this sensor, if its description has no runs of blanks."""
    head = sensor.model_dump(mode="json", exclude_defaults=True, exclude={"bands", "description"})
    usual = {key: _usual(sensor, key) for key in _SHARED}
    shared = {key: value for key, value in usual.items() if value != Band.model_fields[key].default}
    description = textwrap.fill(
        sensor.description,
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = [f"name: {sensor.name}", "description: >-", description]
    lines += [_line(key, value) for key, value in head.items() if key != "name"]
    lines += ["", *(_line(key, value) for key, value in shared.items())]
    lines += ["", "bands:", *(f"  - {_flow(_own_fields(band, shared))}" for band in sensor.bands)]
    return "\n".join(lines) + "\n"


def _usual(sensor: Sensor, key: str) -> Any:
    """The value that more than half of the bands have; the default where there is none."""
    value, bands = Counter(getattr(band, key) for band in sensor.bands).most_common(1)[0]
    return value if 2 * bands > len(sensor.bands) else Band.model_fields[key].default


def _own_fields(band: Band, shared: dict[str, Any]) -> dict[str, Any]:
    """What the band has otherwise than the shared values or, where there is none, than the default."""
    usual = {key: field.default for key, field in Band.model_fields.items()} | shared
    return {key: value for key, value in band if value != usual[key]}


def _line(key: str, value: Any) -> str:
    return f"{key}: {_flow(value)}"


def _flow(value: Any) -> str:
    """One line of YAML."""
    text = yaml.safe_dump(_plain(value), default_flow_style=True, sort_keys=False, width=math.inf, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _plain(value: Any) -> Any:
    """Lists for tuples, and whole numbers without a decimal point."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e9 else value
