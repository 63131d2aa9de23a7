"""Baselines without a parameter: what a copy, an interpolation, or the shares of the classes reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from msgfm.config import Config
from msgfm.errors import InputError
from msgfm.models.baselines.clear import CLOUDY, cloudiness, mean_of_clear
from msgfm.models.baselines.sharpening import Fusion, brovey, gram_schmidt_adaptive, sharpen
from msgfm.models.heads import RestoredImage
from msgfm.models.inputs import InputImage, PreparedImages
from msgfm.models.normalize import without_infinities
from msgfm.models.panchromatic import find_panchromatic
from msgfm.models.tasks import Restoration, Task
from msgfm.sensors import Sensor

_FUSIONS: dict[str, Fusion | None] = {
    "bicubic": None,
    "brovey": brovey,
    "gram_schmidt_adaptive": gram_schmidt_adaptive,
}
_RAREST = 1e-6  # a class that training never saw keeps a finite logit


class RuleBackbone(Config):
    """A rule in the place of a network. Nothing is trained.

    Args:
        rule: for restoration, of the image `task.over`: `copy`; `mean_of_clear`, for cloud removal; `bicubic`, `brovey`
            and `gram_schmidt_adaptive`, for pan-sharpening. `class_prior`, for all tasks with classes: their shares in
            the training labels, so that the commonest class (or every label at its share) is predicted everywhere.
        ratio: pixels of the panchromatic image along one side of a multispectral one; null takes the cards' `gsd_m`.
        prior: shares of the classes (`class_prior`), in their order; empty in a recipe: from the training labels.
    """

    kind: Literal["rule"] = "rule"
    rule: Literal["copy", "mean_of_clear", "bicubic", "brovey", "gram_schmidt_adaptive", "class_prior"]
    ratio: float | None = Field(default=None, gt=1)
    prior: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()

    @property
    def takes_whole_images(self) -> bool:
        """Whether it means something else for a part of an image: by statistics of the whole, or by where it begins."""
        return self.rule in _FUSIONS


class NoTrunk(nn.Module):
    """Stands where a trunk does: a rule looks at the images themselves."""

    dims: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1,)

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = torch.zeros(())

    def forward(self, images: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        """No maps."""
        return []

    def layers(self) -> list[list[nn.Parameter]]:
        """None."""
        return []


class ClassPriorHead(nn.Module):
    """The same logits for every image: logarithms of the classes' shares, of their odds if there may be several.

    Args:
        prior: shares of the classes in the training labels.
        multilabel: whether an image may have several classes.
        dense: whether every pixel has a class.
    """

    logits: Tensor

    def __init__(self, prior: tuple[float, ...], *, multilabel: bool, dense: bool) -> None:
        super().__init__()
        shares = torch.tensor(prior).clamp(_RAREST, 1 - _RAREST)
        self.register_buffer("logits", shares.logit() if multilabel else shares.log(), persistent=False)
        self.dense = dense

    def forward(self, maps: list[Tensor], prepared: PreparedImages, images: Mapping[str, Tensor]) -> Tensor:
        """(B, classes), or (B, classes, H, W) of dense tasks."""
        batch = len(next(iter(prepared.present.values())))
        if not self.dense:
            return self.logits.expand(batch, -1)
        return self.logits.view(1, -1, 1, 1).expand(batch, -1, prepared.height, prepared.width)


class RestorationRuleHead(nn.Module):
    """A rule that makes the target of an image of the input. What it leaves without data is the card's mean."""

    def __init__(
        self, backbone: RuleBackbone, task: Restoration, inputs: tuple[InputImage, ...], sensors: tuple[Sensor, ...]
    ) -> None:
        super().__init__()
        if task.over is None:
            raise InputError(f"backbone: the rule {backbone.rule} needs task.over, the input image that it starts from")
        self.rule, self.over = backbone.rule, task.over
        self.cards = {image.key: image.card(sensors) for image in inputs}
        target = task.target.card(sensors)
        self.output = RestoredImage(target, task.over, self.cards[task.over])
        names = {image.key: (image.sensor, image.bands) for image in inputs}
        self.dates = [key for key, name in names.items() if key != self.over and name == names[self.over]]
        if self.rule == "mean_of_clear" and {band.unit for band in self.cards[task.over].bands} != {"reflectance"}:
            raise InputError(
                f"backbone: the rule mean_of_clear tells clouds by reflectance, which {task.over} is not in"
            )
        if self.rule in _FUSIONS:
            self.pan = None if self.rule == "bicubic" else self._find_pan()
            self.ratio = backbone.ratio or _ratio(self.cards, self.over)

    def forward(self, maps: list[Tensor], prepared: PreparedImages, images: Mapping[str, Tensor]) -> Tensor:
        """The restored image (B, bands of the target, H, W) in physical units."""
        batch = len(next(iter(prepared.present.values())))
        like = self.output.normalize.mean.new_empty(batch, self.output.bands, prepared.height, prepared.width)
        if self.over not in images:
            return self.output.base({}, like)
        images = {key: without_infinities(images[key]) for key in self.cards if key in images}
        return self.output.base({self.over: self._restore(images)}, like)

    def _restore(self, images: Mapping[str, Tensor]) -> Tensor:
        """All bands of the image `over`, after the rule."""
        image = images[self.over].float()
        if self.rule == "copy":
            return image
        if self.rule == "mean_of_clear":
            others = [(images[key].float(), self._cloudy(key, images[key])) for key in self.dates if key in images]
            return mean_of_clear(image, self._cloudy(self.over, image), others)
        pans = images.get(self.pan) if self.pan else None
        single = [None] * len(image) if pans is None else list(pans[:, 0])
        fuse = _FUSIONS[self.rule]
        return torch.stack([sharpen(ms, pan, self.ratio, fuse) for ms, pan in zip(image, single, strict=True)])

    def _cloudy(self, key: str, image: Tensor) -> Tensor:
        return cloudiness(image.float(), self.cards[key]) >= CLOUDY

    def _find_pan(self) -> str:
        """Key of the panchromatic input."""
        found = find_panchromatic(self.cards, self.over)
        if found is None:
            raise InputError(
                f"backbone: the rule {self.rule} needs one input of a single band in the visible, the panchromatic "
                f"image; there is none among the inputs {', '.join(self.cards)}"
            )
        return found


