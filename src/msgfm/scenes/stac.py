"""A result's STAC item: what each file holds and where it lies, from which inputs and by which model it was made.

STAC 1.1; of the extensions those that tools read: projection, raster, classification, processing, file, MLM.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgfm
from msgfm.files import write_atomically
from msgfm.geo.footprint import footprint
from msgfm.geo.grid import Grid
from msgfm.geo.network import is_address
from msgfm.geo.spec import RasterSpec
from msgfm.scenes.mlm import SCHEMA as MLM
from msgfm.scenes.mlm import ModelFacts, class_entry

_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    MLM,
]
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """One raster of a result.

    Args:
        path: in the folder of the item.
        spec: what it holds.
        title: what people call it.
        role: of the asset: `data`, or what else STAC has.
    """

    path: Path
    spec: RasterSpec
    title: str
    role: str = "data"


def item_path(out: Path) -> Path:
    """Where the item of a result lies."""
    return out.with_suffix(".json")


def write_item(
    path: Path,
    results: Mapping[str, ResultFile],
    model: ModelFacts,
    inputs: Mapping[str, Sequence[str]],
    *,
    made: datetime | None = None,
    taken: tuple[datetime, datetime] | None = None,
) -> dict[str, Any]:
    """Writes the item of a finished result.

    Args:
        path: `.json`, in the folder of the results.
        results: by key of the asset, all on one grid.
        model: that made them (`mlm.describe_model`).
        inputs: paths and addresses by key.
        made: when; None is now.
        taken: when the first and the last of the inputs were taken; None where nothing says so: then the item's time
            is that of `made`, and the item says so.

    Returns:
        The item.

    Raises:
        InputError: it cannot be written.
    """
    made = (made or datetime.now(UTC)).astimezone(UTC)
    grid = next(iter(results.values())).spec.grid
    geometry, box = footprint(grid) if grid.crs else (None, None)
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _EXTENSIONS,
        "id": path.stem,
        "geometry": geometry,
        "properties": {
            **_times(made, taken),
            **_projection(grid),
            "processing:level": "L4",  # MLM's best practices: what a model made
            "processing:software": {"msgfm": msgfm.__version__},
            "bands": _input_bands(model),
            **model.properties,
        },
        "links": [
            {"rel": "derived_from", "href": _shown(place), "title": key, "type": _media_type(place)}
            for key, places in inputs.items()
            for place in places
        ],
        "assets": {key: _asset(result, path.parent) for key, result in results.items()} | model.assets,
    }
    if box is not None:
        item["bbox"] = box
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(item, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return item


def _times(made: datetime, taken: tuple[datetime, datetime] | None) -> dict[str, Any]:
    if taken is None:
        told = "The time is that of processing, as the inputs do not tell theirs."
        return {"datetime": _time(made), "created": _time(made), "description": told}
    first, last = taken
    if first == last:
        return {"datetime": _time(first), "created": _time(made)}
    return {"datetime": None, "start_datetime": _time(first), "end_datetime": _time(last), "created": _time(made)}


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _projection(grid: Grid) -> dict[str, Any]:
    told: dict[str, Any] = {"proj:code": None, "proj:shape": [grid.height, grid.width]}
    if not grid.crs:
        return told
    if grid.crs.startswith("EPSG:"):
        told["proj:code"] = grid.crs
    else:
        told["proj:wkt2"] = grid.crs
    return told | {"proj:transform": [float(n) for n in grid.transform[:6]], "proj:bbox": list(grid.bounds)}


def _input_bands(model: ModelFacts) -> list[dict[str, Any]]:
    """MLM wants the bands that a model's input names to be described in the item."""
    described = [
        {"name": band, "description": f"input {one['name']}"}
        for one in model.properties["mlm:input"]
        for band in one["bands"]
    ]
    given = {band["name"] for band in described}
    return described + [
        {"name": band, "description": f"output {one['name']}"}
        for one in model.properties["mlm:output"]
        for band in one.get("bands", ())
        if band not in given
    ]


def _asset(result: ResultFile, folder: Path) -> dict[str, Any]:
    spec = result.spec
    with result.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    asset: dict[str, Any] = {
        "href": Path(os.path.relpath(result.path, folder)).as_posix(),
        "type": _COG,
        "title": result.title,
        "roles": [result.role],
        "bands": [_band(spec, place) for place in range(len(spec.bands))],
        "file:size": result.path.stat().st_size,
        "file:checksum": f"1220{digest}",
    }
    if spec.classes:
        asset["classification:classes"] = [class_entry(one.value, one.name, one.colour) for one in spec.classes]
    return asset


def _band(spec: RasterSpec, place: int) -> dict[str, Any]:
    band = spec.bands[place]
    told: dict[str, Any] = {"name": band.name, "data_type": spec.dtype}
    if spec.nodata is not None:
        told["nodata"] = "nan" if math.isnan(spec.nodata) else int(spec.nodata) if spec.nodata % 1 == 0 else spec.nodata
    if band.unit:
        told["unit"] = band.unit
    if not spec.classes:
        # STAC: value = stored * scale + offset; rounded, since -1000 * 0.0001 has 17 digits
        told |= {"raster:scale": band.scale, "raster:offset": float(f"{band.offset * band.scale:.12g}")}
        if spec.grid.crs:
            told["raster:spatial_resolution"] = round(spec.grid.pixel_m(), 6)
    return told


def _shown(place: str) -> str:
    """Without what follows `?`: signatures of addresses are secrets."""
    return urlsplit(place)._replace(query="", fragment="").geturl() if is_address(place) else place


def _media_type(place: str) -> str:
    ending = urlsplit(place).path.rpartition(".")[2].lower()
    kinds = {"tif": "image/tiff; application=geotiff", "tiff": "image/tiff; application=geotiff", "jp2": "image/jp2"}
    kinds |= {"json": "application/geo+json"}
    return kinds.get(ending, "application/octet-stream")
