"""Which samples a task can use, and which of their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from msgfm.data.records import Manifest, Sample
from msgfm.errors import InputError
from msgfm.models.inputs import InputImage
from msgfm.models.tasks import ChangeDetection, Classification, Restoration, Segmentation

AnyTask = Classification | Segmentation | Restoration | ChangeDetection


def select_samples(
    manifest: Manifest, inputs: Sequence[InputImage], task: AnyTask, *, from_masks: bool
) -> tuple[Manifest, Counter[str]]:
    """The samples that have some input and what is predicted, with those images alone, and why others are left out.

    Args:
        manifest: any.
        inputs: images that the model sees. A sample may lack some of them; of two dates it needs both.
        task: what is predicted.
        from_masks: whether labels of images are made of masks.
    """
    keys = [image.key for image in inputs]
    target = task.target.key if isinstance(task, Restoration) else None
    chosen: list[Sample] = []
    left_out: Counter[str] = Counter()
    for sample in manifest.samples:
        there = {image.key for image in sample.images}
        if lack := _lacks(sample, there, keys, target, task, from_masks):
            left_out[lack] += 1
        else:
            wanted = {*keys, target}
            chosen.append(replace(sample, images=tuple(image for image in sample.images if image.key in wanted)))
    used = {sensor for sample in chosen for sensor in sample.sensors}
    cards = {name: card for name, card in manifest.sensors.items() if name in used}
    return replace(manifest, samples=tuple(chosen), sensors=cards), left_out


def _lacks(
    sample: Sample, there: set[str], keys: Sequence[str], target: str | None, task: AnyTask, from_masks: bool
) -> str:
    """What keeps a sample from being used; empty where nothing does."""
    if not there & set(keys):
        return f"has none of the inputs {', '.join(keys)}"
    over = task.over if isinstance(task, Restoration) else None
    if missing := [key for key in (target, over) if key is not None and key not in there]:
        return f"has no {missing[0]}, which the task needs"
    if isinstance(task, ChangeDetection) and not any(_other_date(key) in there for key in there & set(keys)):
        return "has not both dates of a sensor"
    if isinstance(task, Restoration):
        return ""
    if isinstance(task, Classification) and not from_masks:
        return "" if sample.labels else "has no labels"
    return "" if sample.mask else "has no mask"


def _other_date(key: str) -> str:
    return key.replace("@before", "@after") if key.endswith("@before") else key.replace("@after", "@before")


def require_images(
    manifests: Sequence[Manifest], inputs: Sequence[InputImage], task: AnyTask, wald: int | None
) -> None:
    """Refuses images that no sample has, bands that a card has not, and roles in a task that cannot be.

    Raises:
        InputError: names the image and those that there are.
    """
    found = Counter(image.key for manifest in manifests for sample in manifest.samples for image in sample.images)
    wanted = [*inputs, *([task.target] if isinstance(task, Restoration) else [])]
    for image in wanted:
        if image.key not in found:
            raise InputError(f"no sample has an image {image.key!r}; there are {', '.join(sorted(found)) or 'none'}")
        for manifest in manifests:
            if image.bands and image.sensor in manifest.sensors:
                manifest.sensors[image.sensor].indices_of(image.bands)
    keys = {image.key for image in inputs}
    alone = sorted(key for key in keys if "@" not in key or _other_date(key) not in keys)
    if isinstance(task, ChangeDetection) and alone:
        raise InputError(f"change detection takes every input in the roles before and after; {alone[0]!r} has one")
    if isinstance(task, Restoration):
        _require_restorable(task, keys, wald)


def _require_restorable(task: Restoration, keys: set[str], wald: int | None) -> None:
    if task.over is not None and task.over not in keys:
        raise InputError(f"task.over {task.over!r} is none of the inputs {', '.join(sorted(keys))}")
    if wald is None and task.target.key in keys:
        raise InputError(
            f"the target {task.target.key} is also an input; leave it out there, or degrade the inputs (data.wald=4)"
        )
    if wald is not None and task.target.key not in keys:
        raise InputError(f"data.wald predicts an image from its own degraded form; {task.target.key} is no input")
