"""What a file, product or catalogue offers of one band."""

from __future__ import annotations

from dataclasses import dataclass

from msgfm.scenes.inputs.times import Span


@dataclass(frozen=True, kw_only=True)
class BandOffer:
    """Where a band lies, and what is said of how it is stored: physical = (stored + offset) * scale.

    Args:
        place: absolute path, or address.
        file_band: position in the file, counted from 1.
        scale: of one stored step in the card's unit; None where nothing says so.
        offset: in stored numbers; None likewise.
        nodata: the stored number that means "no data"; None likewise.
        power: whether it is linear power, of which decibels are to be made.
        taken: when; None where nothing says so.
    """

    place: str
    file_band: int
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    power: bool = False
    taken: Span | None = None
