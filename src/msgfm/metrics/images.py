"""Two images held against each other, pixel by pixel: what is compared, MAE, PSNR and the spectral angle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_MSE = 1e-10
"""PSNR ends at 100 dB: infinity for one image would spoil the mean. Rounding reflectance to 1e-4 alone gives 91 dB."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A prediction and its target where both have data, scaled so that the value range, if there is one, is 0-1.

    Attributes:
        prediction: (C, H, W) float64 in 0-1, or in its unit; 0 where `valid` is false.
        target: likewise.
        valid: (H, W) bool.
    """

    prediction: Tensor
    target: Tensor
    valid: Tensor


def compare(prediction: Tensor, target: Tensor, value_range: tuple[float, float] | None) -> Compared:
    """Clips both images to the value range, scales it to 0-1 and finds the pixels that both have.

    Args:
        prediction: (C, H, W), NaN where there is no data; what is infinite is no number either.
        target: (C, H, W), likewise; a pixel is taken where every band is a number in both.
        value_range: least and greatest value, in the unit of the images; None leaves them as they are.
    """
    valid = (prediction.isfinite() & target.isfinite()).all(0)
    images = prediction.double(), target.double()
    if value_range is not None:
        low, high = value_range
        images = (images[0].clamp(low, high) - low) / (high - low), (images[1].clamp(low, high) - low) / (high - low)
    return Compared(prediction=images[0].where(valid, 0), target=images[1].where(valid, 0), valid=valid)


def absolute_errors(images: Compared) -> Tensor:
    """The mean absolute error of each band, (C,); NaN without a valid pixel."""
    return (images.prediction - images.target)[:, images.valid].abs().mean(1)


def squared_error(images: Compared) -> float:
    """The mean squared error over all bands and pixels; NaN without a valid pixel."""
    return float((images.prediction - images.target)[:, images.valid].square().mean())


def psnr(images: Compared) -> float:
    """Peak signal-to-noise ratio 10 log10(1 / MSE) in dB, the MSE over all bands and pixels; at most 100."""
    mse = squared_error(images)
    return -10 * math.log10(max(mse, LEAST_MSE)) if not math.isnan(mse) else math.nan


def spectral_angle(images: Compared) -> float:
    """The mean angle between predicted and true spectra in degrees (Kruse et al., 1993, SAM).

    A pixel whose true spectrum is zero has no angle and is left out; zeros predicted for a spectrum count 90 degrees.
    """
    predicted, true = images.prediction[:, images.valid], images.target[:, images.valid]
    bright = true.norm(dim=0) > 0
    predicted, true = predicted[:, bright], true[:, bright]
    # 2 atan2(|u - v|, |u + v|) of unit vectors: arccos loses half of the digits at small angles
    u, v = predicted / predicted.norm(dim=0).clamp(min=torch.finfo(torch.float64).tiny), true / true.norm(dim=0)
    angles = 2 * torch.atan2((u - v).norm(dim=0), (u + v).norm(dim=0))
    return math.degrees(float(angles.mean()))
