"""What is to be predicted, as numbers: positions of classes for images and for pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from msgfm.data.masks import UNLABELLED, read_mask
from msgfm.data.records import Manifest, Sample
from msgfm.errors import InputError

_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How labels and masks become positions of classes.

    Args:
        classes: of the task, in the order of the model's outputs.
        multilabel: whether an image may have several.
        unlisted: what is done with values of masks that mean nothing: `error` or `ignore`.
    """

    classes: tuple[str, ...]
    multilabel: bool = False
    unlisted: Literal["error", "ignore"] = "error"

    def of_image(self, sample: Sample) -> NDArray[np.generic]:
        """(K,) float32 of 0 and 1 for several labels, else the position of the one.

        Raises:
            InputError: not one label where one is wanted.
        """
        positions = [self.classes.index(label) for label in sample.labels if label in self.classes]
        if self.multilabel:
            found = np.zeros(len(self.classes), np.float32)
            found[positions] = 1
            return found
        if len(positions) != 1:
            raise InputError(
                f"sample {sample.sample}: {len(positions)} labels ({', '.join(sample.labels) or 'none'}), where one is "
                f"wanted; task.multilabel=true takes several"
            )
        return np.array(positions[0], np.int64)

    def of_pixels(self, manifest: Manifest, sample: Sample) -> NDArray[np.int64]:
        """(H, W) positions of classes on the grid of the sample's finest image, `UNLABELLED` where there is none.

        Raises:
            InputError: the mask cannot be read, or holds values that mean nothing.
        """
        values = read_mask(manifest.root, sample, manifest.mask_colours)
        low = min([UNLABELLED, *manifest.mask_classes])
        table = np.full(max(manifest.mask_classes, default=0) - low + 2, UNLABELLED, np.int64)
        for value, name in manifest.mask_classes.items():
            if name in self.classes:
                table[value - low] = self.classes.index(name)
        if self.unlisted == "error":
            _require_listed(manifest.mask_classes, sample, values)
        return table[np.clip(values, low, low + len(table) - 1) - low]


def _require_listed(mask_classes: Mapping[int, str], sample: Sample, values: NDArray[np.int32]) -> None:
    numbers, times = np.unique(values, return_counts=True)
    for number, count in zip(numbers.tolist(), times.tolist(), strict=True):
        if number != UNLABELLED and number not in mask_classes:
            known = ", ".join(f"{value}={name}" for value, name in sorted(mask_classes.items())[:_SHOWN])
            more = ", ..." if len(mask_classes) > _SHOWN else ""
            path = sample.mask.path if sample.mask else sample.sample
            raise InputError(
                f"sample {sample.sample}: its mask {path} has the value {number} in {count} pixels, which is none of "
                f"the classes {known}{more}; mend the mask, index it with the value's class (--mask-class "
                f"{number}=NAME), or leave such pixels unlabelled with data.unlisted=ignore"
            )


def agree_on_classes(given: Sequence[str], found: Sequence[tuple[str, ...]], *, may_leave_out: bool) -> tuple[str, ...]:
    """The classes of a task: those of its recipe or checkpoint, or else the manifests'.

    Args:
        given: of the task; empty takes those found.
        found: those of each manifest.
        may_leave_out: whether classes that are not given may be in the data, unlabelled (pixels of masks).

    Raises:
        InputError: the manifests' classes differ, there are none, or they are not those given.
    """
    first = found[0]
    if other := next((classes for classes in found if set(classes) != set(first)), None):
        raise InputError(f"the manifests have different classes: {_names(first)}; and {_names(other)}")
    if not first:
        raise InputError("the manifest has no classes; docs/data.md says which layouts have labels and masks")
    if not given:
        return first
    missing = [name for name in given if name not in first]
    more = [] if may_leave_out else [name for name in first if name not in given]
    if missing or more:
        lacks = f"lacks {_names(missing)}" if missing else ""
        adds = f"has {_names(more)} besides" if more else ""
        raise InputError(
            f"classes differ: the task, or the model, has {_names(given)}; the manifest "
            f"{' and '.join(part for part in (lacks, adds) if part)}. Name the manifest's classes in task.classes, or "
            f"leave them out there, and train a head of its own"
        )
    return tuple(given)


def _names(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:_SHOWN])
    return f"{shown} and {len(classes) - _SHOWN} more" if len(classes) > _SHOWN else shown


def label_from_mask(manifest: Manifest, sample: Sample, labels: Labels, share: float) -> Sample:
    """The sample with the classes that cover at least this share of its mask's labelled pixels."""
    positions = labels.of_pixels(manifest, sample)
    counts = np.bincount(positions[positions != UNLABELLED], minlength=len(labels.classes))
    names = [name for name, count in zip(labels.classes, counts, strict=True) if count >= share * max(counts.sum(), 1)]
    return replace(sample, labels=tuple(names))
