"""The quantile sketch against numpy on all values at once, and its stated bound."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from msgfm.data.statistics import PERCENTILES
from msgfm.data.statistics.quantiles import BINS, QuantileSketch, merge_sketches, sketch

RANGES = st.sampled_from([(0.0, 1.0), (-0.1, 3.2767), (-500.0, 9000.0), (-30.0, 5.0), (1e-3, 2e-3)])
ANY = st.floats(width=32, allow_nan=False, allow_infinity=False)
NEAR = st.floats(-40, 10, width=32)
FEW = st.sampled_from([0.0, 0.25, -7.5, 3000.0])
VALUES = st.one_of(*(arrays(np.float32, st.integers(1, 60), elements=kind) for kind in (ANY, NEAR, FEW)))


def assert_within_bound(found: QuantileSketch, values: np.ndarray, percentiles: tuple[float, ...]) -> None:
    """Each is off by at most (width of the range + distance from it) / BINS, of the values that it lies between."""
    exact = values.astype(np.float64)
    low, high = found.valid_range
    ends = np.stack([np.percentile(exact, percentiles, method=method) for method in ("lower", "higher")])
    distance = np.maximum(np.maximum(low - ends, ends - high), 0).max(axis=0)
    bound = (high - low + distance) / BINS
    rounding = 1e-12 * np.abs(ends).max(axis=0)
    error = np.abs(found.percentiles(percentiles) - np.percentile(exact, percentiles))
    assert (error <= bound * (1 + 1e-9) + rounding).all(), (error, bound)


@given(VALUES, RANGES, st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_percentiles_are_within_the_stated_bound(values: np.ndarray, valid_range, more: list[float]) -> None:
    assert_within_bound(sketch(values, valid_range), values, (*PERCENTILES, *more))


@given(VALUES, RANGES)
def test_count_and_extremes_are_exact(values: np.ndarray, valid_range) -> None:
    found = sketch(values, valid_range)
    assert (found.count, found.minimum, found.maximum) == (values.size, values.min(), values.max())


@given(st.lists(VALUES, min_size=2, max_size=6), RANGES, st.randoms(use_true_random=False))
def test_parts_merge_to_the_sketch_of_all_in_any_order_and_grouping(parts: list[np.ndarray], valid_range, random):
    whole = sketch(np.concatenate(parts), valid_range)
    pieces = [sketch(part, valid_range) for part in parts]
    random.shuffle(pieces)
    cut = random.randrange(1, len(pieces))
    merged = merge_sketches(reduce(merge_sketches, pieces[:cut]), reduce(merge_sketches, pieces[cut:]))
    for name in ("bins", "counts"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    for name in ("smallest", "largest"):  # 0 and -0 are one number
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))


@pytest.mark.parametrize("draw", ["lognormal", "cauchy", "constant", "mixture"])
def test_percentiles_of_many_values_in_parts(draw: str) -> None:
    random = np.random.default_rng(3)
    values = {
        "lognormal": lambda: random.lognormal(0, 3, 200_000),
        "cauchy": lambda: random.standard_cauchy(200_000) * 10,
        "constant": lambda: np.full(200_000, 0.3),
        "mixture": lambda: np.where(random.random(200_000) < 0.02, 1e6, random.normal(3000, 1, 200_000)),
    }[draw]().astype(np.float32)
    found = reduce(merge_sketches, (sketch(part, (-500, 9000)) for part in np.array_split(values, 17)))
    assert_within_bound(found, values, (0, *PERCENTILES, 100))
    assert found.bins.size <= 20 * BINS


@pytest.mark.parametrize(
    ("steps", "scale", "offset", "valid_range"),
    [
        (256, 1 / 255, 0, (0, 1)),  # rgb
        (32768, 1e-4, -1000, (-0.1, 3.2767)),  # sentinel2
        (65536, 2e-5, -5000, (-0.1, 1.21070)),  # landsat8
        (65536, 1.0, 0, (0, 65535)),
    ],
)
def test_percentiles_of_stored_integers_are_exact(steps: int, scale: float, offset: float, valid_range) -> None:
    """Every integer at its own rank, so that one shared bin would show."""
    stored = np.arange(steps, dtype=np.float32)
    values = ((stored + np.float32(offset)) * np.float32(scale)).astype(np.float32)
    found = sketch(values, valid_range)
    assert found.bins.size == steps
    drawn = np.random.default_rng(1).choice(values, 100_001)
    np.testing.assert_array_equal(
        sketch(drawn, valid_range).percentiles(PERCENTILES), np.percentile(drawn.astype(np.float64), PERCENTILES)
    )


def test_a_sketch_of_nothing_has_no_percentiles_and_changes_nothing() -> None:
    nothing = sketch(np.empty(0, np.float32), (0, 1))
    assert nothing.count == 0 and np.isnan([*nothing.percentiles(PERCENTILES), nothing.minimum, nothing.maximum]).all()
    some = sketch(np.array([0.5, 2], np.float32), (0, 1))
    for merged in (merge_sketches(nothing, some), merge_sketches(some, nothing)):
        np.testing.assert_array_equal(merged.percentiles((0, 50, 100)), [0.5, 1.25, 2])
    assert merge_sketches(nothing, nothing).count == 0


@settings(max_examples=30)
@given(RANGES, st.integers(0, 2**32 - 1))
def test_no_bin_repeats_around_its_edges(valid_range, seed: int) -> None:
    """Neighbouring floats at the edges of bins, of the range and of the doublings: bins must ascend with values."""
    low, high = valid_range
    random = np.random.default_rng(seed)
    steps = np.concatenate([random.integers(0, BINS, 200), np.zeros(1), np.full(1, BINS), BINS * 2.0 ** np.arange(12)])
    edges = np.concatenate([low + (high - low) * steps / BINS, high - (high - low) * steps / BINS]).astype(np.float32)
    values = np.concatenate([edges, np.nextafter(edges, np.float32(np.inf)), np.nextafter(edges, np.float32(-np.inf))])
    found = sketch(values, valid_range)
    assert (np.diff(found.bins) > 0).all()
    assert (found.smallest[1:] > found.largest[:-1]).all()
