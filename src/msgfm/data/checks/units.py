"""Are the numbers of a band in the unit that its card states? Training on the wrong unit fails silently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredBand, StoredImage
from msgfm.errors import InputError
from msgfm.sensors import Band, Sensor

# Numbers that producers write where there is no data, and often do not declare.
NO_DATA_MARKS = (-9999.0, -32767.0, -32768.0, -99999.0, float(np.finfo(np.float32).min))
COMPLEX = "complex numbers, as in single look complex (SLC) radar data"
_BYTE = 255
_BYTE_SCALE = 1 / 255
_PERCENT = 120.0
# A median so many of the card's standard deviations from its mean is odd; snow reaches 6, thick cloud more.
_FAR_STD = 8.0


def unit_findings(image: StoredImage) -> Iterator[Finding]:
    """One finding for each kind, with the bands that it concerns."""
    if (whole := _eight_bit(image) or _percent(image)) is not None:
        yield whole
        return
    found: dict[str, Finding] = {}
    for one in image.bands:
        physical = one.physical(one.stored.astype(np.result_type(one.stored.dtype, np.float32)))
        seen = band_problem(image.sensor, one, np.where(one.valid, physical, np.nan))
        if seen is not None:
            known = found.get(seen.kind)
            found[seen.kind] = replace(known, bands=known.bands + seen.bands) if known else seen
    # Bands that are merely out of range have the cause that other bands make plain.
    if len(found) > 1 and "out-of-range" in found:
        rest = found.pop("out-of-range")
        kind = next(iter(found))
        found[kind] = replace(found[kind], bands=found[kind].bands + rest.bands)
    for problem in found.values():
        yield replace(problem, remedy=_mark_remedy(image, problem)) if problem.kind == "no-data-mark" else problem
    if not found:
        yield from _far_from_card(image)


def _mark_remedy(image: StoredImage, found: Finding) -> str:
    """One option for all bands, where the mark stands in all."""
    if set(found.bands) != set(image.names) or len(found.bands) == 1:
        return found.remedy
    return found.remedy.replace(f"{image.sensor.name}.{found.bands[0]}.", f"{image.sensor.name}.")


def _eight_bit(image: StoredImage) -> Finding | None:
    """Whole numbers of 0..255 where a card expects reflectance in fine steps, or decibel."""
    bands = [one for one in image.bands if one.numbers.size]
    calibrated = all(
        (one.band.unit == "reflectance" and abs(one.band.scale) <= 1e-3) or one.band.unit.lower() == "db"
        for one in bands
    )
    if not bands or not calibrated or not image.of_integers:
        return None
    low, high = min(one.numbers[0] for one in bands), max(one.numbers[-1] for one in bands)
    if low < 0 or high > _BYTE or high < 2:
        return None
    name = image.sensor.name
    sure = all(one.stored.dtype == np.uint8 for one in bands) or high == _BYTE
    decibel = bands[0].band.unit.lower() == "db"
    expected = "decibel, most of it negative" if decibel else "steps of 0.0001 of reflectance, far beyond 255"
    options = f"--set '{name}.unit=\"1\"' --set {name}.scale={_BYTE_SCALE:.9g} --set {name}.offset=0"
    return Finding(
        kind="eight-bit",
        severity="error" if sure else "undecided",
        file=image.file,
        seen=f"whole numbers of {low:g}..{high:g} in every band",
        expected=expected,
        confidence=0.97 if sure else 0.6,
        remedy=f"{options}{f' --set {name}.valid_range=[0,1]' if decibel else ''} where pictures will do (a card of "
        "their own is better: other mean and std); else fetch the calibrated files",
    )


def _percent(image: StoredImage) -> Finding | None:
    """Fractions of up to about a hundred in all bands, where a card scales whole numbers of up to 10000 down."""
    bands = [one for one in image.bands if one.numbers.size]
    scaled = all(one.band.unit == "reflectance" and abs(one.band.scale) <= 1e-3 for one in bands)
    if not bands or not scaled or image.of_integers or any(one.stored.dtype.kind != "f" for one in bands):
        return None
    if min(one.numbers[0] for one in bands) < -_PERCENT or max(one.quantile(0.99) for one in bands) > _PERCENT:
        return None
    brightest = max(one.quantile(0.5) for one in bands)
    if brightest <= max(one.band.valid_range[1] for one in bands):  # fractions of 1, or nothing but shadow
        return None
    name = image.sensor.name
    return Finding(
        kind="reflectance-as-dn",
        severity="error",
        file=image.file,
        seen=f"fractions with a median of up to {brightest:.3g}, and hardly any above {_PERCENT:g}, in every band",
        expected="steps of 0.0001 of reflectance, far beyond 100 in some band",
        confidence=0.9,
        remedy=f"--set {name}.scale=0.01 --set {name}.offset=0 if the files are in percent",
    )


def _far_from_card(image: StoredImage) -> Iterator[Finding]:
    """A warning for medians that the card's statistics hardly allow."""
    if image.sensor.centre == "image":
        return
    for one in image.bands:
        if one.band.mean is None or one.band.std is None or not one.numbers.size:
            continue
        median = float(one.physical(one.quantile(0.5)))
        far = (median - one.band.mean) / one.band.std
        if abs(far) > _FAR_STD:
            yield Finding(
                kind="distribution",
                severity="warning",
                file=one.file,
                bands=(one.band.name,),
                seen=f"median {median:.4g}, {far:+.1f} of the card's standard deviations from its mean",
                expected=f"about {one.band.mean:.4g} +- {one.band.std:.2g} {one.band.unit}",
                confidence=0.5,
                remedy="look at the image; if all are so, `msgfm data stats` gives the card's mean and std",
            )


