"""What is hidden, and the loss over it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from msgfm.models.masking import masked_l1, random_patch_mask, upsample_mask


def draw(seed: int, rows: int = 6, cols: int = 6, ratio: float = 0.6) -> torch.Tensor:
    return random_patch_mask(rows, cols, ratio, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("rows", "cols", "ratio"), [(6, 6, 0.6), (7, 5, 0.6), (6, 6, 0.0), (6, 6, 1.0), (3, 4, 0.25)])
def test_exactly_the_share_is_hidden(rows, cols, ratio):
    for seed in range(10):
        hidden = draw(seed, rows, cols, ratio)
        assert hidden.shape == (rows, cols)
        assert int(hidden.sum()) == math.ceil(ratio * rows * cols)


def test_the_draw_follows_from_the_generator_alone():
    torch.manual_seed(1)
    first = draw(7)
    torch.manual_seed(2)
    assert torch.equal(draw(7), first)
    assert not torch.equal(draw(8), first)


def test_every_square_is_hidden_equally_often():
    generator = torch.Generator().manual_seed(0)
    share = torch.stack([random_patch_mask(6, 6, 0.6, generator) for _ in range(2000)]).float().mean(dim=0)
    assert (share - 22 / 36).abs().max() < 0.05  # 4.6 standard errors


def test_upsampled_mask_covers_the_squares():
    hidden = draw(0)[None]
    pixels = upsample_mask(hidden, 4)
    assert pixels.shape == (1, 24, 24)
    for y in range(24):
        for x in range(24):
            assert pixels[0, y, x] == hidden[0, y // 4, x // 4]


def test_masked_l1_is_the_mean_over_hidden_pixels_with_data():
    rng = np.random.default_rng(0)
    prediction, target = rng.normal(size=(2, 3, 3, 8, 8)).astype(np.float32)
    hidden = rng.random((3, 1, 8, 8)) < 0.5
    target[rng.random(target.shape) < 0.3] = np.nan
    expected = [
        np.mean([abs(p - t) for p, t, m in zip(*triple, strict=True) if m and not math.isnan(t)])
        for triple in zip(
            prediction.reshape(3, -1),
            target.reshape(3, -1),
            np.broadcast_to(hidden, target.shape).reshape(3, -1),
            strict=True,
        )
    ]
    ours = masked_l1(torch.tensor(prediction), torch.tensor(target), torch.tensor(hidden))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5)


def test_masked_l1_gives_no_gradient_where_there_is_no_data_or_nothing_hidden():
    prediction = torch.zeros(1, 1, 2, 2, requires_grad=True)
    target = torch.tensor([[[[1.0, torch.nan], [1.0, 1.0]]]])
    hidden = torch.tensor([[[[True, True], [False, False]]]])
    masked_l1(prediction, target, hidden).sum().backward()
    assert prediction.grad.tolist() == [[[[-1.0, 0.0], [0.0, 0.0]]]]


def test_masked_l1_of_an_image_without_data_is_zero():
    prediction = torch.ones(1, 2, 4, 4, requires_grad=True)
    loss = masked_l1(prediction, torch.full((1, 2, 4, 4), torch.nan), torch.ones(1, 1, 4, 4, dtype=torch.bool))
    loss.sum().backward()
    assert loss.item() == 0
    assert prediction.grad.abs().max() == 0


def test_masked_l1_is_float32_whatever_comes_in():
    prediction = torch.ones(1, 1, 64, 64, dtype=torch.bfloat16)
    loss = masked_l1(prediction, torch.full((1, 1, 64, 64), 1.001), torch.ones(1, 1, 64, 64, dtype=torch.bool))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.001, rel=1e-3)  # bfloat16 rounds 1.001 to 1
