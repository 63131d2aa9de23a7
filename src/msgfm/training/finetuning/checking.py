"""Reads validation and test samples before training: what is wrong with them would else show only after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing

import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from msgfm.data.layouts.splits import spread_evenly
from msgfm.data.tasks import TaskDataset
from msgfm.errors import InputError
from msgfm.models.tasks import Classification, Restoration, Task
from msgfm.progress import track
from msgfm.training.finetuning.plan import Plan
from msgfm.training.finetuning.predicting import InOrder, Predicted
from msgfm.training.finetuning.scoring import Scorer
from msgfm.training.loading import load_batches

MOST = 1000
"""So many samples of each split are read; of a larger one so many, evenly spread over it."""


def check_samples(plan: Plan, console: Console) -> None:
    """Reads the samples that validate and test.

    Raises:
        InputError: one cannot be read or its labels mean nothing; or the metric that picks the best weights is not
            defined on the validation samples, whatever is predicted.
    """
    for split in ("val", "test"):
        if (dataset := plan.data.splits.get(split)) is not None:
            chosen = spread_evenly(range(len(dataset.samples)), MOST)
            if len(chosen) < len(dataset.samples):
                console.print(
                    f"  {split}: {len(chosen)} of {len(dataset.samples)} samples are read before training; the others "
                    f"are not looked at until they are scored",
                    highlight=False,
                )
            _check(plan, split, dataset, chosen)


def _check(plan: Plan, split: str, dataset: TaskDataset, chosen: Sequence[int]) -> None:
    wanted = set(chosen)
    numbers = [i for i, window in enumerate(dataset.windows) if window.sample in wanted]
    order = InOrder(dataset, numbers, plan.config.batch_size)
    task = plan.model.task
    # images without any data are refused when they are read
    picks = split == "val" and len(chosen) == len(dataset.samples) and not isinstance(task, Restoration)
    scorer = Scorer(plan.model.task, plan.data)
    try:
        with closing(load_batches(dataset, order, plan.config.hardware.num_workers)) as batches:
            for batch in track(batches, f"reading {split} samples", len(order)):
                for target in batch.target if picks else ():
                    scorer.add(_perfect(task, target))
    except InputError as error:
        raise InputError(f"{split} samples: {error}") from error
    if picks and math.isnan(scorer.scores().metrics[plan.metric]):
        raise InputError(
            f"{plan.metric}, which picks the best weights, is not defined on the {len(chosen)} validation samples, "
            f"whatever is predicted: the class or the labels that it needs are in none of them. Validate on others "
            f"(data.val=SPLIT, data.val_fraction=0.1), pick by another metric=NAME, or keep the last weights: "
            f"data.val=null"
        )


def _perfect(task: Task, target: Tensor) -> Predicted:
    """The truth as a prediction: a metric that is undefined for it is so for all."""
    output = target.clamp(min=0)
    if isinstance(task, Classification) and not task.multilabel:
        output = F.one_hot(target, len(task.classes)).float()
    return Predicted(name="", output=output, target=target, clouds=math.nan)
