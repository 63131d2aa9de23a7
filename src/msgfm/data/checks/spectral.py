"""Are optical bands in the order that card and listing say?

What tells is how bands relate to each other: neighbours in the spectrum correlate, reflectance rises or falls between
them in a way that differs little from place to place, and bands of 60 m are smoother than bands of 10 m. The score of
an arrangement is the log-likelihood (Student's t, so that no single oddity decides) of these relations under those of
real images; `band_relations.csv` holds their means and spreads. It is compared with the score of every exchange of two
bands, every move of one band to another place, and the reverse.

An arrangement must beat the listed one by a margin that no clean image of the real pack reaches, else it is undecided:
exchanging B07 and B8A, say, changes next to nothing. Margins of several images of one source add up (`pooled.py`).

The relations were measured on half of the Sentinel-2, HLS and OMBRIA images of the real pack (docs/results.md says
which), the ratios drawn by 0.3 towards the mean spectra of the cards `sentinel2` and `sentinel2_l2a` (SSL4EO-S12).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredImage
from msgfm.sensors import Band

Array = NDArray[np.float64]

MARGIN = 4.5
_RELATIONS = Path(__file__).with_name("band_relations.csv")
# Sentinel-2's bands by centre, nm; other sensors' bands are taken for the nearest one within 15 nm.
_CENTRES = {
    "B01": 442.7, "B02": 492.4, "B03": 559.8, "B04": 664.6, "B05": 704.1, "B06": 740.5, "B07": 782.8, "B08": 832.8,
    "B8A": 864.7, "B09": 945.1, "B10": 1373.5, "B11": 1613.7, "B12": 2202.4,
}  # fmt: skip
# Log of the mean step to the next pixel over that to the fourth, in files where all bands have one grid: mean, spread.
_FINENESS = {
    "B01": (-1.31, 0.19), "B02": (-0.86, 0.22), "B03": (-0.88, 0.2), "B04": (-0.89, 0.22), "B05": (-1.21, 0.14),
    "B06": (-1.2, 0.14), "B07": (-1.2, 0.14), "B08": (-0.92, 0.18), "B8A": (-1.1, 0.23),
    "B09": (-1.38, 0.12), "B10": (-1.38, 0.12), "B11": (-1.19, 0.2), "B12": (-1.15, 0.23),
}  # fmt: skip
# Orders that data sets are known to have: one of them is likelier than what merely fits a little better.
_KNOWN = (
    ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"),  # EuroSAT
    ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09", "B10"),  # 10, 20, 60 m
)
_T_DEGREES = 4.0
_RATIO_WEIGHT = 0.5
_FLOOR = 50.0
_QUANTIFICATION = 1e4


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the bands of an image are like, or are expected to be, or how far that spreads.

    Args:
        z: n x n, Fisher's z of their correlations.
        ratio: n x n, logs of the ratios of their medians.
        fineness: n, NaN where the bands' grids differ.
    """

    z: Array
    ratio: Array
    fineness: Array

    def plus(self, other: Features) -> Features:
        """The sum."""
        return Features(z=self.z + other.z, ratio=self.ratio + other.ratio, fineness=self.fineness + other.fineness)

    def over(self, number: int) -> Features:
        """Divided by a number."""
        return Features(z=self.z / number, ratio=self.ratio / number, fineness=self.fineness / number)


@dataclass(frozen=True, kw_only=True)
class OrderEvidence:
    """How the listed order compares with others, of one image.

    Args:
        bands: names as listed.
        margins: by which the listed order's score exceeds that of each of `arrangements(len(bands))`.
        best: the arrangement of the highest score, as names in the files' order.
        lead: by which it exceeds the listed order; 0 where that is the best.
        features: that the scores rest on.
        names: Sentinel-2's names of the bands, as listed.
        toa: whether levels are those above the atmosphere.
    """

    bands: tuple[str, ...]
    margins: Array
    best: tuple[str, ...]
    lead: float
    features: Features
    names: tuple[str, ...]
    toa: bool


def order_evidence(image: StoredImage, offset: float = 0.0) -> OrderEvidence | None:
    """Compares arrangements of an image's bands.

    Args:
        image: the image.
        offset: to take off the stored numbers first (Sentinel-2's 1000, where it was found to be in).

    Returns:
        None for fewer than three bands of reflectance in the range of Sentinel-2's, or too few pixels with data.
    """
    names = [_sentinel2_name(one.band) for one in image.bands]
    if len(names) < 3 or None in names or len(set(names)) < len(names):
        return None
    if any(one.numbers.size == 0 for one in image.bands) or image.common.shape[1] < 64:
        return None
    listed, toa = tuple(str(name) for name in names), "B10" in image.sensor.band_names
    features = _measure(image, offset)
    margins, best, lead = _compare(features, listed, toa)
    return OrderEvidence(
        bands=image.names,
        margins=margins,
        best=_named(image.names, best),
        lead=lead,
        features=features,
        names=listed,
        toa=toa,
    )


