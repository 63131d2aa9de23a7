"""Which bands of which files a scene is made of, on which grid: all that a process needs to open it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from msgfm.geo.grid import Grid
from msgfm.geo.network import Network, is_address, unsigned
from msgfm.scenes.inputs.times import Span
from msgfm.sensors import Sensor


@dataclass(frozen=True, kw_only=True)
class SceneFile:
    """Bands of one file.

    Args:
        place: absolute path, or address.
        bands: names on the card, one for each entry of `file_bands`.
        file_bands: positions in the file, counted from 1.
    """

    place: str
    bands: tuple[str, ...]
    file_bands: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BandStorage:
    """How a file stores a band: physical = (stored + offset) * scale.

    Args:
        dtype: numpy's name of the stored type.
        scale: of one stored step, in the card's unit.
        offset: in stored numbers.
        nodata: the stored number that means "no data"; None where there is none.
    """

    dtype: str
    scale: float
    offset: float
    nodata: float | None


@dataclass(frozen=True, kw_only=True)
class SceneImage:
    """One input of a model.

    Args:
        key: `sentinel2`, or `sentinel2@cloudy`.
        card: the bands that are read, in their order, with scale, offset and no-data number as the files have them.
        files: that hold them.
        storage: of each of the card's bands.
        power: whether the files hold linear power, of which decibels are made.
        taken: when, as far as the files tell; None where they do not.
    """

    key: str
    card: Sensor
    files: tuple[SceneFile, ...]
    storage: tuple[BandStorage, ...]
    power: bool = False
    taken: Span | None = None


@dataclass(frozen=True, kw_only=True)
class SceneRequest:
    """A scene that can be opened, here or in another process.

    Args:
        images: in the model's order.
        grid: that all of them are read on.
        network: how patient to be.
    """

    images: tuple[SceneImage, ...]
    grid: Grid
    network: Network = field(default_factory=Network)

    def describe(self) -> dict[str, Any]:
        """All of it but the network's patience and the signatures of addresses, as JSON takes it."""
        images = [
            asdict(image) | {"card": image.card.model_dump(mode="json", exclude_defaults=True)} for image in self.images
        ]
        for image in images:
            for file in image["files"]:
                file["place"] = unsigned(file["place"])
            image["taken"] = image["taken"] and [moment.isoformat() for moment in image["taken"]]
        described: dict[str, Any] = json.loads(json.dumps({"images": images, "grid": asdict(self.grid)}))
        return described

    @property
    def places(self) -> tuple[str, ...]:
        """Paths and addresses, each once."""
        return tuple(dict.fromkeys(file.place for image in self.images for file in image.files))

    def digest(self) -> str:
        """SHA-256 of what is read and how, and of size and time of change of each file (not of what addresses hold)."""
        states = []
        for place in self.places:
            if not is_address(place):
                state = Path(place).stat()
                states.append((place, state.st_size, state.st_mtime_ns))
        return hashlib.sha256(json.dumps([self.describe(), states], sort_keys=True).encode()).hexdigest()
