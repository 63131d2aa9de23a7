"""Sentinel-2 products as ESA delivers them: where each band lies and how it is stored."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from msgfm.data.layouts.listing import SENTINEL2_L1C, card_band
from msgfm.errors import InputError
from msgfm.scenes.inputs.offer import BandOffer
from msgfm.scenes.inputs.times import span_of
from msgfm.sensors import Sensor

_LEVELS = {"sentinel2": "1C", "sentinel2_l2a": "2A"}
_METADATA = re.compile(r"(?:MTD_MSI|.*_MTD_SAF)L(1C|2A).*\.xml")


def metadata_of(folder: Path) -> Path | None:
    """The product's metadata in a folder of it; None where it is none of Sentinel-2."""
    return next((path for path in sorted(folder.glob("*.xml")) if _METADATA.fullmatch(path.name)), None)


def is_sentinel1(folder: Path) -> bool:
    """Whether a folder is a Sentinel-1 product as ESA delivers it."""
    return (folder / "manifest.safe").is_file() and (folder / "measurement").is_dir()


def read_product(metadata: Path, card: Sensor) -> dict[str, BandOffer]:
    """Where a product has each band of a card, each at its finest, and how it stores them.

    Scale and offset are those of the metadata: products of processing baseline 04.00 and later (2022) state an offset,
    older ones none.

    Args:
        metadata: `MTD_MSIL1C.xml` or `MTD_MSIL2A.xml` in the product's folder.
        card: of a Sentinel-2 sensor.

    Raises:
        InputError: not XML, of another level than the sensor, of several granules, or no Sentinel-2 sensor.
    """
    match = _METADATA.fullmatch(metadata.name)
    assert match is not None
    level, folder = match[1], metadata.parent
    if not card.name.startswith("sentinel2"):
        raise InputError(f"{folder} is a Sentinel-2 product; {card.name} is another sensor")
    if _LEVELS.get(card.name, level) != level:
        raise InputError(
            f"{folder} is a Level-{level} product, and the sensor {card.name} is Level-{_LEVELS[card.name]}: give the "
            f"product of that level (if the model was trained on Level-{level} under this name, give its image files "
            f"one by one, with --set {card.name}.offset=...)"
        )
    try:
        root = ET.parse(metadata).getroot()
    except (ET.ParseError, OSError) as error:
        raise InputError(f"cannot read {metadata} ({error}); fetch the product again") from error
    granules = sorted(path for path in (folder / "GRANULE").glob("*") if path.is_dir())
    if len(granules) != 1:
        raise InputError(
            f"{folder} has {len(granules)} granules, expected is one; give the image files of one granule's IMG_DATA, "
            f"with --set {card.name}.offset=-1000 if processing baseline 04.00 or later, else 0"
        )
    scale = 1 / _quantification(root, metadata, level)
    offsets = _offsets(root, metadata)
    taken = span_of(_text(root, "PRODUCT_START_TIME"), _text(root, "PRODUCT_STOP_TIME"))
    found = {}
    for band, path in _finest(sorted((granules[0] / "IMG_DATA").rglob("*.jp2")), card).items():
        found[band] = BandOffer(
            place=str(path.absolute()),
            file_band=1,
            scale=scale,
            offset=offsets.get(band, 0.0),
            nodata=0.0,
            taken=taken,
        )
    return found


def _quantification(root: ET.Element, metadata: Path, level: str) -> float:
    name = "QUANTIFICATION_VALUE" if level == "1C" else "BOA_QUANTIFICATION_VALUE"
    for element in root.iter():
        # the first products of Level-2A wrote it as Level-1C does, with a prefix
        if _local(element).endswith(name) and element.text:
            value = _number(element, metadata)
            if value > 0:
                return value
            raise InputError(f"{metadata}: {name} is {value:g}; fetch the product again")
    raise InputError(f"{metadata} has no {name}; fetch the product again")


def _offsets(root: ET.Element, metadata: Path) -> dict[str, float]:
    """By band, what is to be added to the stored numbers; empty for products of before baseline 04.00."""
    listed = {str(i): band for i, band in enumerate(SENTINEL2_L1C)}  # the standard's numbers
    said = [element for element in root.iter() if _local(element) in ("RADIO_ADD_OFFSET", "BOA_ADD_OFFSET")]
    if unknown := [number for element in said if (number := element.get("band_id", "")) not in listed]:
        raise InputError(f"{metadata} has an offset of a band {unknown[0]!r} that it does not list")
    return {listed[element.get("band_id", "")]: _number(element, metadata) for element in said}


def _number(element: ET.Element, metadata: Path) -> float:
    try:
        return float(element.text or 0)
    except ValueError as error:
        raise InputError(f"{metadata}: {_local(element)} is {element.text!r}; fetch the product again") from error


def _finest(paths: Sequence[Path], card: Sensor) -> dict[str, Path]:
    """Of each band the file with the smallest pixels: `..._B02_10m.jp2` before `..._B02_20m.jp2`."""
    best: dict[str, tuple[float, Path]] = {}
    for path in paths:
        match = re.search(r"_(B\d[\dA])(?:_(\d+)m)?$", path.stem)
        band = card_band(match[1], card) if match else None
        if match is None or band is None:
            continue
        metres = float(match[2] or 0)
        if band not in best or metres < best[band][0]:
            best[band] = (metres, path)
    return {band: path for band, (_, path) in best.items()}


def _text(root: ET.Element, name: str) -> str:
    """What the first element of a name holds; empty where there is none."""
    return next((element.text or "" for element in root.iter() if _local(element) == name), "")


def _local(element: ET.Element) -> str:
    """The name of an element without namespace."""
    return element.tag.rpartition("}")[2]
