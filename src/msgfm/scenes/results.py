"""A result of several layers: parts put together, and what lies beside each file for people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgfm.errors import InputError
from msgfm.geo.cog import Part, assemble_cog
from msgfm.geo.spec import RasterSpec
from msgfm.geo.tiling import Area
from msgfm.scenes.parts import PartsFolder
from msgfm.scenes.products import MAIN
from msgfm.scenes.stac import Origin, PolygonsFile, ResultFile, item_path, said_files, write_item
from msgfm.scenes.style import style_path, write_style

_NATURAL = (("B04", "B03", "B02"), ("R", "G", "B"), ("red", "green", "blue"))
"""Bands that are shown as red, green and blue."""


def layer_path(out: Path, layer: str) -> Path:
    """Where a layer of a result lies."""
    return out if layer == MAIN else out.with_name(f"{out.stem}_{layer}{out.suffix}")


def assemble_layer(
    out: Path, layer: str, spec: RasterSpec, parts: PartsFolder, stripes: Sequence[Sequence[Area]]
) -> Path:
    """Puts the parts of a layer together beside the result; returns the file."""
    held = [
        Part(path=parts.file(layer, area), row=area.top, column=area.left, height=area.shape[0], width=area.shape[1])
        for stripe in stripes
        for area in stripe
    ]
    assemble_cog(held, spec, layer_path(out, layer))
    return layer_path(out, layer)


def paths_of(out: Path, layers: Iterable[str]) -> Iterator[Path]:
    """Every file of a result: of each layer the raster and its style, and the item."""
    for layer in layers:
        yield layer_path(out, layer)
        yield style_path(layer_path(out, layer))
    yield item_path(out)


def left_of_former(out: Path, layers: Iterable[str]) -> list[Path]:
    """Rasters that the item of a result which is replaced names as its layers and the new one lacks; their styles."""
    others = [key for key, href in said_files(out).items() if key not in layers and href == layer_path(out, key).name]
    return [path for key in others for path in (layer_path(out, key), style_path(layer_path(out, key)))]


def require_none_of(out: Path, layers: Iterable[str]) -> None:
    """Refuses to replace what lies where something beside a result is to go.

    Raises:
        InputError: a layer, a style or the item would be somebody's file.
    """
    for path in paths_of(out, layers):
        if path.exists():
            raise InputError(f"{path} is there already; choose another --out, or replace it with --overwrite")


def describe_results(
    out: Path,
    files: Mapping[str, Path],
    specs: Mapping[str, RasterSpec],
    origin: Origin,
    polygons: PolygonsFile | None = None,
) -> None:
    """Writes a style of each file for QGIS, and the STAC item of all of them.

    Args:
        out: the result.
        files: by layer.
        specs: likewise.
        origin: where they come from.
        polygons: that were made of the result.
    """
    for layer, file in files.items():
        write_style(file, specs[layer], shown_bands(specs[layer]))
    results = {
        layer: ResultFile(path=file, spec=specs[layer], title=layer, role="data" if layer == MAIN else "metadata")
        for layer, file in files.items()
    }
    write_item(item_path(out), results, origin, polygons=polygons)


def shown_bands(spec: RasterSpec) -> tuple[int, ...]:
    """Positions of the bands that are shown as red, green and blue, or that of the first alone."""
    names = [band.name for band in spec.bands]
    for wanted in _NATURAL:
        if set(wanted) <= set(names):
            return tuple(names.index(name) for name in wanted)
    return (0,)
