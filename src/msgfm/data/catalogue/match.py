"""Which images coincide: items of one overpass make an acquisition, acquisitions near in time and place a pair."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msgfm.data.catalogue.items import CatalogueItem
from msgfm.data.catalogue.products import PRODUCTS
from msgfm.geo.grid import Bounds

# A pass over one place: frames of Sentinel-1 follow each other by 25 s, tiles of a Sentinel-2 datatake by minutes.
_ONE_PASS = timedelta(minutes=15)
_POINTS = 40  # a side, for shares of area


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """Items of one sensor and one overpass; where they overlap, the first one counts."""

    sensor: str
    items: tuple[CatalogueItem, ...]

    @property
    def time(self) -> datetime:
        """Of the first item in time."""
        return min(item.time for item in self.items)


@dataclass(frozen=True, kw_only=True)
class Coincidence:
    """Acquisitions of several sensors that are near in time and show common ground, in the order asked for."""

    acquisitions: tuple[Acquisition, ...]

    @property
    def days_apart(self) -> float:
        """The longest time between the first sensor's and another's, in days."""
        times = [one.time for one in self.acquisitions if not PRODUCTS[one.sensor].fixed]
        return max(abs(time - times[0]) / timedelta(days=1) for time in times)

    @property
    def name(self) -> str:
        """The first one's time, and a hash of which items they are and how they are stored."""
        said = [
            (item.sensor, item.id, [(band.band, asdict(band.stored)) for band in item.bands])
            for one in self.acquisitions
            for item in one.items
        ]
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        return f"{self.acquisitions[0].time:%Y%m%dT%H%M%S}_{digest[:8]}"


def select(items: Iterable[CatalogueItem], max_cloud: float, orbit: str = "") -> list[CatalogueItem]:
    """Items that are clear enough (those that state no cloud are) and of an orbit.

    Args:
        items: of one sensor.
        max_cloud: percent.
        orbit: `ascending`, `descending`, a relative orbit's number, or empty for all.
    """
    return [
        item
        for item in items
        if (item.cloud is None or item.cloud <= max_cloud)
        and (not orbit or orbit in (item.orbit_state, str(item.orbit)))
    ]


def group_passes(items: Iterable[CatalogueItem]) -> list[Acquisition]:
    """Items of one sensor, by overpass: same platform and orbit, and each within minutes of the one before.

    What is processed twice stands in one acquisition, the newer first. A sensor without dates has one acquisition.
    """
    groups: list[list[CatalogueItem]] = []
    for item in sorted(items, key=lambda item: (item.platform, item.orbit or 0, item.time, item.id)):
        last = groups[-1][-1] if groups else None
        if last is not None and (
            PRODUCTS[item.sensor].fixed
            or ((last.platform, last.orbit) == (item.platform, item.orbit) and item.time - last.time <= _ONE_PASS)
        ):
            groups[-1].append(item)
        else:
            groups.append([item])
    newest = [sorted(group, key=lambda item: (item.version, item.id), reverse=True) for group in groups]
    return [Acquisition(sensor=group[0].sensor, items=tuple(group)) for group in newest]


def match_passes(
    passes: Mapping[str, Sequence[Acquisition]], bbox: Bounds, *, max_days: float, min_overlap: float
) -> list[Coincidence]:
    """Which acquisitions of all sensors go together.

    To each of the first sensor's the nearest in time of every other sensor is found, the shortest times of all first,
    so that each acquisition stands in one coincidence at most; those without dates stand in all.

    Args:
        passes: by sensor, in the order asked for.
        bbox: what is asked for.
        max_days: between the first sensor's and another's.
        min_overlap: share of the bbox that all must cover together.

    Returns:
        The nearest in time first.
    """
    names = list(passes)
    covers = {id(one): _cover(one, bbox) for group in passes.values() for one in group}
    partners: dict[int, list[Acquisition]] = {id(one): [one] for one in passes[names[0]]}
    for name in names[1:]:
        candidates = [
            (abs(one.time - other.time), one.time, other.time, i, j)
            for i, one in enumerate(passes[names[0]])
            for j, other in enumerate(passes[name])
            if PRODUCTS[name].fixed or abs(one.time - other.time) <= timedelta(days=max_days)
        ]
        taken: set[int] = set()
        for *_, i, j in sorted(candidates):
            one, other = passes[names[0]][i], passes[name][j]
            together = np.logical_and.reduce([covers[id(part)] for part in (*partners[id(one)], other)])
            new = all(part.sensor != name for part in partners[id(one)]) and j not in taken
            if new and together.mean() >= min_overlap:
                partners[id(one)].append(other)
                if not PRODUCTS[name].fixed:
                    taken.add(j)
    whole = [Coincidence(acquisitions=tuple(group)) for group in partners.values() if len(group) == len(names)]
    return sorted(whole, key=lambda one: (one.days_apart, one.acquisitions[0].time, one.name))


def _cover(acquisition: Acquisition, bbox: Bounds) -> NDArray[np.bool_]:
    cover = np.zeros((_POINTS, _POINTS), bool)
    for item in acquisition.items:
        cover |= covered(item.geometry, bbox)
    return cover


def covered(geometry: Mapping[str, Any], bbox: Bounds) -> NDArray[np.bool_]:
    """Which of a regular set of points in a box lie in a GeoJSON Polygon or MultiPolygon (even-odd rule)."""
    steps = (np.arange(_POINTS) + 0.5) / _POINTS
    x = bbox[0] + steps * (bbox[2] - bbox[0])
    y = (bbox[1] + steps * (bbox[3] - bbox[1]))[:, None]
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    inside = np.zeros((_POINTS, _POINTS), bool)
    for ring in (ring for polygon in polygons for ring in polygon):
        for (x0, y0, *_), (x1, y1, *_) in pairwise(ring):
            if y0 != y1:
                inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside
