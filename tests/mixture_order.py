"""The order of a mixture of sources of given lengths and batch sizes."""

from __future__ import annotations

from collections.abc import Sequence

from msgfm.data.mixture import MixtureOrder


def make_order(sources: Sequence[tuple[int, int]], seed: int = 0, world_size: int = 1, accumulate: int = 1):
    lengths, batch_sizes = zip(*sources, strict=True)
    return MixtureOrder(lengths, batch_sizes, seed=seed, world_size=world_size, accumulate=accumulate)
