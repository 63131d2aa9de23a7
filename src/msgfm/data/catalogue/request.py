"""What is asked of a catalogue, checked before anything travels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import lru_cache
from pathlib import Path

from msgfm.data.catalogue.products import PRODUCTS, require_products
from msgfm.data.layouts.listing import change_cards
from msgfm.errors import InputError
from msgfm.geo.grid import Bounds, Grid, grid_over, utm_zone
from msgfm.geo.network import Network
from msgfm.sensors import Sensor, load_sensor
from msgfm.sensors.sensor import STORAGE


@dataclass(frozen=True, kw_only=True)
class Statements:
    """What the user says of how files are stored; it counts more than what they say themselves.

    Args:
        settings: as `sentinel2.offset=-1000`.
        power: `linear` or `db`, which Sentinel-1's numbers are; empty: its metadata say so.
    """

    settings: tuple[str, ...] = ()
    power: str = ""

    def __post_init__(self) -> None:
        if self.power not in ("", "linear", "db"):
            raise InputError(f"--power {self.power!r}: it is linear or db")

    def of_band(self, sensor: str, band: str) -> frozenset[str]:
        """Which of `scale`, `offset` and `nodata` the settings state of a band."""
        paths = {setting.partition("=")[0] for setting in self.settings}
        return frozenset(key for key in STORAGE if {f"{sensor}.{key}", f"{sensor}.{band}.{key}"} & paths)


@dataclass(frozen=True, kw_only=True)
class CatalogueRequest:
    """Which images, on which grid, and how patiently.

    Args:
        source: address of a STAC API, or the path of an ItemCollection (JSON).
        bbox: west, south, east, north in degrees.
        start: of the time asked for.
        end: likewise, still within it.
        sensors: names; to images of the first one those of the others are matched.
        out: folder.
        collections: by sensor, where they are not those of `PRODUCTS`.
        orbits: by sensor, `ascending`, `descending` or the number of a relative orbit.
        bands: by sensor, where not all are wanted.
        settings: how files are stored where their metadata do not say, as `sentinel2.offset=-1000`.
        power: `linear` or `db`, where Sentinel-1's metadata do not say; empty: they do.
        max_days: between two images of a pair.
        max_cloud: percent of an item.
        min_overlap: share of the bbox that a pair must cover.
        crs: of the grid; empty is the UTM zone of the bbox's centre.
        resolution: of the grid, in units of its CRS.
        size: side of a patch in pixels.
        max_nodata: share of a patch that may be without data.
        limit: pairs, the nearest in time first.
        workers: threads that read.
        skip_bad: items and reads that may fail before it is an error.
        network: patience of each request.
    """

    source: str
    bbox: Bounds
    start: datetime
    end: datetime
    sensors: tuple[str, ...]
    out: Path
    collections: Mapping[str, str] = field(default_factory=dict)
    orbits: Mapping[str, str] = field(default_factory=dict)
    bands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    power: str = ""
    max_days: float = 3.0
    max_cloud: float = 20.0
    min_overlap: float = 0.05
    crs: str = ""
    resolution: float = 10.0
    size: int = 256
    max_nodata: float = 0.1
    limit: int | None = None
    workers: int = 4
    skip_bad: int = 0
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        require_products(self.sensors)
        west, south, east, north = self.bbox
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise InputError(
                f"--bbox {west:g},{south:g},{east:g},{north:g}: it is west,south,east,north in degrees, and does not "
                f"cross the date line"
            )
        if self.end < self.start:
            raise InputError(f"--dates: the end, {self.end:%Y-%m-%d}, lies before the start, {self.start:%Y-%m-%d}")
        for option, given in (("--collection", self.collections), ("--orbit", self.orbits), ("--bands", self.bands)):
            if unknown := sorted(given.keys() - set(self.sensors)):
                raise InputError(f"{option} {unknown[0]}=...: the sensors asked for are {', '.join(self.sensors)}")
        for orbit in self.orbits.values():
            if orbit not in ("ascending", "descending") and not orbit.isdecimal():
                raise InputError(f"--orbit {orbit!r}: it is ascending, descending or the number of a relative orbit")
        self.statements()
        for name, bands in self.bands.items():
            _card(name).select(bands)
        self.cards()

    def cards(self) -> dict[str, Sensor]:
        """Cards of the sensors with the settings, by name: how the catalogue's files are stored, where it is stated."""
        return change_cards({name: _card(name) for name in self.sensors}, self.settings)

    def written_cards(self) -> dict[str, Sensor]:
        """Cards of the files that are written."""
        return {name: PRODUCTS[name].written.card(card) for name, card in self.cards().items()}

    def bands_of(self, sensor: str) -> tuple[str, ...]:
        """Names of the bands wanted, in the card's order."""
        card = _card(sensor)
        wanted = self.bands.get(sensor, card.band_names)
        return tuple(band for band in card.band_names if band in wanted)

    def statements(self) -> Statements:
        """What is said of how files are stored."""
        return Statements(settings=self.settings, power=self.power)

    def grid(self) -> Grid:
        """The grid of all patches."""
        west, south, east, north = self.bbox
        crs = self.crs or utm_zone((west + east) / 2, (south + north) / 2)
        return grid_over(self.bbox, crs, self.resolution, self.size)


@lru_cache
def _card(name: str) -> Sensor:
    return load_sensor(name)


def parse_bbox(text: str) -> Bounds:
    """`west,south,east,north` in degrees."""
    try:
        west, south, east, north = map(float, text.split(","))
    except ValueError as error:
        raise InputError(f"--bbox {text}: write west,south,east,north in degrees, as 11.2,47.9,11.9,48.3") from error
    return west, south, east, north


def parse_dates(text: str) -> tuple[datetime, datetime]:
    """`2024-06-01/2024-06-30` or one day; the last day is within it."""
    first, _, last = text.partition("/")
    try:
        start, end = (datetime.fromisoformat(day) for day in (first, last or first))
    except ValueError as error:
        raise InputError(f"--dates {text}: write 2024-06-01/2024-06-30") from error
    if len(last or first) == len("2024-06-30"):
        end = datetime.combine(end, time.max)
    start, end = (moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in (start, end))
    return start, end


def parse_by_sensor(option: str, given: Sequence[str]) -> dict[str, str]:
    """`SENSOR=VALUE`, given any number of times."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InputError(f"{option} {text}: write SENSOR=VALUE")
        found[name] = value
    return found
