"""Drawing a part of a data set: shares of classes, and the same draw everywhere."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from msgfm.data.layouts.listing import listed
from msgfm.data.layouts.splits import draw_subset
from msgfm.data.records import Sample
from msgfm.errors import InputError


def make(labels: list[tuple[str, ...]], split: str = "train") -> list[Sample]:
    return [listed(f"{split}{i}", str(i), {}, split, labels=one) for i, one in enumerate(labels)]


def count(samples: list[Sample]) -> Counter[str]:
    return Counter(label for sample in samples for label in sample.labels)


@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.037])
@pytest.mark.parametrize("seed", [0, 1])
def test_single_label_classes_keep_their_shares_to_one_sample(fraction: float, seed: int) -> None:
    sizes = {"a": 1000, "b": 313, "c": 40, "d": 3}
    everything = make([(name,) for name, size in sizes.items() for _ in range(size)])
    drawn = draw_subset(everything, fraction, seed)
    assert abs(len(drawn) - fraction * len(everything)) <= 1
    for name, size in sizes.items():
        assert abs(count(drawn)[name] - fraction * size) < 1 + 1e-9


def test_classes_of_multi_label_samples_keep_their_shares_better_than_by_chance() -> None:
    rng = np.random.default_rng(0)
    frequencies = np.array([0.6, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01])
    rows = [tuple(f"c{k}" for k in np.flatnonzero(rng.random(7) < frequencies)) for _ in range(20000)]
    everything, fraction = make(rows), 0.05
    total = count(everything)
    drawn = count(draw_subset(everything, fraction, 0))
    off = {name: abs(drawn[name] - fraction * total[name]) for name in total}
    rarest = min(total, key=total.__getitem__)
    assert off[rarest] < 1 + 1e-9
    # a plain draw is off by sqrt(n f (1 - f)) on average: 24 samples for c0, 17 for c1
    assert all(off[name] < 0.5 * (fraction * (1 - fraction) * total[name]) ** 0.5 + 1 for name in total)


def test_only_training_is_thinned_and_the_order_of_files_does_not_matter() -> None:
    train, rest = make([("a",)] * 50 + [()] * 50), make([("a",)] * 5, "val") + make([("a",)] * 5, "test")
    drawn = draw_subset([*train, *rest], 0.2, 3)
    assert Counter(sample.split for sample in drawn) == {"train": 20, "val": 5, "test": 5}
    again = draw_subset([*rest, *reversed(train)], 0.2, 3)
    assert {sample.sample for sample in again} == {sample.sample for sample in drawn}
    assert {s.sample for s in draw_subset(train, 0.2, 4)} != {s.sample for s in draw_subset(train, 0.2, 3)}


def test_the_draw_itself_is_part_of_the_interface() -> None:
    """Another process, another machine, another version: the same samples."""
    drawn = draw_subset(make([("a",), ("b",)] * 20), 0.1, 0)
    assert [sample.sample for sample in drawn] == ["train10", "train20", "train21", "train33"]


def test_a_part_too_small_to_hold_anything() -> None:
    with pytest.raises(InputError, match=r"fraction 0\.001 of 4 training samples is none"):
        draw_subset(make([("a",)] * 4), 0.001, 0)
