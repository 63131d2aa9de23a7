"""The mixture of sources: which samples make up which batch, and what is done to them.

All of it is a function of numbers, without state: the batch of a source in a round follows from (seed, round), the
crop, flip, mask and partner of a sample from (seed, source, pass, sample). So the order can be taken up anywhere, and
neither workers nor ranks change what the model sees.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest, Sample
from msgfm.data.transforms import crop_and_flip, jitter_radiometry
from msgfm.errors import InputError
from msgfm.models.masking import random_patch_mask
from msgfm.models.msgfm import ABSENT
from msgfm.sensors import Sensor


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set of the mixture.

    Args:
        name: its key in the recipe.
        manifests: its samples, of one or several manifests, with images of `sensors` alone.
        sensors: names of the sensors used of it.
        batch_size: samples per step and rank.
        lr: learning rate of its steps.
        jitter: how much brightness and contrast change at random (`transforms.jitter_radiometry`).
    """

    name: str
    manifests: tuple[Manifest, ...]
    sensors: tuple[str, ...]
    batch_size: int
    lr: float
    jitter: float = 0.0

    def __len__(self) -> int:
        return sum(len(manifest.samples) for manifest in self.manifests)

    def locate(self, index: int) -> tuple[Manifest, Sample]:
        """The manifest and sample at a position of the source."""
        for manifest in self.manifests:
            if index < len(manifest.samples):
                return manifest, manifest.samples[index]
            index -= len(manifest.samples)
        raise IndexError(index)

    @cached_property
    def digest(self) -> str:
        """What the samples are, where their files lie below the roots, how to read them; data may move, not change."""
        listed = hashlib.sha256()
        for manifest in self.manifests:
            for name in sorted(manifest.sensors):
                listed.update(manifest.sensors[name].model_dump_json().encode())
            listed.update(manifest.digest.encode())
        return f"{len(self)} samples, {listed.hexdigest()[:16]}"

    @property
    def cards(self) -> dict[str, Sensor]:
        """The sensors' cards, by name."""
        found = {name: card for manifest in self.manifests for name, card in manifest.sensors.items()}
        return {name: found[name] for name in self.sensors}


class SampleKey(NamedTuple):
    """A sample in one pass over its source; what is done to it at random follows from this and the seed."""

    source: int
    epoch: int
    sample: int


