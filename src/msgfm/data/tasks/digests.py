"""What tells splits apart: which samples they hold, what is true of them, and how their files are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from msgfm.data.records import Manifest
from msgfm.data.tasks.select import AnyTask
from msgfm.models.inputs import InputImage
from msgfm.models.tasks import Classification, Restoration
from msgfm.sensors import Sensor

_WITHOUT_EFFECT = {"description", "display"}
"""Of a sensor card: what changes neither images nor what is made of them."""


def samples_digest(manifests: Sequence[Manifest]) -> str:
    """SHA-256 of the samples: of one manifest its own digest; of several that of theirs."""
    if len(manifests) == 1:
        return manifests[0].digest
    return hashlib.sha256("".join(manifest.digest for manifest in manifests).encode()).hexdigest()


def truth_digest(manifests: Sequence[Manifest], judged_by: Sequence[InputImage]) -> str:
    """SHA-256 of the samples with what they are scored by alone: labels, masks, and some of the images."""
    keys = [image.key for image in judged_by]
    return samples_digest([_with_images(manifest, keys) for manifest in manifests])


def _with_images(manifest: Manifest, keys: Sequence[str]) -> Manifest:
    samples = [
        replace(sample, images=tuple(image for image in sample.images if image.key in keys))
        for sample in manifest.samples
    ]
    return replace(manifest, samples=tuple(samples))


def reading_digests(manifests: Sequence[Manifest], task: AnyTask, *, from_masks: bool) -> dict[str, str]:
    """SHA-256 of how the files of a split are read, by what says so, in words for a message.

    Args:
        manifests: the samples.
        task: what is predicted.
        from_masks: whether labels of images are made of masks.
    """
    cards: dict[str, list[Any]] = {}
    for manifest in manifests:
        for name in dict.fromkeys(sensor for sample in manifest.samples for sensor in sample.sensors):
            cards.setdefault(name, []).append(_card(manifest.sensors[name]))
    found = {f"card of {name}": _digest(cards[name]) for name in sorted(cards)}
    if isinstance(task, Classification) and not from_masks:
        return found | {"order of classes": _digest([manifest.classes for manifest in manifests])}
    return found | {"meaning of mask values": _digest([_meaning(manifest, task) for manifest in manifests])}


def truth_reading(
    manifests: Sequence[Manifest], judged_by: Sequence[InputImage], task: AnyTask, *, from_masks: bool
) -> str:
    """SHA-256 of how what a split is scored by is read: values of masks, and physical values of some of the images.

    Args:
        manifests: the samples.
        judged_by: the images.
        task: what is predicted.
        from_masks: whether labels of images are made of masks.
    """
    cards = [_physical(image.card([manifest.sensors[image.sensor]])) for manifest in manifests for image in judged_by]
    read = from_masks or not isinstance(task, Classification)
    masks = [sorted(map(json.dumps, _meaning(manifest, task))) for manifest in manifests] if read else []
    return _digest([cards, masks])


def _card(card: Sensor) -> Any:
    """What another version may have given a further field reads the same while that has its default."""
    return card.model_dump(mode="json", exclude=_WITHOUT_EFFECT, exclude_defaults=True)


def _physical(card: Sensor) -> Any:
    """What stored numbers mean, and the ranges that errors are scaled by."""
    return [[band.name, band.unit, band.valid_range, band.scale, band.offset, band.nodata] for band in card.bands]


def _meaning(manifest: Manifest, task: AnyTask) -> list[Any]:
    """What values and colours of masks stand for; in restoration masks of clouds alone are looked at."""
    if isinstance(task, Restoration) and "cloud" not in manifest.mask_classes.values():
        return []
    return [(value, name, manifest.mask_colours.get(value)) for value, name in manifest.mask_classes.items()]


def _digest(parts: Sequence[Any]) -> str:
    """Of all that are not equal: a manifest more that is read alike changes nothing."""
    texts = dict.fromkeys(json.dumps(part, sort_keys=True) for part in parts)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
