"""How well a model reconstructs images that it did not see in training, within and across sensors."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from msgfm.data.layouts.splits import spread_evenly
from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest, Sample
from msgfm.data.transforms import Image, centre_crop, squares_over
from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.models.masking import masked_l1, random_patch_mask, upsample_mask
from msgfm.models.msgfm import Direction, MsGFM


@dataclass(frozen=True, kw_only=True)
class Example:
    """One square of a sample, ready for the model, with what is hidden of each image.

    images: per sensor (1, C, S, S), physical units, NaN where there is no data. hidden: per sensor (1, s, s) bool.
    """

    sample: str
    images: dict[str, Tensor]
    hidden: dict[str, Tensor]


def load_example(model: MsGFM, manifest: Manifest, sample: Sample, image_size: int, seed: int) -> Example:
    """Reads a sample's middle square; its mask follows from the seed and the sample's name."""
    return _hide(model, sample.sample, centre_crop(_read(model, manifest, sample), image_size), seed, 0)


def _read(model: MsGFM, manifest: Manifest, sample: Sample) -> dict[str, Image]:
    """The ordinary images (no second date, no clouds) of the sensors that the model knows."""
    images = (image for image in sample.images if image.sensor in model.sensors and not image.role)
    known = replace(sample, images=tuple(images))
    if not known.images:
        raise InputError(
            f"sample {sample.sample} is of {', '.join(sample.sensors)}; the model knows {', '.join(model.sensors)}"
        )
    for name in known.sensors:
        ours, theirs = manifest.sensors[name], model.sensors[name]
        if ours.band_names != theirs.band_names or [b.unit for b in ours.bands] != [b.unit for b in theirs.bands]:
            raise InputError(
                f"sensor {name} of the manifest is not the model's: bands {', '.join(ours.band_names)} in "
                f"{ours.bands[0].unit}, the model has {', '.join(theirs.band_names)} in {theirs.bands[0].unit}; "
                f"index the data set with the model's card"
            )
    return read_sample(manifest.root, known, manifest.sensors)


def _hide(model: MsGFM, sample: str, images: dict[str, Image], seed: int, square: int) -> Example:
    """An example of square images; the mask follows from the seed, the sample's name and the square's number."""
    squares = next(iter(images.values())).shape[-1] // model.config.mask_patch_size
    rng = np.random.default_rng((seed, zlib.crc32(sample.encode()), square))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return Example(
        sample=sample,
        images={name: torch.from_numpy(image)[None] for name, image in images.items()},
        hidden={name: random_patch_mask(squares, squares, model.config.mask_ratio, generator)[None] for name in images},
    )


@dataclass(frozen=True, kw_only=True)
class Score:
    """Masked L1 (normalised units) of one direction over the images of one data set, beside a baseline's.

    Images are cut into squares of the size trained at; each counts once. baseline: `visible mean` predicts each band's
    mean over the visible pixels of the square itself; `training mean` predicts each band's mean over the training
    images of the target sensor.
    """

    data: str
    direction: str
    images: int
    squares: int
    masked_l1: float
    baseline: str
    baseline_l1: float

    @property
    def ratio(self) -> float:
        """Below 1: better than the baseline."""
        return self.masked_l1 / self.baseline_l1


@torch.no_grad()
def score_reconstruction(
    model: MsGFM,
    data: str,
    held_out: Sequence[Manifest],
    train: Sequence[Manifest],
    image_size: int,
    *,
    limit: int = 200,
    seed: int = 0,
    bad: dict[str, None] | None = None,
) -> list[Score]:
    """Scores every direction on held-out samples.

    Args:
        model: in evaluation mode.
        data: name of the data set, for the table.
        held_out: manifests of samples that training did not see.
        train: manifests of the training samples, for the training mean.
        image_size: side of a square in pixels.
        limit: most squares looked at per manifest, held out; of the training samples, five times as many.
        seed: of the masks.
        bad: as for `load_examples`.
    """
    if not held_out:
        return []
    seen = (load_examples(model, manifest, 5 * limit, image_size, seed, bad) for manifest in train)
    means = _training_means(model, chain.from_iterable(seen))
    found: dict[Direction, list[tuple[str, float, float]]] = {}
    for manifest in held_out:
        for example in load_examples(model, manifest, limit, image_size, seed, bad):
            for direction, result, baseline in _score_example(model, example, means):
                found.setdefault(direction, []).append((example.sample, result, baseline))
    return [
        Score(
            data=data,
            direction=str(direction),
            images=len({sample for sample, _, _ in squares}),
            squares=len(squares),
            masked_l1=float(np.mean([result for _, result, _ in squares])),
            baseline="visible mean" if direction.source == direction.target else "training mean",
            baseline_l1=float(np.mean([baseline for _, _, baseline in squares])),
        )
        for direction, squares in found.items()
    ]


def load_examples(
    model: MsGFM, manifest: Manifest, count: int, image_size: int, seed: int, bad: dict[str, None] | None = None
) -> Iterator[Example]:
    """Up to `count` squares of samples spread evenly over the manifest, as many of each as there is room for.

    Samples of sensors that the model lacks are passed over.

    Args:
        model: whose cards and masks are taken.
        manifest: the samples.
        count: most squares.
        image_size: side of a square in pixels.
        seed: of the masks.
        bad: takes the messages of samples that cannot be read, which are then passed over.

    Raises:
        InputError: a sample cannot be read, and there is no `bad`.
    """
    samples = [sample for sample in manifest.samples if any(name in model.sensors for name in sample.sensors)]
    chosen = spread_evenly(samples, count)
    for sample in chosen:
        try:
            images = _read(model, manifest, sample)
        except InputError as error:
            if bad is None:
                raise
            bad[str(error)] = None
            continue
        for number, square in enumerate(squares_over(images, image_size, count // len(chosen))):
            yield _hide(model, sample.sample, square, seed, number)


def _score_example(
    model: MsGFM, example: Example, means: dict[str, Tensor]
) -> Iterator[tuple[Direction, float, float]]:
    device = model.mask_token.device
    for source, image in example.images.items():
        hidden = example.hidden[source].to(device)
        hidden_px = upsample_mask(hidden, model.config.mask_patch_size)[:, None]
        for target, truth in example.images.items():
            wanted = model.target(target, truth.to(device), hidden_px if source == target else None)
            if not (wanted.isfinite() & hidden_px).any():
                continue
            prediction = model.predict(source, image.to(device), hidden, target)
            if source == target:
                visible = torch.where(hidden_px, torch.nan, wanted)
                constant = visible.nanmean(dim=(2, 3), keepdim=True).nan_to_num(nan=0.0)
            else:
                constant = means[target].to(device)
            yield (
                Direction(source, target),
                float(masked_l1(prediction, wanted, hidden_px)),
                float(masked_l1(constant.expand_as(wanted), wanted, hidden_px)),
            )


def _training_means(model: MsGFM, examples: Iterator[Example]) -> dict[str, Tensor]:
    """Each band's mean over all pixels of the training images, as the model is asked to predict them, (1, C, 1, 1)."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    for example in examples:
        for name, image in example.images.items():
            wanted = model.target(name, image.to(model.mask_token.device), None).double().cpu()
            sums[name] = sums.get(name, torch.tensor(0.0)) + wanted.nansum(dim=(2, 3), keepdim=True)
            counts[name] = counts.get(name, torch.tensor(0)) + wanted.isfinite().sum(dim=(2, 3), keepdim=True)
    return {name: (total / counts[name].clamp_min(1)).float() for name, total in sums.items()}


def write_scores(scores: Sequence[Score], path: Path) -> None:
    """Writes a CSV table, one row per score."""
    with write_atomically(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*Score.__dataclass_fields__, "ratio"])
        writer.writeheader()
        writer.writerows(asdict(score) | {"ratio": score.ratio} for score in scores)
