"""QNR and its two distortions against loops over bands and windows, and what they should be of known images."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from image_pairs import Image, plain_q

from msgfm.metrics import SharpeningMetrics
from msgfm.metrics.pansharpening import NoReference, quality_without_reference

RATIO = 0.25


def draw_images(bands: int = 3, side: int = 12) -> tuple[Image, Image, Image]:
    """A sharpened, a coarse and a panchromatic image that have to do with each other."""
    draw = np.random.default_rng(3)
    ground = draw.uniform(0.1, 0.8, (4 * side, 4 * side))
    sharp = ground * draw.uniform(0.4, 1.2, (bands, 1, 1)) + draw.normal(0, 0.05, (bands, 4 * side, 4 * side))
    pan = ground[None] + draw.normal(0, 0.02, (1, 4 * side, 4 * side))
    return sharp, averages(sharp) + draw.normal(0, 0.03, (bands, side, side)), pan


def averages(image: Image) -> Image:
    """Means of squares of 4 x 4 pixels."""
    bands, height, width = image.shape
    return image.reshape(bands, height // 4, 4, width // 4, 4).mean(axis=(2, 4))


def plain_qnr(sharp: Image, coarse: Image, pan: Image) -> NoReference:
    """Equations of Alparone et al. (2008) with a = b = p = q = 1, band by band."""

    def q(first: Image, second: Image, everything: list[Image], size: int) -> float:
        holes = np.isnan(np.concatenate(everything)).any(axis=0)
        return plain_q(np.where(holes, np.nan, first)[None], np.where(holes, np.nan, second)[None], size)

    small = averages(pan)
    lambdas = [
        abs(q(sharp[i], sharp[j], [sharp, pan], 32) - q(coarse[i], coarse[j], [coarse, small], 8))
        for i, j in itertools.permutations(range(len(sharp)), 2)
    ]
    spatial = [
        abs(q(sharp[i], pan[0], [sharp, pan], 32) - q(coarse[i], small[0], [coarse, small], 8))
        for i in range(len(sharp))
    ]
    d_lambda, d_s = float(np.mean(lambdas)) if lambdas else 0.0, float(np.mean(spatial))
    return NoReference(d_lambda=d_lambda, d_s=d_s, qnr=(1 - d_lambda) * (1 - d_s))


def quality(sharp: Image, coarse: Image, pan: Image) -> dict[str, float]:
    return vars(quality_without_reference(*(torch.tensor(image) for image in (sharp, coarse, pan)), RATIO))


def test_against_the_plain_definition() -> None:
    images = draw_images()
    assert quality(*images) == pytest.approx(vars(plain_qnr(*images)), abs=1e-6)


def test_with_holes_against_the_plain_definition() -> None:
    sharp, coarse, pan = draw_images()
    sharp[1, 2, 3] = coarse[0, 11, 11] = pan[0, 46, 0] = np.nan
    assert quality(sharp, coarse, pan) == pytest.approx(vars(plain_qnr(sharp, coarse, pan)), abs=1e-6)


def test_of_one_band_nothing_spectral_can_be_distorted() -> None:
    images = draw_images(bands=1)
    found = quality(*images)
    assert found == pytest.approx(vars(plain_qnr(*images)), abs=1e-6)
    assert found["d_lambda"] == 0
    assert found["qnr"] == pytest.approx(1 - found["d_s"])


def test_constant_images_are_not_distorted() -> None:
    flat = np.linspace(0.1, 0.4, 3)[:, None, None]
    sharp, coarse = (np.broadcast_to(flat, (3, side, side)).copy() for side in (48, 12))
    assert quality(sharp, coarse, np.full((1, 48, 48), 0.2)) == pytest.approx({"d_lambda": 0, "d_s": 0, "qnr": 1})


def test_copies_of_the_panchromatic_image_lose_their_colours() -> None:
    sharp, coarse, pan = draw_images()
    assert quality(sharp, coarse, pan)["qnr"] > quality(pan.repeat(3, axis=0), coarse, pan)["qnr"]


def test_images_too_small_for_a_window_have_no_quality() -> None:
    sharp, coarse, pan = draw_images(side=7)
    assert all(math.isnan(value) for value in quality(sharp, coarse, pan).values())


def test_sides_need_not_be_whole_multiples() -> None:
    """As SpaceNet 2 has 163 and 650 pixels: of one ground sampled finely and coarsely, hardly anything is distorted."""

    def ground(side: int) -> Image:
        y, x = np.meshgrid(*2 * [(np.arange(side) + 0.5) / side], indexing="ij")
        return np.stack([0.5 + 0.3 * np.sin(phase + 7 * x) * np.cos(phase - 5 * y) for phase in (0.2, 0.9, 1.7)])

    assert quality(ground(50), ground(13), ground(50)[:1] / 2)["qnr"] > 0.98
    assert quality(ground(50)[:, ::-1].copy(), ground(13), ground(50)[:1] / 2)["qnr"] < 0.9


def test_of_a_test_set_it_is_the_mean_over_images_and_holes_are_told() -> None:
    sharp, coarse, pan = (torch.tensor(image) for image in draw_images())
    pan[0, :12] = torch.nan
    holed = sharp.flip(2)
    holed[1, :14] = torch.nan
    metrics = SharpeningMetrics()
    for image in (sharp, holed):
        metrics.update(image[None], coarse[None], pan[None])
    one, other = (quality_without_reference(image, coarse, pan, RATIO) for image in (sharp, holed))
    found = metrics.compute()
    assert found.keys() == {"d_lambda", "d_s", "qnr", "scored"}
    assert found["qnr"] == pytest.approx((one.qnr + other.qnr) / 2)
    assert found["d_s"] == pytest.approx((one.d_s + other.d_s) / 2)
    assert metrics.scores["scored"] == pytest.approx([1, 34 / 36])


def test_images_that_do_not_go_together_are_refused() -> None:
    sharp, coarse, pan = (torch.tensor(image)[None] for image in draw_images())
    for wrong in ((sharp, coarse[:, :2], pan), (sharp, coarse, pan[..., 1:]), (sharp, sharp, pan)):
        with pytest.raises(ValueError, match="of a coarser grid"):
            SharpeningMetrics().update(*wrong)
