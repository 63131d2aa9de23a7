"""What a model is fine-tuned for. The task fixes the model's output; losses and metrics follow from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from msgfm.config import Config
from msgfm.models.inputs import InputImage


class _ClassTask(Config):
    """A task with named classes, in the order of the model's outputs; none stands for those of the manifest."""

    classes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_classes(self) -> _ClassTask:
        if twice := sorted({name for name in self.classes if self.classes.count(name) > 1}):
            raise ValueError(f"classes {', '.join(twice)} stand more than once")
        return self


class Classification(_ClassTask):
    """Classes of a whole image.

    Args:
        classes: in the order of the model's outputs; empty takes the manifest's.
        multilabel: whether an image may have several classes, or none.
    """

    kind: Literal["classification"] = "classification"
    multilabel: bool = False


class Segmentation(_ClassTask):
    """A class for every pixel; pixels without label are ignored by loss and metrics."""

    kind: Literal["segmentation"] = "segmentation"


class Restoration(Config):
    """An image from worse or other ones: cloud removal, pan-sharpening, translation between sensors.

    Args:
        target: the image that is predicted.
        over: key of the input image that the prediction is added to (the cloudy image; the multispectral one,
            resampled to the finest grid); null predicts the image itself (translation).
    """

    kind: Literal["restoration"] = "restoration"
    target: InputImage
    over: str | None = None


class ChangeDetection(_ClassTask):
    """A class for every pixel from two dates: every input comes with the role `before` and with the role `after`."""

    kind: Literal["change_detection"] = "change_detection"
    classes: tuple[str, ...] = ("unchanged", "changed")


Task = Annotated[Classification | Segmentation | Restoration | ChangeDetection, Field(discriminator="kind")]
