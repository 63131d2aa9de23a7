"""Reads samples of a task and makes batches: random crops in training, windows that tile each image in evaluation."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from msgfm.data.mixture import SampleKey
from msgfm.data.reader import resample
from msgfm.data.records import Manifest, Sample
from msgfm.data.tasks.augment import crop, draw_missing, flip_and_turn, middle_corner, random_corner
from msgfm.data.tasks.batch import TaskBatch
from msgfm.data.tasks.clouds import cloud_share
from msgfm.data.tasks.config import DataConfig
from msgfm.data.tasks.read import TARGET, ReadSample, SampleReader
from msgfm.data.tasks.select import AnyTask
from msgfm.data.tasks.targets import Labels
from msgfm.data.transforms import jitter_radiometry
from msgfm.errors import InputError
from msgfm.models.inputs import InputImage
from msgfm.models.tasks import Classification, Restoration
from msgfm.sensors import Sensor


class Window(NamedTuple):
    """A square of a sample's image.

    sample: position in the data set's samples. row, column: of its upper left corner.
    height, width: of the whole image, on the grid that is predicted.
    """

    sample: int
    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class _Item:
    images: dict[str, Tensor]
    target: Tensor
    clouds: float
    name: str


class TaskDataset(Dataset[TaskBatch]):
    """The samples of one split, as windows.

    In training a window only says which image a random square is taken from: an epoch sees as many squares of each
    image as make up its area. In evaluation nothing is random; windows of one image follow each other, the last of a
    row or column moved back to end at its edge. An image that is classified is one window. With `size` None every
    window is a whole image; these may have different sizes, so that a batch holds one.

    Args:
        manifests: samples with the images of the task alone.
        inputs: images that the model sees.
        task: what is predicted.
        labels: how labels become numbers; None for restoration.
        cards: of all sensors, by name.
        config: crops and what is done at random.
        training: whether samples are changed at random.
        seed: of all that is random; it follows from the seed, the epoch and the window's number.
    """

    def __init__(
        self,
        manifests: Sequence[Manifest],
        *,
        inputs: Sequence[InputImage],
        task: AnyTask,
        labels: Labels | None,
        cards: Mapping[str, Sensor],
        config: DataConfig,
        training: bool,
        seed: int,
    ) -> None:
        self.inputs, self.task, self.config = tuple(inputs), task, config
        self.training, self.seed = training, seed
        self.size: int | None = config.image_size if training else config.evaluated_size
        self._cards = {image.key: image.card(list(cards.values())) for image in self.inputs}
        if isinstance(task, Restoration):
            self._cards[TARGET] = task.target.card(list(cards.values()))
        self._samples = [(manifest, sample) for manifest in manifests for sample in manifest.samples]
        self._reader = SampleReader(inputs=self.inputs, task=task, labels=labels, wald=config.wald)
        self.windows = tuple(window for i in range(len(self._samples)) for window in self._windows_of(i))
        self._last: tuple[int, ReadSample] | None = None

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples, in the order that `Window.sample` counts."""
        return tuple(sample for _, sample in self._samples)

    @property
    def listed(self) -> tuple[tuple[Manifest, Sample], ...]:
        """The samples with the manifests that list them."""
        return tuple(self._samples)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each window: of its sample, or `sample#row,column` where that has several."""
        return tuple(map(self._name, self.windows))

    def with_any_of(self, keys: Collection[str]) -> TaskDataset:
        """Those of the samples that have one of these images at least, by what the manifest lists."""
        chosen = copy.copy(self)
        chosen._samples = [(m, sample) for m, sample in self._samples if any(i.key in keys for i in sample.images)]
        chosen.windows = tuple(window for i in range(len(chosen._samples)) for window in chosen._windows_of(i))
        chosen._last = None
        return chosen

    def __getitems__(self, keys: list[SampleKey]) -> TaskBatch:
        """One batch; keys count windows.

        Raises:
            InputError: in evaluation a sample cannot be read; in training none can.
        """
        bad: list[str] = []
        items = [self._item(key, bad) for key in keys]
        return TaskBatch(
            images={image.key: torch.stack([item.images[image.key] for item in items]) for image in self.inputs},
            target=torch.stack([item.target for item in items]),
            names=[item.name for item in items],
            bad=bad,
            clouds=torch.tensor([item.clouds for item in items]) if isinstance(self.task, Restoration) else None,
        )

    def _item(self, key: SampleKey, bad: list[str]) -> _Item:
        rng = np.random.default_rng((self.seed, key.epoch, key.sample))
        window, read = self._read(key.sample, bad)
        layers = self._cut(read, window, rng)
        if self.training:
            layers = self._centred(self._change(layers, rng))
        size = layers[next(iter(layers))].shape[-2:]
        images = {
            image.key: self._tensor(layers.get(image.key), len(self._cards[image.key].bands), size)
            for image in self.inputs
        }
        target = torch.from_numpy(np.array(layers.get(TARGET, read.label), order="C"))
        return _Item(images=images, target=target, clouds=read.clouds, name=self._name(window))

    def _read(self, number: int, bad: list[str]) -> tuple[Window, ReadSample]:
        """A window and its sample; in training the next readable one, and what could not be read is added to `bad`."""
        for step in range(len(self.windows)):
            window = self.windows[(number + step) % len(self.windows)]
            try:
                return window, self._read_sample(window.sample)
            except InputError as error:
                if not self.training:
                    raise
                bad.append(str(error))
        raise InputError(f"no sample of {len(self._samples)} can be read; the last error: {bad[-1]}")

    def _read_sample(self, position: int) -> ReadSample:
        """The sample; the one read last is kept, for its other windows follow in evaluation."""
        if self._last is None or self._last[0] != position:
            read = self._reader.read(*self._samples[position])
            self._last = position, read if self.training else self._judged(read)
        return self._last[1]

    def _judged(self, read: ReadSample) -> ReadSample:
        """What is said of a whole image in evaluation, whatever the windows: its clouds, the level of its heights."""
        if not isinstance(self.task, Restoration):
            return read
        clouds = cloud_share(read.layers, self.task, self._cards)
        return replace(read, layers=self._centred(read.layers), clouds=clouds)

    def _cut(self, read: ReadSample, window: Window, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        """The square that the model sees."""
        if self.size is None:
            return read.layers
        if self.config.resize:
            size = (self.size, self.size)
            return {key: resample(image.astype(np.float32), size) for key, image in read.layers.items()}
        if self.training:
            corner = random_corner(window.height, window.width, self.size, rng)
        elif isinstance(self.task, Classification):
            corner = middle_corner(window.height, window.width, self.size)
        else:
            corner = window.row, window.column
        return crop(read.layers, *corner, self.size)

    def _change(
        self, layers: dict[str, NDArray[np.generic]], rng: np.random.Generator
    ) -> dict[str, NDArray[np.generic]]:
        """Training's random changes."""
        if self.config.augment:
            layers = flip_and_turn(layers, rng)
        keys = [image.key for image in self.inputs if image.key in layers]
        if self.config.jitter:
            images = {key: layers[key].astype(np.float32) for key in keys}
            layers = layers | jitter_radiometry(images, self._cards, self.config.jitter, rng)
        if self.config.sensor_dropout:
            over = self.task.over if isinstance(self.task, Restoration) else None
            sensors = list(dict.fromkeys(key.partition("@")[0] for key in keys))
            kept = over.partition("@")[0] if over else None
            missing = draw_missing(sensors, kept, self.config.sensor_dropout, rng)
            layers = {
                key: layer for key, layer in layers.items() if key == TARGET or key.partition("@")[0] not in missing
            }
        return layers

    def _centred(self, layers: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Heights to predict from images that have none are those above the mean of these layers."""
        alone = isinstance(self.task, Restoration) and self.task.over is None
        if not alone or self._cards[TARGET].centre != "image" or not np.isfinite(layers[TARGET]).any():
            return layers
        heights = layers[TARGET].astype(np.float64)
        return layers | {TARGET: np.asarray(heights - np.nanmean(heights), np.float32)}

    def _tensor(self, layer: NDArray[np.generic] | None, bands: int, size: tuple[int, ...]) -> Tensor:
        if layer is None:
            return torch.full((bands, *size), torch.nan)
        return torch.from_numpy(np.array(layer, np.float32, order="C"))

    def _name(self, window: Window) -> str:
        name = self._samples[window.sample][1].sample
        if self.training or isinstance(self.task, Classification) or self.size is None or max(window[3:]) <= self.size:
            return name
        return f"{name}#{window.row},{window.column}"

    def _windows_of(self, position: int) -> list[Window]:
        height, width = self._reader.grid_of(self._samples[position][1])
        if isinstance(self.task, Classification) or self.size is None:
            return [Window(position, 0, 0, height, width)]
        if self.training:
            return [Window(position, 0, 0, height, width)] * max(round(height * width / self.size**2), 1)
        rows, columns = (_starts(length, self.size) for length in (height, width))
        return [Window(position, row, column, height, width) for row in rows for column in columns]


def _starts(length: int, size: int) -> list[int]:
    """Multiples of `size`, the last of them moved back to end at the edge."""
    return [min(start, max(length - size, 0)) for start in range(0, length, size)]
