"""How good a prediction is: one definition for each metric, streamed over a test set (docs/metrics.md).

`make_metrics` gives the metrics of a task as a `MetricSet`; `classification`, `segmentation`, `restoration` and
`pansharpening` hold the definitions.
"""

from msgfm.metrics.metric_set import MetricSet
from msgfm.metrics.of_task import default_metric, higher_is_better, make_metrics
from msgfm.metrics.pansharpening import NO_REFERENCE, SharpeningMetrics
from msgfm.metrics.restoration import RestorationMetrics

__all__ = [
    "NO_REFERENCE",
    "MetricSet",
    "RestorationMetrics",
    "SharpeningMetrics",
    "default_metric",
    "higher_is_better",
    "make_metrics",
]
