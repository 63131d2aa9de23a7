"""What a check says: one `Finding` for each thing seen, and the kinds that there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from msgfm.errors import InputError

Severity = Literal["error", "warning", "undecided"]
# Severity, kind, and the name of the sensor ("" for what concerns several).
Group = tuple[Severity, str, str]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "undecided")

# What a finding can be about. docs/data.md, "What `data check` looks at", says how each is told and where it ends.
KINDS: dict[str, str] = {
    "unreadable": "the file is missing, truncated, or lacks bands or pixels that the manifest lists",
    "band-count": "more or fewer bands than the card has",
    "band-name": "the file's own name of a band is that of another band",
    "data-type": "complex numbers, which no card describes, or several types of numbers in one source",
    "out-of-range": "values outside the card's range, for a reason that is not known",
    "dn-as-reflectance": "stored integers (reflectance x 10000) that the card does not scale",
    "reflectance-as-dn": "reflectance in fractions that the card scales again",
    "eight-bit": "an 8-bit picture passed as calibrated reflectance",
    "distribution": "values whose median or spread is far from the card's",
    "offset-present": "the 1000 that Sentinel-2 processing baseline 04.00 adds is still in",
    "offset-removed-twice": "the 1000 of Sentinel-2 processing baseline 04.00 was taken away from files without it",
    "offset-mixed": "files of one source with and without the 1000 of baseline 04.00",
    "linear-power": "linear power or amplitude where the card says dB",
    "decibel": "dB where the card says linear power or amplitude",
    "band-order": "bands in another order than the card's or the listing's",
    "polarisation-swapped": "co- and cross-polarisation exchanged (VV and VH, HH and HV)",
    "rgb-order": "red and blue exchanged",
    "no-data-mark": "a no-data number that neither file nor card names",
    "nan-border": "a border without data (NaN or the declared number), which is left out",
    "no-data-border": "a border of one value that neither file nor card calls no data",
    "empty-band": "a band without any data beside bands that have some",
    "constant-band": "a band of one value",
    "centimetres": "heights in centimetres where the card says metres",
    "pair-grid": "images of one sample in different coordinate systems, or on different ground",
    "resolution": "pixels coarser than the bands are, or finer than the sensor's finest",
    "pair-shift": "images of one sample shifted against each other",
    "duplicate": "the same pixels under two names",
    "duplicate-across-splits": "the same pixels in two splits",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was seen.

    Args:
        kind: a key of `KINDS`.
        severity: `error`: the input is wrong and must not be used as it is. `warning`: odd, but usable. `undecided`:
            the images do not say whether it is wrong.
        file: path of the file, or what the caller calls the image.
        bands: names of the bands concerned; empty means all.
        seen: what was measured, with its numbers.
        expected: what the card or the sensor's physics ask for.
        confidence: 0..1, how sure the check is of a finding; of an undecided one, how much speaks for it.
        remedy: what mends it; begins with the command-line option where one does (`--set sentinel2.offset=-1000`).
        sample: of the manifest; empty for an image without one, and for what a source shows.
        image: key of the image in its sample (`SensorImage.key`); empty for an image without one.
    """

    kind: str
    severity: Severity
    file: str
    bands: tuple[str, ...] = ()
    seen: str
    expected: str
    confidence: float
    remedy: str
    sample: str = ""
    image: str = ""

    @property
    def group(self) -> Group:
        """What it is counted under."""
        return self.severity, self.kind, self.image.partition("@")[0]

    @property
    def blank(self) -> bool:
        """Whether the image shows nothing at all: no data, or one value, in every band.

        Of a window of a larger image that is no fault of the file: whoever cuts windows leaves it out.
        """
        return self.severity == "error" and self.kind in ("empty-band", "constant-band") and not self.bands

    def __str__(self) -> str:
        bands = f", band {', '.join(self.bands)}" if self.bands else ""
        return (
            f"{self.file}{bands}: {self.severity} {self.kind} ({self.confidence:.0%} sure): {self.seen}; expected "
            f"{self.expected}. {self.remedy}"
        )


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Errors before warnings before what is undecided; the surest first."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.confidence))


def require_kinds(names: Collection[str]) -> None:
    """Raises `InputError` for a name that is no kind of finding."""
    if unknown := sorted(set(names) - set(KINDS)):
        raise InputError(f"no kind of finding {unknown[0]!r}; there are {', '.join(KINDS)}")


def require_no_errors(
    findings: Iterable[Finding],
    accept: Collection[str] = (),
    *,
    shown: int = 10,
    total: int | None = None,
    option: str = "--accept",
) -> None:
    """Fails closed: raises `InputError` where a finding is an error whose kind is not accepted.

    Args:
        findings: what was found.
        accept: kinds that are let through.
        shown: so many errors are told in full.
        total: how many such errors there are, where `findings` are only the first of each kind.
        option: that lets a kind through.

    Raises:
        InputError: with the first of them.
    """
    wrong = [finding for finding in findings if finding.severity == "error" and finding.kind not in accept]
    if not wrong:
        return
    lines = "".join(f"\n  {finding}" for finding in wrong[:shown])
    total = len(wrong) if total is None else total
    rest = total - len(wrong[:shown])
    more = f"\n  and {rest} more" if rest else ""
    # what cannot be read cannot be used, accepted or not
    kinds = " ".join(f"{option} {kind}" for kind in dict.fromkeys(f.kind for f in wrong) if kind != "unreadable")
    accepting = f"\nTo use the images as they are: {kinds}" if kinds else ""
    number = f"{total} errors" if total > 1 else "an error"
    raise InputError(f"{number} against the sensor cards:{lines}{more}{accepting}")
