"""What a manifest holds: one `Sample` per place and time, with the files of each sensor.

A manifest is a Parquet file, one row a sample; its schema metadata hold the layout, the root folder and the sensor
cards themselves, so that a later edit of a card does not change what was indexed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.sensors import Sensor

FORMAT_VERSION = 2
METADATA_KEY = b"msgfm"
_REMEDY = "make one with `msgfm data index LAYOUT ROOT --out FILE.parquet`"
_SHOWN = 6
_ROWS_AT_ONCE = 4096

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class RasterFile:
    """One file, or a window of one, and the bands taken from it.

    Args:
        path: relative to the manifest's root.
        bands: names on the sensor's card, one for each entry of `file_bands`.
        file_bands: positions in the file, counted from 1 as GDAL does.
        window: row, column, height, width in pixels of this file; None is the whole file.
    """

    path: str
    bands: tuple[str, ...]
    file_bands: tuple[int, ...]
    window: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorImage:
    """The files that make up one sensor's image, and the grid (pixels) of the finest of them.

    Args:
        sensor: name of its card.
        height: of the finest file, in pixels.
        width: likewise.
        files: one or several.
        role: tells images of one sensor in a sample apart: `before` and `after` a change, `cloudy` beside a clear
            one, `pansharpened` beside a coarse one; empty for the sample's ordinary image.
    """

    sensor: str
    height: int
    width: int
    files: tuple[RasterFile, ...]
    role: str = ""

    @property
    def key(self) -> str:
        """`sentinel2`, or `sentinel2@cloudy` for an image with a role; unique in its sample."""
        return f"{self.sensor}@{self.role}" if self.role else self.sensor


def mask_size_problem(size: tuple[int, int], images: Sequence[SensorImage]) -> str | None:
    """What keeps a mask of this height and width from being on the grid of an image; None where it is on one's."""
    sizes = [(image.height, image.width) for image in images]
    if size in sizes:
        return None
    listed = " and ".join(f"{height} x {width}" for height, width in dict.fromkeys(sizes))
    return (
        f"a mask of {size[0]} x {size[1]} pixels beside images of {listed}; a mask has a pixel for each pixel of one "
        f"of the images that are used: give the mask of these images, or bring it to their grid (nearest pixel)"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One place at one time, seen by one sensor or by several.

    Args:
        sample: identifier, unique in its manifest.
        scene: samples of one scene overlap or touch; splits never cut through a scene.
        split: `train`, `val`, `test`, or a further part that the data set sets aside (`test_bolivia`).
        images: one per sensor, or per sensor and role.
        labels: names of the classes of the whole image, of `Manifest.classes`.
        mask: labels of its pixels, for the same ground as the images (`masks.read_mask`).
    """

    sample: str
    scene: str
    split: str
    images: tuple[SensorImage, ...]
    labels: tuple[str, ...] = ()
    mask: RasterFile | None = None

    @property
    def sensors(self) -> tuple[str, ...]:
        """Names of the sensors that saw it."""
        return tuple(dict.fromkeys(image.sensor for image in self.images))

    @property
    def files(self) -> tuple[RasterFile, ...]:
        """Those of its images, and last that of its mask, if it has one."""
        files = tuple(file for image in self.images for file in image.files)
        return files if self.mask is None else (*files, self.mask)


_FILE = pa.struct(
    [
        ("path", pa.string()),
        ("bands", pa.list_(pa.string())),
        ("file_bands", pa.list_(pa.int32())),
        ("window", pa.list_(pa.int32())),
    ]
)
_IMAGE = pa.struct(
    [
        ("sensor", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("files", pa.list_(_FILE)),
        ("role", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("sample", pa.string()),
        ("scene", pa.string()),
        ("split", pa.string()),
        ("images", pa.list_(_IMAGE)),
        ("labels", pa.list_(pa.string())),
        ("mask", _FILE),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Samples, the folder that their paths start from, and the cards of their sensors (by name).

    Args:
        root: the folder.
        layout: how the data set lays out its files.
        sensors: by name.
        samples: in the order of their names.
        classes: names of the classes that `Sample.labels` speaks of, in the order of a classifier's outputs.
        mask_classes: what each value of the masks means; values that are not here are not labelled. Several values
            may mean one class.
        mask_colours: the red, green and blue that stand for each value in masks that are pictures; empty where the
            files hold the values themselves.
        subset: how its samples were drawn from the data set; empty for all of it.
    """

    root: Path
    layout: str
    sensors: dict[str, Sensor]
    samples: tuple[Sample, ...]
    classes: tuple[str, ...] = ()
    mask_classes: dict[int, str] = field(default_factory=dict)
    mask_colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    subset: str = ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the samples are: names, splits, labels, files and bands, but neither root nor cards.

        Two machines that indexed the same data set, or drew the same subset of it, get the same one.
        """
        found = hashlib.sha256()
        for sample in self.samples:
            found.update(json.dumps(sample_to_dict(sample), sort_keys=True, separators=(",", ":")).encode())
            found.update(b"\n")
        return found.hexdigest()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that samples are in."""
        return tuple(sorted({sample.split for sample in self.samples}))

    def only(self, split: str) -> Manifest:
        """The samples of one split; `all` keeps every sample."""
        if split == "all":
            return self
        chosen = tuple(sample for sample in self.samples if sample.split == split)
        if not chosen:
            have = ", ".join(self.splits)
            raise InputError(f"the manifest has no samples of split {split!r}; it has {have} (or `all`)")
        return replace(self, samples=chosen)


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Writes the manifest in one piece: a killed run leaves the old file or none.

    The root is kept relative to the manifest's folder where that folder holds it, so the two can be moved together.
    """
    root = manifest.root.resolve()
    folder = path.resolve().parent
    header = {
        "format_version": FORMAT_VERSION,
        "layout": manifest.layout,
        "root": str(root.relative_to(folder)) if root.is_relative_to(folder) else str(root),
        "sensors": [sensor.model_dump(mode="json") for sensor in manifest.sensors.values()],
        "classes": manifest.classes,
        "mask_classes": manifest.mask_classes,
        "mask_colours": manifest.mask_colours,
        "subset": manifest.subset,
        "digest": manifest.digest,
    }
    table = pa.Table.from_pylist([sample_to_dict(sample) for sample in manifest.samples], schema=SCHEMA)
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(header).encode()})
    with write_atomically(path) as temporary:
        pq.write_table(table, temporary)


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest; a folder, as one of shards, stands for the `manifest.parquet` in it.

    Raises:
        InputError: no such file, not a manifest (the message says what it seems to be), or of a newer msgfm.
    """
    if path.is_dir():
        path = path / "manifest.parquet"
        if not path.is_file():
            raise InputError(
                f"{path.parent} is a folder without {path.name}: give a manifest (`msgfm data index LAYOUT ROOT --out "
                f"FILE.parquet` makes one) or a folder of finished shards"
            )
    if not path.is_file():
        raise InputError(f"no manifest {path}; make one with `msgfm data index LAYOUT ROOT --out {path}`")
    header = _read_header(path)
    try:
        sensors = [Sensor.model_validate(card) for card in header["sensors"]]
        return Manifest(
            root=(path.resolve().parent / header["root"]).resolve(),
            layout=header["layout"],
            sensors={sensor.name: sensor for sensor in sensors},
            samples=tuple(_samples_of(path)),
            classes=tuple(header["classes"]),
            mask_classes={int(value): name for value, name in header["mask_classes"].items()},
            mask_colours={int(value): (r, g, b) for value, (r, g, b) in header.get("mask_colours", {}).items()},
            subset=header.get("subset", ""),
        )
    except (pa.ArrowException, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise InputError(
            f"{path} is a manifest that was damaged or changed by another program ({type(error).__name__}: {error}); "
            f"make it again with `msgfm data index`"
        ) from error


def _read_header(path: Path) -> dict[str, Any]:
    """What the schema's metadata say; `InputError` says what the file is if it is no manifest."""
    try:
        facts = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a manifest of msgfm, nor Parquet at all ({error}); {_REMEDY}") from error
    schema = facts.schema.to_arrow_schema()
    metadata = schema.metadata or {}
    if METADATA_KEY not in metadata:
        raise InputError(f"{path} is not a manifest of msgfm but {_kind(facts.num_rows, schema)}; {_REMEDY}")
    try:
        header: dict[str, Any] = json.loads(metadata[METADATA_KEY])
        version = header["format_version"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is a manifest with damaged metadata ({error!r}); {_REMEDY}") from error
    if version != FORMAT_VERSION:
        raise InputError(f"{path} has manifest format {version}, this msgfm reads {FORMAT_VERSION}; index again")
    return header


def _kind(rows: int, schema: pa.Schema) -> str:
    """What a Parquet file seems to be that is no manifest."""
    if set(SCHEMA.names) <= set(schema.names):
        return "one that another program has rewritten: its metadata, with cards and root, are gone"
    marks = {b"geo": "GeoParquet", b"huggingface": "a table of a Hugging Face data set", b"pandas": "a table of pandas"}
    kind = next((name for mark, name in marks.items() if mark in (schema.metadata or {})), "another Parquet table")
    more = f" and {len(schema.names) - _SHOWN} more" if len(schema.names) > _SHOWN else ""
    return f"{kind}: {rows} rows with columns {', '.join(schema.names[:_SHOWN])}{more}"


def sample_to_dict(sample: Sample) -> dict[str, Any]:
    """As `dataclasses.asdict`, which takes several times as long: large data sets have half a million samples."""
    images = [_fields(image) | {"files": [_fields(file) for file in image.files]} for image in sample.images]
    return _fields(sample) | {"images": images, "mask": None if sample.mask is None else _fields(sample.mask)}


def _fields(record: Sample | SensorImage | RasterFile) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def _samples_of(path: Path) -> Iterator[Sample]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            yield from map(sample_from_dict, batch.to_pylist())


def sample_from_dict(row: Mapping[str, Any]) -> Sample:
    """The inverse of `sample_to_dict` and of `dataclasses.asdict`, also after a way through Parquet or JSON."""
    images = tuple(
        SensorImage(
            sensor=sys.intern(image["sensor"]),
            height=image["height"],
            width=image["width"],
            files=tuple(_file(file) for file in image["files"]),
            role=sys.intern(image["role"]),
        )
        for image in row["images"]
    )
    return Sample(
        sample=row["sample"],
        scene=row["scene"],
        split=sys.intern(row["split"]),
        images=images,
        labels=_shared(tuple(row["labels"])),
        mask=None if row["mask"] is None else _file(row["mask"]),
    )


def _file(row: Mapping[str, Any]) -> RasterFile:
    return RasterFile(
        path=row["path"],
        bands=_shared(tuple(row["bands"])),
        file_bands=_shared(tuple(row["file_bands"])),
        window=None if row["window"] is None else tuple(row["window"]),
    )


@lru_cache(maxsize=4096)
def _shared(values: tuple[T, ...]) -> tuple[T, ...]:
    """One tuple for all that are equal: of millions of samples nearly all have the same bands."""
    return values