def common_order(evidence: OrderEvidence, features: Features) -> tuple[tuple[str, ...], float]:
    """The best order of several images, and by how much it exceeds the listed one.

    Args:
        evidence: of any of them.
        features: the mean of theirs.
    """
    _, best, lead = _compare(features, evidence.names, evidence.toa)
    return _named(evidence.bands, best), lead


def _named(bands: Sequence[str], order: NDArray[np.int64]) -> tuple[str, ...]:
    """The names of the files' bands: `order[i]` is the listed position of what belongs in place i."""
    return tuple(bands[i] for i in np.argsort(order))


def _compare(features: Features, names: tuple[str, ...], toa: bool) -> tuple[Array, NDArray[np.int64], float]:
    """Margins over `arrangements`, the arrangement of the highest score, and its lead over the listed one."""
    relations = _relations(names, toa)
    identity = np.arange(len(names))
    others = arrangements(len(names))
    own = float(_scores(features, relations, identity[None])[0])
    margins = own - _scores(features, relations, others)
    best, lead = identity, 0.0
    if margins.min() < 0:
        best, lead = _climb(features, relations, others[margins.argmin()], own)
        known = _known_orders(names)
        leads = _scores(features, relations, known) - own
        if lead > MARGIN and leads.max() > max(MARGIN, lead - MARGIN):
            best, lead = known[leads.argmax()], float(leads.max())
    return margins, best, lead


def order_finding(image: StoredImage, evidence: OrderEvidence | None) -> Iterator[Finding]:
    """The finding that follows: an error beyond the margin, undecided where a rival lies within it."""
    if evidence is None:
        return
    if evidence.lead > MARGIN:
        yield Finding(
            kind="band-order",
            severity="error",
            file=image.file,
            bands=moved(evidence.bands, evidence.best),
            seen=f"another order fits better by {evidence.lead:.1f} (log-likelihood)",
            expected=f"the spectrum of {', '.join(evidence.bands)}",
            confidence=float(1 / (1 + np.exp(MARGIN / 2 - evidence.lead))),
            remedy=order_remedy(image.sensor.name, evidence.best),
        )
        return
    rivals = undecided_pairs(evidence.bands, evidence.margins)
    if rivals:
        yield Finding(
            kind="band-order",
            severity="undecided",
            file=image.file,
            bands=tuple(dict.fromkeys(name for pair in rivals for name in pair)),
            seen=f"this image does not tell apart {name_pairs(rivals)}",
            expected=f"the spectrum of {', '.join(evidence.bands)}",
            confidence=float(np.clip(0.5 - evidence.margins.min() / (2 * MARGIN), 0.05, 0.95)),
            remedy="compare with the data set's documentation; if bands are exchanged, "
            f"--sensor {image.sensor.name}:BAND,...=PATTERN in the files' order",
        )


def order_remedy(sensor: str, bands: Sequence[str]) -> str:
    """The option that names a file's bands in its order."""
    return f"--sensor {sensor}:{','.join(bands)}=PATTERN"


def moved(listed: Sequence[str], order: Sequence[str]) -> tuple[str, ...]:
    """The bands that stand elsewhere than listed."""
    return tuple(name for name, other in zip(order, listed, strict=True) if name != other)


def undecided_pairs(bands: Sequence[str], margins: Array) -> list[tuple[str, str]]:
    """Pairs whose exchange the margins do not rule out, the likeliest first."""
    pairs = sorted(zip(margins, combinations(bands, 2), strict=False), key=lambda pair: float(pair[0]))
    return [pair for margin, pair in pairs if margin <= MARGIN]


def name_pairs(pairs: Sequence[tuple[str, str]], shown: int = 5) -> str:
    """`B07/B8A, B02/B03 and 3 more`."""
    more = f" and {len(pairs) - shown} more" if len(pairs) > shown else ""
    return ", ".join("/".join(pair) for pair in pairs[:shown]) + more


@lru_cache(maxsize=16)
def arrangements(n: int) -> NDArray[np.int64]:
    """K x n: all exchanges of two (first, in the order of `combinations`), moves of one, and the reverse."""
    rows = []
    for i, j in combinations(range(n), 2):
        row = list(range(n))
        row[i], row[j] = j, i
        rows.append(row)
    for i in range(n):
        for j in range(n):
            if abs(i - j) > 1:
                row = list(range(n))
                row.insert(j, row.pop(i))
                rows.append(row)
    rows.append(list(range(n))[::-1])
    return np.array(rows)


