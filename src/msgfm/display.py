"""How values become colours that people look at: stretches, and colours that can be told apart."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""H x W x 1 or 3."""
Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's, which people who see few colours can tell apart."""

# Phrases that name a class of land cover, and its usual colour: those of Dynamic World (Brown et al. 2022,
# https://doi.org/10.1038/s41597-022-01307-4) where it has such a class. Of several in a name the first here counts.
_USUAL = (
    ("#3b3f5c", "cloud shadow", "shadow"),
    ("#f2f2f2", "cloud"),
    ("#b39fe1", "snow", "ice", "glacier"),
    ("#00c5e8", "flood", "flooded", "flooding", "inundation"),
    ("#7a87c6", "wetland", "marsh", "swamp", "bog", "flooded vegetation", "mangrove"),
    ("#419bdf", "water", "sea", "ocean", "lake", "river"),
    ("#5a1a10", "burnt", "burned", "burn scar", "burnt area", "burned area", "fire"),
    ("#6e3f2a", "road", "street"),
    ("#c4281b", "built", "built up", "urban", "building", "settlement", "impervious", "artificial"),
    ("#e49635", "cropland", "crop", "agriculture", "agricultural", "farmland", "arable"),
    ("#397d49", "forest", "tree", "woodland"),
    ("#88b053", "grass", "grassland", "meadow", "pasture", "herbaceous"),
    ("#dfc35a", "shrub", "shrubland", "scrub", "bush"),
    ("#a59b8f", "bare", "barren", "bare soil", "bare ground", "sand", "rock"),
)
# What is so called as a whole; as part of a name these words say nothing.
_USUAL_WHOLE = {
    **dict.fromkeys(("land", "no water", "non water", "not water", "dry land", "not flooded", "no flood"), "#c8a468"),
    **dict.fromkeys(("no change", "unchanged"), "#d6cfb9"),
    **dict.fromkeys(("change", "changed"), "#e6007e"),
}
_NEGATIONS = {"no", "non", "not", "without"}
_APART = 40  # of 255, in one channel at least: colours of classes without usual ones from those that have them
_TRIED = 1000  # colours for a class at most: there are no more that look different

_GOLDEN = 0.618033988749895  # of a turn: however many hues were taken, the next falls into the widest gap


def stretch_of(truth: NDArray[np.float32]) -> tuple[float, float]:
    """The 2nd and 98th percentile of what is there."""
    values = truth[np.isfinite(truth)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (2, 98))
    return float(low), float(max(high, low + 1e-6))


def colour(picture: Picture, low: float | NDArray[np.float32], high: float | NDArray[np.float32]) -> Picture:
    """0..1 for display, three channels; no data is black. `low` and `high` are one number, or one a channel."""
    scaled = np.clip((picture - low) / (high - low), 0, 1)
    return np.repeat(np.nan_to_num(scaled), 3 // scaled.shape[2], axis=2)


def class_colour(position: int) -> Colour:
    """A colour for the class at that place in a legend, 0..255: Okabe and Ito's hues first, then hues of our own.

    Black and grey are left out, as they look like no data.
    """
    if position < len(COLOURS) - 2:
        return _from_hex(COLOURS[position])
    lightness = (0.35, 0.5, 0.65)[position % 3]
    channels = colorsys.hls_to_rgb(position * _GOLDEN % 1, lightness, 0.6)
    red, green, blue = (round(255 * channel) for channel in channels)
    return red, green, blue


def class_colours(names: Mapping[int, str]) -> dict[int, Colour]:
    """A colour for each class, none of them twice (of some hundred classes).

    Classes whose name tells what they are have the usual colour of that (water is blue), of several such the first; the
    others have `class_colour` of their number, or a later one where that would look like one of the former.

    Args:
        names: by number, 0 or more; empty where a class has none.
    """
    usual: dict[int, Colour] = {}
    for number, name in names.items():
        known = _usual_colour(name)
        if known is not None and known not in usual.values():
            usual[number] = known
    chosen, taken = dict(usual), set(usual.values())
    last = max(names, default=0)
    for number in [number for number in names if number not in usual]:
        own = class_colour(number)
        candidates = chain([own], map(class_colour, range(last + 1, last + _TRIED)))
        chosen[number] = next((one for one in candidates if _is_free(one, taken, usual.values())), own)
        taken.add(chosen[number])
    return {number: chosen[number] for number in names}


def _is_free(colour: Colour, taken: Collection[Colour], usual: Iterable[Colour]) -> bool:
    alike = (max(abs(a - b) for a, b in zip(colour, other, strict=True)) < _APART for other in usual)
    return colour not in taken and not any(alike)


def _usual_colour(name: str) -> Colour | None:
    """The usual colour of what a class is called; None where its name is not known."""
    words = [_singular(word) for word in re.findall("[a-z]+", name.lower())]
    whole = _USUAL_WHOLE.get(" ".join(words))
    if whole is not None:
        return _from_hex(whole)
    if _NEGATIONS.intersection(words):
        return None
    told = f" {' '.join(words)} "
    return next((_from_hex(known) for known, *phrases in _USUAL if any(f" {one} " in told for one in phrases)), None)


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _from_hex(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue
