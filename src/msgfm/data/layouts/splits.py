"""Which scenes are kept out of training where a data set does not say, and which samples make up a part of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from msgfm.data.records import Sample
from msgfm.errors import InputError

T = TypeVar("T")


def draw_split(scene: str, val_fraction: float, seed: int) -> str:
    """`val` for about `val_fraction` of all scenes, else `train`.

    Follows from the seed and the scene's name alone: files that are added later move no other scene.
    """
    return "val" if _uniform(f"{seed}:{scene}") < val_fraction else "train"


def draw_subset(samples: Sequence[Sample], fraction: float, seed: int) -> list[Sample]:
    """A part of the training split in which every class keeps its share; the other splits stay whole.

    Training samples are sorted by their classes, the rarest class of the whole first, and at random (by a hash of the
    seed and the name) among those with the same classes; every 1 / fraction-th of them is taken, from a random start.
    So a single-label class keeps its share to within one sample, as do the rarest class of a multi-label data set and
    every combination of classes; the more frequent ones follow closely. Without labels it is a plain random draw. The
    result depends on names, labels, fraction and seed alone.

    Raises:
        InputError: nothing is left of the training split.
    """
    train = [sample for sample in samples if sample.split == "train"]
    times = Counter(label for sample in train for label in set(sample.labels))
    rank = {label: i for i, label in enumerate(sorted(times, key=lambda label: (times[label], label)))}

    def order(sample: Sample) -> tuple[tuple[int, ...], float, str]:
        ranks = tuple(sorted({rank[label] for label in sample.labels}))
        return ranks, _uniform(f"{seed}:{sample.sample}"), sample.sample

    start = _uniform(f"{seed}:start")
    chosen = {
        sample.sample
        for i, sample in enumerate(sorted(train, key=order))
        if int((i + 1) * fraction + start) > int(i * fraction + start)
    }
    if not chosen:
        raise InputError(f"fraction {fraction} of {len(train)} training samples is none; give a larger one")
    return [sample for sample in samples if sample.split != "train" or sample.sample in chosen]


def spread_evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many of some things, evenly spread over all of them; the first is among them."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _uniform(text: str) -> float:
    """A number in [0, 1) that follows from a text, on every machine alike."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) / 2**53
