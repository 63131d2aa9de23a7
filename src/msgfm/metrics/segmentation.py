"""Metrics of class maps: segmentation and change detection. All come from one confusion matrix of pixels."""

from __future__ import annotations

from torch import Tensor

from msgfm.metrics.confusion import (
    ConfusionMetrics,
    Counts,
    confusion_matrix,
    foreground_scores,
    require_numbers,
)
from msgfm.metrics.metric_set import Scores, mean_of_known


class SegmentationMetrics(ConfusionMetrics):
    """`miou`, `f1_macro`, `accuracy`, `iou_per_class`, `f1_per_class`.

    Of two classes also `precision`, `recall`, `f1` and `iou` of the second, which is what is looked for.

    The pixels of all images are counted together, as the benchmarks do, so an image counts by its labelled pixels.
    Pixels with a negative label are left out. A class without any pixel in the test set has NaN and is left out of
    means; where it is predicted, other classes miss their pixels.
    """

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts a batch.

        Args:
            prediction: (B, K, H, W) logits or probabilities, of which the largest is taken, or (B, H, W) class numbers.
            target: (B, H, W) class numbers, negative where there is no label.
        """
        predicted = prediction
        if prediction.ndim == target.ndim + 1:
            require_numbers(prediction)
            predicted = prediction.argmax(1)
        self.confusion += confusion_matrix(predicted, target, len(self.classes))

    def compute(self) -> Scores:
        """The metrics of all pixels so far."""
        counts = Counts.of_confusion(self.confusion)
        iou, f1 = counts.iou(), counts.f1()
        scores: Scores = {
            "miou": mean_of_known(iou),
            "f1_macro": mean_of_known(f1),
            "accuracy": self.accuracy(),
            "iou_per_class": dict(zip(self.classes, iou, strict=True)),
            "f1_per_class": dict(zip(self.classes, f1, strict=True)),
        }
        return scores | foreground_scores(counts) if len(self.classes) == 2 else scores
