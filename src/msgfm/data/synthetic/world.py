"""Writes synthetic data sets: many processes, resumable, the same bytes whatever their number."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path

from affine import Affine

from msgfm.data.processes import fresh_processes
from msgfm.data.synthetic.conditions import Conditions
from msgfm.data.synthetic.kinds import KINDS, Place
from msgfm.errors import InputError
from msgfm.files import lock_folder, remove_unfinished, write_atomically
from msgfm.geo.raster import write_geotiff
from msgfm.progress import track

RECORD = "world.json"
_RECORD_FORMAT = 1
_SMALLEST_PX = 32
_COLUMNS = ("scene", "file", "setting", *(field.name for field in fields(Conditions)))
_PART = 8  # scenes that a process makes at a time


def write_world(
    out: Path,
    *,
    scenes: int,
    seed: int,
    size: int = 128,
    kinds: Sequence[str] = tuple(KINDS),
    offset: int = 0,
    workers: int = 0,
) -> int:
    """Writes `scenes` scenes into each of some data sets, `out/<kind>`.

    No place appears twice. A scene's pixels follow from (seed, kind, its index, size, offset) alone: not from how many
    are written, nor by how many processes. Scenes whose files are all there are kept, so a killed run goes on when it
    is started again, and more scenes or kinds can be added. Every file appears whole or not at all.

    Beside the images: `world.json` (what makes the world), and in each data set `scenes.csv` (setting, date, sun, air
    and radar path of each scene).

    Args:
        out: folder of the world.
        scenes: number in each data set.
        seed: of everything.
        size: pixels along each side of the finest image of a scene; a multiple of 4, from 32.
        kinds: keys of `KINDS`.
        offset: added to the stored Sentinel-2 numbers, 1000 as processing baseline 04.00 does.
        workers: processes; 0 is this one alone.

    Returns:
        How many scenes were made; the others were there.

    Raises:
        InputError: a number out of range, an unknown kind, `out` holds something else or a world of other numbers, or
            the disk is full.
    """
    _check_numbers(scenes, seed, size, offset)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise InputError(f"no data set {unknown[0]!r} in the synthetic world: there are {', '.join(KINDS)}")
    with _claimed(out, {"format": _RECORD_FORMAT, "seed": seed, "size": size, "offset": offset}):
        places = [
            place
            for index in range(scenes)
            for kind in kinds
            for place in [Place(kind=kind, index=index, seed=seed, size=size, offset=offset)]
            if not all((out / kind / name).is_file() for name in KINDS[kind].names(place))
        ]
        parts = [places[i : i + _PART] for i in range(0, len(places), _PART)]
        with _made(out, parts, min(workers, len(parts))) as done:
            for _ in track(done, "making scenes", len(parts)):
                pass
        for kind in kinds:
            _write_table(out / kind / "scenes.csv", Place(kind=kind, index=0, seed=seed, size=size), scenes)
    return len(places)


def write_place(out: Path, place: Place) -> None:
    """Renders one scene and writes its files below `out/<kind>`."""
    kind = KINDS[place.kind]
    # Scenes lie in rows of forty, a scene's width apart, so that none touch; each data set has a zone of its own.
    spacing_m = 2 * place.size * kind.gsd_m
    east_m = 300_000 + (place.index % 40) * spacing_m
    north_m = 5_000_000 + (place.index // 40) * spacing_m
    for name, picture in zip(kind.names(place), kind.pictures(place), strict=True):
        write_geotiff(
            out / place.kind / name,
            picture.pixels,
            crs=f"EPSG:{32631 + kind.stream}",
            transform=Affine(picture.gsd_m, 0, east_m, 0, -picture.gsd_m, north_m),
            descriptions=picture.bands,
        )


def _check_numbers(scenes: int, seed: int, size: int, offset: int) -> None:
    if scenes < 1 or seed < 0 or size < _SMALLEST_PX or size % 4:
        raise InputError(
            f"scenes={scenes}, seed={seed}, size={size}: need at least 1 scene, a seed of 0 or more, and a size of "
            f"{_SMALLEST_PX} pixels or more that is a multiple of 4 (WorldView-3's pixels against those of PAN)"
        )
    if abs(offset) > 10_000:
        raise InputError(f"offset={offset}: it counts in stored numbers; processing baseline 04.00 adds 1000")


@contextmanager
def _claimed(out: Path, record: dict[str, int]) -> Iterator[None]:
    """Keeps other runs out of the folder for the block; it holds this world and nothing that a killed run left."""
    with lock_folder(out):
        for name in (RECORD, *KINDS):
            remove_unfinished(out / name)
        # only under the lock: else two runs that start at once could each find an empty folder
        _claim(out, record)
        yield


def _claim(out: Path, record: dict[str, int]) -> None:
    """Writes what makes the world, or sees to it that the folder holds the same one."""
    path = out / RECORD
    if path.is_file():
        try:
            there = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path} is no record of a synthetic world ({error}); choose another folder") from error
        if there != record:
            raise InputError(f"{out} holds another world: {there}, asked for {record}; choose another folder")
        return
    if any(entry.name != ".lock" for entry in out.iterdir()):
        raise InputError(f"{out} is there already and is no synthetic world; choose another folder")
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(record) + "\n")


def _write_table(path: Path, first: Place, scenes: int) -> None:
    """What the scenes of a data set are; longer tables that are there are kept."""
    if path.is_file() and len(path.read_text().splitlines()) > scenes:
        return
    with write_atomically(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for index in range(scenes):
            writer.writerow(_described(replace(first, index=index)))


def _described(place: Place) -> dict[str, object]:
    """A row of the table; angles in degrees."""
    seen = place.conditions
    row = {"scene": place.index, "file": KINDS[place.kind].names(place)[0], "setting": place.setting, **asdict(seen)}
    angles = ("sun_azimuth", "sun_elevation", "radar_azimuth", "radar_incidence")
    row |= {name: math.degrees(row[name]) for name in angles}
    return {name: f"{value:.3f}" if isinstance(value, float) else value for name, value in row.items()}


def _write_part(out: Path, places: Sequence[Place]) -> int:
    for place in places:
        write_place(out, place)
    return len(places)


@contextmanager
def _made(out: Path, parts: Sequence[Sequence[Place]], workers: int) -> Iterator[Iterator[int]]:
    """Writes the parts as the result is gone through."""
    if workers <= 1:
        yield (_write_part(out, part) for part in parts)
        return
    with fresh_processes(workers) as pool:
        yield pool.map(_write_part, [out] * len(parts), parts)
