"""What a recipe may say about the data of a downstream task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from msgfm.config import Config
from msgfm.data.opening import Location


class DataConfig(Config):
    """Samples, splits, crops, and what is done to training samples at random.

    Args:
        manifest: as of a pretraining source: a Parquet file made by `msgfm data index`, shards, or a list of them.
        train: split that is trained on; `all` is every sample.
        val: split that picks the best weights; null is none.
        test: split that is reported; null is none.
        val_fraction: share of the training split's scenes that are validated on instead, for data sets without `val`.
        fraction: share of the training samples whose labels are used, drawn so that classes keep their shares.
        folds: all samples are dealt into so many folds instead, scene by scene, so that classes keep their shares;
            null takes the manifest's splits. `train`, `val` and `test` above are then those of the folds.
        fold: which of them is tested, from 0; the one after it validates, the others train.
        seed: of these three draws.
        image_size: side of what the model sees, in pixels of the finest image. In training a random square, in
            evaluation the windows that tile the image; smaller images are filled up with no data.
        window_size: side of the windows in evaluation; null is `image_size`; `image` sees whole images, one at a time.
        resize: whole images are brought to `image_size` instead (classification).
        augment: flips and quarter turns of training samples.
        jitter: how much their brightness and contrast change, in the card's standard deviations (no restoration).
        sensor_dropout: probability that a training sample goes without a sensor; one is always left.
        wald: restoration of an image to its own grid: inputs are degraded by this ratio, and the image as it was is
            the target (pan-sharpening at reduced resolution); null takes target images as the manifest has them.
        labels_from_mask: classes of an image are those that cover so large a share of its mask's labelled pixels
            (classification with several labels); null takes the manifest's labels.
        unlisted: values of masks that the manifest names no class for: an error, or ignored as not labelled.
        digest: SHA-256 of the samples of each split, as the run folder states them; other samples are an error.
    """

    manifest: tuple[Location, ...] = Field(min_length=1)
    train: str = "train"
    val: str | None = "val"
    test: str | None = "test"
    val_fraction: float = Field(default=0.0, ge=0, lt=1)
    fraction: float = Field(default=1.0, gt=0, le=1)
    folds: int | None = Field(default=None, ge=3)
    fold: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)
    image_size: int = Field(default=192, ge=1)
    window_size: Annotated[int, Field(ge=1)] | Literal["image"] | None = None
    resize: bool = False
    augment: bool = True
    jitter: float = Field(default=0.0, ge=0, lt=1)
    sensor_dropout: float = Field(default=0.0, ge=0, lt=1)
    wald: int | None = Field(default=None, ge=2)
    labels_from_mask: float | None = Field(default=None, gt=0, lt=1)
    unlisted: Literal["error", "ignore"] = "error"
    digest: dict[Literal["train", "val", "test"], str] | None = None

    @field_validator("manifest", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return [value] if isinstance(value, (str, Path)) else value

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if self.fold >= (self.folds or 1):
            known = f"there are {self.folds}, 0 to {self.folds - 1}" if self.folds else "give folds, too"
            raise ValueError(f"fold {self.fold}: {known}")
        if self.folds and self.val_fraction:
            raise ValueError("val_fraction and folds both draw who validates; leave one of them out")
        if self.resize and self.window_size:
            raise ValueError("window_size: with resize there are no windows; leave one of them out")
        return self

    @property
    def evaluated_size(self) -> int | None:
        """Side of the windows in evaluation; None is the whole image."""
        return None if self.window_size == "image" else self.window_size or self.image_size
