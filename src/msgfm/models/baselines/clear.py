"""Cloud removal without learning: which pixels look cloudy, and what their clear neighbours say about them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from msgfm.sensors import Sensor

# The visible bands of a sensor are those nearest to Sentinel-2's B02, B03, B04, within this distance.
_VISIBLE_NM = (492.4, 559.8, 664.6)
_VISIBLE_WITHIN_NM = 60.0
_AEROSOL_NM, _CIRRUS_NM, _SWIR_NM = 442.7, 1373.5, 1613.7
_WITHIN_NM = 25.0

CLOUDY = 0.2  # score from which a pixel is cloudy, as Meraner et al. 2020 use it
_SMOOTHED_PX = 7


def cloudiness(image: Tensor, sensor: Sensor) -> Tensor:
    """Cloud score of each pixel, 0 (clear) to 1.

    The detector of Schmitt et al. 2019 that Meraner et al. 2020 (DSen2-CR) find clouds with: clouds are bright in blue,
    in the aerosol and the cirrus band and in all of the visible, and are not snow. The lowest of these scores counts,
    closed (5 x 5 dilation, then erosion) and averaged over 7 x 7 pixels. A test whose bands the sensor lacks is left
    out.

    Args:
        image: (B, C, H, W) all of the card's bands, reflectance; NaN is no data.
        sensor: the card.

    Returns:
        (B, H, W); 0 where the tested bands have no data. All zeros for a sensor without visible bands.
    """
    visible = [_nearest(sensor, nm, _VISIBLE_WITHIN_NM) for nm in _VISIBLE_NM]
    if None in visible:
        return image.new_zeros(image.shape[0], *image.shape[2:])
    blue, green, red = (image[:, i] for i in visible if i is not None)
    aerosol, cirrus, swir = (_nearest(sensor, nm, _WITHIN_NM) for nm in (_AEROSOL_NM, _CIRRUS_NM, _SWIR_NM))
    scores = [_rescaled(blue, 0.1, 0.5), _rescaled(red + green + blue, 0.2, 0.8)]
    if aerosol is not None:
        scores.append(_rescaled(image[:, aerosol], 0.1, 0.3))
    if aerosol is not None and cirrus is not None:
        scores.append(_rescaled(image[:, aerosol] + image[:, cirrus], 0.15, 0.2))
    if swir is not None:
        total = green + image[:, swir]
        snow = (green - image[:, swir]) / torch.where(total == 0, 0.001, total)
        scores.append(_rescaled(snow, 0.8, 0.6))
    # a band without data (Level-2A has no B10) says nothing
    score = torch.stack([s.nan_to_num(nan=1.0) for s in scores]).amin(dim=0)
    score = torch.where(blue.isfinite(), score, 0)[:, None]
    closed = -F.max_pool2d(-F.max_pool2d(score, 5, stride=1, padding=2), 5, stride=1, padding=2)
    smooth = F.avg_pool2d(closed, _SMOOTHED_PX, stride=1, padding=_SMOOTHED_PX // 2, count_include_pad=False)
    return smooth[:, 0].clamp(0, 1)


def mean_of_clear(image: Tensor, cloudy: Tensor, others: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Fills the cloudy pixels of an image from their clear neighbours: in time where there are any, else in space.

    A cloudy pixel becomes the mean over the other dates on which it is clear. What is clear on no date becomes the mean
    of the nearest pixels that are clear or filled from another date (`fill_from_edges`). An image without a single
    such pixel stays as it is.

    Args:
        image: (B, C, H, W), NaN where there is no data.
        cloudy: (B, H, W) bool, of `image`.
        others: image and cloudiness of each of the other dates of the sensor, of the same shapes.

    Returns:
        (B, C, H, W).
    """
    total, count = torch.zeros_like(image), torch.zeros_like(image)
    for other, other_cloudy in others:
        clear = other.isfinite() & ~other_cloudy[:, None]
        total, count = total + torch.where(clear, other, 0), count + clear
    wanted = cloudy[:, None] | image.isnan()
    filled = torch.where(wanted, torch.where(count > 0, total / count.clamp_min(1), torch.nan), image)
    return torch.where(filled.isfinite(), filled, fill_from_edges(filled)).where(_any_finite(filled), image)


def fill_from_edges(image: Tensor) -> Tensor:
    """Fills what is NaN inwards, ring after ring: a pixel is the mean of those of its 8 neighbours known by then.

    Args:
        image: (B, C, H, W).

    Returns:
        (B, C, H, W); a band without any number stays NaN.
    """
    batch, bands, height, width = image.shape
    flat = image.reshape(batch * bands, 1, height, width)
    known = flat.isfinite()
    values = torch.where(known, flat, 0)
    for _ in range(max(height, width)):
        if (known | ~_any_finite(flat)).all():
            break
        count = F.avg_pool2d(known.to(flat.dtype), 3, stride=1, padding=1, divisor_override=1)
        total = F.avg_pool2d(values, 3, stride=1, padding=1, divisor_override=1)
        values = torch.where(known, values, total / count.clamp_min(1))
        known = known | (count > 0.5)
    return torch.where(known, values, torch.nan).view(batch, bands, height, width)


def _any_finite(image: Tensor) -> Tensor:
    """(B, C, 1, 1) whether a band has any number."""
    return image.isfinite().flatten(2).any(dim=2)[..., None, None]


def _nearest(sensor: Sensor, wavelength_nm: float, within_nm: float) -> int | None:
    """Position of the band nearest in wavelength, None where it is further away than `within_nm`."""
    distances = [
        (abs(band.wavelength_nm - wavelength_nm), i) for i, band in enumerate(sensor.bands) if band.wavelength_nm
    ]
    distance, position = min(distances, default=(within_nm + 1, -1))
    return position if distance <= within_nm else None


def _rescaled(values: Tensor, low: float, high: float) -> Tensor:
    return (values - low) / (high - low)
