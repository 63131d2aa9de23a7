"""Which way is better, which metric picks the best weights: of every metric of every task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from msgfm.metrics import SharpeningMetrics, default_metric, higher_is_better, make_metrics

NOT_QUALITY = ("images", "scored")
TASKS: dict[str, dict[str, Any]] = {
    "classification": {"kind": "classification", "classes": ("a", "b", "c")},
    "several labels": {"kind": "classification", "classes": ("a", "b", "c"), "multilabel": True},
    "segmentation": {"kind": "segmentation", "classes": ("a", "b", "c")},
    "change_detection": {"kind": "change_detection", "classes": ("unchanged", "changed")},
    "restoration": {"kind": "restoration", "bands": ("R", "G", "B"), "ratio": 0.25},
    "heights": {"kind": "restoration", "bands": ("height",), "value_range": None},
}


def truth_and_right_answer(task: str) -> tuple[Tensor, Tensor]:
    """A truth, and the output that says exactly that."""
    draw = torch.Generator().manual_seed(0)
    if task == "classification":
        labels = torch.randint(0, 3, (30,), generator=draw)
        return labels, 10.0 * F.one_hot(labels, 3)
    if task == "several labels":
        labels = torch.randint(0, 2, (30, 3), generator=draw)
        return labels, 20.0 * labels - 10
    if task in ("segmentation", "change_detection"):
        labels = torch.randint(0, len(TASKS[task]["classes"]), (4, 12, 12), generator=draw)
        return labels, labels
    image = 0.2 + 0.6 * torch.rand(4, len(TASKS[task]["bands"]), 16, 16, generator=draw)
    return image, image


def numbers(task: str, output: Tensor, target: Tensor) -> dict[str, float]:
    metrics = make_metrics(**TASKS[task])
    metrics.update(output, target)
    return {name: value for name, value in metrics.compute().items() if isinstance(value, float)}


@pytest.mark.parametrize("task", list(TASKS))
def test_the_right_answer_is_better_than_that_of_another_image(task: str) -> None:
    target, right = truth_and_right_answer(task)
    best, other = numbers(task, right, target), numbers(task, right.flip(0), target)
    assert default_metric(TASKS[task]["kind"], multilabel=task == "several labels") in best
    for name in best.keys() - set(NOT_QUALITY):
        assert (best[name] > other[name]) == higher_is_better(name), name
        assert best[name] != other[name], name


def test_at_full_resolution_what_was_sharpened_is_better_than_the_bands_exchanged() -> None:
    draw = torch.Generator().manual_seed(0)
    sharp = torch.rand(1, 1, 64, 64, generator=draw) + torch.rand(1, 3, 64, 64, generator=draw) * torch.tensor(
        [0.1, 0.5, 2.0]
    ).view(3, 1, 1)
    coarse = F.avg_pool2d(F.avg_pool2d(sharp, 3, 1, 1), 4)
    pan = sharp[:, :1]
    found = []
    for prediction in (sharp, sharp[:, [1, 2, 0]]):
        metrics = SharpeningMetrics()
        metrics.update(prediction, coarse, pan)
        found.append(metrics.compute())
    for name in ("d_lambda", "d_s", "qnr"):
        one, other = (float(scores[name]) for scores in found)  # type: ignore[arg-type]
        assert one != other
        assert (one > other) == higher_is_better(name), name


def test_groups_of_a_metric_are_better_where_it_is() -> None:
    assert not higher_is_better("mae_per_band")
    assert not higher_is_better("sam_by_clouds")
    assert higher_is_better("iou_per_class")


def test_the_metric_that_picks_weights_is_the_one_documented() -> None:
    """docs/finetuning.md, "The best weights"."""
    names = [default_metric(kind) for kind in ("classification", "segmentation", "change_detection", "restoration")]
    assert names == ["accuracy", "miou", "f1", "mae"]
    assert default_metric("classification", multilabel=True) == "map_macro"
