"""Predictions of a split: what is no number, and windows put together."""

from __future__ import annotations

import math

import pytest
import torch

from msgfm.data.tasks import TaskBatch
from msgfm.errors import InputError
from msgfm.models.tasks import Classification, Restoration, Segmentation, Task
from msgfm.training.finetuning.predicting import Predictor

ABC = ("a", "b", "c")


def predictor(task: Task, output: torch.Tensor) -> Predictor:
    device = torch.device("cpu")
    return Predictor(predict=lambda _: output, task=task, device=device, batch_size=2, num_workers=0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("task", [Classification(classes=ABC), Segmentation(classes=ABC)], ids=lambda task: task.kind)
def test_classes_that_are_no_numbers_are_refused_by_the_name_of_their_sample(task: Task, value: float) -> None:
    output = torch.zeros(2, 3) if task.kind == "classification" else torch.zeros(2, 3, 4, 4)
    batch = TaskBatch(images={}, target=torch.zeros(2), names=["first", "second#0,96"])
    assert predictor(task, output)(batch).shape[0] == 2
    output[1, 1] = value
    with pytest.raises(InputError, match=r"sample second#0,96: the model gives logits that are NaN or infinite"):
        predictor(task, output)(batch)


def test_images_may_have_holes() -> None:
    output = torch.full((2, 1, 4, 4), math.nan)
    batch = TaskBatch(images={}, target=output, names=["first", "second"])
    task = Restoration.model_validate({"target": "dsm"})
    assert predictor(task, output)(batch).isnan().all()
