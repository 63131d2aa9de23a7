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
    train = [i for i, sample in enumerate(samples) if sample.split == "train"]
    chosen = {train[i] for i in draw_share([samples[i] for i in train], fraction, seed)}
    return [sample for i, sample in enumerate(samples) if sample.split != "train" or i in chosen]


def draw_share(samples: Sequence[Sample], fraction: float, seed: int) -> list[int]:
    """Positions of a part of some samples, whatever their split; as `draw_subset`.

    Samples of several data sets may have the same name: each is drawn by itself.

    Raises:
        InputError: nothing is left.
    """
    start = _uniform(f"{seed}:start")
    chosen = [
        position
        for i, position in enumerate(_class_by_class(samples, seed))
        if int((i + 1) * fraction + start) > int(i * fraction + start)
    ]
    if not chosen:
        raise InputError(f"fraction {fraction} of {len(samples)} training samples is none; give a larger one")
    return sorted(chosen)


def deal_folds(samples: Sequence[Sample], folds: int, seed: int) -> dict[str, int]:
    """The fold, from 0, of each scene.

    Scenes are sorted as `draw_subset` sorts samples, by the classes and the name of their first sample, and dealt out
    in turn, so that every class has its share of each fold, to within one scene of a single-label class.
    """
    firsts: dict[str, Sample] = {}
    for sample in samples:
        firsts.setdefault(sample.scene, sample)
    scenes = list(firsts)
    return {scenes[position]: i % folds for i, position in enumerate(_class_by_class(list(firsts.values()), seed))}


def _class_by_class(samples: Sequence[Sample], seed: int) -> list[int]:
    """Positions of the samples by their classes, the rarest class first, and at random among equals.

    Of samples with the same name all but the first have another place than that: side by side, every other one of
    them, and so one data set alone, would be drawn.
    """
    times = Counter(label for sample in samples for label in set(sample.labels))
    rank = {label: i for i, label in enumerate(sorted(times, key=lambda label: (times[label], label)))}

    seen: Counter[str] = Counter()
    order: list[tuple[tuple[int, ...], float, str, int]] = []
    for position, sample in enumerate(samples):
        before = seen[sample.sample]
        seen[sample.sample] += 1
        name = f"{sample.sample}#{before}" if before else sample.sample
        ranks = tuple(sorted({rank[label] for label in sample.labels}))
        order.append((ranks, _uniform(f"{seed}:{name}"), name, position))
    return [position for *_, position in sorted(order)]


def spread_evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many of some things, evenly spread over all of them; the first is among them."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _uniform(text: str) -> float:
    """A number in [0, 1) that follows from a text, on every machine alike."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) / 2**53
