"""Are the numbers of an image in the unit that its card states? Training on the wrong unit fails silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.errors import InputError
from msgfm.sensors import Band, Sensor

# Numbers that producers write where there is no data, and often do not declare.
_NO_DATA_MARKS = (-9999.0, -32767.0, -32768.0, -99999.0, float(np.finfo(np.float32).min))


def check_units(path: Path, sensor: Sensor, band: Band, stored: NDArray[Any], physical: NDArray[Any]) -> None:
    """Fails where values cannot be in the card's unit.

    Args:
        path: of the file, for the message.
        sensor: the card.
        band: the band on it.
        stored: h x w as the file has them.
        physical: h x w after scale and offset, NaN where there is no data.

    Raises:
        InputError: more than half of the valid pixels lie outside `valid_range`, or any of them absurdly far, or the
            values are those of linear
            power, of a file that is scaled already, or of a no-data number that neither file nor card names.
    """
    valid = np.isfinite(physical)
    values = physical[valid]
    if values.size == 0:
        return
    low, high = band.valid_range
    beyond = valid & ((physical < low) | (physical > high))
    outside = beyond.sum() / values.size
    mark = _undeclared_mark(stored[beyond])
    if mark is not None:
        problem = f"{outside:.2%} of the pixels lie outside"
        cause = f"a no-data number that neither file nor card names: set `nodata: {mark:g}` on the card"
    elif outside > 0.5:
        problem = f"{outside:.0%} of the pixels lie outside"
        cause = _likely_cause(values, band)
    elif (far := _far_outside(physical[beyond], low, high)) is not None:
        problem = f"the value {far:.4g} lies far outside"
        cause = "a no-data number that neither file nor card names, or a damaged file: set `nodata` on the card"
    elif band.unit.lower() == "db" and low < 0 <= values.min():
        problem = "no pixel is negative, but the range is"
        cause = "linear power instead of decibel: convert with 10*log10(power)"
    elif _scaled_twice(stored, values, band):
        problem = "the whole band lies within a hundredth of"
        cause = f"the file is scaled already and the card scales again: set `scale: 1` in place of {band.scale:g}"
    else:
        return
    raise InputError(
        f"{path}, band {band.name} of sensor {sensor.name}: {problem} {low:g}..{high:g} {band.unit} (median seen "
        f"{np.median(values):.4g}). Likely {cause}; a card of your own can state the file's unit"
    )


def _undeclared_mark(stored: NDArray[Any]) -> float | None:
    """The no-data number among stored values that lie outside the range."""
    return next((mark for mark in _NO_DATA_MARKS if np.any(stored == mark)), None)


def _far_outside(values: NDArray[Any], low: float, high: float) -> float | None:
    """A value more than a hundred times the range's width away from it: no measurement is that far off."""
    reach = 100 * (high - low)
    far = values[(values < low - reach) | (values > high + reach)]
    return float(far[0]) if far.size else None


def _likely_cause(values: NDArray[Any], band: Band) -> str:
    """What most often puts values outside a card's range, and what to do."""
    high = band.valid_range[1]
    median = float(np.median(values))
    if band.unit.lower() == "db" and values.min() >= 0:
        return "linear power or amplitude instead of decibel: convert with 10*log10(power)"
    if band.scale == 1 and median > 10 * abs(high):
        return "stored integers (DN) that the card does not scale: set `scale` (0.0001 for Sentinel-2 reflectance)"
    if median > high:
        return f"another scale or offset than the card's (scale {band.scale:g}, offset {band.offset:g})"
    return f"a no-data number that the card does not name, or another offset than the card's ({band.offset:g})"


def _scaled_twice(stored: NDArray[Any], values: NDArray[Any], band: Band) -> bool:
    """Whether fractions that fit the range as they are stored all but vanish under the card's scale."""
    if stored.dtype.kind != "f" or abs(band.scale) > 0.1:
        return False
    low, high = band.valid_range
    unscaled = values / band.scale - band.offset
    fits = bool(((unscaled >= low) & (unscaled <= high)).mean() > 0.5)
    return fits and bool(unscaled.any()) and bool(np.abs(values).max() < 0.01 * max(abs(low), abs(high)))
