"""Pan-sharpening by rule against independent formulae in numpy, and what the rules promise."""

import numpy as np
import pytest
import torch

from msgfm.data.reader import resample
from msgfm.models.baselines.sharpening import bicubic, brovey, gram_schmidt_adaptive, native_grid, sharpen


def random_image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(100, 1000, shape).astype(np.float32)


def keys_kernel(x: float, a: float = -0.75) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def bicubic_matrix(old: int, new: int) -> np.ndarray:
    """By the definition: pixel centres, four neighbours, the outermost pixel repeated."""
    matrix = np.zeros((new, old))
    for i in range(new):
        place = (i + 0.5) * old / new - 0.5
        for j in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            matrix[i, min(max(j, 0), old - 1)] += keys_kernel(place - j)
    return matrix


def numpy_bicubic(native: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return bicubic_matrix(native.shape[1], size[0]) @ native @ bicubic_matrix(native.shape[2], size[1]).T


@pytest.mark.parametrize(
    "shape,size,ratio", [((3, 6, 5), (24, 20), 4), ((2, 9, 9), (18, 18), 2), ((1, 13, 13), (51, 52), 4)]
)
def test_the_readers_resampling_is_taken_back(shape, size, ratio):
    native = random_image(*shape)
    fine = resample(native, size)
    np.testing.assert_allclose(native_grid(torch.from_numpy(fine), ratio).numpy(), native, rtol=1e-5)


def test_a_hole_stays_a_hole_and_leaves_what_is_far_from_it_alone():
    native = random_image(2, 16, 16)
    fine = torch.from_numpy(resample(native, (64, 64)))
    fine[:, :8, :8] = torch.nan
    sharp = sharpen(fine, None, 4, None)
    assert torch.equal(sharp.isnan(), fine.isnan())
    whole = sharpen(torch.from_numpy(resample(native, (64, 64))), None, 4, None)
    torch.testing.assert_close(sharp[:, 40:, 40:], whole[:, 40:, 40:], rtol=1e-3, atol=1e-2)


def test_bicubic_is_that_of_keys():
    native = random_image(2, 7, 9)
    expected = numpy_bicubic(native, (28, 36))
    np.testing.assert_allclose(bicubic(torch.from_numpy(native), (28, 36)).numpy(), expected, rtol=1e-5)


def test_brovey_against_numpy():
    native, pan = random_image(4, 8, 8), random_image(32, 32, seed=1)
    bands = numpy_bicubic(native, (32, 32))
    intensity = bands.mean(0)
    matched = (pan - pan.mean()) * intensity.std() / pan.std() + intensity.mean()
    expected = bands * matched / intensity
    np.testing.assert_allclose(
        brovey(torch.from_numpy(native), torch.from_numpy(pan)).numpy(), expected, rtol=1e-4, atol=1e-2
    )


def test_brovey_keeps_the_bands_ratios():
    native, pan = torch.from_numpy(random_image(3, 8, 8)), torch.from_numpy(random_image(32, 32, seed=1))
    sharp, plain = brovey(native, pan), bicubic(native, (32, 32))
    torch.testing.assert_close(sharp[0] / sharp[2], plain[0] / plain[2], rtol=1e-4, atol=1e-4)


def test_gram_schmidt_adaptive_against_numpy():
    native, pan = random_image(4, 8, 8), random_image(32, 32, seed=1)
    coarse = pan.reshape(8, 4, 8, 4).mean((1, 3)).ravel()
    columns = np.column_stack([native.reshape(4, -1).T, np.ones(64)])
    weights, *_ = np.linalg.lstsq(columns.astype(np.float64), coarse, rcond=None)
    bands = numpy_bicubic(native, (32, 32))
    intensity = np.tensordot(weights[:4], bands, 1) + weights[4]
    gains = [np.cov(band.ravel(), intensity.ravel(), bias=True)[0, 1] / intensity.var() for band in bands]
    detail = (pan - pan.mean()) - (intensity - intensity.mean())
    expected = bands + np.array(gains)[:, None, None] * detail
    found = gram_schmidt_adaptive(torch.from_numpy(native), torch.from_numpy(pan)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_gram_schmidt_adaptive_restores_what_pan_explains():
    """Bands that are multiples of one image, and PAN that is it at its full resolution: the bands come back."""
    scene = np.kron(random_image(8, 8), np.ones((4, 4), np.float32)) + random_image(32, 32, seed=2)
    truth = np.stack([0.5 * scene, 2 * scene + 10])
    native = truth.reshape(2, 8, 4, 8, 4).mean((2, 4))
    found = gram_schmidt_adaptive(torch.from_numpy(native), torch.from_numpy(scene)).numpy()
    blurred = bicubic(torch.from_numpy(native), (32, 32)).numpy()
    np.testing.assert_allclose(found, truth, rtol=0.01, atol=5)  # but for the mean, bicubic interpolation's
    assert np.abs(found - truth).mean() < 0.05 * np.abs(blurred - truth).mean()


@pytest.mark.parametrize("fuse", [brovey, gram_schmidt_adaptive])
def test_without_pan_it_is_bicubic(fuse):
    fine = torch.from_numpy(resample(random_image(3, 8, 8), (32, 32)))
    plain = sharpen(fine, None, 4, None)
    assert torch.equal(sharpen(fine, None, 4, fuse), plain)
    assert torch.equal(sharpen(fine, torch.full((32, 32), torch.nan), 4, fuse), plain)
    pan = torch.from_numpy(random_image(32, 32, seed=1))
    pan[:, :4] = torch.nan
    sharp = sharpen(fine, pan, 4, fuse)
    assert torch.equal(sharp[:, :, :4], plain[:, :, :4])
    assert sharp.isfinite().all() and not torch.allclose(sharp[:, :, 4:], plain[:, :, 4:])


@pytest.mark.parametrize("fuse", [brovey, gram_schmidt_adaptive])
def test_images_without_any_contrast_stay_as_they_are(fuse):
    flat = torch.full((3, 32, 32), 200.0)
    sharp = sharpen(flat, torch.full((32, 32), 700.0), 4, fuse)
    torch.testing.assert_close(sharp, flat)
