"""Any folders or naming schemes, one per sensor, joined by what their files' names share."""

from __future__ import annotations

import csv
import glob
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from msgfm.data.layouts.listing import (
    IMAGE_SUFFIXES,
    LayoutOptions,
    Listing,
    card_band,
    is_image,
    listed,
    mask_file,
)
from msgfm.data.records import RasterFile
from msgfm.errors import InputError
from msgfm.sensors import Sensor, load_sensor

_PLACEHOLDERS = {"id": r"[^/]+?", "scene": r"[^/]+?", "band": r"[A-Za-z0-9]+", "split": r"train|val|test"}
_TOKEN = re.compile(r"\{(?P<name>[^}]*)\}|(?P<deep>\*\*/)|(?P<star>\*)")
_EXAMPLE = (
    "write CARD[@ROLE][:BAND,...]=PATTERN[@FILE BANDS], as sentinel1=s1/{id}_S1.tif or my_card.yaml:B4,B3=images@1-2"
)


@dataclass(frozen=True, kw_only=True)
class SensorSpec:
    """One `--sensor` of the layout.

    Args:
        sensor: the card.
        bands: names of the bands that the files hold, in the files' order.
        pattern: a folder below the root, or a path with placeholders.
        file_bands: positions in the file, from 1; empty is all.
        role: of the images in their samples, as `before`; empty for ordinary ones.
    """

    sensor: Sensor
    bands: tuple[str, ...]
    pattern: str
    file_bands: tuple[int, ...] = ()
    role: str = ""


@dataclass(frozen=True, order=True)
class _Key:
    """What joins the files of a sample: the folder scene, where patterns have one, and the id."""

    scene: str
    id: str

    @property
    def sample(self) -> str:
        return f"{self.scene}/{self.id}" if self.scene else self.id


def list_pairs(root: Path, options: LayoutOptions) -> Listing:
    """Joins the files of several sensors by the `{id}` of their paths (and `{scene}`, where given).

    An id that only some sensors have is a sample with those sensors.

    Raises:
        InputError: a specification that cannot be read, a pattern without files, two files for one place.
    """
    if not options.sensors:
        raise InputError(f"layout pairs needs a --sensor for each sensor: {_EXAMPLE}")
    if bool(options.mask) != bool(options.mask_classes):
        raise InputError("--mask and --mask-class go together: the files, and what their values mean (255=water)")
    specs = [parse_spec(text) for text in options.sensors]
    if len({"{scene}" in spec.pattern for spec in specs}) > 1:
        raise InputError("either all patterns have {scene}, or none: it is part of what joins the sensors")
    sensors = {spec.sensor.name: spec.sensor for spec in specs}
    files: dict[_Key, dict[str, list[RasterFile]]] = defaultdict(lambda: defaultdict(list))
    splits: dict[_Key, str] = {}
    for spec, text in zip(specs, options.sensors, strict=True):
        found = list(_matches(root, spec))
        if not found:
            raise InputError(f"--sensor {text}: no file below {root} is named so; the pattern is below ROOT")
        for key, split, file in found:
            if splits.setdefault(key, split) != split:
                raise InputError(f"{root / file.path} is {split}, another file of {key.sample} is {splits[key]}")
            name = f"{spec.sensor.name}@{spec.role}" if spec.role else spec.sensor.name
            _add(root, files[key][name], file, spec.sensor)
    scenes = _read_scenes(root, options.scenes, files) if options.scenes else {}
    masks = _find_masks(root, options.mask) if options.mask else {}
    samples = [
        listed(key.sample, scenes.get(key.id) or key.scene or key.id, of_it, splits[key], mask=masks.get(key))
        for key, of_it in sorted(files.items())
    ]
    return Listing(sensors=sensors, samples=samples, mask_classes=_parse_classes(options.mask_classes))


def parse_spec(text: str) -> SensorSpec:
    """Reads `CARD[@ROLE][:BAND,...]=PATTERN[@FILE BANDS]`.

    CARD is a built-in name or the path of a YAML file, ROLE tells images of one sensor apart. PATTERN is a folder
    below the root, whose files' stems are the ids, or a path with `{id}`, and `{scene}`, `{band}` (one file per band),
    `{split}`, `*` and `**/` as needed.
    FILE BANDS are positions in the file, as `1-7` or `4,3,2`.

    Raises:
        InputError: not of this form, or bands and positions do not go together.
    """
    card, equals, pattern = text.partition("=")
    if not (card and equals and pattern):
        raise InputError(f"--sensor {text}: {_EXAMPLE}")
    card, _, names = card.partition(":")
    card, at, role = card.partition("@")
    if at and not re.fullmatch(r"[a-z][a-z0-9_]*", role):
        raise InputError(f"--sensor {text}: a role is a word of small letters, as {card}@before")
    sensor = load_sensor(card)
    bands = tuple(name.strip() for name in names.split(",")) if names else sensor.band_names
    sensor.indices_of(bands)
    if len(set(bands)) < len(bands):
        raise InputError(f"--sensor {text}: a band is named twice")
    file_bands: tuple[int, ...] = ()
    if match := re.fullmatch(r"(.+)@([\d,\- ]+)", pattern):
        pattern, file_bands = match[1], _positions(match[2], text)
    if "{band}" in pattern:
        if file_bands:
            raise InputError(f"--sensor {text}: a file per band ({{band}}) has nothing to pick with @")
    elif file_bands and len(file_bands) != len(bands):
        raise InputError(
            f"--sensor {text}: @ picks {len(file_bands)} bands of the file for {len(bands)} of the card "
            f"({', '.join(bands)}); name the bands as {sensor.name}:{bands[0]},..."
        )
    return SensorSpec(sensor=sensor, bands=bands, pattern=pattern.strip("/"), file_bands=file_bands, role=role)


