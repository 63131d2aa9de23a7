"""Pan-sharpening at full resolution: test samples that are not degraded, and what a prediction is judged by there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from msgfm.data.reader import read_sensor_image
from msgfm.data.records import Manifest, Sample
from msgfm.data.tasks.config import DataConfig
from msgfm.data.tasks.dataset import TaskDataset
from msgfm.models.inputs import InputImage
from msgfm.models.panchromatic import find_panchromatic
from msgfm.models.tasks import Restoration
from msgfm.sensors import Sensor

FULL_RESOLUTION = "_full_resolution"
"""What the name of a split ends in where its samples are taken at full resolution."""


@dataclass(frozen=True, kw_only=True)
class FullResolution:
    """Samples to be sharpened as they are.

    Args:
        dataset: the samples on the grid of the panchromatic image, in windows of the same ground as the degraded ones.
        manifests: which list the samples.
        coarse: the image that is sharpened, with the bands of the target.
        pan: key of the panchromatic image.
    """

    dataset: TaskDataset
    manifests: Sequence[Manifest]
    coarse: InputImage
    pan: str

    def read(self, number: int) -> tuple[Tensor, Tensor]:
        """What a prediction is judged by: the coarse image (C, h, w) and the panchromatic one (1, H, W) as they are.

        Args:
            number: of the sample, in the data set's order.

        Raises:
            InputError: a file cannot be read.
        """
        manifest, sample = self.dataset.listed[number]
        images = {image.key: image for image in sample.images}
        coarse, pan = (
            read_sensor_image(manifest.root, images[key], manifest.sensors[images[key].sensor])
            for key in (self.coarse.key, self.pan)
        )
        if self.coarse.bands is not None:
            coarse = coarse[list(manifest.sensors[self.coarse.sensor].indices_of(self.coarse.bands))]
        shown = next(image for image in self.dataset.inputs if image.key == self.pan)
        if shown.bands is not None:
            pan = pan[list(manifest.sensors[shown.sensor].indices_of(shown.bands))]
        return torch.from_numpy(coarse), torch.from_numpy(pan)


def full_resolution(
    manifests: Sequence[Manifest],
    config: DataConfig,
    task: Restoration,
    inputs: Sequence[InputImage],
    cards: Mapping[str, Sensor],
    build: Callable[..., TaskDataset],
) -> tuple[FullResolution | None, str]:
    """The test samples at full resolution, if this is pan-sharpening.

    Args:
        manifests: of the test split.
        config: of the recipe.
        task: what is predicted.
        inputs: images that the model sees.
        cards: by sensor.
        build: makes a data set of manifests, a config and whether it is trained on.

    Returns:
        None where no input is panchromatic, or of another image than is sharpened; and what the user should know.

    Raises:
        InputError: it cannot be told which input is the panchromatic image.
    """
    by_key = {image.key: image for image in inputs}
    over = task.target.key if config.wald is not None else task.over
    if over is None or not _has_finer(manifests, over):
        return None, ""
    pan = find_panchromatic({key: image.card(list(cards.values())) for key, image in by_key.items()}, over)
    if pan is None:
        return None, ""
    bands = task.target.card(list(cards.values())).band_names
    coarse = InputImage(sensor=by_key[over].sensor, role=by_key[over].role, bands=bands)
    if not set(bands) <= set(cards[coarse.sensor].band_names):
        return None, ""
    chosen = [
        replace(m, samples=tuple(sample for sample in m.samples if _is_sharper(sample, pan, over))) for m in manifests
    ]
    chosen = [manifest for manifest in chosen if manifest.samples]
    if not chosen:
        return None, f"no sample of test has {pan} on the finest grid, so none is scored at full resolution"
    whole = config
    if config.wald is not None:
        size = config.evaluated_size
        whole = config.model_copy(update={"wald": None, "window_size": "image" if size is None else size * config.wald})
    dataset = build(chosen, config=whole, training=False)
    return FullResolution(dataset=dataset, manifests=chosen, coarse=coarse, pan=pan), ""


def _has_finer(manifests: Sequence[Manifest], over: str) -> bool:
    """Whether some sample has an image on a finer grid than the one that may be sharpened."""
    widths = ({image.key: image.width for image in sample.images} for m in manifests for sample in m.samples)
    return any(max(found.values()) > found[over] for found in widths)


def _is_sharper(sample: Sample, pan: str, over: str) -> bool:
    """Whether the panchromatic image has the finest grid of all, and a finer one than the image that it sharpens."""
    sizes = {image.key: (image.height, image.width) for image in sample.images}
    if pan not in sizes:
        return False
    finest = max(sizes.values(), key=lambda size: size[0] * size[1])
    return sizes[pan] == finest and sizes[pan][1] > sizes[over][1]
