"""MAE, PSNR, SSIM, spectral angle, ERGAS and Q of one image, against definitions written plainly and torchmetrics'."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from image_pairs import (
    PAIRS,
    Image,
    in_range,
    plain_ergas,
    plain_mae,
    plain_psnr,
    plain_q,
    plain_sam,
    plain_ssim,
)
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    spectral_angle_mapper,
    structural_similarity_index_measure,
)

from msgfm.metrics import RestorationMetrics
from msgfm.metrics.images import compare, psnr, spectral_angle
from msgfm.metrics.windows import ssim, universal_quality

PLAIN: dict[str, Callable[[Image, Image], float]] = {
    "mae": plain_mae,
    "psnr": plain_psnr,
    "ssim": plain_ssim,
    "sam": plain_sam,
    "q": plain_q,
    "ergas": lambda prediction, target: plain_ergas(prediction, target, 0.25),
}


def scores_of(prediction: Image, target: Image) -> dict[str, float]:
    metrics = RestorationMetrics([f"B{i}" for i in range(len(target))], ratio=0.25)
    metrics.update(torch.tensor(prediction)[None], torch.tensor(target)[None])
    scores = metrics.compute()
    return {name: value for name, value in scores.items() if isinstance(value, float)}


@pytest.mark.parametrize("pair", PAIRS)
def test_scores_are_those_of_the_plain_definitions(pair: str) -> None:
    prediction, target = PAIRS[pair]
    clipped = in_range(prediction), in_range(target)
    found = scores_of(prediction, target)
    for name, plain in PLAIN.items():
        if name != "sam" or len(target) > 1:
            rounding = 1e-6 if name == "sam" else 0  # the arccos of 1 - 1e-16, in degrees
            assert found[name] == pytest.approx(plain(*clipped), abs=1e-6 + rounding, nan_ok=True), name


def test_a_perfect_prediction_has_the_best_scores() -> None:
    best = scores_of(*PAIRS["perfect"])
    expected = {"mae": 0, "psnr": 100, "ssim": 1, "sam": 0, "ergas": 0, "q": 1, "scored": 1, "images": 1}
    assert best == pytest.approx(expected, abs=1e-9)


def test_where_nothing_can_be_compared_there_is_no_score() -> None:
    for pair in ("no data in the target", "no data in the prediction"):
        found = scores_of(*PAIRS[pair])
        assert all(math.isnan(found[name]) for name in PLAIN), pair
    for name, is_known in {"mae": True, "psnr": True, "sam": True, "ergas": True, "ssim": False, "q": False}.items():
        assert math.isnan(scores_of(*PAIRS["one pixel"])[name]) != is_known, name


def test_zeros_have_no_direction_but_predicting_them_for_something_is_a_right_angle() -> None:
    assert math.isnan(scores_of(*PAIRS["zeros"])["sam"])
    assert scores_of(*PAIRS["zeros predicted"])["sam"] == pytest.approx(90)


@pytest.mark.parametrize("pair", ["random", "unrelated", "constants", "constant prediction", "as wide as a window"])
def test_images_without_holes_against_torchmetrics(pair: str) -> None:
    prediction, target = (torch.tensor(in_range(image)) for image in PAIRS[pair])
    images = compare(prediction, target, (0, 1))
    batch = prediction[None], target[None]
    assert psnr(images) == pytest.approx(float(peak_signal_noise_ratio(*batch, data_range=1.0)), abs=1e-5)
    assert spectral_angle(images) == pytest.approx(math.degrees(float(spectral_angle_mapper(*batch))), abs=1e-5)
    # its mean is over windows that are continued beyond the image by reflection, too
    _, windows = structural_similarity_index_measure(*batch, data_range=1.0, return_full_image=True)
    assert ssim(images) == pytest.approx(float(windows[..., 5:-5, 5:-5].mean()), abs=1e-6)


def test_a_known_angle() -> None:
    target = torch.tensor([1.0, 0.0]).view(2, 1, 1).expand(2, 3, 3)
    prediction = torch.tensor([0.5, 0.5]).view(2, 1, 1).expand(2, 3, 3)
    assert spectral_angle(compare(prediction, target, (0, 1))) == pytest.approx(45)


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-7])
def test_small_angles_keep_their_digits(size: float) -> None:
    """From 1e-7 on the arccos of float64 knows one digit."""
    target = torch.tensor([1.0, 0.0], dtype=torch.float64).view(2, 1, 1)
    prediction = torch.tensor([math.cos(size), math.sin(size)], dtype=torch.float64).view(2, 1, 1)
    assert spectral_angle(compare(prediction, target, (0, 1))) == pytest.approx(math.degrees(size), rel=1e-6)


def test_the_range_of_values_is_scaled_to_one() -> None:
    prediction, target = PAIRS["beyond the range"]
    names = ("mae", "psnr", "ssim", "sam", "q", "ergas")
    counts = RestorationMetrics(["a", "b", "c"], value_range=(0, 2047), ratio=0.25)
    counts.update(torch.tensor(2047 * prediction)[None], torch.tensor(2047 * target)[None])
    found, expected = counts.compute(), scores_of(prediction, target)
    assert {name: found[name] for name in names} == pytest.approx({name: expected[name] for name in names})


def test_a_range_that_does_not_start_at_zero_has_no_ratios_of_values() -> None:
    decibels = RestorationMetrics(["VV", "VH"], value_range=(-30, 0))
    decibels.update(torch.full((1, 2, 12, 12), -10.0), torch.full((1, 2, 12, 12), -13.0))
    scores = decibels.compute()
    assert scores["mae"] == pytest.approx(0.1)
    assert scores["psnr"] == pytest.approx(20)
    assert "sam" not in scores


def test_q_falls_with_a_change_of_mean_of_contrast_and_of_correlation() -> None:
    target = torch.tensor(PAIRS["random"][1])
    valid = torch.ones(target.shape[1:], dtype=torch.bool)
    noise = torch.tensor(np.random.default_rng(1).permutation(target.flatten()).reshape(target.shape))
    for changed in (target + 0.5, 0.5 * target, noise):
        assert (universal_quality(changed, target, valid) < 0.99).all()
    assert universal_quality(target, target, valid).tolist() == pytest.approx([1, 1, 1])
    negative = universal_quality(2 * target.mean() - target, target, valid)
    assert (negative < 0).all()


@pytest.mark.parametrize("level", [1e-3, 0.3, 0.1 + 0.2, 1.0, 7e5])
def test_q_of_flat_images_compares_their_means_whatever_their_level(level: float) -> None:
    """0.3 is no binary number: sums of it and of its square are rounded, and a variance of rounding is left."""
    x, y = torch.full((1, 20, 20), level).double(), torch.full((1, 20, 20), 0.8 * level).double()
    x[:, :, 12:] = 0.7 * level
    valid = torch.ones(20, 20, dtype=torch.bool)
    found = universal_quality(x, y, valid)
    assert float(found) == pytest.approx(plain_q(x.numpy(), y.numpy()), abs=1e-6)
