"""What is no number in a prediction: of images it was not predicted, of classes it is refused."""

from __future__ import annotations

import math

import pytest
import torch

from msgfm.metrics import RestorationMetrics, SharpeningMetrics
from msgfm.metrics.segmentation import SegmentationMetrics

NOT_NUMBERS = (math.nan, math.inf, -math.inf)


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("value_range", [(0.0, 1.0), None], ids=["reflectance", "heights"])
def test_pixels_that_are_no_numbers_count_as_not_predicted(
    value: float, value_range: tuple[float, float] | None
) -> None:
    target = torch.full((1, 1, 16, 16), 0.5)
    prediction = target + 0.1
    prediction[..., :4] = value
    metrics = RestorationMetrics(["height"], value_range=value_range)
    metrics.update(prediction, target)
    scores = metrics.compute()
    assert scores["mae"] == pytest.approx(0.1)
    assert scores["scored"] == 0.75


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_nor_are_they_predicted_at_full_resolution(value: float) -> None:
    draw = torch.Generator().manual_seed(0)
    sharp, coarse = torch.rand(1, 2, 48, 48, generator=draw), torch.rand(1, 2, 12, 12, generator=draw)
    pan = torch.rand(1, 1, 48, 48, generator=draw)
    sharp[0, 1, :12] = value
    metrics = SharpeningMetrics()
    metrics.update(sharp, coarse, pan)
    assert metrics.scores["scored"] == [0.75]
    sharp[0, 1, :12] = math.nan
    metrics.update(sharp, coarse, pan)
    assert metrics.scores["qnr"][0] == metrics.scores["qnr"][1] < 1


def test_logits_of_pixels_that_are_no_numbers_are_refused() -> None:
    """NaN would be the largest of all: class 0, which here is true, too."""
    logits = torch.full((1, 3, 4, 4), math.nan)
    with pytest.raises(ValueError, match="NaN for the classes"):
        SegmentationMetrics(("a", "b", "c")).update(logits, torch.zeros(1, 4, 4, dtype=torch.int64))