def _positions(text: str, spec: str) -> tuple[int, ...]:
    """`1-3,7` as (1, 2, 3, 7)."""
    positions: list[int] = []
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None or int(match[1]) < 1:
            raise InputError(f"--sensor {spec}: {text!r} are no band positions; write 1-7 or 4,3,2, counted from 1")
        positions += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(positions)


def _matches(root: Path, spec: SensorSpec) -> Iterator[tuple[_Key, str, RasterFile]]:
    """The files of a specification, each with its key, split (or nothing) and bands."""
    for key, split, name, written in _files_of(root, spec.pattern):
        if written is None:
            yield key, split, RasterFile(path=name, bands=spec.bands, file_bands=spec.file_bands)
        elif (band := card_band(written, spec.sensor)) in spec.bands:  # else a quality layer beside the bands
            yield key, split, RasterFile(path=name, bands=(band,), file_bands=(1,))


def _files_of(root: Path, pattern: str) -> Iterator[tuple[_Key, str, str, str | None]]:
    """The images that a pattern finds: key, split (or nothing), path below the root, and what stands for `{band}`."""
    folder = root / pattern
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if is_image(path) and path.is_file():
                stem = path.relative_to(folder).with_suffix("").as_posix()
                yield _Key("", stem), "", path.relative_to(root).as_posix(), None
        return
    if "{id}" not in pattern:
        raise InputError(f"pattern {pattern!r} is no folder below {root} and has no {{id}}: {_EXAMPLE}")
    regex = _regex(pattern)
    for path in sorted(root.glob(_glob(pattern))):
        name = path.relative_to(root).as_posix()
        match = regex.fullmatch(name)
        if match is not None and is_image(path):
            if path.is_dir():
                raise InputError(f"{path} is a folder, but is named like an image of {pattern!r}; move it away")
            found = match.groupdict()
            yield _Key(found.get("scene", ""), found["id"]), found.get("split", ""), name, found.get("band")


def _find_masks(root: Path, pattern: str) -> dict[_Key, RasterFile]:
    masks: dict[_Key, RasterFile] = {}
    for key, _, name, _ in _files_of(root, pattern.strip("/")):
        if key in masks:
            raise InputError(f"{root / masks[key].path} and {root / name} are both masks of {key.sample}")
        masks[key] = mask_file(root, root / name)
    if not masks:
        raise InputError(f"--mask {pattern}: no file below {root} is named so; the pattern is below ROOT")
    return masks


def _parse_classes(texts: Iterable[str]) -> dict[int, str]:
    """`255=water` as 255: water."""
    classes: dict[int, str] = {}
    for text in texts:
        value, _, name = text.partition("=")
        if not re.fullmatch(r"-?\d+", value.strip()) or not name.strip():
            raise InputError(f"--mask-class {text}: write VALUE=NAME, as 255=water")
        classes[int(value)] = name.strip()
    return classes


def _glob(pattern: str) -> str:
    """A pattern with placeholders as a glob that finds at least what it means."""
    parts, end = [], 0
    for token in _TOKEN.finditer(pattern):
        parts += [glob.escape(pattern[end : token.start()]), token["deep"] or "*"]
        end = token.end()
    # Neighbouring stars would read as `**`.
    return re.sub(r"\*{2,}(?!/)|(?<=[^/*])\*{2,}", "*", "".join(parts) + glob.escape(pattern[end:]))


def _regex(pattern: str) -> re.Pattern[str]:
    """A pattern with placeholders as a regular expression; one that comes twice must be the same both times."""
    parts, seen, end = [], set[str](), 0
    for token in _TOKEN.finditer(pattern):
        parts.append(re.escape(pattern[end : token.start()]))
        end = token.end()
        name = token["name"]
        if token["deep"] or token["star"]:
            parts.append("(?:.*/)?" if token["deep"] else "[^/]*")
        elif name not in _PLACEHOLDERS:
            raise InputError(f"pattern {pattern!r}: no placeholder {{{name}}}; there are {{id}}, {{scene}}, "
                             f"{{band}}, {{split}}")  # fmt: skip
        else:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{_PLACEHOLDERS[name]})")
            seen.add(name)
    return re.compile("".join(parts) + re.escape(pattern[end:]))


def _add(root: Path, files: list[RasterFile], file: RasterFile, sensor: Sensor) -> None:
    """Adds a file to an image; a band may come from one file only."""
    for other in files:
        if twice := set(other.bands) & set(file.bands):
            raise InputError(
                f"{root / other.path} and {root / file.path} both give {', '.join(sorted(twice))} of sensor "
                f"{sensor.name} for one sample; make the pattern narrower ({' '.join(IMAGE_SUFFIXES)} are images)"
            )
    files.append(file)


def _read_scenes(root: Path, path: Path, files: Mapping[_Key, object]) -> dict[str, str]:
    """Scene of each id from a CSV; a first line that is no sample's is its header."""
    path = next((candidate for candidate in (path, root / path) if candidate.is_file()), path)
    if not path.is_file():
        raise InputError(f"no file of scenes {path}, here or below {root}; it has the columns id,scene")
    rows = [[cell.strip() for cell in row] for row in csv.reader(path.read_text().splitlines()) if row]
    if short := [row for row in rows if len(row) < 2]:
        raise InputError(f"{path}: line {','.join(short[0])!r} has no second column; it takes id,scene")
    scenes = {row[0]: row[1] for row in rows}
    if missing := sorted(_ids(files) - scenes.keys()):
        raise InputError(f"{path} has no scene for {len(missing)} samples, as {', '.join(missing[:5])}; add them")
    return scenes


def _ids(keys: Iterable[_Key]) -> set[str]:
    return {key.id for key in keys}