def make_rule_head(
    backbone: RuleBackbone, task: Task, inputs: tuple[InputImage, ...], sensors: tuple[Sensor, ...]
) -> nn.Module:
    """What computes a rule's output.

    Raises:
        InputError: the rule is for other tasks, or lacks an image or the classes' shares.
    """
    if isinstance(task, Restoration):
        if backbone.rule == "class_prior":
            raise InputError("backbone: the rule class_prior is for tasks with classes; the task is restoration")
        return RestorationRuleHead(backbone, task, inputs, sensors)
    if backbone.rule != "class_prior":
        raise InputError(f"backbone: the rule {backbone.rule} is for restoration; the task is {task.kind}")
    if len(backbone.prior) != len(task.classes):
        raise InputError(f"backbone.prior has {len(backbone.prior)} shares, the task {len(task.classes)} classes")
    multilabel = task.kind == "classification" and task.multilabel
    return ClassPriorHead(backbone.prior, multilabel=multilabel, dense=task.kind != "classification")


def class_prior(targets: Iterable[Tensor], classes: int) -> tuple[float, ...]:
    """Shares of the classes in training labels.

    Args:
        targets: batches of labels: (B, K) of 0 and 1, the share of images that have each label; or integers of any
            shape, of which negative ones are not labelled.
        classes: K.

    Returns:
        One share a class; of integers they add up to 1.

    Raises:
        InputError: nothing is labelled.
    """
    counts, total = torch.zeros(classes, dtype=torch.float64), 0
    for target in targets:
        if target.is_floating_point():
            counts += target.sum(dim=0).double().cpu()
            total += len(target)
        else:
            labelled = target[target >= 0].flatten().cpu()
            counts += torch.bincount(labelled, minlength=classes)
            total += len(labelled)
    if not total:
        raise InputError("none of the training samples is labelled, so the classes have no shares")
    return tuple((counts / total).tolist())


def _ratio(cards: Mapping[str, Sensor], over: str) -> float:
    """How many times coarser the bands of `over` are than the finest input, by the cards."""
    sizes = {key: [band.gsd_m for band in card.bands if band.gsd_m] for key, card in cards.items()}
    finest = min((min(gsds) for gsds in sizes.values() if gsds), default=None)
    if not sizes[over] or not finest or (ratio := max(sizes[over]) / finest) <= 1:
        raise InputError(
            f"backbone.ratio: the cards do not say how much coarser {over} is (gsd_m of its bands, and of the "
            f"panchromatic band); give it, as ratio: 4"
        )
    return ratio
