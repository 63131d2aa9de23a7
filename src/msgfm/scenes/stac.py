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
from msgfm.geo.spec import RasterSpec
from msgfm.scenes.inputs.times import Span
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
_POLYGONS = "polygons"
_PLAN = "msgfm:plan"
_MIN_AREA, _LEAVE_OUT = "msgfm:min_area_m2", "msgfm:leave_out"
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


@dataclass(frozen=True, kw_only=True)
class PolygonsFile:
    """Polygons that were made of a result.

    Args:
        path: `.parquet` or `.gpkg`.
        href: the path as seen from the item.
        min_area_m2: smaller ones were left out.
        leave_out: a class of which there are none; empty for none.
    """

    path: Path
    href: str
    min_area_m2: float = 0.0
    leave_out: str = ""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a result was made of.

    Args:
        model: that made it (`mlm.describe_model`).
        inputs: paths and addresses by key, as they may be shown.
        taken: when the first and the last of the inputs were taken; None where nothing says so.
        untold: keys of inputs that do not say when they were taken, where others do.
        plan: SHA-256 of all that its bytes depend on; empty where nobody asks for it.
    """

    model: ModelFacts
    inputs: Mapping[str, Sequence[str]]
    taken: Span | None = None
    untold: tuple[str, ...] = ()
    plan: str = ""


def item_path(out: Path) -> Path:
    """Where the item of a result lies."""
    return out.with_suffix(".json")


def said_plan(out: Path) -> str:
    """The plan of a result, as the item beside it says it; empty where it does not."""
    return str(_said(out).get("properties", {}).get(_PLAN, ""))


def said_polygons(out: Path) -> PolygonsFile | None:
    """The polygons of a result, as the item beside it says; None where it has none."""
    asset = _said(out).get("assets", {}).get(_POLYGONS)
    try:
        href = str(asset["href"])
        return PolygonsFile(
            path=out.parent / href, href=href, min_area_m2=float(asset[_MIN_AREA]), leave_out=str(asset[_LEAVE_OUT])
        )
    except (KeyError, TypeError, ValueError):  # somebody else's item
        return None


def said_files(out: Path) -> dict[str, str]:
    """Where the assets of a result lie, by key, as the item beside it says."""
    assets = _said(out).get("assets", {})
    return {key: str(asset.get("href")) for key, asset in assets.items() if isinstance(asset, dict)}


def _said(out: Path) -> dict[str, Any]:
    try:
        item = json.loads(item_path(out).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no item
        return {}
    if not isinstance(item, dict) or item.get("type") != "Feature":
        return {}
    return {key: item[key] for key in ("properties", "assets") if isinstance(item.get(key), dict)}


def write_item(
    path: Path,
    results: Mapping[str, ResultFile],
    origin: Origin,
    *,
    polygons: PolygonsFile | None = None,
    made: datetime | None = None,
) -> dict[str, Any]:
    """Writes the item of a finished result.

    Args:
        path: `.json`, in the folder of the results.
        results: by key of the asset, all on one grid.
        origin: where they come from. Where nothing says when the inputs were taken, the item's time is that of `made`,
            and the item says so.
        polygons: that were made of them.
        made: when; None is now.

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
            **_times(made, origin),
            **_projection(grid),
            "processing:level": "L4",  # MLM's best practices: what a model made
            "processing:software": {"msgfm": msgfm.__version__},
            "bands": _input_bands(origin.model),
            **origin.model.properties,
        },
        "links": [
            {"rel": "derived_from", "href": place, "title": key, "type": _media_type(place)}
            for key, places in origin.inputs.items()
            for place in places
        ],
        "assets": {key: _asset(result, path.parent) for key, result in results.items()} | origin.model.assets,
    }
    if polygons is not None:
        item["assets"][_POLYGONS] = _polygons_asset(polygons)
    if origin.plan:
        item["properties"][_PLAN] = origin.plan
    if box is not None:
        item["bbox"] = box
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(item, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return item


def _times(made: datetime, origin: Origin) -> dict[str, Any]:
    if origin.taken is None:
        told = "The time is that of processing, as the inputs do not tell theirs."
        return {"datetime": _time(made), "created": _time(made), "description": told}
    first, last = map(_time, origin.taken)
    times: dict[str, Any] = {"datetime": first, "created": _time(made)}
    if first != last:
        times |= {"datetime": None, "start_datetime": first, "end_datetime": last}
    if origin.untold:
        said = ", ".join(key for key in origin.inputs if key not in origin.untold)
        times["description"] = f"The time is that of {said}; {', '.join(origin.untold)} does not tell its own."
    return times


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
    of_band: dict[str, list[str]] = {}
    for kind in ("input", "output"):
        for one in model.properties[f"mlm:{kind}"]:
            for band in one.get("bands", ()):
                of_band.setdefault(band, []).append(f"{kind} {one['name']}")
    return [{"name": band, "description": ", ".join(told)} for band, told in of_band.items()]


def _asset(result: ResultFile, folder: Path) -> dict[str, Any]:
    spec = result.spec
    asset: dict[str, Any] = {
        "href": Path(os.path.relpath(result.path, folder)).as_posix(),
        "type": _COG,
        "title": result.title,
        "roles": [result.role],
        "bands": [_band(spec, place) for place in range(len(spec.bands))],
        **_file_facts(result.path),
    }
    if spec.classes:
        asset["classification:classes"] = [class_entry(one.value, one.name, one.colour) for one in spec.classes]
    return asset


def _polygons_asset(polygons: PolygonsFile) -> dict[str, Any]:
    parquet = polygons.path.suffix.lower() == ".parquet"
    return {
        "href": polygons.href,
        "type": "application/vnd.apache.parquet" if parquet else "application/geopackage+sqlite3",
        "title": "Polygons of the classes",
        "roles": ["data"],
        _MIN_AREA: polygons.min_area_m2,
        _LEAVE_OUT: polygons.leave_out,
        **_file_facts(polygons.path),
    }


def _file_facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file:size": path.stat().st_size, "file:checksum": f"1220{digest}"}  # multihash: SHA-256, 32 bytes


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


def _media_type(place: str) -> str:
    ending = urlsplit(place).path.rpartition(".")[2].lower()
    kinds = {"tif": "image/tiff; application=geotiff", "tiff": "image/tiff; application=geotiff", "jp2": "image/jp2"}
    kinds |= {"json": "application/geo+json"}
    return kinds.get(ending, "application/octet-stream")
