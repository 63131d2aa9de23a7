"""What several images of one source say together where each alone may not.

Files of one source were made by one program, so evidence adds up: a thousand pictures that each say "rather RGB" say it
together beyond doubt. Three things follow. Where the source is decided, single images that could not decide are no
longer listed as undecided. Images whose bands are in another order than listed are all told the same one. And where
decided images of one source contradict each other, that is an error of its own: a mixed offset teaches a model that
the same ground differs by 0.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from msgfm.data.checks import colour, spectral
from msgfm.data.checks.findings import Finding
from msgfm.data.checks.sample import Evidence
from msgfm.data.checks.sentinel2 import OFFSET
from msgfm.data.checks.sums import Source, SourceSums
from msgfm.sensors import Sensor

_ENOUGH = 3
# A source of beaches is bluer than most; one of any ground with red and blue exchanged is bluer still.
_MEAN_ODDS = 2.0
# Kinds of findings of single images that their source may settle.
SETTLED = ("rgb-order", "band-order")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What sources show.

    Args:
        findings: of sources.
        settled: kinds that a source decides, so that undecided images of it are no findings.
        orders: of the bands of all misplaced images of a source.
    """

    findings: tuple[Finding, ...]
    settled: frozenset[tuple[Source, str]]
    orders: Mapping[Source, tuple[str, ...]]

    def judge(self, finding: Finding, source: Source) -> Finding | None:
        """What becomes of a finding of one image; None where its source settles it."""
        if finding.severity == "undecided":
            return None if (source, finding.kind) in self.settled else finding
        order = self.orders.get(source)
        if finding.kind != "band-order" or order is None:
            return finding
        remedy = spectral.order_remedy(source[0].partition("@")[0], order)
        return replace(finding, bands=spectral.moved(source[1], order), remedy=remedy)


class Pool:
    """Gathers the evidence of images and judges sources."""

    def __init__(self, sensors: Mapping[str, Sensor]) -> None:
        self._sensors = sensors
        self._sources: dict[Source, SourceSums] = {}

    def add(self, evidence: Mapping[str, Evidence]) -> dict[str, Source]:
        """Of one sample; returns the source of each image, by its key."""
        for key, one in evidence.items():
            sums = self._sources.setdefault((key, one.bands), SourceSums(file=one.file, bands=one.bands))
            sums.add(one)
        return {key: (key, one.bands) for key, one in evidence.items()}

    def judge(self) -> Judgement:
        """What the sources show."""
        findings: list[Finding] = []
        settled: set[tuple[Source, str]] = set()
        orders = {}
        for source, sums in self._sources.items():
            sensor = self._sensors[source[0].partition("@")[0]].name
            judged = [*_offsets(sensor, sums), *_colours(sensor, sums), *_orders(sensor, sums), *_types(sums)]
            findings += [replace(one, image=source[0]) for one in judged]
            kinds = _settled_kinds(sums) | {one.kind for one in judged if one.kind in SETTLED}
            settled |= {(source, kind) for kind in kinds}
            if (order := sums.common_order()) is not None:
                orders[source] = order
        return Judgement(findings=tuple(findings), settled=frozenset(settled), orders=orders)


def _settled_kinds(source: SourceSums) -> set[str]:
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


def _offsets(sensor: str, source: SourceSums) -> Iterator[Finding]:
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


def _colours(sensor: str, source: SourceSums) -> Iterator[Finding]:
    if source.pictures < _ENOUGH:
        return
    mean, together = source.odds / source.pictures, _together(source.odds, source.pictures)
    if together < -colour.MARGIN and mean < -_MEAN_ODDS:
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


def _orders(sensor: str, source: SourceSums) -> Iterator[Finding]:
    if source.ordered < _ENOUGH or source.margins is None:
        return
    margins = _together(source.margins, source.ordered)
    worst = int(margins.argmin())
    if margins[worst] < -spectral.MARGIN:
        order = source.common_order() or _arranged(source.bands, worst)
        yield Finding(
            kind="band-order",
            severity="error",
            file=source.file,
            bands=spectral.moved(source.bands, order),
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


def _arranged(bands: tuple[str, ...], number: int) -> tuple[str, ...]:
    """The bands in one of `arrangements`."""
    return tuple(bands[i] for i in np.argsort(spectral.arrangements(len(bands))[number]))


def _types(source: SourceSums) -> Iterator[Finding]:
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