def band_problem(sensor: Sensor, one: StoredBand, physical: NDArray[Any]) -> Finding | None:
    """What puts a band's values outside its card's unit, None where they fit.

    Args:
        sensor: the card.
        one: the band.
        physical: h x w after scale and offset, NaN where there is no data.
    """
    band = one.band
    valid = np.isfinite(physical)
    values = physical[valid]
    if values.size == 0:
        return None
    low, high = band.valid_range
    beyond = valid & ((physical < low) | (physical > high))
    outside = float(beyond.sum() / values.size)
    own = f"{sensor.name}.{band.name}"
    if (mark := _undeclared_mark(one.stored[beyond])) is not None:
        kind, sure, seen = "no-data-mark", 0.99, f"{outside:.2%} of the pixels outside, {mark:g} among them"
        remedy = f"--set {own}.nodata={mark:g}"
    elif outside > 0.5:
        seen = f"{outside:.0%} of the pixels outside"
        kind, sure, remedy = _likely_cause(sensor, one, values)
    elif (far := _far_outside(physical[beyond], low, high)) is not None:
        kind, sure, seen = "no-data-mark", 0.9, f"the value {far:.4g} far outside"
        stored = far / band.scale - band.offset
        remedy = f"--set {own}.nodata={stored:.9g} if it means no data; else the file is damaged: fetch it again"
    elif band.unit.lower() == "db" and low < 0 <= values.min():
        kind, sure, seen = "linear-power", 0.97, "no pixel is negative"
        remedy = "convert the files from linear power to decibel, 10*log10(power)"
    elif _scaled_twice(one.stored, values, band):
        kind, sure, seen = "reflectance-as-dn", 0.98, "the whole band within a hundredth of the range"
        offset = f" --set {sensor.name}.offset=0" if band.offset else ""
        remedy = f"--set {sensor.name}.scale=1{offset} as the file is scaled already and the card scales again"
    else:
        return None
    return Finding(
        kind=kind,
        severity="error",
        file=one.file,
        bands=(band.name,),
        seen=f"{seen} (median {np.median(values):.4g})",
        expected=f"{low:g}..{high:g} {band.unit}",
        confidence=sure,
        remedy=remedy,
    )


