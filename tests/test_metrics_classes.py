"""Metrics of classified images and of class maps against loops, torchmetrics, and what degenerate input should give."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional import classification as theirs

from msgfm.metrics import make_metrics
from msgfm.metrics.metric_set import Scores

CLASSES = ("water", "forest", "road", "field")
NAN = math.nan


def compute(kind: str, prediction: Tensor, target: Tensor, *, multilabel: bool = False, classes: int = 4) -> Scores:
    metrics = make_metrics(kind, classes=CLASSES[:classes], multilabel=multilabel)
    metrics.update(prediction, target)
    return metrics.compute()


def plain_average_precision(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """Down all thresholds: precision times how much recall grew."""
    if not labels.any():
        return NAN
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        passed = scores >= threshold
        precision, recall = labels[passed].mean(), labels[passed].sum() / labels.sum()
        total += float(precision * (recall - recall_before))
        recall_before = float(recall)
    return total


def plain_class_scores(predicted: NDArray[np.int_], true: NDArray[np.int_], k: int) -> tuple[float, float]:
    """IoU and F1 of a class as sets of pixels."""
    of_prediction, of_truth = set(np.flatnonzero(predicted == k)), set(np.flatnonzero(true == k))
    if not of_truth:
        return NAN, NAN
    both = len(of_prediction & of_truth)
    return both / len(of_prediction | of_truth), 2 * both / (len(of_prediction) + len(of_truth))


def known_mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else NAN


def _multilabel() -> dict[str, tuple[Tensor, Tensor]]:
    """Logits and labels (N, 4)."""
    draw = torch.Generator().manual_seed(0)
    logits, chance = torch.randn(60, 4, generator=draw), torch.rand(60, 4, generator=draw)
    some = chance < torch.tensor([0.1, 0.3, 0.5, 0.9])
    third = torch.tensor([False, False, True, False])
    corners = torch.eye(4).repeat(3, 1)
    return {
        "random": (logits, some),
        "ties": (torch.randint(-2, 3, (60, 4), generator=draw).float(), some),
        "far from 0, where a sigmoid knows no difference": (60 + logits, some),
        "all scores equal": (torch.zeros(60, 4), some),
        "a class without positives": (logits, some & ~third),
        "a class of positives alone": (logits, some | third),
        "no positives": (logits, torch.zeros_like(some)),
        "one image": (logits[:1], torch.tensor([[True, False, True, False]])),
        "perfect": (corners - 0.5, corners.bool()),
        "infinite": (torch.tensor([[math.inf, 0, 1, 2], [-math.inf, 1, 2, 3]]), torch.eye(4)[:2].bool()),
    }


MULTILABEL = _multilabel()


@pytest.mark.parametrize("case", MULTILABEL)
def test_labels_against_loops(case: str) -> None:
    logits, labels = (tensor.numpy() for tensor in MULTILABEL[case])
    found = compute("classification", *MULTILABEL[case], multilabel=True)
    precisions = [plain_average_precision(logits[:, k], labels[:, k]) for k in range(4)]
    f1 = [plain_class_scores((logits[:, k] > 0).astype(int), labels[:, k].astype(int), 1)[1] for k in range(4)]
    expected = {
        "map_macro": known_mean(precisions),
        "map_micro": plain_average_precision(logits.ravel(), labels.ravel()),
        "f1_macro": known_mean(f1),
        "f1_micro": plain_class_scores((logits > 0).ravel().astype(int), labels.ravel().astype(int), 1)[1],
    }
    for name, values in {"average_precision_per_class": precisions, "f1_per_class": f1}.items():
        by_class = dict(zip(CLASSES, values, strict=True))
        assert found.pop(name) == pytest.approx(by_class, abs=1e-6, nan_ok=True)
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_labels_against_torchmetrics() -> None:
    logits, labels = MULTILABEL["random"]
    found = compute("classification", logits, labels.float(), multilabel=True)
    each = theirs.multilabel_average_precision(logits, labels.long(), 4, average=None)
    assert list(found["average_precision_per_class"].values()) == pytest.approx(each.tolist(), abs=1e-6)
    for average in ("macro", "micro"):
        precision = theirs.multilabel_average_precision(logits, labels.long(), 4, average=average)
        f1 = theirs.multilabel_f1_score(logits, labels.long(), 4, average=average)
        assert found[f"map_{average}"] == pytest.approx(float(precision), abs=1e-6)
        assert found[f"f1_{average}"] == pytest.approx(float(f1), abs=1e-6)


def test_single_labels_against_torchmetrics() -> None:
    draw = torch.Generator().manual_seed(2)
    logits, labels = torch.randn(200, 4, generator=draw), torch.randint(0, 4, (200,), generator=draw)
    found = compute("classification", logits, labels)
    assert found["accuracy"] == pytest.approx(float(theirs.multiclass_accuracy(logits, labels, 4, average="micro")))
    assert found["accuracy_macro"] == pytest.approx(float(theirs.multiclass_accuracy(logits, labels, 4)))
    assert found["f1_macro"] == pytest.approx(float(theirs.multiclass_f1_score(logits, labels, 4)))


def draw_maps(case: str) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    predicted, true = (torch.randint(0, 4, (3, 9, 11), generator=draw) for _ in range(2))
    if case == "unlabelled pixels":
        true[torch.rand(true.shape, generator=draw) < 0.3] = -1
    elif case == "a class that only the prediction has":
        true[true == 2] = 1
    elif case == "a class that only the truth has":
        predicted[predicted == 2] = 1
    elif case == "a class that neither has":
        true[true == 2], predicted[predicted == 2] = 1, 1
    elif case == "no labels":
        true[:] = -1
    elif case == "one pixel":
        predicted, true = predicted[:1, :1, :1], true[:1, :1, :1]
    elif case == "perfect":
        predicted = true.clone()
    return predicted, true


MAPS = (
    "random",
    "unlabelled pixels",
    "a class that only the prediction has",
    "a class that only the truth has",
    "a class that neither has",
    "no labels",
    "one pixel",
    "perfect",
)


@pytest.mark.parametrize("case", MAPS)
def test_class_maps_against_sets_of_pixels(case: str) -> None:
    predicted, true = draw_maps(case)
    found = compute("segmentation", predicted, true)
    known = (true >= 0).numpy()
    p, t = predicted.numpy()[known], true.numpy()[known]
    iou, f1 = zip(*(plain_class_scores(p, t, k) for k in range(4)), strict=True)
    assert found.pop("iou_per_class") == pytest.approx(dict(zip(CLASSES, iou, strict=True)), abs=1e-6, nan_ok=True)
    assert found.pop("f1_per_class") == pytest.approx(dict(zip(CLASSES, f1, strict=True)), abs=1e-6, nan_ok=True)
    accuracy = float((p == t).mean()) if len(t) else NAN
    expected = {"miou": known_mean(list(iou)), "f1_macro": known_mean(list(f1)), "accuracy": accuracy}
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_class_maps_against_torchmetrics() -> None:
    predicted, true = draw_maps("unlabelled pixels")
    found = compute("segmentation", predicted, true)
    assert found["miou"] == pytest.approx(float(theirs.multiclass_jaccard_index(predicted, true, 4, ignore_index=-1)))
    assert found["f1_macro"] == pytest.approx(float(theirs.multiclass_f1_score(predicted, true, 4, ignore_index=-1)))


def test_a_false_alarm_of_an_absent_class_costs_the_class_that_it_took_pixels_of() -> None:
    true = torch.zeros(1, 2, 5, dtype=torch.int64)
    predicted = true.clone()
    predicted[0, 0, 0] = 3
    found = compute("segmentation", predicted, true)
    assert (found["miou"], found["accuracy"]) == pytest.approx((0.9, 0.9))


@pytest.mark.parametrize("kind", ["segmentation", "change_detection"])
def test_of_two_classes_the_second_is_what_is_looked_for(kind: str) -> None:
    true = torch.tensor([[[0, 0, 0, 1, 1, 1, 1, -1]]])
    predicted = torch.tensor([[[0, 0, 1, 1, 1, 0, 0, 1]]])
    found = compute(kind, predicted, true, classes=2)
    expected = {"precision": 2 / 3, "recall": 2 / 4, "f1": 4 / 7, "iou": 2 / 5}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["miou"] == pytest.approx((2 / 5 + 2 / 5) / 2)


def test_nothing_changed_and_nothing_found() -> None:
    none = torch.zeros(1, 4, 4, dtype=torch.int64)
    found = compute("change_detection", none, none, classes=2)
    assert all(math.isnan(found[name]) for name in ("precision", "recall", "f1", "iou"))
    missed = compute("change_detection", none, none + 1, classes=2)
    assert [missed[name] for name in ("precision", "recall", "f1", "iou")] == [0, 0, 0, 0]


def test_logits_count_as_the_class_of_the_largest() -> None:
    draw = torch.Generator().manual_seed(4)
    logits, true = torch.randn(2, 4, 6, 7, generator=draw), torch.randint(0, 4, (2, 6, 7), generator=draw)
    assert compute("segmentation", logits, true) == compute("segmentation", logits.argmax(1), true)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(7)), st.sets(st.integers(1, 6)), st.sampled_from(["single", "multi", "maps"]))
def test_neither_order_nor_batches_change_a_bit(order: list[int], cuts: set[int], form: str) -> None:
    draw = torch.Generator().manual_seed(1)
    shape = (7, 4, 5, 5) if form == "maps" else (7, 4)
    prediction = torch.randn(shape, generator=draw)
    labels = torch.randint(0, 4, (7, 5, 5) if form == "maps" else (7,), generator=draw)
    target = torch.rand(7, 4, generator=draw) < 0.4 if form == "multi" else labels
    kind = "segmentation" if form == "maps" else "classification"
    metrics = make_metrics(kind, classes=CLASSES, multilabel=form == "multi")
    for start, end in itertools.pairwise([0, *sorted(cuts), 7]):
        metrics.update(prediction[order[start:end]], target[order[start:end]])
    assert metrics.compute() == compute(kind, prediction, target, multilabel=form == "multi")


@pytest.mark.parametrize(
    ("kind", "multilabel"), [("classification", False), ("classification", True), ("segmentation", False)]
)
def test_without_any_sample_there_are_no_numbers(kind: str, multilabel: bool) -> None:
    scores = make_metrics(kind, classes=CLASSES, multilabel=multilabel).compute()
    flat = [value for part in scores.values() for value in (part.values() if isinstance(part, dict) else [part])]
    assert flat
    assert all(math.isnan(value) for value in flat)


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [
        (torch.zeros(1, 2, 2), torch.full((1, 2, 2), 4), "class number 4 where there are 4 classes"),
        (torch.full((1, 2, 2), 7), torch.zeros(1, 2, 2), "class number 7"),
        (torch.full((1, 2, 2), -1), torch.zeros(1, 2, 2), "predicted class number -1"),
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 3), r"shape \(1, 2, 2\) for labels of shape \(1, 2, 3\)"),
    ],
)
def test_numbers_of_no_class_and_other_shapes_are_refused(predicted: Tensor, true: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute("segmentation", predicted.long(), true.long())


@pytest.mark.parametrize("multilabel", [False, True])
def test_a_model_that_gives_nan_is_refused(multilabel: bool) -> None:
    target = torch.zeros(1, 4) if multilabel else torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="NaN"):
        compute("classification", torch.full((1, 4), NAN), target, multilabel=multilabel)
