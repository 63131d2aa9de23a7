"""What layouts share: their options, what they return, and how files name bands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from msgfm.data.records import RasterFile, Sample, SensorImage
from msgfm.errors import InputError
from msgfm.sensors import Sensor, load_sensor
from msgfm.yaml_text import parse_yaml

SENTINEL2_L1C = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
SENTINEL2_L2A = tuple(band for band in SENTINEL2_L1C if band != "B10")
SENTINEL1 = ("VV", "VH")
_SETTING = "sentinel2.offset=-1000"
IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True, kw_only=True)
class LayoutOptions:
    """What can be asked of a layout; each takes what concerns it.

    Args:
        sensors: for `pairs` one specification per sensor (see `pairs.parse_spec`); for the others cards that take
            the place of the built-in ones of the same name, and for `image-folder` the card of its images.
        scenes: CSV with the columns id and scene (`pairs`); relative to the root, or to where one stands.
        mask: pattern of the files that hold labels of pixels (`pairs`).
        mask_classes: what their values mean, each as `255=water` (`pairs`).
        product: which Sentinel-2 product (`ssl4eo-s12`): `s2c` (L1C) or `s2a` (L2A).
        tile_size: side of a tile in pixels of the RGB image (`mdas`).
    """

    sensors: tuple[str, ...] = ()
    scenes: Path | None = None
    mask: str = ""
    mask_classes: tuple[str, ...] = ()
    product: str = "s2c"
    tile_size: int = 384


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Samples as a layout finds them, before any file is opened, and the cards of their sensors.

    An image's `height` and `width` are 0, `file_bands` may be empty for "all of the file", and `split` may be empty
    for "to be drawn": `headers.check_headers` and `splits.draw_split` fill them in. Classes and masks are as in
    `Manifest`.
    """

    sensors: dict[str, Sensor]
    samples: list[Sample]
    classes: tuple[str, ...] = ()
    mask_classes: dict[int, str] = field(default_factory=dict)
    mask_colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)


def listed(
    sample: str,
    scene: str,
    files: Mapping[str, Sequence[RasterFile]],
    split: str = "",
    *,
    labels: Sequence[str] = (),
    mask: RasterFile | None = None,
) -> Sample:
    """A sample whose files were not opened yet; `files` by `SensorImage.key`."""
    images = []
    for key, of_it in files.items():
        sensor, _, role = key.partition("@")
        if of_it:
            images.append(SensorImage(sensor=sensor, height=0, width=0, files=tuple(of_it), role=role))
    return Sample(sample=sample, scene=scene, split=split, images=tuple(images), labels=tuple(labels), mask=mask)


def whole_file(root: Path, path: Path, bands: Sequence[str]) -> RasterFile:
    """All bands of a file, which must be these."""
    return RasterFile(path=path.relative_to(root).as_posix(), bands=tuple(bands), file_bands=())


def mask_file(root: Path, path: Path, colours: bool = False) -> RasterFile:
    """The mask that is a file's first band, or a picture whose colours stand for classes."""
    name = path.relative_to(root).as_posix()
    if colours:
        return RasterFile(path=name, bands=("R", "G", "B"), file_bands=(1, 2, 3))
    return RasterFile(path=name, bands=("mask",), file_bands=(1,))


def images_in(folder: Path) -> list[Path]:
    """The images that lie in a folder itself, by name; none where there is no folder."""
    return sorted(path for path in folder.glob("*") if is_image(path) and path.is_file())


def read_split_lists(root: Path, names: Mapping[str, str]) -> dict[str, str]:
    """Splits from text files at the root, by the last part of each path listed, without suffix.

    Args:
        root: the folder.
        names: the file's name of each split; those that are not there are passed over.

    Raises:
        InputError: an image stands in two lists.
    """
    splits: dict[str, str] = {}
    for split, name in names.items():
        path = root / name
        for line in path.read_text().split() if path.is_file() else ():
            stem = Path(line).stem
            if splits.setdefault(stem, split) != split:
                raise InputError(f"{path}: {line} is in the list of {splits[stem]}, too; fetch the lists again")
    return splits


def load_cards(names: Sequence[str], given: Sequence[str]) -> dict[str, Sensor]:
    """The built-in cards of a layout's sensors, or the user's own of the same names.

    Raises:
        InputError: a card for a sensor that the layout does not have.
    """
    own = {sensor.name: sensor for sensor in map(load_sensor, given)}
    if unknown := sorted(own.keys() - set(names)):
        raise InputError(f"this layout has the sensors {', '.join(names)}; a card named {unknown[0]!r} has no place")
    return {name: own.get(name) or load_sensor(name) for name in names}


def change_cards(sensors: Mapping[str, Sensor], settings: Sequence[str]) -> dict[str, Sensor]:
    """Applies `--set SENSOR[.BAND].FIELD=VALUE`; the value is YAML.

    Raises:
        InputError: not of this form, or no such sensor, band or field.
    """
    changed = dict(sensors)
    for setting in settings:
        path, equals, value = setting.partition("=")
        name, dot, field = path.partition(".")
        if not (equals and dot and field):
            raise InputError(f"--set {setting}: write SENSOR.FIELD=VALUE or SENSOR.BAND.FIELD=VALUE, as {_SETTING}")
        if name not in changed:
            raise InputError(f"--set {setting}: no sensor {name!r} here; there are {', '.join(changed)}")
        try:
            changed[name] = changed[name].with_setting(field, parse_yaml(value))
        except yaml.YAMLError as error:
            raise InputError(f"--set {setting}: the value is not YAML: {error}") from error
    return changed


def card_band(name: str, sensor: Sensor) -> str | None:
    """The card's name of a band as a file writes it (`B1`, `b01` and `B01` are one); None where there is none."""

    def plain(text: str) -> str:
        return re.sub(r"(?<=[A-Z])0+(?=\d)", "", text.strip().upper())

    return next((band for band in sensor.band_names if plain(band) == plain(name)), None)


def is_image(path: Path) -> bool:
    """Whether the name is that of an image, and not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
