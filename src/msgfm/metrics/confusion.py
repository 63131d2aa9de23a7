"""Scores of classes from counts of hits and mistakes, which classification and segmentation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from msgfm.metrics.metric_set import MetricSet, Scores


@dataclass(frozen=True, kw_only=True)
class Counts:
    """For each of K classes, how many samples or pixels were ...

    Attributes:
        hits: (K,) of the class and predicted to be.
        false: (K,) predicted to be of the class, but are not.
        missed: (K,) of the class, but not predicted to be.
    """

    hits: Tensor
    false: Tensor
    missed: Tensor

    @classmethod
    def of_confusion(cls, matrix: Tensor) -> Counts:
        """From a confusion matrix (K, K), rows true and columns predicted."""
        hits = matrix.diag()
        return cls(hits=hits, false=matrix.sum(0) - hits, missed=matrix.sum(1) - hits)

    def precision(self) -> list[float]:
        """Hits among what was predicted; 0 where nothing was."""
        return self._shares(self.hits, self.hits + self.false)

    def recall(self) -> list[float]:
        """Hits among what is true."""
        return self._shares(self.hits, self.hits + self.missed)

    def f1(self) -> list[float]:
        """2 hits / (2 hits + false + missed), the harmonic mean of precision and recall."""
        return self._shares(2 * self.hits, 2 * self.hits + self.false + self.missed)

    def iou(self) -> list[float]:
        """Hits / (hits + false + missed), intersection over union."""
        return self._shares(self.hits, self.hits + self.false + self.missed)

    def f1_micro(self) -> float:
        """F1 of the counts of all classes together; NaN if no class is true anywhere."""
        if not (self.hits + self.missed).any():
            return torch.nan
        total = Counts(hits=self.hits.sum()[None], false=self.false.sum()[None], missed=self.missed.sum()[None])
        return total.f1()[0]

    def _shares(self, part: Tensor, whole: Tensor) -> list[float]:
        """Part of the whole for each class; NaN where the test set has none of the class."""
        shares = part.double() / whole.clamp(min=1)
        return shares.where(self.hits + self.missed > 0, torch.nan).tolist()


class ConfusionMetrics(MetricSet):
    """Metrics that follow from a confusion matrix, which subclasses add their batches to.

    confusion: (K, K) int64, rows true and columns predicted.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.confusion = torch.zeros(len(classes), len(classes), dtype=torch.int64)

    def accuracy(self) -> float:
        """Share of the labelled that is predicted right; NaN if nothing is labelled."""
        labelled = int(self.confusion.sum())
        return int(self.confusion.trace()) / labelled if labelled else torch.nan


def foreground_scores(counts: Counts) -> Scores:
    """Precision, recall, F1 and IoU of the second of two classes, which is what is looked for (`changed`, `water`)."""
    named = {"precision": counts.precision(), "recall": counts.recall(), "f1": counts.f1(), "iou": counts.iou()}
    return {name: values[1] for name, values in named.items()}


def require_numbers(prediction: Tensor) -> None:
    """Refuses NaN, which would be the largest of all logits, and rank first.

    Raises:
        ValueError: there is one.
    """
    if prediction.isnan().any():
        raise ValueError("the model gave NaN for the classes of an image")


def confusion_matrix(predicted: Tensor, target: Tensor, classes: int) -> Tensor:
    """How often class i (row) was taken for class j (column), (K, K) int64 on the CPU.

    Args:
        predicted: class numbers of any shape.
        target: class numbers of the same shape; where they are negative, there is no label and nothing is counted.
        classes: K.

    Raises:
        ValueError: shapes differ, or a number is that of no class.
    """
    if predicted.shape != target.shape:
        raise ValueError(f"class numbers of shape {tuple(predicted.shape)} for labels of shape {tuple(target.shape)}")
    known = target >= 0
    predicted, target = predicted[known].long(), target[known].long()
    if predicted.numel() and (worst := int(torch.stack([predicted.max(), target.max()]).max())) >= classes:
        raise ValueError(f"class number {worst} where there are {classes} classes, 0 to {classes - 1}")
    if predicted.numel() and (least := int(predicted.min())) < 0:
        raise ValueError(f"predicted class number {least}; class numbers start at 0")
    matrix: Tensor = multiclass_confusion_matrix(predicted, target, classes, validate_args=False)
    return matrix.cpu()
