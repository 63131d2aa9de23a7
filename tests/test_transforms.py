"""Crops, flips, squares and jitter, on images whose values are their own coordinates."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msgfm.data.transforms import centre_crop, crop_and_flip, fill_up, jitter_radiometry, squares_over
from msgfm.sensors import Sensor

sides = st.integers(1, 12)


def coordinates(height: int, width: int) -> np.ndarray:
    """Two bands: each pixel's row, and its column."""
    return np.stack(np.mgrid[:height, :width]).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(height=sides, width=sides, size=sides, seed=st.integers(0, 2**32))
def test_every_sensor_gets_the_same_square_of_the_image(height, width, size, seed):
    image = coordinates(height, width)
    images = {"a": image, "b": image.copy(), "three": np.concatenate([image, image[:1]])}
    out = crop_and_flip(images, size, np.random.default_rng(seed))

    np.testing.assert_array_equal(out["a"], out["b"])
    np.testing.assert_array_equal(out["a"], out["three"][:2])
    np.testing.assert_array_equal(out["three"][2], out["three"][0])
    assert out["a"].shape == (2, size, size)
    assert out["a"].dtype == np.float32
    assert out["a"].flags.c_contiguous, "torch.from_numpy takes no flipped views"
    np.testing.assert_array_equal(images["a"], coordinates(height, width), "the image itself is left alone")

    # what has data is one block as large as can be; along it, rows and columns count up or down by one
    rows, columns = out["a"]
    inside = np.isfinite(rows)
    np.testing.assert_array_equal(inside, np.isfinite(columns))
    has_row, has_column = inside.any(1), inside.any(0)
    assert (has_row.sum(), has_column.sum()) == (min(height, size), min(width, size))
    assert inside.sum() == has_row.sum() * has_column.sum()
    block = out["a"][:, has_row][:, :, has_column]
    np.testing.assert_array_equal(block[0], np.broadcast_to(block[0][:, :1], block[0].shape))
    np.testing.assert_array_equal(block[1], np.broadcast_to(block[1][:1], block[1].shape))
    for steps in (np.diff(block[0][:, 0]), np.diff(block[1][0])):
        assert len(set(steps)) <= 1
        assert set(np.abs(steps)) <= {1.0}
    # the block touches a corner: no data is on the outside
    assert has_row[0] or has_row[-1]
    assert has_column[0] or has_column[-1]


def test_every_place_and_every_flip_is_equally_likely():
    image = coordinates(5, 6)
    rng = np.random.default_rng(0)
    outcomes = Counter(crop_and_flip({"a": image}, 4, rng)["a"].tobytes() for _ in range(2400))
    assert len(outcomes) == 2 * 3 * 4  # rows, columns, flips
    assert max(abs(count - 100) for count in outcomes.values()) < 4.5 * 100**0.5


def test_the_generator_alone_decides():
    image = coordinates(20, 20)

    def draw(seed: int) -> np.ndarray:
        return crop_and_flip({"a": image}, 4, np.random.default_rng(seed))["a"]

    np.testing.assert_array_equal(draw(1), draw(1))
    assert any((draw(1) != draw(seed)).any() for seed in range(2, 5))


def test_small_images_are_filled_up_with_no_data():
    image = np.ones((2, 2, 3), np.float32)
    filled = fill_up(image, 4)
    expected = np.full((2, 4, 4), np.nan, np.float32)
    expected[:, :2, :3] = 1
    np.testing.assert_array_equal(filled, expected)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(fill_up(image, 2), image)
    assert np.isnan(crop_and_flip({"a": image}, 4, np.random.default_rng(0))["a"]).sum() == 2 * (16 - 6)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [(6, 8, [1, 2, 3, 4], [2, 3, 4, 5]), (5, 4, [0, 1, 2, 3], [0, 1, 2, 3]), (4, 9, [0, 1, 2, 3], [2, 3, 4, 5])],
)
def test_centre_crop_takes_the_middle(height, width, rows, columns):
    image = coordinates(height, width)
    out = centre_crop({"a": image, "b": 2 * image}, 4)
    np.testing.assert_array_equal(out["a"], image[:, rows][:, :, columns])
    np.testing.assert_array_equal(out["b"], 2 * out["a"])


def test_centre_crop_fills_up_small_images():
    out = centre_crop({"a": coordinates(3, 6)}, 4)["a"]
    np.testing.assert_array_equal(out[:, :3], coordinates(3, 6)[:, :, 1:5])
    assert np.isnan(out[:, 3]).all()


SMALL = {  # two bands in their own units
    "pair": Sensor.model_validate(
        {
            "name": "pair",
            "unit": "1",
            "valid_range": [0, 9],
            "bands": [{"name": "a", "mean": 2.0, "std": 0.5}, {"name": "b", "mean": 40.0, "std": 8.0}],
        }
    )
}


@settings(max_examples=100, deadline=None)
@given(strength=st.floats(0, 0.9), seed=st.integers(0, 2**32))
def test_jitter_is_one_contrast_an_image_and_one_shift_a_band_within_its_strength(strength, seed):
    image = np.random.default_rng(1).normal(0, 3, (2, 5, 5)).astype(np.float32)
    image[0, 2, 3] = np.nan
    out = jitter_radiometry({"pair": image}, SMALL, strength, np.random.default_rng(seed))["pair"]
    assert out.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(out), np.isnan(image))
    factors = []
    for band, before, after in zip(SMALL["pair"].bands, image, out, strict=True):
        has_data = np.isfinite(before)
        slope, at_mean = np.polyfit(before[has_data] - band.mean, after[has_data] - band.mean, 1)
        factors.append(slope)
        assert abs(at_mean) <= strength * band.std + 1e-4
    assert factors[0] == pytest.approx(factors[1], abs=1e-4)
    assert abs(factors[0] - 1) <= strength + 1e-4


@settings(max_examples=200, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 16), most=st.integers(1, 50))
def test_squares_cover_the_image_with_as_few_as_can(height, width, size, most):
    image = coordinates(height, width)
    squares = [square["a"] for square in squares_over({"a": image}, size, most)]
    needed = -(-height // size) * -(-width // size)
    assert len(squares) == min(needed, most)
    assert all(square.shape == (2, size, size) for square in squares)
    seen = {(row, column) for square in squares for row, column in square.reshape(2, -1).T if np.isfinite(row)}
    if most >= needed:
        assert len(seen) == height * width
    assert len({square.tobytes() for square in squares}) == len(squares)
