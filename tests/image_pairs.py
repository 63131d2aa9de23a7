"""Pairs of images for tests of metrics, ordinary and degenerate, and metrics of them written plainly."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Image = NDArray[np.float64]
NAN = math.nan


def _pairs() -> dict[str, tuple[Image, Image]]:
    draw = np.random.default_rng(0)
    target = draw.uniform(0.02, 0.9, (3, 21, 34))
    near = target + draw.normal(0, 0.05, target.shape)
    ramp = np.broadcast_to(np.linspace(0.1, 0.6, 34), target.shape)
    dark_corner = target.copy()
    dark_corner[:, :12, :12] = 0
    flat_corner = np.full_like(target, 0.3)
    flat_corner[:, 10:] = target[:, 10:]
    few_holes, stripe, no_band = target.copy(), near.copy(), target.copy()
    few_holes[1, 4, 5] = few_holes[:, 17:, 30:] = NAN
    stripe[:, :, 20] = NAN
    no_band[1] = NAN
    constant = np.full_like(target, 0.25)
    return {
        "random": (near, target),
        "unrelated": (draw.uniform(0, 1, target.shape), target),
        "beyond the range": (4 * near - 1, 2 * target - 0.3),
        "perfect": (target, target),
        "one band": (near[:1], target[:1]),
        "constants": (constant + 0.1, constant),
        "the same constant": (constant, constant),
        "constant prediction": (constant, target),
        "constant target": (near, constant),
        "ramp": (near, ramp),
        "zeros": (np.zeros_like(target), np.zeros_like(target)),
        "zeros predicted": (np.zeros_like(target), target),
        "zeros to predict": (near, np.zeros_like(target)),
        "zeros partly": (near, dark_corner),
        "flat partly": (flat_corner * 0.8, flat_corner),
        "holes in the target": (near, few_holes),
        "holes in the prediction": (stripe, target),
        "holes in both": (stripe, few_holes),
        "no data in a band": (near, no_band),
        "no data in the target": (near, np.full_like(target, NAN)),
        "no data in the prediction": (np.full_like(target, NAN), target),
        "one pixel": (near[:, :1, :1], target[:, :1, :1]),
        "narrower than windows": (near[:, :, :5], target[:, :, :5]),
        "as wide as a window": (near[:, :11, :11], target[:, :11, :11]),
    }


PAIRS = _pairs()


def mean(values: list[float] | Image) -> float:
    known = [float(value) for value in np.ravel(values)]
    return math.fsum(known) / len(known) if known else NAN


def in_range(image: Image) -> Image:
    """0-1, of a target whose range is 0-1."""
    return np.where(np.isnan(image), NAN, np.minimum(np.maximum(image, 0), 1))


def spectra(prediction: Image, target: Image) -> list[tuple[Image, Image]]:
    """Both spectra at each pixel that has them, of the bands that the target has."""
    bands = [band for band in range(len(target)) if not np.isnan(target[band]).all()]
    places = [(prediction[bands, y, x], target[bands, y, x]) for y, x in np.ndindex(target.shape[1:]) if bands]
    return [(p, t) for p, t in places if not np.isnan(p).any() and not np.isnan(t).any()]


def windows(prediction: Image, target: Image, size: int) -> list[tuple[Image, Image]]:
    """Each window of each band in both, without those that touch no-data in any band."""
    bands = [band for band in range(len(target)) if not np.isnan(target[band]).all()]
    if min(target.shape[1:]) < size or not bands:
        return []
    x, y = (sliding_window_view(image[bands], (size, size), axis=(1, 2)) for image in (prediction, target))
    whole = ~(np.isnan(x) | np.isnan(y)).any(axis=(0, 3, 4))
    return [(a, b) for band in range(len(bands)) for a, b in zip(x[band][whole], y[band][whole], strict=True)]


def plain_mae(prediction: Image, target: Image) -> float:
    return mean([abs(a - b) for p, t in spectra(prediction, target) for a, b in zip(p, t, strict=True)])


def plain_psnr(prediction: Image, target: Image) -> float:
    mse = mean([(a - b) ** 2 for p, t in spectra(prediction, target) for a, b in zip(p, t, strict=True)])
    return NAN if math.isnan(mse) else 100.0 if mse == 0 else min(100.0, 10 * math.log10(1 / mse))


def plain_sam(prediction: Image, target: Image) -> float:
    angles = []
    for p, t in spectra(prediction, target):
        if t.any():
            cosine = (p @ t) / (np.linalg.norm(p) * np.linalg.norm(t)) if p.any() else 0.0
            angles.append(math.degrees(math.acos(min(1.0, cosine))))
    return mean(angles)


def plain_ssim(prediction: Image, target: Image) -> float:
    """Equation 13 of Wang et al. (2004), window by window."""
    y, x = np.mgrid[-5:6, -5:6]
    weights = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for a, b in windows(prediction, target, 11):
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        cov = (weights * (a - mean_a) * (b - mean_b)).sum()
        above = (2 * mean_a * mean_b + 0.01**2) * (2 * cov + 0.03**2)
        values.append(above / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2)))
    return mean(values)


def plain_q(prediction: Image, target: Image, size: int = 8) -> float:
    """Wang and Bovik (2002), window by window; where it is 0 / 0 as in their published program."""
    values = []
    for a, b in windows(prediction, target, size):
        flat = np.ptp(a) == 0 and np.ptp(b) == 0
        level, spread = a.mean() ** 2 + b.mean() ** 2, a.var() + b.var()
        if flat:
            values.append(2 * a.mean() * b.mean() / level if level else 1.0)
        else:
            cov = ((a - a.mean()) * (b - b.mean())).mean()
            values.append(4 * cov * a.mean() * b.mean() / (spread * level))
    return mean(values)


def plain_ergas(prediction: Image, target: Image, ratio: float) -> float:
    pixels = spectra(prediction, target)
    if not pixels:
        return NAN
    p, t = (np.array(column) for column in zip(*pixels, strict=True))
    if not t.any(axis=0).all():
        return NAN
    rmse = np.sqrt(((p - t) ** 2).mean(axis=0))
    return 100 * ratio * math.sqrt(((rmse / t.mean(axis=0)) ** 2).mean())
