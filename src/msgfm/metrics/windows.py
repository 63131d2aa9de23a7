"""Two images held against each other window by window: SSIM and Q. A window that touches no-data is left out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from msgfm.metrics.images import Compared

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # (K L)^2 with the value range L = 1
Q_WINDOW = 8
_FLAT = 1e-12  # a variance below this share of the mean square is rounding


def ssim(images: Compared) -> float:
    """Structural similarity (Wang et al., 2004), the mean over bands and windows; NaN if no window is whole.

    Gaussian windows of 11 x 11 with sigma 1.5 that lie wholly in the image, K1 = 0.01, K2 = 0.03, of images in 0-1.
    """
    whole = _whole_windows(images.valid, SSIM_WINDOW)
    if not whole.any():
        return torch.nan
    mean_x, mean_y, var_x, var_y, cov = _moments(images.prediction, images.target, _gaussian_means)
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (2 * cov + SSIM_C2) / (var_x + var_y + SSIM_C2)
    return float((luminance * structure)[:, whole].mean())


def universal_quality(x: Tensor, y: Tensor, valid: Tensor, window: int = Q_WINDOW) -> Tensor:
    """The index Q, also UIQI (Wang and Bovik, 2002), of each band: 1 for equal images, -1 at worst.

    Of each square window at each place 4 cov(x, y) mean(x) mean(y) / ((var x + var y) (mean(x)^2 + mean(y)^2)), and of
    those the mean. Of two flat windows only the means are compared, of two that are 0 on average only the rest.

    Args:
        x: (C, H, W) float64 without NaN.
        y: likewise.
        valid: (H, W) bool, where both have data.
        window: side of the windows in pixels.

    Returns:
        (C,); NaN if no window is whole.
    """
    whole = _whole_windows(valid, window)
    if not whole.any():
        return x.new_full((len(x),), torch.nan)
    # Moments about a value near the mean: there is less to cancel out
    shift_x, shift_y = (image[:, valid].mean(1)[:, None, None] for image in (x, y))
    mean_x, mean_y, var_x, var_y, cov = _moments(x - shift_x, y - shift_y, partial(_box_means, size=window))
    mean_x, mean_y = mean_x + shift_x, mean_y + shift_y
    spread, level = var_x + var_y, mean_x**2 + mean_y**2
    scale = level + shift_x**2 + shift_y**2
    contrast = torch.where(spread > _FLAT * scale, 2 * cov / spread, 1)
    luminance = torch.where(level > _FLAT**2 * scale, 2 * mean_x * mean_y / level, 1)
    return (contrast * luminance)[:, whole].mean(1)


def _whole_windows(valid: Tensor, size: int) -> Tensor:
    """Which windows of a side have data everywhere, (H - size + 1, W - size + 1) bool."""
    if min(valid.shape) < size:
        return valid.new_zeros(0, 0)
    holes = (~valid).float()[None]
    return F.max_pool2d(F.max_pool2d(holes, (size, 1), stride=1), (1, size), stride=1)[0] == 0


def _moments(x: Tensor, y: Tensor, means: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Means, variances and covariance of two images in windows.

    Args:
        x: (C, H, W).
        y: (C, H, W).
        means: from images (N, H, W) to their means in each window, (N, h, w).

    Returns:
        mean x, mean y, variance of x, of y, covariance, each (C, h, w).
    """
    mean_x, mean_y, square_x, square_y, product = means(torch.cat([x, y, x * x, y * y, x * y])).chunk(5)
    var_x, var_y = (square_x - mean_x**2).clamp(min=0), (square_y - mean_y**2).clamp(min=0)
    return mean_x, mean_y, var_x, var_y, product - mean_x * mean_y


def _gaussian_means(images: Tensor) -> Tensor:
    """Means weighted as SSIM has it: (N, H, W) to (N, H - 10, W - 10)."""
    offsets = torch.arange(SSIM_WINDOW, dtype=images.dtype, device=images.device) - SSIM_WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    # first down, then along; images as channels, which is far faster than as a batch
    kernel = (weights / weights.sum()).repeat(len(images), 1, 1, 1)
    down = F.conv2d(images[None], kernel.transpose(2, 3), groups=len(images))
    return F.conv2d(down, kernel, groups=len(images))[0]


def _box_means(images: Tensor, size: int) -> Tensor:
    """Plain means in squares: (N, H, W) to (N, H - size + 1, W - size + 1)."""
    down = F.avg_pool2d(images[None], (size, 1), stride=1)
    return F.avg_pool2d(down, (1, size), stride=1)[0]
