"""Pan-sharpening without learning: bicubic, Brovey, Gram-Schmidt adaptive.

One image at a time, tensors without a batch axis: MS (C, H, W) on the panchromatic grid, PAN (H, W); NaN is no data.
Formulae as in Vivone et al., "A Critical Comparison Among Pansharpening Algorithms", IEEE TGRS 53(5), 2015, and their
toolbox.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Fusion = Callable[[Tensor, Tensor], Tensor]
"""From MS on its own grid and PAN to the sharpened image."""


def sharpen(image: Tensor, pan: Tensor | None, ratio: float, fuse: Fusion | None) -> Tensor:
    """One multispectral image on the panchromatic grid, by one of the methods here.

    Args:
        image: (C, H, W) as the reader gives it, bilinearly on the panchromatic grid.
        pan: (H, W); None, or no data at all, leaves bicubic interpolation, as does a pixel without data.
        ratio: fine pixels along one side of a coarse one.
        fuse: `brovey` or `gram_schmidt_adaptive`; None is bicubic interpolation alone.

    Returns:
        (C, H, W), NaN where `image` has no data.
    """
    native = native_grid(image, ratio)
    sharp = bicubic(native, (image.shape[1], image.shape[2]))
    if fuse is not None and pan is not None and pan.isfinite().any():
        fused = fuse(native, pan.float())
        sharp = torch.where(fused.isfinite(), fused, sharp)
    return torch.where(image.isfinite(), sharp, torch.nan)


def native_grid(image: Tensor, ratio: float) -> Tensor:
    """Takes back the reader's bilinear resampling to the finer grid.

    The reader's bilinear interpolation is a linear map without a null space, so its least-squares inverse returns the
    coarse pixels exactly where the whole image was resampled. A window was interpolated with pixels beyond its edges,
    too, so of a window what lies near them is not exact, wherever it was cut.

    Args:
        image: (C, H, W) on the fine grid; what has no data counts as its band's mean.
        ratio: fine pixels along one side of a coarse one.

    Returns:
        (C, h, w), float32; h is H / ratio, of a fraction the whole number beside it that explains the pixels better
        (650 px at a ratio of 4 were 163, not 162), and w likewise.
    """
    filled = _fill_with_mean(image).double()
    across = _before_resampling(filled, ratio)
    return _before_resampling(across.transpose(1, 2), ratio).transpose(1, 2).contiguous().float()


def _before_resampling(fine: Tensor, ratio: float) -> Tensor:
    """The least-squares inverse along the last axis, of the number of coarse pixels that leaves least unexplained."""
    length = fine.shape[-1]
    found: list[tuple[float, Tensor]] = []
    for number in dict.fromkeys((math.floor(length / ratio), math.ceil(length / ratio))):
        matrix = _bilinear(max(number, 1), length).to(fine)
        coarse = torch.linalg.solve(matrix.T @ matrix, matrix.T @ fine.flatten(0, 1).T).T
        unexplained = float((coarse @ matrix.T - fine.flatten(0, 1)).square().sum())
        found.append((unexplained, coarse.reshape(*fine.shape[:-1], -1)))
    return min(found, key=lambda one: one[0])[1]


def bicubic(native: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic interpolation (Keys, a = -0.75 as torch has it) of (C, h, w) to `size`, aligned at the outer edges."""
    return F.interpolate(native[None], size=size, mode="bicubic", align_corners=False)[0]


def brovey(native: Tensor, pan: Tensor) -> Tensor:
    """Brovey: every band times PAN over the intensity, their mean; PAN first gets the intensity's mean and spread.

    Args:
        native: MS (C, h, w) on its own grid, without holes.
        pan: (H, W), NaN where there is no data.

    Returns:
        (C, H, W), NaN where PAN has no data.
    """
    bands = bicubic(native, (pan.shape[0], pan.shape[1]))
    intensity = bands.mean(dim=0)
    seen = pan.isfinite()
    spread = pan[seen].std(correction=0)
    gain = intensity[seen].std(correction=0) / spread.clamp_min(torch.finfo(pan.dtype).tiny)
    matched = (pan - pan[seen].mean()) * gain + intensity[seen].mean()
    # an intensity of nothing (no light, or interpolation below 0) has no share to scale
    factor = torch.where(intensity > 0, matched / intensity, torch.ones_like(pan))
    return torch.where(seen, bands * factor, torch.nan)


def gram_schmidt_adaptive(native: Tensor, pan: Tensor) -> Tensor:
    """GSA (Aiazzi et al. 2007): the intensity is the combination of bands that explains PAN best on the coarse grid.

    Weights by least squares of PAN, averaged over the coarse pixels, on the bands and a constant; each band gains
    cov(I, band) / var(I) of what PAN has and the intensity I has not (Aiazzi, Baronti, Selva, "Improving Component
    Substitution Pansharpening Through Multivariate Regression of MS+Pan Data", IEEE TGRS 45(10), 2007, Eq. 7-10).

    Args:
        native: MS (C, h, w) on its own grid, without holes.
        pan: (H, W), NaN where there is no data.

    Returns:
        (C, H, W), NaN where PAN has no data.
    """
    seen = pan.isfinite()
    whole = torch.where(seen, pan, pan[seen].mean()).double()
    coarse_pan = F.interpolate(whole[None, None], size=native.shape[-2:], mode="area").flatten()
    columns = torch.cat([native.double().flatten(1), torch.ones_like(coarse_pan)[None]]).T
    weights = torch.linalg.pinv(columns) @ coarse_pan
    bands = bicubic(native, (pan.shape[0], pan.shape[1])).double()
    intensity = torch.tensordot(weights[:-1], bands, dims=1) + weights[-1]

    centred = intensity - intensity[seen].mean()
    deviations = bands - bands[:, seen].mean(dim=1)[:, None, None]
    variance = centred[seen].square().mean().clamp_min(torch.finfo(torch.float64).tiny)
    gains = (deviations[:, seen] * centred[seen]).mean(dim=1) / variance
    detail = (whole - whole[seen].mean()) - centred
    fused = bands + gains[:, None, None] * detail
    return torch.where(seen, fused, torch.nan).float()


def _bilinear(old: int, new: int) -> Tensor:
    """Matrix (new, old) of bilinear interpolation between pixel centres, flat beyond the outer ones."""
    return F.interpolate(torch.eye(old, dtype=torch.float64)[None], size=new, mode="linear", align_corners=False)[0].T


def _fill_with_mean(image: Tensor) -> Tensor:
    """Each band's mean where it has no data; 0 in a band that has none at all."""
    mean = image.nanmean(dim=(-2, -1), keepdim=True).nan_to_num(nan=0.0)
    return torch.where(image.isfinite(), image, mean)