class MixtureOrder:
    """Which samples the batches hold.

    A round visits every source once. Each source is an endless stream of passes over its samples, every pass shuffled
    anew; round r takes the next batch of the stream. A pass may end inside a batch, so no sample is left out.

    Args:
        lengths: samples of each source.
        batch_sizes: samples of each source per step and rank.
        seed: of the shuffling.
        world_size: ranks; rank k takes the k-th part of the joint batch.
        accumulate: batches of a source per round.
        block: neighbours that stay together, see `shuffled`; None shuffles all samples.
        window: blocks that are shuffled among each other.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_sizes: Sequence[int],
        *,
        seed: int,
        world_size: int,
        accumulate: int,
        block: int | None = None,
        window: int = 1,
    ) -> None:
        self.lengths = tuple(lengths)
        self.batch_sizes = tuple(batch_sizes)
        self.seed = seed
        self.world_size = world_size
        self.accumulate = accumulate
        self.block, self.window = block, window

    @property
    def rounds_per_epoch(self) -> int:
        """Rounds after which every source has been seen whole at least once."""
        per_round = [size * self.world_size * self.accumulate for size in self.batch_sizes]
        return max(-(-length // size) for length, size in zip(self.lengths, per_round, strict=True))

    def batch(self, source: int, visit: int, rank: int) -> list[SampleKey]:
        """Samples of the `visit`-th batch of a source, counted over the whole run, for one rank."""
        size, length = self.batch_sizes[source], self.lengths[source]
        start = (visit * self.world_size + rank) * size
        stream = (divmod(place, length) for place in range(start, start + size))
        seed, block, window = self.seed, self.block, self.window
        return [
            SampleKey(source, epoch, int(shuffled(length, (seed, source, epoch), block, window)[i]))
            for epoch, i in stream
        ]


@lru_cache(maxsize=64)
def shuffled(length: int, seed: tuple[int, ...], block: int | None = None, window: int = 1) -> np.ndarray:
    """The order of samples in one pass.

    Args:
        length: samples.
        seed: of the pass.
        block: None shuffles all samples. Otherwise blocks of so many neighbours are shuffled, and then the samples
            within each `window` of blocks, so that few chunks of shards are in use at any time.
        window: see `block`.
    """
    rng = np.random.default_rng(seed)
    if block is None:
        return rng.permutation(length)
    order = [np.arange(first, min(first + block, length)) for first in rng.permutation(-(-length // block)) * block]
    windows = [np.concatenate(order[first : first + window]) for first in range(0, len(order), window)]
    return np.concatenate([rng.permutation(one) for one in windows])


class MixtureSampler(Sampler[list[SampleKey]]):
    """Batches `start` to `end` of one rank: every source, `accumulate` times, round by round."""

    def __init__(self, order: MixtureOrder, *, rank: int, start: int, end: int) -> None:
        self.order, self.rank, self.start, self.end = order, rank, start, end

    def __len__(self) -> int:
        return self.end - self.start

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """Yields the batches with global numbers start..end; batch n is of source (n // accumulate) % sources."""
        sources, accumulate = len(self.order.lengths), self.order.accumulate
        for number in range(self.start, self.end):
            turn, part = divmod(number, accumulate)
            round_, source = divmod(turn, sources)
            yield self.order.batch(source, round_ * accumulate + part, self.rank)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the model takes (`MsGFM.forward`), and which files were left out on the way.

    Args:
        source: position of the source.
        images: per sensor (B, C, H, W), physical units, NaN where there is no data.
        hidden: per sensor (B, h, w) bool.
        targets: per sensor (B,) position of the sensor to predict, or `ABSENT`.
        bad: messages of samples that could not be read and were replaced by the next of their source.
    """

    source: int
    images: dict[str, Tensor]
    hidden: dict[str, Tensor]
    targets: dict[str, Tensor]
    bad: list[str] = field(default_factory=list)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        move = {
            name: {key: tensor.to(device, non_blocking=True) for key, tensor in getattr(self, name).items()}
            for name in ("images", "hidden", "targets")
        }
        return Batch(source=self.source, bad=self.bad, **move)

    def __len__(self) -> int:
        return len(next(iter(self.targets.values())))

    @property
    def num_images(self) -> int:
        """Images encoded: samples times the sensors each has."""
        return int(sum((target != ABSENT).sum() for target in self.targets.values()))


class MixtureDataset(Dataset[Batch]):
    """Reads samples, crops and flips them, and draws what is hidden and what is predicted.

    Args:
        sources: the mixture.
        sensor_order: names of the model's sensors; `targets` are positions in it.
        image_size: side of the crop in pixels.
        mask_patch_size: side of a hidden square in pixels.
        mask_ratio: share of hidden squares.
        cross_sensor_share: probability that the masked image of a paired sample predicts its partner.
        seed: of all that is random.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        sensor_order: Sequence[str],
        *,
        image_size: int,
        mask_patch_size: int,
        mask_ratio: float,
        cross_sensor_share: float,
        seed: int,
    ) -> None:
        self.sources = tuple(sources)
        self.positions = {name: position for position, name in enumerate(sensor_order)}
        self.image_size = image_size
        self.mask_patch_size = mask_patch_size
        self.mask_ratio = mask_ratio
        self.cross_sensor_share = cross_sensor_share
        self.seed = seed

    def __getitems__(self, keys: list[SampleKey]) -> Batch:
        """One batch; all keys are of one source."""
        source = self.sources[keys[0].source]
        bad: list[str] = []
        samples = [self._sample(source, key, bad) for key in keys]
        size, squares = self.image_size, self.image_size // self.mask_patch_size
        blank = {
            name: (
                torch.full((len(card.bands), size, size), torch.nan),
                torch.zeros(squares, squares, dtype=torch.bool),
                torch.tensor(ABSENT),
            )
            for name, card in source.cards.items()
        }
        columns = {
            name: [torch.stack(column) for column in zip(*(s.get(name, blank[name]) for s in samples), strict=True)]
            for name in source.sensors
        }
        return Batch(
            source=keys[0].source,
            images={name: column[0] for name, column in columns.items()},
            hidden={name: column[1] for name, column in columns.items()},
            targets={name: column[2] for name, column in columns.items()},
            bad=bad,
        )

    def _sample(self, source: Source, key: SampleKey, bad: list[str]) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Per sensor of the sample: image, hidden squares, position of the target."""
        entropy = (self.seed, zlib.crc32(source.name.encode()), key.epoch, key.sample)
        rng = np.random.default_rng(entropy)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        images = crop_and_flip(self._read(source, key.sample, bad), self.image_size, rng)
        if source.jitter:
            images = jitter_radiometry(images, source.cards, source.jitter, rng)
        squares = self.image_size // self.mask_patch_size
        names = sorted(images)
        out = {}
        for name in names:
            partners = [other for other in names if other != name]
            crosses = rng.random() < self.cross_sensor_share
            target = partners[int(rng.integers(len(partners)))] if partners and crosses else name
            out[name] = (
                torch.from_numpy(images[name]),
                random_patch_mask(squares, squares, self.mask_ratio, generator),
                torch.tensor(self.positions[target]),
            )
        return out

    def _read(self, source: Source, index: int, bad: list[str]) -> dict[str, np.ndarray]:
        """The sample, or the next readable one of the source; what could not be read is added to `bad`."""
        for step in range(len(source)):
            manifest, sample = source.locate((index + step) % len(source))
            try:
                return read_sample(manifest.root, sample, manifest.sensors)
            except InputError as error:
                bad.append(str(error))
        raise InputError(f"source {source.name}: no sample of {len(source)} can be read; the last error: {bad[-1]}")
