"""Restoration over a test set: means over images, holes, bands, cloud cover, and no trace of batches and order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from msgfm.metrics import RestorationMetrics
from msgfm.metrics.metric_set import Scores
from msgfm.metrics.restoration import CLOUD_BINS

BANDS = ("B02", "B03", "B04")
NAN = math.nan


def draw_batch(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions and targets with holes, one of them without any data, and cloud cover that is known of most."""
    draw = torch.Generator().manual_seed(0)
    target = torch.rand(count, 3, 14, 15, generator=draw)
    prediction = target + 0.1 * torch.randn(count, 3, 14, 15, generator=draw)
    target[torch.rand(count, 1, 14, 15, generator=draw).expand_as(target) > 0.995] = NAN
    target[1] = NAN
    target[2, 1] = NAN
    prediction[3, :, 0] = NAN
    clouds = torch.rand(count, generator=draw)
    clouds[4] = NAN
    return prediction, target, clouds


def compute(prediction: Tensor, target: Tensor, clouds: Tensor | None = None, ratio: float | None = None) -> Scores:
    metrics = RestorationMetrics(BANDS, ratio=ratio)
    metrics.update(prediction, target, clouds)
    return metrics.compute()


def same(found: Scores, expected: Scores) -> bool:
    """Equal to the last bit, NaN being NaN."""
    return repr(found) == repr(expected)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(7)), st.sets(st.integers(1, 6)))
def test_neither_order_nor_batches_change_a_bit(order: list[int], cuts: set[int]) -> None:
    batch = draw_batch(7)
    metrics = RestorationMetrics(BANDS, ratio=0.25)
    edges = [0, *sorted(cuts), 7]
    for start, end in itertools.pairwise(edges):
        metrics.update(*(part[order[start:end]] for part in batch))
    assert same(metrics.compute(), compute(*batch, ratio=0.25))


def test_every_image_counts_the_same_however_many_of_its_pixels_have_data() -> None:
    target = torch.full((2, 3, 4, 4), 0.5)
    prediction = target + torch.tensor([0.1, 0.3]).view(2, 1, 1, 1)
    target[1, :, 1:] = NAN
    assert compute(prediction, target)["mae"] == pytest.approx(0.2)


def test_an_image_that_cannot_be_scored_does_not_change_the_means() -> None:
    prediction, target, _ = draw_batch(7)
    without = [0, 2, 3, 4, 5, 6]
    found, expected = compute(prediction, target), compute(prediction[without], target[without])
    assert (found.pop("images"), expected.pop("images")) == (7, 6)
    assert same(found, expected)


def test_what_lies_under_holes_does_not_matter() -> None:
    prediction, target, clouds = draw_batch(7)
    changed = torch.where(target.isnan().any(1, keepdim=True), 9.0, prediction)
    changed[2] = prediction[2]  # a band that the target lacks is no hole
    assert same(compute(changed, target, clouds), compute(prediction, target, clouds))


def test_the_share_that_was_scored_tells_of_holes_in_the_prediction() -> None:
    target = torch.full((1, 3, 4, 5), 0.5)
    target[0, 0, 3] = NAN
    prediction = torch.full((1, 3, 4, 5), 0.5)
    prediction[0, 2, 0] = prediction[0, 2, 3] = NAN
    assert compute(prediction, target)["scored"] == pytest.approx(10 / 15)


def test_errors_of_each_band_leave_out_the_images_that_lack_it() -> None:
    target = torch.full((2, 3, 4, 4), 0.5)
    target[1, 2] = NAN
    prediction = target.nan_to_num(0) + torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    scores = compute(prediction, target)
    assert scores["mae_per_band"] == pytest.approx({"B02": 0.1, "B03": 0.2, "B04": 0.3})
    assert scores["mae"] == pytest.approx((0.2 + 0.15) / 2)
    assert scores["scored"] == 1


def test_by_cloud_cover() -> None:
    shares = [0.0, 0.19, 0.2, 0.59, 0.8, 1.0, NAN]
    target = torch.full((len(shares), 3, 4, 4), 0.1)
    errors = torch.arange(len(shares)) / 10
    scores = compute(target + errors.view(-1, 1, 1, 1), target, torch.tensor(shares))
    assert scores["images_by_clouds"] == dict(zip(CLOUD_BINS, [2, 1, 1, 0, 2], strict=True))
    expected = dict(zip(CLOUD_BINS, [0.05, 0.2, 0.3, NAN, 0.45], strict=True))
    assert scores["mae_by_clouds"] == pytest.approx(expected, nan_ok=True)
    assert scores["mae"] == pytest.approx(0.3)  # the image of unknown cover counts here


