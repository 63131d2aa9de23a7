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
    chosen = {sample.sample for sample in draw_share(train, fraction, seed)}
    return [sample for sample in samples if sample.split != "train" or sample.sample in chosen]


def draw_share(samples: Sequence[Sample], fraction: float, seed: int) -> list[Sample]:
    """A part of some samples, whatever their split; as `draw_subset`.

    Raises:
        InputError: nothing is left.
    """
    start = _uniform(f"{seed}:start")
    chosen = {
        sample.sample
        for i, sample in enumerate(_class_by_class(samples, seed))
        if int((i + 1) * fraction + start) > int(i * fraction + start)
    }
    if not chosen:
        raise InputError(f"fraction {fraction} of {len(samples)} training samples is none; give a larger one")
    return [sample for sample in samples if sample.sample in chosen]


def deal_folds(samples: Sequence[Sample], folds: int, seed: int) -> dict[str, int]:
    """The fold, from 0, of each scene.

    Scenes are sorted as `draw_subset` sorts samples, by the classes and the name of their first sample, and dealt out
    in turn, so that every class has its share of each fold, to within one scene of a single-label class.
    """
    firsts: dict[str, Sample] = {}
    for sample in samples:
        firsts.setdefault(sample.scene, sample)
    return {sample.scene: i % folds for i, sample in enumerate(_class_by_class(list(firsts.values()), seed))}


def _class_by_class(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Sorted by their classes, the rarest class first, and at random among those with the same classes."""
    times = Counter(label for sample in samples for label in set(sample.labels))
    rank = {label: i for i, label in enumerate(sorted(times, key=lambda label: (times[label], label)))}

    def order(sample: Sample) -> tuple[tuple[int, ...], float, str]:
        ranks = tuple(sorted({rank[label] for label in sample.labels}))
        return ranks, _uniform(f"{seed}:{sample.sample}"), sample.sample

    return sorted(samples, key=order)


def spread_evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many of some things, evenly spread over all of them; the first is among them."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _uniform(text: str) -> float:
    """A number in [0, 1) that follows from a text, on every machine alike."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) / 2**53
