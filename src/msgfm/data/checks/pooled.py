"""What several images of one source say together where each alone may not.

Files of one source were made by one program, so evidence adds up: a thousand pictures that each say "rather RGB" say it
together beyond doubt. Two things follow. Where the source is decided, single images that could not decide are no longer
listed as undecided. And where decided images of one source contradict each other, that is an error of its own: a mixed
offset teaches a model that the same ground differs by 0.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.data.checks import colour, spectral
from msgfm.data.checks.findings import Finding
from msgfm.data.checks.sample import Evidence
from msgfm.data.checks.sentinel2 import OFFSET
from msgfm.sensors import Sensor

_ENOUGH = 3
# A source of beaches is bluer than most; one of any ground with red and blue exchanged is bluer still.
_MEAN_ODDS = 2.0


@dataclass
class _Source:
    """Running sums over the images of one sensor (and role) with the same bands."""

    file: str
    bands: tuple[str, ...]
    offsets: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    odds: float = 0.0
    pictures: int = 0
    margins: NDArray[np.float64] | None = None
    ordered: int = 0
    types: dict[tuple[str, ...], str] = field(default_factory=dict)
    files: set[int] = field(default_factory=set)  # hashes: a million names would fill memory


class Pool:
    """Gathers the evidence of images and judges sources."""

    def __init__(self, sensors: Mapping[str, Sensor]) -> None:
        self._sensors = sensors
        self._sources: dict[tuple[str, tuple[str, ...]], _Source] = {}

    def add(self, evidence: Mapping[str, Evidence]) -> None:
        """Of one sample."""
        for key, one in evidence.items():
            source = self._sources.setdefault((key, one.bands), _Source(file=one.file, bands=one.bands))
            source.types.setdefault(one.types, one.file)
            source.files.add(hash(one.file))
            if one.offset is not None:
                source.offsets[one.offset.state] += 1
                source.example.setdefault(one.offset.state, one.file)
            if one.odds is not None:
                source.odds += one.odds
                source.pictures += 1
            if one.order is not None:
                source.margins = one.order.margins + (0 if source.margins is None else source.margins)
                source.ordered += 1

    def judge(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings of single images, less what their source decides, and those of sources."""
        kept = list(findings)
        for (key, _), source in self._sources.items():
            sensor = self._sensors[key.partition("@")[0]].name
            judged = [*_offsets(sensor, source), *_colours(sensor, source), *_orders(sensor, source), *_types(source)]
            settled = _settled_kinds(source) | {one.kind for one in judged if one.kind in ("rgb-order", "band-order")}
            kept = [
                one
                for one in kept
                if one.severity != "undecided"
                or one.image != key
                or one.kind not in settled
                or hash(one.file) not in source.files
            ]
            kept += [replace(one, image=key) for one in judged]
        return kept


def _settled_kinds(source: _Source) -> set[str]:
    """Kinds that the source's images together show to be right."""
    settled = set()
    if source.pictures >= _ENOUGH and _together(source.odds, source.pictures) > colour.MARGIN:
        settled.add("rgb-order")
    margins = source.margins
    if source.ordered >= _ENOUGH and margins is not None and _together(margins, source.ordered).min() > spectral.MARGIN:
        settled.add("band-order")
    return settled


def _together(total: Any, images: int) -> Any:
    """Evidence of images that are alike: the mean times the root of their number."""
    return total / np.sqrt(images)


def _offsets(sensor: str, source: _Source) -> Iterator[Finding]:
    absent, present = source.offsets["absent"], source.offsets["present"]
    if absent and present:
        yield Finding(
            kind="offset-mixed",
            severity="error",
            file=source.example["present"],
            seen=f"{present} images still have the {OFFSET:.0f} of baseline 04.00, {absent} do not "
            f"(as {source.example['absent']})",
            expected="one state for all files of a source",
            confidence=0.97,
            remedy=f"index the files with the offset by themselves, with --set {sensor}.offset=-{OFFSET:.0f}",
        )


def _colours(sensor: str, source: _Source) -> Iterator[Finding]:
    if source.pictures < _ENOUGH:
        return
    mean, together = source.odds / source.pictures, _together(source.odds, source.pictures)
    if together > colour.MARGIN:
        yield Finding(
            kind="rgb-order",
            severity="undecided",
            file=source.file,
            seen=f"{source.pictures} pictures together are red, green, blue (log-odds of {mean:+.1f} in their mean); "
            "single ones among them that are not would not be seen",
            expected="files of one source to be alike",
            confidence=0.1,
            remedy="nothing to mend if one program wrote them all",
        )
    elif together < -colour.MARGIN and mean < -_MEAN_ODDS:
        yield Finding(
            kind="rgb-order",
            severity="error",
            file=source.file,
            bands=source.bands,
            seen=f"log-odds of {mean:+.1f} in the mean of {source.pictures} pictures that red and blue are in place",
            expected="more than 0",
            confidence=0.95,
            remedy=f"--sensor {sensor}:{','.join(reversed(source.bands))}=PATTERN",
        )


def _orders(sensor: str, source: _Source) -> Iterator[Finding]:
    if source.ordered < _ENOUGH or source.margins is None:
        return
    margins = _together(source.margins, source.ordered)
    worst = int(margins.argmin())
    if margins[worst] < -spectral.MARGIN:
        order = [source.bands[i] for i in np.argsort(spectral.arrangements(len(source.bands))[worst])]
        yield Finding(
            kind="band-order",
            severity="error",
            file=source.file,
            bands=tuple(name for name, listed in zip(order, source.bands, strict=True) if name != listed),
            seen=f"another order fits {source.ordered} images better by {-margins[worst]:.1f} (log-likelihood)",
            expected=f"the spectrum of {', '.join(source.bands)}",
            confidence=0.95,
            remedy=spectral.order_remedy(sensor, order),
        )
    elif rivals := spectral.undecided_pairs(source.bands, margins):
        yield Finding(
            kind="band-order",
            severity="undecided",
            file=source.file,
            bands=tuple(dict.fromkeys(name for pair in rivals for name in pair)),
            seen=f"{source.ordered} images do not tell apart {spectral.name_pairs(rivals)}",
            expected=f"the spectrum of {', '.join(source.bands)}",
            confidence=0.3,
            remedy="compare with the data set's documentation; if bands are exchanged, "
            f"--sensor {sensor}:BAND,...=PATTERN in the files' order",
        )


def _types(source: _Source) -> Iterator[Finding]:
    if len(source.types) < 2:
        return
    first, *others = (f"{' and '.join(types)} (as {file})" for types, file in source.types.items())
    yield Finding(
        kind="data-type",
        severity="warning",
        file=list(source.types.values())[1],
        seen=f"{first}, but {', '.join(others)}",
        expected="one type of numbers for all files of a source",
        confidence=0.9,
        remedy="see that all were scaled alike; index files of another scaling by themselves, with --set",
    )