@pytest.mark.parametrize(("share", "filled"), [(0.0, "0-20"), (1.0, "80-100")])
def test_no_clouds_anywhere_and_clouds_everywhere(share: float, filled: str) -> None:
    target = torch.rand(3, 3, 12, 12)
    scores = compute(target + 0.1, target, torch.full((3,), share))
    by_clouds = scores["psnr_by_clouds"]
    assert isinstance(by_clouds, dict)
    assert [name for name, value in by_clouds.items() if not math.isnan(value)] == [filled]
    assert by_clouds[filled] == scores["psnr"]


def test_a_limit_belongs_to_the_bin_above_as_a_float32_holds_it() -> None:
    shares = torch.tensor([0.2, 0.4, 0.6, 0.8])
    scores = compute(torch.zeros(4, 3, 1, 1), torch.zeros(4, 3, 1, 1), shares)
    assert scores["images_by_clouds"] == dict(zip(CLOUD_BINS, [0, 1, 1, 1, 1], strict=True))


def test_unknown_cloud_cover_gives_no_bins() -> None:
    target = torch.rand(2, 3, 12, 12)
    for clouds in (None, torch.full((2,), NAN)):
        assert not [name for name in compute(target, target, clouds) if name.endswith("_by_clouds")]


@pytest.mark.parametrize("share", [-0.1, 1.2, 35.0])
def test_cloud_cover_in_percent_is_refused(share: float) -> None:
    target = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError, match=r"cloud.*0-1"):
        compute(target, target, torch.tensor([share]))


def test_without_any_image_there_are_no_numbers() -> None:
    scores = RestorationMetrics(BANDS).compute()
    assert scores["images"] == 0
    assert scores["mae_per_band"] == pytest.approx(dict.fromkeys(BANDS, NAN), nan_ok=True)


def test_images_of_other_bands_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        compute(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8))


def test_scores_of_the_images_in_the_order_of_the_updates() -> None:
    target = torch.full((3, 3, 4, 4), 0.5)
    metrics = RestorationMetrics(BANDS)
    metrics.update(target[:2] + torch.tensor([0.3, 0.1]).view(2, 1, 1, 1), target[:2])
    metrics.update(target[2:], target[2:])
    np.testing.assert_allclose(metrics.scores["mae"], [0.3, 0.1, 0.0], atol=1e-6)


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_cpu() -> None:
    prediction, target, clouds = draw_batch(7)
    on_cpu, on_gpu = RestorationMetrics(BANDS, ratio=0.25), RestorationMetrics(BANDS, ratio=0.25)
    for metrics, device in ((on_cpu, "cpu"), (on_gpu, "cuda")):
        metrics.update(*(part.to(device) for part in (prediction, target, clouds)))
    for name, scores in on_cpu.scores.items():
        assert on_gpu.scores[name] == pytest.approx(scores, nan_ok=True), name


def test_one_band_has_no_spectrum_and_so_no_angle() -> None:
    target = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    scores = {}
    for bands in (1, 2):
        metrics = RestorationMetrics(BANDS[:bands])
        metrics.update(target.expand(-1, bands, -1, -1), target.expand(-1, bands, -1, -1))
        scores[bands] = metrics.compute()
    assert scores[2].keys() - scores[1].keys() == {"sam"}


def test_of_heights_errors_are_in_metres() -> None:
    target = torch.tensor([[[100.0, 4000.0], [-3.0, NAN]]])[None]
    prediction = target + torch.tensor([[3.0, -4.0], [-5.0, 1.0]])
    heights = RestorationMetrics(["height"], value_range=None)
    heights.update(prediction, target)
    scores = heights.compute()
    assert scores["mae"] == pytest.approx(4)
    assert scores["rmse"] == pytest.approx(math.sqrt(50 / 3))
    assert scores["mae_per_band"] == {"height": pytest.approx(4)}
    assert scores.keys() == {"mae", "rmse", "scored", "mae_per_band", "images"}
