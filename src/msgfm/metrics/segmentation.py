"""Metrics of class maps: segmentation and change detection. All come from one confusion matrix of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from msgfm.metrics.confusion import Counts, foreground_scores
from msgfm.metrics.metric_set import MetricSet, Scores, mean_of_known


class SegmentationMetrics(MetricSet):
    """`miou`, `f1_macro`, `accuracy`, `iou_per_class`, `f1_per_class`.

    Of two classes also `precision`, `recall`, `f1` and `iou` of the second, which is what is looked for.

    The pixels of all images are counted together, as the benchmarks do, so an image counts by its labelled pixels.
    Pixels with a negative label are left out. A class without any pixel in the test set has NaN and is left out of
    means; where it is predicted, other classes miss their pixels.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.confusion = torch.zeros(len(classes), len(classes), dtype=torch.int64)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts a batch.

        Args:
            prediction: (B, K, H, W) logits or probabilities, of which the largest is taken, or (B, H, W) class numbers.
            target: (B, H, W) class numbers, negative where there is no label.
        """
        predicted = prediction.argmax(1) if prediction.ndim == target.ndim + 1 else prediction
        self.confusion += confusion_matrix(predicted, target, len(self.classes))

    def compute(self) -> Scores:
        """The metrics of all pixels so far."""
        counts = Counts.of_confusion(self.confusion)
        iou, f1 = counts.iou(), counts.f1()
        labelled = int(self.confusion.sum())
        scores: Scores = {
            "miou": mean_of_known(iou),
            "f1_macro": mean_of_known(f1),
            "accuracy": int(counts.hits.sum()) / labelled if labelled else torch.nan,
            "iou_per_class": dict(zip(self.classes, iou, strict=True)),
            "f1_per_class": dict(zip(self.classes, f1, strict=True)),
        }
        return scores | foreground_scores(counts) if len(self.classes) == 2 else scores


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