def _known_orders(names: Sequence[str]) -> NDArray[np.int64]:
    """K x n, as `arrangements`: the orders of known data sets, of the bands that there are."""
    listed = [[name for name in order if name in names] for order in _KNOWN]
    return np.array([[order.index(name) for name in names] for order in listed])


def _sentinel2_name(band: Band) -> str | None:
    if band.unit != "reflectance" or band.wavelength_nm is None:
        return None
    name = min(_CENTRES, key=lambda name: abs(_CENTRES[name] - (band.wavelength_nm or 0)))
    return name if abs(_CENTRES[name] - band.wavelength_nm) <= 15 else None


def _measure(image: StoredImage, offset: float) -> Features:
    digital = image.common * _QUANTIFICATION - offset
    low, high = np.quantile(digital, (0.01, 0.99), axis=1)
    clipped = np.clip(digital, low[:, None], high[:, None])
    clipped -= clipped.mean(axis=1, keepdims=True)
    spread = clipped.std(axis=1) + 1e-9
    correlation = clipped @ clipped.T / clipped.shape[1] / np.outer(spread, spread)
    level = np.log(np.maximum(np.median(digital, axis=1), 0) + _FLOOR)
    shapes = {one.stored.shape for one in image.bands}
    fineness = np.full(len(image.bands), np.nan)
    if len(shapes) == 1 and min(image.bands[0].stored.shape) >= 16:
        fineness = np.array([_fineness(one.stored, one.valid) for one in image.bands])
    return Features(
        z=np.arctanh(np.clip(correlation, -0.995, 0.995)), ratio=level[:, None] - level[None], fineness=fineness
    )


def _fineness(stored: NDArray[Any], valid: NDArray[np.bool_]) -> float:
    values = np.where(valid, stored, np.nan)[:, :: max(1, stored.shape[1] // 64)].astype(np.float32)
    near, far = np.abs(values[1:] - values[:-1]), np.abs(values[4:] - values[:-4])
    return float(np.log((np.nanmean(near) + 1e-6) / (np.nanmean(far) + 1e-6)))


@lru_cache(maxsize=32)
def _relations(names: tuple[str, ...], toa: bool) -> tuple[Features, Features]:
    """Expected values and spreads for these bands, in this order."""
    level = "toa" if toa else "surface"
    place = {name: i for i, name in enumerate(names)}
    z, z_spread, ratio, ratio_spread = (np.ones((len(names), len(names))) for _ in range(4))
    with _RELATIONS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["first"] not in place or row["second"] not in place or not row[level]:
                continue
            i, j = place[row["first"]], place[row["second"]]
            z[i, j] = z[j, i] = float(row["z"])
            z_spread[i, j] = z_spread[j, i] = float(row["z_spread"])
            ratio[i, j], ratio[j, i] = float(row[level]), -float(row[level])
            ratio_spread[i, j] = ratio_spread[j, i] = float(row[f"{level}_spread"])
    fineness = np.array([_FINENESS[name] for name in names])
    return (
        Features(z=z, ratio=ratio, fineness=fineness[:, 0]),
        Features(z=z_spread, ratio=ratio_spread, fineness=fineness[:, 1]),
    )


def _scores(measured: Features, relations: tuple[Features, Features], orders: NDArray[np.int64]) -> Array:
    """K log-likelihoods; `orders[k, i]` is the listed position of what is taken for band i."""
    mean, spread = relations
    n = len(mean.fineness)
    upper = np.triu_indices(n, 1)
    first, second = orders[:, upper[0]], orders[:, upper[1]]
    pairs = _log_t(measured.z[first, second], mean.z[upper], spread.z[upper])
    pairs += _RATIO_WEIGHT * _log_t(measured.ratio[first, second], mean.ratio[upper], spread.ratio[upper])
    # Every band stands in n - 1 pairs, which are far from independent: they count as one.
    scores: Array = pairs.sum(axis=1) * 2 / (n - 1)
    if np.isfinite(measured.fineness).all():
        scores += _log_t(measured.fineness[orders], mean.fineness, spread.fineness).sum(axis=1)
    return scores


def _log_t(values: Array, mean: Array, spread: Array) -> Array:
    deviation = ((values - mean) / spread) ** 2
    return -(_T_DEGREES + 1) / 2 * np.log1p(deviation / _T_DEGREES) - np.log(spread)


def _climb(
    measured: Features, relations: tuple[Features, Features], start: NDArray[np.int64], own: float
) -> tuple[NDArray[np.int64], float]:
    """From an arrangement to better ones, one exchange or move at a time, until there is none."""
    steps = arrangements(len(start))
    best, score = start, float(_scores(measured, relations, start[None])[0])
    for _ in range(4 * len(start)):
        candidates = best[steps]
        scores = _scores(measured, relations, candidates)
        if scores.max() <= score + 1e-9:
            break
        best, score = candidates[scores.argmax()], float(scores.max())
    return best, score - own
