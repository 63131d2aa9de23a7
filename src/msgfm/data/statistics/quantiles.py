"""Percentiles of any number of pixels, in one pass and little memory, from parts that can be merged in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Twice the 65536 steps of 16-bit integers, so that each has a bin of its own whatever the rounding of its scale.
BINS = 2**17


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantileSketch:
    """A histogram that keeps, of each bin that is not empty, the count and the smallest and largest value.

    `BINS` bins of equal width cover `valid_range`. Beyond it they widen twofold with every doubling of the distance, so
    none is wider than (width of the range + distance from it) / `BINS`. Ranks are exact and every value's bin is
    known, so a percentile is off by at most the width of one bin; it is exact where a bin holds one value many times:
    8-bit images, and stored integers if the range has at most 65536 of them.

    Merging adds counts and takes extremes: the result is the same to the bit in any order and grouping.

    Args:
        valid_range: of the sensor card.
        bins: numbers of the bins that hold values, ascending.
        counts: values in each.
        smallest: value in each.
        largest: value in each.
    """

    valid_range: tuple[float, float]
    bins: NDArray[np.int64]
    counts: NDArray[np.int64]
    smallest: NDArray[np.float32]
    largest: NDArray[np.float32]

    @property
    def count(self) -> int:
        """Values seen."""
        return int(self.counts.sum())

    @property
    def minimum(self) -> float:
        """Exact; NaN where there are no values."""
        return float(self.smallest[0]) if self.bins.size else float("nan")

    @property
    def maximum(self) -> float:
        """Exact; NaN where there are no values."""
        return float(self.largest[-1]) if self.bins.size else float("nan")

    def percentiles(self, wanted: Sequence[float]) -> NDArray[np.float64]:
        """Percentiles (0..100) as `numpy.percentile` defines them (linear), to a bin's width; NaN without values."""
        if not self.bins.size:
            return np.full(len(wanted), np.nan)
        place = (self.count - 1) * (np.asarray(wanted, np.float64) / 100)
        below = np.floor(place).astype(np.int64)
        first, second = self._values_at(below), self._values_at(np.minimum(below + 1, self.count - 1))
        return np.asarray(first + (second - first) * (place - below))

    def _values_at(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values with these ranks (from 0), taken to be evenly spread within their bins."""
        ends = np.cumsum(self.counts)
        at = np.searchsorted(ends, ranks, side="right")
        share = (ranks - (ends - self.counts)[at]) / np.maximum(self.counts[at] - 1, 1)
        smallest, largest = self.smallest[at].astype(np.float64), self.largest[at].astype(np.float64)
        return np.asarray(smallest + (largest - smallest) * share)


def sketch(values: NDArray[np.float32], valid_range: tuple[float, float]) -> QuantileSketch:
    """The sketch of some finite values, of any shape."""
    ordered, counts = np.unique(values, return_counts=True)
    low, high = valid_range
    along = (ordered.astype(np.float64) - low) / (high - low)
    # 1 within the range, 1 + distance / width beyond; then the logarithm to base 2, linear between powers of 2: it has
    # the slope 1 at the range's ends, and unlike a logarithm it never decreases by rounding.
    mantissa, exponent = np.frexp(np.maximum(np.abs(along - 0.5) + 0.5, 1))
    place = np.clip(along, 0, 1) + np.sign(along - 0.5) * (exponent + 2 * mantissa - 2)
    bins = np.floor(place * BINS).astype(np.int64)
    return _collapse(valid_range, bins, counts, ordered, ordered)


def merge_sketches(a: QuantileSketch, b: QuantileSketch) -> QuantileSketch:
    """The sketch of the values of both; they must have one `valid_range`."""
    assert a.valid_range == b.valid_range, (a.valid_range, b.valid_range)
    bins = np.concatenate((a.bins, b.bins))
    order = np.argsort(bins, kind="stable")
    return _collapse(
        a.valid_range,
        bins[order],
        np.concatenate((a.counts, b.counts))[order],
        np.concatenate((a.smallest, b.smallest))[order],
        np.concatenate((a.largest, b.largest))[order],
    )


def _collapse(
    valid_range: tuple[float, float],
    bins: NDArray[np.int64],
    counts: NDArray[np.int64],
    smallest: NDArray[np.float32],
    largest: NDArray[np.float32],
) -> QuantileSketch:
    """One entry for each bin; `bins` ascend and may repeat."""
    starts = np.flatnonzero(np.diff(bins, prepend=bins[:1] - 1))
    if starts.size:
        counts, smallest, largest = (
            np.add.reduceat(counts, starts),
            np.minimum.reduceat(smallest, starts),
            np.maximum.reduceat(largest, starts),
        )
    return QuantileSketch(valid_range=valid_range, bins=bins[starts], counts=counts, smallest=smallest, largest=largest)