def check_units(path: Path, sensor: Sensor, band: Band, stored: NDArray[Any], physical: NDArray[Any]) -> None:
    """The reader's share of the checks: fails where the values of one band cannot be in the card's unit.

    Args:
        path: of the file, for the message.
        sensor: the card.
        band: the band on it.
        stored: h x w as the file has them.
        physical: h x w after scale and offset, NaN where there is no data.

    Raises:
        InputError: the numbers are complex, more than half of the valid pixels lie outside `valid_range`, or any of
            them absurdly far, or the values are those of linear power, of a file that is scaled already, or of a
            no-data number that neither file nor card names.
    """
    if stored.dtype.kind == "c":
        raise InputError(
            f"{path}, band {band.name} of sensor {sensor.name}: {COMPLEX}; expected real numbers in {band.unit}. "
            f"{intensity_remedy(band)}"
        )
    found = band_problem(sensor, StoredBand(band=band, file=str(path), stored=stored), physical)
    if found is not None:
        raise InputError(
            f"{path}, band {band.name} of sensor {sensor.name}: {found.seen}; expected {found.expected}. Likely "
            f"{found.kind}: {found.remedy}; a card of your own can state the file's unit"
        )


def intensity_remedy(band: Band) -> str:
    """What to do with complex numbers where the card has real ones."""
    decibel = ", and convert it to decibel, 10*log10(power)" if band.unit.lower() == "db" else ""
    return f"take the intensity (power) instead, |z|^2, calibrated{decibel}"


def _undeclared_mark(stored: NDArray[Any]) -> float | None:
    """The no-data number among stored values that lie outside the range."""
    return next((mark for mark in NO_DATA_MARKS if np.any(stored == mark)), None)


def _far_outside(values: NDArray[Any], low: float, high: float) -> float | None:
    """A value more than a hundred times the range's width away from it: no measurement is that far off."""
    reach = 100 * (high - low)
    far = values[(values < low - reach) | (values > high + reach)]
    return float(far[0]) if far.size else None


def _likely_cause(sensor: Sensor, one: StoredBand, values: NDArray[Any]) -> tuple[str, float, str]:
    """What most often puts values outside a card's range: kind, how sure, and what to do."""
    band = one.band
    high = band.valid_range[1]
    median = float(np.median(values))
    name = sensor.name
    if band.polarisation and band.unit.lower() != "db" and band.valid_range[0] >= 0 and -80 < median < 0:
        return "decibel", 0.95, f"--set {name}.unit=dB --set {name}.scale=1 --set {name}.valid_range=[-50,30]"
    if band.unit == "m" and median > high:
        scales = f"--set {name}.scale={band.scale / 100:g} if the files are in centimetres"
        return "centimetres", 0.9, f"{scales} ({band.scale / 1000:g} if in millimetres)"
    if band.unit.lower() == "db" and values.min() >= 0:
        return "linear-power", 0.9, "convert the files from linear power or amplitude to decibel, 10*log10(power)"
    if band.unit == "reflectance" and band.scale == 1 and median > 10 * abs(high):
        return "dn-as-reflectance", 0.95, f"--set {sensor.name}.scale=0.0001 if it is reflectance x 10000"
    if median > high:
        remedy = f"another scale or offset than the card's (scale {band.scale:g}, offset {band.offset:g})"
    else:
        remedy = f"a no-data number that the card does not name, or another offset than the card's ({band.offset:g})"
    return "out-of-range", 0.9, f"--set {sensor.name}.scale=... or .offset=...: likely {remedy}"


def _scaled_twice(stored: NDArray[Any], values: NDArray[Any], band: Band) -> bool:
    """Whether fractions that fit the range as they are stored all but vanish under the card's scale."""
    if stored.dtype.kind != "f" or abs(band.scale) > 0.1:
        return False
    low, high = band.valid_range
    unscaled = values / band.scale - band.offset
    fits = bool(((unscaled >= low) & (unscaled <= high)).mean() > 0.5)
    hundredth = 0.01 * max(abs(low), abs(high)) / abs(band.scale)
    return fits and bool(unscaled.any()) and bool(np.abs(unscaled).max() < hundredth)
