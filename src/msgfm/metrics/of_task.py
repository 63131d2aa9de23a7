"""Which metrics a task has, which of them picks the best checkpoint, and which way is better."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgfm.metrics.classification import MultiLabelMetrics, SingleLabelMetrics
from msgfm.metrics.metric_set import MetricSet
from msgfm.metrics.restoration import RestorationMetrics
from msgfm.metrics.segmentation import SegmentationMetrics

_LOWER_IS_BETTER = {"mae", "rmse", "sam", "ergas", "d_lambda", "d_s"}


def make_metrics(
    kind: str,
    *,
    classes: Sequence[str] = (),
    multilabel: bool = False,
    bands: Sequence[str] = (),
    value_range: tuple[float, float] | None = (0, 1),
    ratio: float | None = None,
) -> MetricSet:
    """The metrics of a task, for one pass over a test set.

    Args:
        kind: `classification`, `segmentation`, `change_detection` or `restoration`.
        classes: names of the model's classes; not for restoration.
        multilabel: whether an image has several labels.
        bands: names of the target's bands, for restoration.
        value_range: least and greatest value of the target, for restoration; (0, 1) for reflectance; None for heights.
        ratio: for pan-sharpening, pixel size of the sharp image over that of the coarse one (h/l).

    Raises:
        ValueError: there is no such kind.
    """
    if kind == "classification":
        return MultiLabelMetrics(classes) if multilabel else SingleLabelMetrics(classes)
    if kind in ("segmentation", "change_detection"):
        return SegmentationMetrics(classes)
    if kind == "restoration":
        return RestorationMetrics(bands, value_range=value_range, ratio=ratio)
    raise ValueError(f"no metrics for tasks of kind {kind!r}")


def default_metric(kind: str, *, multilabel: bool = False) -> str:
    """The metric that picks the best checkpoint where a recipe names none."""
    if kind == "classification":
        return "map_macro" if multilabel else "accuracy"
    return {"segmentation": "miou", "change_detection": "f1", "restoration": "mae"}[kind]


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better; also of `mae_per_band` and other parts of a metric."""
    return re.split("_per_|_by_", metric)[0] not in _LOWER_IS_BETTER
