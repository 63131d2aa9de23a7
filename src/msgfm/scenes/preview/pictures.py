"""From values to pictures with legends: decibels, stretches, colours of classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from msgfm.display import Colour, class_colours, colour, stretch_of
from msgfm.geo.facts import BandFacts, RasterFacts
from msgfm.geo.grid import Grid
from msgfm.geo.overview import OverviewSource
from msgfm.scenes.preview.looks import Look, classes_look, is_named, look_of, may_be_classes

Stretch = tuple[float, float]
# Whole numbers are taken for classes where there are no more of them than this: bytes are seldom anything else, wider
# numbers may be heights of flat land.
_MOST_CLASSES = {1: 32, 2: 8, 4: 8, 8: 8}
_NO_CLASS = (153, 153, 153)
_RAMP = "viridis"  # for values that are no brightness


@dataclass(frozen=True, kw_only=True)
class Values:
    """What is shown of a file, before it has colours.

    Args:
        look: which bands, as what.
        channels: C x H x W values as they are shown (decibels of radar, its ratio as a third); NaN has no data.
        labels: of the channels.
        unit: of their values; empty where nobody says.
        alike: what images share that are shown with one stretch.
        photograph: whether they are bytes.
        place: equal for images that show the bands at the same places of as many, and store them alike.
        named: whether the file names these bands.
    """

    look: Look
    channels: NDArray[np.float32]
    labels: tuple[str, ...]
    unit: str
    alike: tuple[str, ...]
    photograph: bool = False
    place: tuple[object, ...] = ()
    named: bool = True


@dataclass(frozen=True, kw_only=True)
class ClassEntry:
    """A line of a legend: a class, and which share of the picture with data it covers."""

    number: int
    name: str
    colour: Colour
    share: float


@dataclass(frozen=True, kw_only=True)
class Painted:
    """A picture and how to read it.

    Args:
        picture: 4 x H x W: red, green, blue, and 0 where there is no data.
        channels: label, darkest and brightest value of each channel; none for classes.
        unit: of these values.
        ramp: colours from the lowest to the highest value of a single band; none for three.
        classes: of a map of classes, by number.
    """

    picture: NDArray[np.uint8]
    channels: tuple[tuple[str, float, float], ...] = ()
    unit: str = ""
    ramp: tuple[Colour, ...] = ()
    classes: tuple[ClassEntry, ...] = ()


def read_values(source: OverviewSource, grid: Grid, asked: str) -> Values:
    """Reads what is to be shown of a file; see `looks.look_of` for `asked`."""
    facts = source.facts()
    look = look_of(facts, asked)
    if look.kind == "values" and not asked and may_be_classes(facts):
        numbers = source.read_overview((1,), grid, classes=True)
        if np.unique(numbers[np.isfinite(numbers)]).size <= _MOST_CLASSES[np.dtype(facts.bands[0].dtype).itemsize]:
            look = replace(classes_look(facts), because="taken for classes, as it has few different numbers")
            return Values(look=look, channels=numbers, labels=look.labels, unit="", alike=(facts.place,))
    channels = source.read_overview(look.bands, grid, classes=look.kind == "classes")
    shown = [facts.bands[band - 1] for band in look.bands]
    labels, unit = look.labels, shown[0].unit
    if look.kind == "radar":
        channels, unit = decibels(channels, shown[0].dtype), "" if shown[0].dtype == "uint8" else "dB"
        if len(look.bands) == 2:
            channels = np.concatenate([channels, channels[:1] - channels[1:]])
            labels = (*labels, " - ".join(labels))
    return Values(
        look=look,
        channels=channels,
        labels=labels,
        unit=unit,
        alike=_alike(facts, shown, labels, unit),
        photograph=look.kind == "colour" and all(band.dtype == "uint8" for band in shown),
        place=(look.kind, look.bands, len(facts.bands), shown[0].dtype, _stored(shown)),
        named=all(map(is_named, shown)),
    )


def _alike(facts: RasterFacts, shown: Sequence[BandFacts], labels: Sequence[str], unit: str) -> tuple[str, ...]:
    """Equal for images of the same bands in the same units, as far as the files tell."""
    if unit != "dB" and not all(map(is_named, shown)) and len(shown) == 1:
        return (facts.place,)
    many = "" if all(map(is_named, shown)) else str(len(facts.bands))
    return (*labels, unit, *_stored(shown), many)


def _stored(shown: Sequence[BandFacts]) -> tuple[str, ...]:
    """As what they are stored: values, or numbers that mean some."""
    return tuple(sorted({"value" if band.dtype.startswith("float") or band.scale != 1 else "number" for band in shown}))


def decibels(backscatter: NDArray[np.float32], dtype: str) -> NDArray[np.float32]:
    """Backscatter in decibels, whichever of the usual forms it is stored in.

    Decimal numbers of which some are below zero are decibels already, others are power (10 log10). Whole numbers of 16
    bits or more are amplitudes (20 log10), bytes a picture, which is left as it is.
    """
    present = backscatter[np.isfinite(backscatter)]
    if dtype == "uint8" or not present.size or present.min() < 0:
        return backscatter
    factor = 10 if dtype.startswith("float") else 20
    with np.errstate(divide="ignore"):
        logarithm: NDArray[np.float32] = factor * np.log10(backscatter)
    logarithm[~np.isfinite(logarithm)] = np.nan
    return logarithm


def stretches(images: Sequence[Values]) -> list[tuple[Stretch, ...]]:
    """The darkest and brightest value of each image's channels: the 2nd and 98th percentile.

    Images of the same bands in the same units share the stretch of that with the lowest bright end, so that what looks
    brighter is brighter; clouds are then white rather than the ground black. Each channel has its own, but for red,
    green and blue in bytes, which are a photograph whose white is white.
    """
    own = [_own_stretch(image) for image in images]
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        groups[_group(image, images)].append(i)
    for members in groups.values():
        chosen = min((own[i] for i in members), key=lambda stretch: stretch[0][1])
        for i in members:
            own[i] = chosen
    return own


def _group(image: Values, images: Sequence[Values]) -> tuple[str, ...]:
    """What an image shares: without names of bands, that of named ones at the same places where all say the same."""
    named = {other.alike for other in images if other.named and other.place == image.place}
    return image.alike if image.named or len(named) != 1 else named.pop()


def _own_stretch(image: Values) -> tuple[Stretch, ...]:
    if image.photograph:
        return (stretch_of(image.channels),) * len(image.channels)
    return tuple(map(stretch_of, image.channels))


def paint(image: Values, stretch: Sequence[Stretch], facts: RasterFacts, names: Mapping[int, str]) -> Painted:
    """Gives an image its colours.

    Args:
        image: as `read_values` has it.
        stretch: as `stretches` has it.
        facts: of its file.
        names: of classes.
    """
    if image.look.kind == "classes":
        return _paint_classes(image.channels[0], facts.palette, names)
    low, high = (np.array([ends[i] for ends in stretch], np.float32) for i in (0, 1))
    shown = colour(np.moveaxis(image.channels, 0, -1), low, high)
    ramp: tuple[Colour, ...] = ()
    if len(image.channels) == 1:
        grey = image.look.kind == "radar" or not facts.bands[image.look.bands[0] - 1].dtype.startswith("float")
        table = np.asarray(colormaps["gray" if grey else _RAMP](np.arange(256)))[:, :3].astype(np.float32)
        shown = table[np.rint(255 * shown[..., 0]).astype(int)]
        ramp = tuple((red, green, blue) for red, green, blue in np.rint(255 * table[::51]).astype(int).tolist())
    return Painted(
        picture=_with_opacity(255 * shown, np.isfinite(image.channels.sum(axis=0))),
        channels=tuple((label, *ends) for label, ends in zip(image.labels, stretch, strict=True)),
        unit=image.unit,
        ramp=ramp,
    )


def _paint_classes(numbers: NDArray[np.float32], palette: Mapping[int, Colour], names: Mapping[int, str]) -> Painted:
    present: NDArray[np.bool_] = np.isfinite(numbers)
    found, places, counts = np.unique(numbers[present].astype(int), return_inverse=True, return_counts=True)
    # by name and number, so that a class keeps its colour in every image; what is below zero is mostly no class: grey
    known = class_colours(
        {number: names.get(number, "") for number in sorted({*found.tolist(), *names}) if number >= 0}
    )
    colours = [palette.get(number) or known.get(number, _NO_CLASS) for number in found.tolist()]
    shown = np.zeros((*numbers.shape, 3), np.float32)
    shown[present] = np.array(colours, np.float32).reshape(-1, 3)[places]
    entries = tuple(
        ClassEntry(number=number, name=names.get(number, ""), colour=given, share=count / present.sum())
        for number, given, count in zip(found.tolist(), colours, counts.tolist(), strict=True)
    )
    return Painted(picture=_with_opacity(shown, present), classes=entries)


def _with_opacity(picture: NDArray[np.float32], present: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """4 x H x W; nothing is seen where there is no data."""
    opacity = np.where(present, 255, 0)[..., None]
    return np.moveaxis(np.concatenate([np.rint(picture), opacity], axis=2).astype(np.uint8), -1, 0)
