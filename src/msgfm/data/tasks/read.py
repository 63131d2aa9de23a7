"""Reads one sample of a task: its inputs and what is to be predicted, on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from msgfm.data.reader import Image, read_sample, read_sensor_image, resample
from msgfm.data.records import Manifest, Sample
from msgfm.data.tasks.select import AnyTask
from msgfm.data.tasks.targets import Labels
from msgfm.data.tasks.wald import degrade
from msgfm.errors import InputError
from msgfm.models.inputs import InputImage
from msgfm.models.tasks import Classification, Restoration

TARGET = "target"
"""Key of what is to be predicted, among layers; images' keys are names of sensors."""
CLOUDS = "clouds"
"""Key of a data set's own cloud mask, among layers."""


@dataclass(frozen=True, kw_only=True)
class ReadSample:
    """A sample on one grid.

    Args:
        layers: images by key (C, H, W), bands as the inputs name them; and, by `TARGET`, a mask (H, W) or an image.
        label: of an image that is classified.
        clouds: share of an image to restore that is under clouds, in evaluation; NaN where it is not known.
    """

    layers: dict[str, NDArray[np.generic]]
    label: NDArray[np.generic] = field(default_factory=lambda: np.zeros(0))
    clouds: float = np.nan


@dataclass(frozen=True, kw_only=True)
class SampleReader:
    """Reads samples of one task.

    Args:
        inputs: images that the model sees.
        task: what is predicted.
        labels: how labels become numbers; None for restoration.
        wald: ratio by which inputs are degraded, see `DataConfig`.
    """

    inputs: Sequence[InputImage]
    task: AnyTask
    labels: Labels | None
    wald: int | None

    def grid_of(self, sample: Sample) -> tuple[int, int]:
        """Height and width of what is read."""
        images = sample.images
        if self.wald is not None and isinstance(self.task, Restoration):
            images = tuple(image for image in images if image.key == self.task.target.key)
        finest = max(images, key=lambda image: image.height * image.width)
        return finest.height, finest.width

    def read(self, manifest: Manifest, sample: Sample) -> ReadSample:
        """Reads a sample. What is to be predicted is unknown, NaN, where it is an input that is not degraded.

        Raises:
            InputError: as `read_sample` and `Labels`.
        """
        if self.wald is not None:
            images, whole = self._degraded(manifest, sample, self.wald)
        else:
            whole = read_sample(manifest.root, sample, manifest.sensors)
            images = whole
        layers: dict[str, NDArray[np.generic]] = {
            image.key: _bands(images[image.key], manifest, image) for image in self.inputs if image.key in images
        }
        label: NDArray[np.generic] = np.zeros(0)
        if isinstance(self.task, Restoration):
            target = self.task.target
            layers[TARGET] = _bands(whole[target.key], manifest, target)
            if self.wald is None and target.key in layers:
                layers[TARGET] = np.full_like(layers[TARGET], np.nan)
            if sample.mask is not None and "cloud" in manifest.mask_classes.values():
                layers[CLOUDS] = _CLOUDS.of_pixels(manifest, sample)
        elif isinstance(self.task, Classification):
            label = _require(self.labels).of_image(sample)
        else:
            layers[TARGET] = _require(self.labels).of_pixels(manifest, sample)
        return ReadSample(layers=layers, label=label)

    def _degraded(self, manifest: Manifest, sample: Sample, ratio: int) -> tuple[dict[str, Image], dict[str, Image]]:
        """Inputs degraded by the ratio, on the target's own grid, and all images as they were."""
        grid = self.grid_of(sample)
        whole = {
            image.key: read_sensor_image(manifest.root, image, manifest.sensors[image.sensor])
            for image in sample.images
        }
        return {key: resample(degrade(image, ratio), grid) for key, image in whole.items()}, whole


_CLOUDS = Labels(classes=("clear", "cloud", "shadow"), unlisted="ignore")


def _require(labels: Labels | None) -> Labels:
    if labels is None:
        raise InputError("a task with classes has no labels")
    return labels


def _bands(values: Image, manifest: Manifest, image: InputImage) -> Image:
    if image.bands is None:
        return values
    return values[list(manifest.sensors[image.sensor].indices_of(image.bands))]
