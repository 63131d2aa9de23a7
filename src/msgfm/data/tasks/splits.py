"""Which samples train, validate and test: the manifest's splits, or draws."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from msgfm.data.layouts.splits import deal_folds, draw_share, draw_split
from msgfm.data.records import Manifest, Sample
from msgfm.data.tasks.config import DataConfig
from msgfm.errors import InputError

_TRAIN, _VAL, _TEST = "train", "val", "test"
_DRAW = "task"  # not the draw that indexing makes with the same seed: its scenes are gone from the training split


def split_samples(manifests: Sequence[Manifest], config: DataConfig) -> dict[str, list[Manifest]]:
    """The manifests of `train`, and of `val` and `test` where the recipe has them.

    Raises:
        InputError: the manifests have no samples of a split that the recipe names.
    """
    if config.folds is not None:
        return _by_folds(manifests, config, config.folds)
    named = _named(config).items()
    splits = {name: _only(manifests, split, name, config) for name, split in named if split is not None}
    if config.val_fraction:
        held_out = {
            sample.scene
            for manifest in splits[_TRAIN]
            for sample in manifest.samples
            if draw_split(f"{_DRAW}:{sample.scene}", config.val_fraction, config.seed) == _VAL
        }
        splits[_VAL] = _where(splits[_TRAIN], lambda sample: sample.scene in held_out)
        splits[_TRAIN] = _where(splits[_TRAIN], lambda sample: sample.scene not in held_out)
        for name in (_TRAIN, _VAL):
            if not splits[name]:
                raise InputError(f"data.val_fraction {config.val_fraction:g} leaves no scene to {name}; change it")
    return splits


def _named(config: DataConfig) -> dict[str, str | None]:
    return {_TRAIN: config.train, _VAL: config.val, _TEST: config.test}


def _only(manifests: Sequence[Manifest], split: str, name: str, config: DataConfig) -> list[Manifest]:
    if name == _VAL and config.val_fraction:
        return []
    chosen = _where(manifests, lambda sample: split in ("all", sample.split))
    if not chosen:
        have = ", ".join(sorted({sample.split for manifest in manifests for sample in manifest.samples}))
        remedy = "data.val=null, or data.val_fraction=0.1 draws one" if name == _VAL else f"data.{name}=null"
        remedy = "name one of these" if name == _TRAIN else f"name one of these, or {remedy}"
        raise InputError(f"no usable samples of split {split!r} (data.{name}); there are {have}: {remedy}")
    return chosen


def _by_folds(manifests: Sequence[Manifest], config: DataConfig, folds: int) -> dict[str, list[Manifest]]:
    samples = [sample for manifest in manifests for sample in manifest.samples]
    fold_of = deal_folds(samples, folds, config.seed)
    tested, validated = config.fold, (config.fold + 1) % folds
    if len(set(fold_of.values())) < folds:
        raise InputError(f"data.folds {folds}: there are only {len(fold_of)} scenes to deal out")
    dealt = {
        _TRAIN: _where(manifests, lambda sample: fold_of[sample.scene] not in (tested, validated)),
        _VAL: _where(manifests, lambda sample: fold_of[sample.scene] == validated),
        _TEST: _where(manifests, lambda sample: fold_of[sample.scene] == tested),
        "all": list(manifests),
    }
    named = {name: split for name, split in _named(config).items() if split is not None}
    for name, split in named.items():
        if split not in dealt:
            raise InputError(
                f"no split {split!r} (data.{name}): data.folds {folds} deals all samples into train, val and test; "
                f"name one of these or all, or take the manifest's splits: data.folds=null"
            )
    return {name: dealt[split] for name, split in named.items()}


def draw_labels(manifests: Sequence[Manifest], config: DataConfig, *, one_label: bool) -> list[Manifest]:
    """The share of the training samples whose labels are used.

    Raises:
        InputError: nothing is left, or of images with one label fewer than there are classes among them.
    """
    if config.fraction == 1:
        return list(manifests)
    samples = [sample for manifest in manifests for sample in manifest.samples]
    chosen = set(draw_share(samples, config.fraction, config.seed))
    classes = len({label for sample in samples for label in sample.labels})
    if one_label and len(chosen) < classes:
        raise InputError(
            f"data.fraction {config.fraction:g} of {len(samples)} training samples is {len(chosen)}, fewer than the "
            f"{classes} classes; give at least {classes / len(samples):.2g}"
        )
    position = itertools.count()  # two manifests may list samples of the same name, or even equal ones
    return _where(manifests, lambda _: next(position) in chosen)


def _where(manifests: Sequence[Manifest], keep: Callable[[Sample], bool]) -> list[Manifest]:
    """The manifests with some of their samples, without those of which none is left."""
    chosen = [replace(m, samples=tuple(sample for sample in m.samples if keep(sample))) for m in manifests]
    return [manifest for manifest in chosen if manifest.samples]
