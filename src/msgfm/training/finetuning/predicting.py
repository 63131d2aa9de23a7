"""What a model says of the images of a split: batch by batch, windows of one image put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Sampler

from msgfm.data.mixture import SampleKey
from msgfm.data.tasks import TaskBatch, TaskDataset, Window
from msgfm.errors import InputError
from msgfm.models.tasks import Classification, Restoration, Task
from msgfm.progress import track
from msgfm.training.loading import load_batches

Images = Mapping[str, Tensor]
Predict = Callable[[Images], Tensor]
"""From images by key to the output of `DownstreamModel.forward`."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What was predicted of one image, on the CPU.

    Args:
        name: of the sample.
        output: (K,) logits of a classification, (H, W) int64 class map, or (C, H, W) image in physical units.
        target: in the same terms as in `TaskBatch`, of this image alone.
        clouds: share of the image under clouds, of a window that of the whole image; NaN where it is not known.
    """

    name: str
    output: Tensor
    target: Tensor
    clouds: float


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """What predicts, and how: `change` is done to the images first, as to leave a sensor out."""

    predict: Predict
    task: Task
    device: torch.device
    batch_size: int
    num_workers: int
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None

    @torch.no_grad()
    def __call__(self, batch: TaskBatch) -> Tensor:
        """The output for a batch, on the CPU, in float32: logits, class maps or images.

        Raises:
            InputError: the model gives something else than numbers for a class. Of images they are no data.
        """
        images = batch.to(self.device).images
        with self.autocast():
            output = self.predict(self.change(images) if self.change else images)
        if not isinstance(self.task, Restoration):
            _require_numbers(output, batch.names)
        return output.argmax(1).cpu() if _is_class_map(self.task) else output.float().cpu()

    def over(self, dataset: TaskDataset, what: str) -> Iterator[Predicted]:
        """Predicts a split, image by image in its order; `what` is shown beside the bar."""
        order = InOrder(dataset, range(len(dataset)), self.batch_size)
        with closing(load_batches(dataset, order, self.num_workers)) as batches:
            windows = iter(dataset.windows)
            parts: list[tuple[Window, Predicted]] = []
            for batch in track(batches, what, len(order)):
                for predicted in _split(batch, self(batch)):
                    window = next(windows)
                    if parts and parts[0][0].sample != window.sample:
                        yield self._joined(parts)
                        parts = []
                    parts.append((window, predicted))
            if parts:
                yield self._joined(parts)

    def _joined(self, parts: Sequence[tuple[Window, Predicted]]) -> Predicted:
        return parts[0][1] if isinstance(self.task, Classification) else join_windows(parts)


class InOrder(Sampler[list[SampleKey]]):
    """Windows of a data set by their numbers, in the order given; whole images one by one."""

    def __init__(self, dataset: TaskDataset, numbers: Sequence[int], batch_size: int) -> None:
        self.numbers, self.batch_size = numbers, 1 if dataset.size is None else batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.numbers) / self.batch_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """Yields batches; the last may be smaller."""
        for start in range(0, len(self.numbers), self.batch_size):
            yield [SampleKey(0, 0, i) for i in self.numbers[start : start + self.batch_size]]


def _require_numbers(logits: Tensor, names: Sequence[str]) -> None:
    """Of what is no number the largest would be taken: one class for all, as if it had been predicted."""
    odd = (~logits.isfinite()).flatten(1).any(1).tolist()
    if any(odd):
        raise InputError(
            f"sample {names[odd.index(True)]}: the model gives logits that are NaN or infinite; "
            f"`msgfm data check` says whether the image is to blame, else it is the model's weights or a precision "
            f"that is too short for them (hardware.precision=32-true)"
        )


def _is_class_map(task: Task) -> bool:
    return not isinstance(task, (Classification, Restoration))


def _split(batch: TaskBatch, output: Tensor) -> Iterator[Predicted]:
    for i, name in enumerate(batch.names):
        clouds = torch.nan if batch.clouds is None else float(batch.clouds[i])
        yield Predicted(name=name, output=output[i], target=batch.target[i], clouds=clouds)


def join_windows(parts: Sequence[tuple[Window, Predicted]]) -> Predicted:
    """One image of its windows. Where they overlap, the last one counts; what pads small images is cut off."""
    height, width = parts[0][0].height, parts[0][0].width
    first = parts[0][1]
    output = first.output.new_empty(*first.output.shape[:-2], height, width)
    target = first.target.new_empty(*first.target.shape[:-2], height, width)
    for window, part in parts:
        for whole, piece in ((output, part.output), (target, part.target)):
            place = whole[
                ..., window.row : window.row + piece.shape[-2], window.column : window.column + piece.shape[-1]
            ]
            place.copy_(piece[..., : place.shape[-2], : place.shape[-1]])
    name = first.name if len(parts) == 1 else first.name.rpartition("#")[0]
    return Predicted(name=name, output=output, target=target, clouds=first.clouds)
