"""Are red, green and blue of an uncalibrated picture in that order?

Nothing in one picture is sure: roofs may be blue and haze is. What helps are features that change their sign when red
and blue are exchanged: brighter pixels are yellower (shade is lit by the sky), red varies more than blue, haze lifts
the darkest blue, plants are yellow-green rather than blue-green. Their weighted sum is the log of the odds (a logistic
regression without intercept, fitted on half of the RGB images of the real pack, docs/results.md). One picture is
decided only beyond a margin that none of the others reaches; a source of many is decided by their mean.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredImage

MARGIN = 8.0
_RED, _GREEN, _BLUE = (600, 700), (500, 600), (430, 500)
_WEIGHTS = np.array([2.816, 8.817, 1.163, -9.72, -1.707, -14.375, 0.773, 8.222, 3.283, 2.687])


def colour_odds(image: StoredImage) -> float | None:
    """Log of the odds that red and blue are where the card says; None for what is no colour picture."""
    places = _places(image)
    if places is None or image.common.shape[1] < 64:
        return None
    red, green, blue = image.common[list(places)] / max(float(image.common.max()), 1.0)
    if np.abs(red - blue).max() < 1e-3 or min(red.std(), green.std(), blue.std()) < 1e-4:
        return 0.0
    return float(_features(red, green, blue) @ _WEIGHTS)


def colour_finding(image: StoredImage, odds: float | None) -> Iterator[Finding]:
    """An error where red and blue are exchanged beyond doubt, undecided for most single pictures."""
    places = _places(image)
    if odds is None or places is None or odds > MARGIN:
        return
    wrong = odds < -MARGIN
    names = [image.names[place] for place in places]
    yield Finding(
        kind="rgb-order",
        severity="error" if wrong else "undecided",
        file=image.file,
        bands=(names[0], names[2]),
        seen=f"log-odds of {odds:+.1f} that red and blue are in place",
        expected=f"more than {MARGIN:g} to be sure of one picture",
        confidence=0.95 if wrong else float(1 / (1 + np.exp(odds))),
        remedy=colour_remedy(image) + ("" if wrong else " if the files are in the order blue, green, red"),
    )


def colour_remedy(image: StoredImage) -> str:
    """The option that names red and blue the other way round."""
    red, _, blue = _places(image) or (0, 1, 2)
    names = list(image.names)
    names[red], names[blue] = names[blue], names[red]
    return f"--sensor {image.sensor.name}:{','.join(names)}=PATTERN"


def _places(image: StoredImage) -> tuple[int, int, int] | None:
    """Positions of red, green and blue among the bands of a picture; calibrated reflectance is `spectral`'s."""
    if len(image.bands) != 3 or any(one.band.unit == "reflectance" for one in image.bands):
        return None
    found = []
    for low, high in (_RED, _GREEN, _BLUE):
        places = [i for i, one in enumerate(image.bands) if low <= (one.band.wavelength_nm or 0) < high]
        if len(places) != 1:
            return None
        found.append(places[0])
    return (found[0], found[1], found[2])


def _features(red: NDArray[np.float64], green: NDArray[np.float64], blue: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ten numbers, each the negative of itself when red and blue are exchanged."""
    brightness = (red + 2 * green + blue) / 4
    mean, spread = max(float(brightness.mean()), 1e-3), max(float(brightness.std()), 1e-3)
    yellow = red - blue
    dark, bright = (np.quantile(red, q) - np.quantile(blue, q) for q in (0.02, 0.98))
    plants = 2 * green - red - blue > 0.05
    covariance = np.mean((yellow - yellow.mean()) * (brightness - brightness.mean()))
    return np.array(
        [
            yellow.mean() / mean,
            np.log((red.std() + 1e-3) / (blue.std() + 1e-3)),
            (np.abs(green - blue).mean() - np.abs(green - red).mean()) / spread,
            dark / mean,
            bright / mean,
            np.corrcoef(red, green)[0, 1] - np.corrcoef(blue, green)[0, 1],
            np.clip(yellow / (np.abs(yellow).mean() + 1e-3), -1, 1).mean(),
            yellow[plants].mean() / mean if plants.sum() > 20 else 0.0,
            covariance / (yellow.std() * spread + 1e-6),
            (yellow > 0.12).mean() - (yellow < -0.12).mean(),
        ]
    )
