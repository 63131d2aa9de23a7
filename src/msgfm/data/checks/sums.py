"""What is summed up over the images of one source, so that none of them need be kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from msgfm.data.checks import spectral
from msgfm.data.checks.sample import Evidence
from msgfm.data.checks.spectral import Features, OrderEvidence

# A source: the key of its images (sensor, and role if they have one), and the bands that its files have.
Source = tuple[str, tuple[str, ...]]


@dataclass
class _Orders:
    """Sums over images: the features of their bands."""

    example: OrderEvidence
    features: Features
    number: int = 1

    def add(self, one: OrderEvidence) -> None:
        """An image."""
        self.features = self.features.plus(one.features)
        self.number += 1

    @property
    def best(self) -> tuple[tuple[str, ...], float]:
        """The best order of all, and by how much it exceeds the listed one."""
        return spectral.common_order(self.example, self.features.over(self.number))


@dataclass
class SourceSums:
    """Running sums over the images of one source.

    Args:
        file: of its first image.
        bands: names as listed.
        offsets: images by `OffsetEvidence.state`.
        example: a file with each state.
        odds: sum over `pictures` of the log-odds that red and blue are in place.
        pictures: that have such odds.
        margins: sum over `ordered` images of `OrderEvidence.margins`.
        ordered: images that have such margins.
        orders: all of those.
        misplaced: those that show by themselves that their bands are in another order.
        types: a file with each combination of types of numbers.
    """

    file: str
    bands: tuple[str, ...]
    offsets: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    odds: float = 0.0
    pictures: int = 0
    margins: NDArray[np.float64] | None = None
    ordered: int = 0
    orders: _Orders | None = None
    misplaced: _Orders | None = None
    types: dict[tuple[str, ...], str] = field(default_factory=dict)

    def add(self, one: Evidence) -> None:
        """An image."""
        self.types.setdefault(one.types, one.file)
        if one.offset is not None:
            self.offsets[one.offset.state] += 1
            self.example.setdefault(one.offset.state, one.file)
        if one.odds is not None:
            self.odds += one.odds
            self.pictures += 1
        if one.order is not None:
            self._add_order(one.order)

    def _add_order(self, one: OrderEvidence) -> None:
        self.margins = one.margins + (0 if self.margins is None else self.margins)
        self.ordered += 1
        self.orders = _with(self.orders, one)
        if one.lead > spectral.MARGIN:
            self.misplaced = _with(self.misplaced, one)

    def common_order(self) -> tuple[str, ...] | None:
        """The order that the images have instead of the listed one; None where they do not show one together.

        Those that are misplaced by themselves tell it best; a source may also have images that are not.
        """
        for together in (self.misplaced, self.orders):
            if together is not None:
                order, lead = together.best
                if lead > spectral.MARGIN:
                    return order
        return None


def _with(orders: _Orders | None, one: OrderEvidence) -> _Orders:
    if orders is None:
        return _Orders(example=one, features=one.features)
    orders.add(one)
    return orders
