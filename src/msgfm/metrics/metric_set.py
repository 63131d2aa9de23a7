"""What all sets of metrics have in common: batches go in, numbers come out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TypeAlias

from torch import Tensor

Scores: TypeAlias = dict[str, "float | dict[str, float]"]


class MetricSet(ABC):
    """The metrics of one task over one test set. Neither the order of the samples nor the size of batches matters."""

    @abstractmethod
    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Takes in a batch: what the model gave and what is true."""

    @abstractmethod
    def compute(self) -> Scores:
        """The metrics of all batches so far by name, and in dicts those of each class, band or share of clouds.

        What the test set cannot tell, as the IoU of a class that it does not have, is NaN. Shares are in 0-1.
        """


def mean_of_known(values: Iterable[float]) -> float:
    """The mean of those that are not NaN, the same in any order; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
