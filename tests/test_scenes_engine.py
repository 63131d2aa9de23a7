"""The engine gives back what the model gives, whatever the windows: identity, invariance, no-data, reading once."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from msgfm.geo.tiling import Area, Axis, Tiling
from msgfm.scenes.engine import Clock, behind, sweep


def read_from(images):
    def read(row, column, height, width):
        cut = {key: image[:, row : row + height, column : column + width] for key, image in images.items()}
        assert all(image.shape[1:] == (height, width) for image in cut.values()), "read beyond the scene"
        return cut

    return read


def put_together(pieces, channels, shape):
    values, valid = np.full((channels, *shape), np.inf, np.float32), np.zeros(shape, bool)
    written = np.zeros(shape, int)
    for piece in pieces:
        place = np.s_[piece.area.top : piece.area.bottom, piece.area.left : piece.area.right]
        values[:, *place], valid[place] = piece.values, piece.valid
        written[place] += 1
    assert (written == 1).all(), "each pixel once"
    return values, valid


def whole(tiling):
    return Area(top=0, bottom=tiling.height, left=0, right=tiling.width)


def cut_up(rng, tiling):
    """Areas that cover the scene, cut at random rows and columns."""
    rows, columns = (
        sorted({0, side, *rng.integers(1, max(side, 2), size=rng.integers(0, 4)).clip(max=side).tolist()})
        for side in (tiling.height, tiling.width)
    )
    return [
        Area(top=top, bottom=bottom, left=left, right=right)
        for left, right in itertools.pairwise(columns)
        for top, bottom in itertools.pairwise(rows)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_a_model_that_returns_its_input_gives_the_scene(seed):
    rng = np.random.default_rng(seed)
    for _ in range(60):
        window = int(rng.integers(1, 40))
        height, width = (int(side) for side in rng.integers(1, 90, 2))
        tiling = Tiling(height=height, width=width, window=window, overlap=int(rng.integers(0, window)))
        scene = rng.normal(size=(2, height, width)).astype(np.float32)
        if rng.random() < 0.5:
            scene[:, rng.random((height, width)) < rng.random()] = np.nan
        areas = cut_up(rng, tiling)
        pieces = [
            piece
            for area in areas
            for piece in sweep(
                read_from({"x": scene}),
                lambda images: images["x"].copy(),
                tiling,
                area,
                channels=2,
                batch_size=int(rng.integers(1, 9)),
            )
        ]
        values, valid = put_together(pieces, 2, (height, width))
        known = np.isfinite(scene[0])
        assert (valid == known).all(), tiling
        np.testing.assert_allclose(values[:, known], scene[:, known], rtol=1e-6, atol=1e-6, err_msg=str(tiling))


def blurred(images):
    """Shift-invariant, looks 3 pixels far."""
    padded = F.pad(torch.from_numpy(images["x"]), (3, 3, 3, 3), mode="replicate")
    return F.avg_pool2d(padded, 7, stride=1).numpy()


@pytest.mark.parametrize(("window", "overlap", "batch"), [(32, 12, 1), (33, 17, 5), (64, 40, 3), (20, 12, 100)])
def test_of_a_shift_invariant_model_the_result_depends_on_nothing(window, overlap, batch):
    rng = np.random.default_rng(0)
    scene = rng.normal(size=(1, 101, 143)).astype(np.float32)
    tiling = Tiling(height=101, width=143, window=window, overlap=overlap)
    pieces = [
        piece
        for area in cut_up(rng, tiling)
        for piece in sweep(read_from({"x": scene}), blurred, tiling, area, channels=1, batch_size=batch)
    ]
    values, _ = put_together(pieces, 1, (101, 143))
    np.testing.assert_allclose(values, blurred({"x": scene[None]})[0], atol=1e-6)


def test_of_a_model_that_looks_at_one_pixel_the_result_depends_on_nothing():
    rng = np.random.default_rng(1)
    scene = rng.normal(size=(3, 77, 61)).astype(np.float32)
    expected = np.tanh(scene[:1] * 2 - scene[1:2])

    def predict(images):
        return np.tanh(images["x"][:, :1] * 2 - images["x"][:, 1:2])

    for window in (9, 16, 100):
        for overlap in (0, 3, 8):
            for batch in (1, 7):
                tiling = Tiling(height=77, width=61, window=window, overlap=overlap)
                pieces = [
                    piece
                    for area in cut_up(rng, tiling)
                    for piece in sweep(read_from({"x": scene}), predict, tiling, area, channels=1, batch_size=batch)
                ]
                values, _ = put_together(pieces, 1, (77, 61))
                np.testing.assert_allclose(values, expected, atol=1e-6)


def test_an_area_is_to_the_last_bit_what_it_is_in_the_whole():
    scene = np.random.default_rng(2).normal(size=(1, 150, 90)).astype(np.float32)
    tiling = Tiling(height=150, width=90, window=24, overlap=17)

    def predict(images):
        return images["x"] * np.float32(0.1) + np.linspace(0, 1, 24, dtype=np.float32)

    def run(area):
        return put_together(
            sweep(read_from({"x": scene}), predict, tiling, area, channels=1, batch_size=4), 1, (150, 90)
        )[0]

    def run_only(area):
        pieces = list(sweep(read_from({"x": scene}), predict, tiling, area, channels=1, batch_size=4))
        return np.concatenate([piece.values for piece in pieces], axis=1)

    expected = run(whole(tiling))
    for top, bottom in ((0, 31), (31, 32), (60, 150)):
        area = Area(top=top, bottom=bottom, left=0, right=90)
        assert run_only(area).tobytes() == expected[:, top:bottom].tobytes()


@pytest.mark.parametrize("threads", [2, 5])
def test_several_threads_give_to_the_last_bit_what_one_gives(threads):
    scene = np.random.default_rng(4).normal(size=(1, 90, 150)).astype(np.float32)
    tiling = Tiling(height=90, width=150, window=24, overlap=17)
    waits = iter(np.random.default_rng(5).uniform(0, 0.004, 10_000))
    running, at_once = [], []

    def predict(images):
        running.append(1)
        at_once.append(len(running))
        time.sleep(next(waits))
        running.pop()
        return images["x"] * np.float32(0.1) + np.linspace(0, 1, 24, dtype=np.float32)

    def run(threads):
        pieces = sweep(
            read_from({"x": scene}), predict, tiling, whole(tiling), channels=1, batch_size=2, threads=threads
        )
        return np.concatenate([piece.values for piece in pieces], axis=1).tobytes()

    assert run(threads) == run(1)
    assert 1 < max(at_once) <= threads


def test_an_error_of_one_of_several_threads_ends_the_sweep():
    tiling = Tiling(height=90, width=150, window=24, overlap=17)
    ran = []

    def predict(images):
        ran.append(1)
        if len(ran) == 7:
            raise ValueError("window 7")
        return images["x"]

    read = read_from({"x": np.zeros((1, 90, 150), np.float32)})
    with pytest.raises(ValueError, match="window 7"):
        list(sweep(read, predict, tiling, whole(tiling), channels=1, batch_size=2, threads=2))
    assert len(ran) < 60


def test_a_border_counts_as_much_as_the_middle_and_neighbours_fade_smoothly():
    axis = Axis(length=1000, window=64, overlap=16)
    total = np.zeros(1000)
    for start, shares in zip(axis.starts, axis.shares, strict=True):
        total[start : start + 64] += shares
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert axis.shares[0, 0] == axis.shares[-1, -1] == 1
    assert np.abs(np.diff(axis.shares, axis=1)).max() < np.pi / 16 * 1.05
    assert (axis.shares[1, :4] == 0).all()
    gaps = np.diff(axis.starts)
    assert gaps.max() - gaps.min() <= 1
    assert gaps.max() <= 64 - 16


@pytest.mark.parametrize("fill", [False, True])
def test_where_one_of_two_inputs_lacks_data(fill):
    rng = np.random.default_rng(3)
    images = {key: rng.normal(size=(2, 40, 50)).astype(np.float32) for key in ("a", "b")}
    images["a"][:, :20] = np.nan
    images["b"][:, :, 30:] = np.nan
    images["b"][0, 30] = np.nan  # one band alone
    tiling = Tiling(height=40, width=50, window=16, overlap=4)

    def predict(images):
        return np.nan_to_num(images["a"][:, :1]) + 10

    values, valid = put_together(
        sweep(read_from(images), predict, tiling, whole(tiling), channels=1, batch_size=2, fill=fill), 1, (40, 50)
    )
    has_a, has_b = (np.isfinite(images[key]).any(0) for key in ("a", "b"))
    assert (valid == (has_a | has_b if fill else has_a & has_b)).all()
    expected = np.nan_to_num(images["a"][:1]) + 10
    np.testing.assert_allclose(values[:, valid], expected[:, valid], atol=1e-5)


def test_windows_without_data_are_not_run():
    scene = np.full((1, 64, 64), np.nan, np.float32)
    scene[:, :16, :16] = 1
    clock = Clock()
    tiling = Tiling(height=64, width=64, window=16, overlap=0)
    list(sweep(read_from({"x": scene}), lambda i: i["x"], tiling, whole(tiling), channels=1, batch_size=4, clock=clock))
    assert clock.windows == 1
    assert set(clock.seconds) == {"reading", "model", "blending"}


def test_every_pixel_is_read_once():
    scene = np.zeros((1, 70, 50), np.float32)
    seen = np.zeros((70, 50), int)

    def read(row, column, height, width):
        seen[row : row + height, column : column + width] += 1
        return {"x": scene[:, row : row + height, column : column + width]}

    tiling = Tiling(height=70, width=50, window=20, overlap=9)
    list(sweep(read, lambda images: images["x"], tiling, whole(tiling), channels=1, batch_size=4))
    assert (seen == 1).all()


def test_an_error_while_reading_or_writing_reaches_the_caller():
    tiling = Tiling(height=90, width=50, window=24, overlap=7)

    def read(row, column, height, width):
        if row > 50:
            raise OSError("block 7")
        return {"x": np.zeros((1, height, width), np.float32)}

    with pytest.raises(OSError, match="block 7"):
        list(sweep(read, lambda images: images["x"], tiling, whole(tiling), channels=1, batch_size=4, threads=2))

    def refuse(item):
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        list(behind(iter([1, 2, 3]), refuse))


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_an_overlap_that_leaves_no_step_is_refused(overlap):
    with pytest.raises(ValueError, match="cannot overlap"):
        Axis(length=20, window=8, overlap=overlap)
