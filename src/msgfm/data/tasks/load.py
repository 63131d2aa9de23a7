"""From a recipe's data to data sets of a task: manifests opened, samples chosen, splits and fractions drawn."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from msgfm.data.opening import agree_on_cards, open_manifest, require_files
from msgfm.data.records import Manifest, Sample
from msgfm.data.repeats import require_no_repeats
from msgfm.data.shards.cache import CacheLimits
from msgfm.data.tasks.config import DataConfig
from msgfm.data.tasks.dataset import TaskDataset
from msgfm.data.tasks.digests import reading_digests, samples_digest, truth_digest, truth_reading
from msgfm.data.tasks.full_resolution import FULL_RESOLUTION, FullResolution, full_resolution
from msgfm.data.tasks.select import AnyTask, require_images, select_samples
from msgfm.data.tasks.splits import draw_labels, split_samples
from msgfm.data.tasks.targets import Labels, agree_on_classes, label_from_mask
from msgfm.errors import InputError
from msgfm.models.inputs import InputImage
from msgfm.models.tasks import Classification, Restoration
from msgfm.progress import track
from msgfm.sensors import Sensor


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """The data of a task.

    Args:
        train: what is trained on.
        val: what picks the best weights; None where the recipe has none.
        test: what is reported; likewise.
        full_resolution: of pan-sharpening, the test samples as they are, on the grid of the panchromatic image. What
            is to be predicted of them is unknown (NaN) with `wald`: metrics without reference (QNR) need none.
        classes: of the task, in the order of the model's outputs; none for restoration.
        cards: of the inputs' sensors and the target's, by name.
        ratio: pixel size of a restored image over that of the image that it is made of (0.25 where four pixels take the
            place of one, along a side), which ERGAS needs; None where nothing is made sharper.
        digests: SHA-256 of the samples of each split.
        truths: SHA-256 of names and truth alone of each split: the same for whatever inputs, so that models of other
            inputs can be compared.
        readings: of each split, SHA-256 of how its files are read, by what says so: cards, classes, values of masks.
        truth_readings: of each split, SHA-256 of how what it is scored by is read.
        notes: what the user should know, as how many samples were left out, and why.
    """

    train: TaskDataset
    val: TaskDataset | None
    test: TaskDataset | None
    full_resolution: FullResolution | None
    classes: tuple[str, ...]
    cards: dict[str, Sensor]
    ratio: float | None
    digests: dict[str, str]
    truths: dict[str, str]
    readings: dict[str, dict[str, str]]
    truth_readings: dict[str, str]
    notes: tuple[str, ...]

    @property
    def splits(self) -> dict[str, TaskDataset]:
        """The data sets that there are, by the names under which their scores stand in `metrics.json`."""
        full = None if self.full_resolution is None else self.full_resolution.dataset
        found = {"train": self.train, "val": self.val, "test": self.test, f"test{FULL_RESOLUTION}": full}
        return {name: dataset for name, dataset in found.items() if dataset is not None}


def load_task_data(
    config: DataConfig,
    task: AnyTask,
    inputs: Sequence[InputImage],
    *,
    seed: int = 0,
    limits: CacheLimits | None = None,
    test_on_train: bool = False,
) -> TaskData:
    """Reads manifests and makes the data sets of a task.

    Args:
        config: of the recipe.
        task: what is predicted. Its classes, if it has any, are those of the manifest in the order wanted; pixels of
            masks may have others, which are then not labelled.
        inputs: images that the model sees.
        seed: of crops, flips and whatever else is random in training; draws of splits have `config.seed`.
        limits: for shards on S3.
        test_on_train: whether the training samples take the place of those of `test`, seen as these are.

    Raises:
        InputError: a manifest, its files, a split, an image or a band is not there; classes differ; too few samples
            for the fraction; the samples are not those of `config.digest`; or settings that contradict the task.
    """
    _require_settings(config, task)
    manifests = [open_manifest(location, limits) for location in config.manifest]
    if len(manifests) > 1:
        require_no_repeats(zip(config.manifest, manifests, strict=True))
    require_images(manifests, inputs, task, config.wald)
    selected: list[Manifest] = []
    left_out: Counter[str] = Counter()
    for manifest in manifests:
        one, lacks = select_samples(manifest, inputs, task, from_masks=config.labels_from_mask is not None)
        selected.append(one)
        left_out += lacks
    selected = [manifest for manifest in selected if manifest.samples]
    if not selected:
        reasons = "; ".join(f"{count} of them {reason}" for reason, count in left_out.items())
        raise InputError(f"{', '.join(map(str, config.manifest))}: no sample can be used: {reasons or 'it is empty'}")
    for manifest in selected:
        require_files(manifest, "data")
    labels = _labels(config, task, selected)
    if config.labels_from_mask is not None and labels is not None:
        selected = [_labelled(manifest, labels, config.labels_from_mask) for manifest in selected]
    notes = [f"{count} samples left out: {reason}" for reason, count in left_out.items()]
    splits = split_samples(selected, config)
    splits["train"] = draw_labels(splits["train"], config, one_label=_has_one_label(task))
    _require_digests(config, {name: samples_digest(parts) for name, parts in splits.items()})
    if test_on_train:
        splits["test"] = splits["train"]
    cards = agree_on_cards(("", manifest) for manifest in selected)
    build = partial(TaskDataset, inputs=inputs, task=task, labels=labels, cards=cards, seed=seed)
    data = {name: build(part, config=config, training=name == "train") for name, part in splits.items()}
    notes += _note_sizes(config, data.values())
    full = None
    if isinstance(task, Restoration) and "test" in splits:
        full, note = full_resolution(splits["test"], config, task, inputs, cards, build)
        notes += [note] if note else []
    target = [task.target] if isinstance(task, Restoration) else []
    judged: dict[str, tuple[Sequence[Manifest], list[InputImage]]] = {name: (splits[name], target) for name in splits}
    if full is not None:
        pan = [image for image in inputs if image.key == full.pan]
        judged[f"test{FULL_RESOLUTION}"] = full.manifests, [full.coarse, *pan]
    from_masks = config.labels_from_mask is not None
    return TaskData(
        train=data["train"],
        val=data.get("val"),
        test=data.get("test"),
        full_resolution=full,
        classes=labels.classes if labels else (),
        cards=cards,
        ratio=_ratio(selected[0].samples[0], task, config.wald),
        digests={name: samples_digest(parts) for name, (parts, _) in judged.items()},
        truths={name: truth_digest(parts, by) for name, (parts, by) in judged.items()},
        readings={name: reading_digests(parts, task, from_masks=from_masks) for name, (parts, _) in judged.items()},
        truth_readings={
            name: truth_reading(parts, by, task, from_masks=from_masks) for name, (parts, by) in judged.items()
        },
        notes=tuple(notes),
    )


def require_disjoint(data: TaskData) -> None:
    """Refuses to train on what is then validated or tested, or to choose weights by what is tested.

    Raises:
        InputError: two splits share samples; names one.
    """
    names = [name for name in ("train", "val", "test") if name in data.splits]
    for one, other in itertools.combinations(names, 2):
        known = {(manifest.root, sample.sample) for manifest, sample in data.splits[one].listed}
        if shared := [s.sample for manifest, s in data.splits[other].listed if (manifest.root, s.sample) in known]:
            raise InputError(
                f"data.{one} and data.{other} share {len(shared)} samples, {shared[0]} for one: scores would be of "
                f"what was learned by heart. Name splits without common samples, draw them (data.val_fraction=0.1, or "
                f"data.folds=5), or leave one out: data.{other}=null; `msgfm evaluate RUN --split NAME` scores any "
                f"split later, training samples too"
            )


def _require_settings(config: DataConfig, task: AnyTask) -> None:
    """Refuses settings that do nothing, or harm, in a task."""
    if config.resize and not isinstance(task, Classification):
        raise InputError(
            f"data.resize changes the grid, which {task.kind} predicts on; leave it out, larger images are cut"
        )
    if config.wald is not None and not isinstance(task, Restoration):
        raise InputError(f"data.wald is for restoration, the task is {task.kind}; leave it out")
    if config.jitter and isinstance(task, Restoration):
        raise InputError("data.jitter changes the levels that restoration is to restore; leave it out")
    if config.labels_from_mask is not None and not (isinstance(task, Classification) and task.multilabel):
        raise InputError(
            "data.labels_from_mask makes several labels an image: the task is to be {kind: classification, "
            "multilabel: true}"
        )


_LARGEST_RATIO = 32
"""So many times the side of the largest image what the model sees may have: resized, that is hardly ever more."""


def _note_sizes(config: DataConfig, data: Iterable[TaskDataset]) -> list[str]:
    """Says where what the model sees is larger than every image.

    Raises:
        InputError: it is so by far: almost all of it would be no data, and it may not fit into memory.
    """
    windows = (window for dataset in data for window in dataset.windows)
    largest = max((max(window.height, window.width) for window in windows), default=0)
    notes = []
    for name, size in (("image_size", config.image_size), ("window_size", config.evaluated_size)):
        if size is None or size <= largest or (name == "window_size" and size == config.image_size):
            continue
        if size > _LARGEST_RATIO * largest:
            raise InputError(
                f"data.{name}={size}: the largest image has {largest} px a side; give such a size, or less"
            )
        if not config.resize:
            notes.append(
                f"data.{name} of {size} px is larger than every image (the largest has {largest} px a side); the rest "
                f"is filled up with no data"
            )
    return notes


def _has_one_label(task: AnyTask) -> bool:
    return isinstance(task, Classification) and not task.multilabel


def _labels(config: DataConfig, task: AnyTask, manifests: Sequence[Manifest]) -> Labels | None:
    if isinstance(task, Restoration):
        return None
    of_images = isinstance(task, Classification) and config.labels_from_mask is None
    found = [m.classes if of_images else tuple(dict.fromkeys(m.mask_classes.values())) for m in manifests]
    return Labels(
        classes=agree_on_classes(task.classes, found, may_leave_out=not of_images),
        multilabel=isinstance(task, Classification) and task.multilabel,
        unlisted=config.unlisted,
    )


def _labelled(manifest: Manifest, labels: Labels, share: float) -> Manifest:
    samples = track(manifest.samples, "looking at masks", len(manifest.samples))
    return replace(manifest, samples=tuple(label_from_mask(manifest, sample, labels, share) for sample in samples))


def _ratio(sample: Sample, task: AnyTask, wald: int | None) -> float | None:
    """h/l by the sides of the images: 1/4 also of 163 px made 650, where part of a coarse pixel is missing."""
    if not isinstance(task, Restoration):
        return None
    if wald is not None:
        return 1 / wald
    if task.over is None:
        return None
    widths = {image.key: image.width for image in sample.images}
    fine, coarse = widths[task.target.key], widths[task.over]
    if fine <= coarse:
        return None
    whole = round(fine / coarse)
    return 1 / whole if abs(fine - whole * coarse) < whole else coarse / fine


def _require_digests(config: DataConfig, digests: dict[str, str]) -> None:
    for split, expected in (config.digest or {}).items():
        found = digests.get(split)
        if found is None or not found.startswith(expected):
            raise InputError(
                f"data.digest: the samples of {split} have {found}, expected is {expected}: other samples, labels, "
                f"files or draws than those the recipe was made for. Index the data set as its header says, or leave "
                f"data.digest out and compare with no run that has it"
            )
