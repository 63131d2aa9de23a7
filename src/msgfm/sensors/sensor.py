"""`Band`, `Sensor` and the loader of their YAML cards."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from msgfm.errors import InputError
from msgfm.validation import CheckedModel, explain
from msgfm.yaml_text import parse_yaml

CARDS = Path(__file__).parent / "cards"

# What a card may say once for all of its bands; a band's own value wins.
_BAND_DEFAULTS = ("unit", "gsd_m", "scale", "offset", "nodata", "valid_range", "mean", "std")
# How files store a band. Two data sets of one sensor may differ in it: the reader makes the same physical values.
STORAGE = ("scale", "offset", "nodata")


class Band(CheckedModel):
    """One named channel.

    A stored number becomes a physical one as `(stored + offset) * scale`: the offset counts in stored numbers,
    as ESA's `RADIO_ADD_OFFSET` does. `valid_range`, `mean` and `std` are in the physical unit. For a sensor with
    `centre: image`, `mean` and `std` describe the image after its own mean was taken away.
    """

    name: str = Field(min_length=1)
    unit: str = Field(min_length=1)
    valid_range: tuple[float, float]
    wavelength_nm: float | None = Field(default=None, gt=0)
    polarisation: Literal["HH", "HV", "VH", "VV"] | None = None
    gsd_m: float | None = Field(default=None, gt=0)
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    mean: float | None = None
    std: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Band:
        low, high = self.valid_range
        if low >= high:
            raise ValueError(f"band {self.name}: valid_range {low}..{high} is empty; write the lower end first")
        if self.scale == 0:
            raise ValueError(f"band {self.name}: scale is 0; it multiplies the stored numbers")
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"band {self.name}: give both mean and std, or neither")
        return self


class Sensor(CheckedModel):
    """What took an image: its bands, in the order in which arrays hold them.

    Args:
        name: the sensor's key in samples, recipes and weights.
        bands: in array order. Only this tuple orders bands; positions come from `index_of`.
        description: what the card describes, and where its numbers come from.
        clip: whether values are clipped to each band's `valid_range` before normalisation (speckle tails in dB).
        centre: `image` takes each image's own mean away first, so that altitude does not matter; `none` does not.
        display: names of the bands shown as red, green, blue (three), or as grey (one).
    """

    shorthands: ClassVar[tuple[str, ...]] = _BAND_DEFAULTS

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    bands: tuple[Band, ...] = Field(min_length=1)
    description: str = ""
    clip: bool = False
    centre: Literal["none", "image"] = "none"
    display: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _spread_defaults(cls, card: Any) -> Any:
        """Lets a card state once what all of its bands share."""
        if not isinstance(card, dict) or not isinstance(card.get("bands"), list):
            return card
        shared = {key: card[key] for key in _BAND_DEFAULTS if key in card}
        bands = [shared | band if isinstance(band, dict) else band for band in card["bands"]]
        return {key: value for key, value in card.items() if key not in shared} | {"bands": bands}

    @model_validator(mode="after")
    def _check(self) -> Sensor:
        if twice := sorted({name for name in self.band_names if self.band_names.count(name) > 1}):
            raise ValueError(f"sensor {self.name}: band names {twice} stand more than once")
        if self.display and len(self.display) not in (1, 3):
            raise ValueError(f"sensor {self.name}: display takes one band or three, not {len(self.display)}")
        self.indices_of(self.display)
        return self

    @cached_property
    def band_names(self) -> tuple[str, ...]:
        """In array order."""
        return tuple(band.name for band in self.bands)

    def index_of(self, band: str) -> int:
        """Position of a band in arrays of this sensor."""
        if band not in self.band_names:
            near = difflib.get_close_matches(band, self.band_names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"sensor {self.name} has no band {band!r}; it has {', '.join(self.band_names)}{hint}")
        return self.band_names.index(band)

    def indices_of(self, bands: Iterable[str]) -> tuple[int, ...]:
        """Positions of several bands in arrays of this sensor."""
        return tuple(self.index_of(band) for band in bands)

    def select(self, bands: Iterable[str]) -> Sensor:
        """The same sensor with some of its bands, in the order given (Sentinel-2 L2A has no B10)."""
        chosen = tuple(self.bands[i] for i in self.indices_of(bands))
        names = {band.name for band in chosen}
        display = self.display if names.issuperset(self.display) else ()
        return Sensor.model_validate(self.model_dump() | {"bands": list(chosen), "display": display})

    def with_setting(self, path: str, value: Any) -> Sensor:
        """The same sensor with one field of all its bands, of one band or of its own changed.

        Args:
            path: `offset` (all bands), `B10.offset` (one band) or `centre` (the card's own).
            value: the new value.

        Raises:
            InputError: no such band or field, or the value does not fit.
        """
        band, _, field = path.rpartition(".")
        card = self.model_dump()
        if band:
            chosen = [card["bands"][self.index_of(band)]]
        else:
            chosen = card["bands"] if field in Band.model_fields and field not in Sensor.model_fields else [card]
        kind: type[CheckedModel] = Sensor if chosen == [card] else Band
        for place in chosen:
            place[field] = value
        try:
            kind.model_validate(chosen[0])  # first, for what fits no band is to be told once, not once a band
        except ValidationError as error:
            raise InputError(f"{self.name}.{path}={value}: {explain(kind, error)}") from error
        try:
            return Sensor.model_validate(card)
        except ValidationError as error:
            raise InputError(f"{self.name}.{path}={value}: {explain(Sensor, error)}") from error

    def without_storage(self) -> Sensor:
        """The same sensor, told apart from others by what its physical values are and not by how files store them."""
        bands = [
            band.model_copy(update={key: Band.model_fields[key].default for key in STORAGE}) for band in self.bands
        ]
        return self.model_copy(update={"bands": tuple(bands)})

    def display_indices(self) -> tuple[int, ...]:
        """Positions of the bands to show: as the card says, else the first three, else the first."""
        if self.display:
            return self.indices_of(self.display)
        return (0, 1, 2) if len(self.bands) >= 3 else (0,)

    def require_statistics(self) -> None:
        """Raises `InputError` when a band has no mean and std, which normalisation needs."""
        if missing := [band.name for band in self.bands if band.mean is None]:
            raise InputError(
                f"sensor {self.name}: no mean and std for {', '.join(missing)}; "
                f"`msgfm data stats MANIFEST --out CARD.yaml` computes them from your images and writes a card"
            )


def builtin_sensors() -> tuple[str, ...]:
    """Names of the cards that come with msgfm."""
    return tuple(sorted(path.stem for path in CARDS.glob("*.yaml")))


def load_sensor(card: str | Path) -> Sensor:
    """Loads a sensor card: a built-in name (`sentinel2`) or the path of a YAML file.

    Raises:
        InputError: no such card, not YAML, or a field that is missing, unknown or out of range.
    """
    path = Path(card)
    if path.suffix not in (".yaml", ".yml"):
        path = CARDS / f"{card}.yaml"
    if not path.is_file():
        names = builtin_sensors()
        near = difflib.get_close_matches(str(card), names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        if ":" in str(card) or "=" in str(card):
            hint = "bands and files are named with the layout `pairs`; "
        raise InputError(
            f"no sensor card {str(card)!r}: {hint}built in are {', '.join(names)}; "
            f"your own is the path of a YAML file (see docs/data.md)"
        )
    try:
        return Sensor.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise InputError(f"sensor card {path}: {explain(Sensor, error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"sensor card {path} is not YAML: {error}") from error


def is_no_data(value: float | None) -> bool:
    """Whether a card's `nodata` names a number that must be looked for (NaN is always no data)."""
    return value is not None and not math.isnan(value)
