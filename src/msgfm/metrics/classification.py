"""Metrics of classified images, with one label each or several."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from msgfm.metrics.confusion import ConfusionMetrics, Counts, confusion_matrix, require_numbers
from msgfm.metrics.metric_set import MetricSet, Scores, mean_of_known


class SingleLabelMetrics(ConfusionMetrics):
    """`accuracy`, `accuracy_macro` (mean of the classes' recall), `f1_macro`, `recall_per_class`, `f1_per_class`.

    Of one label each, micro F1 is the accuracy. A class without an image in the test set has NaN and is left out of
    means; where it is predicted, other classes miss their images.
    """

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts a batch.

        Args:
            prediction: (B, K) logits or probabilities, of which the largest is taken.
            target: (B,) class numbers; negative ones are no labels.
        """
        require_numbers(prediction)
        self.confusion += confusion_matrix(prediction.argmax(1), target, len(self.classes))

    def compute(self) -> Scores:
        """The metrics of all images so far."""
        counts = Counts.of_confusion(self.confusion)
        recall, f1 = counts.recall(), counts.f1()
        return {
            "accuracy": self.accuracy(),
            "accuracy_macro": mean_of_known(recall),
            "f1_macro": mean_of_known(f1),
            "recall_per_class": dict(zip(self.classes, recall, strict=True)),
            "f1_per_class": dict(zip(self.classes, f1, strict=True)),
        }


class MultiLabelMetrics(MetricSet):
    """`map_macro`, `map_micro`, `f1_macro`, `f1_micro`, `average_precision_per_class`, `f1_per_class`.

    Average precision is the sum of precision times the step of recall over all thresholds, without interpolation, with
    equal scores passed at once (as scikit-learn's). Micro: all classes' scores as one list. F1 takes a label as
    predicted where its probability is above one half. A class without a positive image has NaN and is left out of macro
    means; its scores do count in the micro ones. The logits of all images are kept: 4 K bytes an image.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.logits: list[Tensor] = []
        self.labels: list[Tensor] = []

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Keeps a batch.

        Args:
            prediction: (B, K) logits.
            target: (B, K), 1 for the labels that an image has, else 0.
        """
        shape = (len(target), len(self.classes))
        if prediction.shape != shape or target.shape != shape:
            raise ValueError(f"logits {tuple(prediction.shape)} and labels {tuple(target.shape)} should be {shape}")
        require_numbers(prediction)
        self.logits.append(prediction.detach().cpu())
        self.labels.append(target.detach().bool().cpu())

    def compute(self) -> Scores:
        """The metrics of all images so far."""
        empty = torch.zeros(0, len(self.classes))
        logits, labels = torch.cat([empty, *self.logits]), torch.cat([empty.bool(), *self.labels])
        precisions = [average_precision(logits[:, k], labels[:, k]) for k in range(len(self.classes))]
        guess = logits > 0
        counts = Counts(hits=(guess & labels).sum(0), false=(guess & ~labels).sum(0), missed=(~guess & labels).sum(0))
        f1 = counts.f1()
        return {
            "map_macro": mean_of_known(precisions),
            "map_micro": average_precision(logits.flatten(), labels.flatten()),
            "f1_macro": mean_of_known(f1),
            "f1_micro": counts.f1_micro(),
            "average_precision_per_class": dict(zip(self.classes, precisions, strict=True)),
            "f1_per_class": dict(zip(self.classes, f1, strict=True)),
        }


def average_precision(logits: Tensor, labels: Tensor) -> float:
    """Average precision of one class; NaN without a positive.

    Args:
        logits: (N,).
        labels: (N,) bool.
    """
    if not labels.any():
        return torch.nan
    # Ranks instead of logits: torchmetrics squashes what lies outside 0-1 by a sigmoid, which makes large ones equal.
    ranks = torch.unique(logits, return_inverse=True)[1].double()
    return float(binary_average_precision(ranks / ranks.max().clamp(min=1), labels.long(), validate_args=False))
