"""How much of an image is under clouds: by the data set's own mask, else by the cloudy image against the clear one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from msgfm.data.masks import UNLABELLED
from msgfm.data.tasks.read import CLOUDS, TARGET
from msgfm.models.tasks import Restoration
from msgfm.sensors import Sensor

_BRIGHTER = 0.04
_VISIBLE_NM = (400.0, 700.0)


def cloud_share(layers: Mapping[str, NDArray[np.generic]], task: Restoration, cards: Mapping[str, Sensor]) -> float:
    """The share of an image's pixels, of those with data, that is under clouds.

    Where the manifest's masks have a class `cloud`, what they say. Else a pixel is under a cloud where the image that
    the prediction is added to is brighter than the target by more than 0.04 of reflectance, in the mean over the
    visible bands that both have. Haze thinner than that, shadows, and clouds over snow are not seen; snow, or a bright
    field, in the cloudy image alone is taken for a cloud.

    Returns:
        0-1; NaN where neither can be said: other sensors, other units, nothing that is added to, an image
        that is restored from its own degraded form, no pixel with data.
    """
    if CLOUDS in layers:
        known = layers[CLOUDS] != UNLABELLED
        return float((layers[CLOUDS][known] == 1).mean()) if known.any() else np.nan
    if task.over is None or task.over == task.target.key or task.over not in layers:
        return np.nan
    card, target = cards[task.over], cards[TARGET]
    bands = [band.name for band in card.bands if _is_visible(band.unit, band.wavelength_nm)]
    bands = [name for name in bands if name in target.band_names]
    if card.name != target.name or not bands:
        return np.nan
    before, after = (
        layers[key][list(one.indices_of(bands))].mean(axis=0) for key, one in ((task.over, card), (TARGET, target))
    )
    brighter = before - after
    seen = np.isfinite(brighter)
    return float((brighter[seen] > _BRIGHTER).mean()) if seen.any() else np.nan


def _is_visible(unit: str, wavelength: float | None) -> bool:
    return unit == "reflectance" and wavelength is not None and _VISIBLE_NM[0] <= wavelength <= _VISIBLE_NM[1]
