"""How QGIS shows a result: a style beside it (`result.qml`), which QGIS takes by itself when it opens the raster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from msgfm.display import stretch_of
from msgfm.files import write_atomically
from msgfm.geo.network import Network
from msgfm.geo.overview import OverviewSource, overview_grid
from msgfm.geo.spec import RasterSpec

_LONGEST = 512  # pixels of the small picture that tells the range of the values
_VERSION = "3.16"  # of QGIS, from which on all of what is written here is known
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def style_path(raster: Path) -> Path:
    """Where QGIS looks for the style of a raster."""
    return raster.with_suffix(".qml")


def write_style(raster: Path, spec: RasterSpec, shown: Sequence[int] = (0,)) -> Path:
    """Writes the style of a finished raster.

    Classes get their colours and names; measurements are stretched from the 2nd to the 98th percentile of a small
    picture of the whole, band by band.

    Args:
        raster: the file.
        spec: what it holds.
        shown: positions of the bands shown as red, green, blue (three), or as grey (one).

    Returns:
        The style's path.

    Raises:
        InputError: the raster cannot be read, or the style not written.
    """
    if spec.classes:
        renderer = _classes(spec)
    else:
        with OverviewSource(str(raster), Network()) as source:
            picture = source.read_overview([place + 1 for place in shown], overview_grid(source.facts(), _LONGEST))
        ranges = [stretch_of(band) for band in picture]
        renderer = _colours(shown, ranges) if len(shown) == 3 else _grey(shown[0], ranges[0])
    style = Element("qgis", version=_VERSION, styleCategories="Symbology")
    pipe = SubElement(style, "pipe")
    pipe.append(renderer)
    SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0")
    SubElement(pipe, "rasterresampler", maxOversampling="2")
    SubElement(style, "blendMode").text = "0"
    indent(style)
    path = style_path(raster)
    with write_atomically(path) as temporary:
        temporary.write_text(_DOCTYPE + tostring(style, encoding="unicode") + "\n", encoding="utf-8")
    return path


def _renderer(kind: str, **bands: int) -> Element:
    """Bands are counted from 1; QGIS reads stored numbers with scale and offset applied."""
    told = {name: str(place + 1) for name, place in bands.items()}
    renderer = Element("rasterrenderer", {"type": kind, "opacity": "1", "alphaBand": "-1", "nodataColor": ""} | told)
    SubElement(renderer, "rasterTransparency")
    origin = SubElement(renderer, "minMaxOrigin")
    # None: keep the range that stands here
    for name, text in (("limits", "None"), ("extent", "WholeRaster"), ("statAccuracy", "Estimated")):
        SubElement(origin, name).text = text
    return renderer


def _classes(spec: RasterSpec) -> Element:
    renderer = _renderer("paletted", band=0)
    palette = SubElement(renderer, "colorPalette")
    for one in spec.classes:
        colour = "#{:02x}{:02x}{:02x}".format(*one.colour)
        SubElement(palette, "paletteEntry", value=str(one.value), label=one.name, color=colour, alpha="255")
    return renderer


def _colours(shown: Sequence[int], ranges: Sequence[tuple[float, float]]) -> Element:
    red, green, blue = shown
    renderer = _renderer("multibandcolor", redBand=red, greenBand=green, blueBand=blue)
    for name, limits in zip(("red", "green", "blue"), ranges, strict=True):
        _stretch(SubElement(renderer, f"{name}ContrastEnhancement"), limits)
    return renderer


def _grey(shown: int, limits: tuple[float, float]) -> Element:
    renderer = _renderer("singlebandgray", grayBand=shown)
    renderer.set("gradient", "BlackToWhite")
    _stretch(SubElement(renderer, "contrastEnhancement"), limits)
    return renderer


def _stretch(enhancement: Element, limits: tuple[float, float]) -> None:
    assert all(map(math.isfinite, limits))
    for name, number in zip(("minValue", "maxValue"), limits, strict=True):
        SubElement(enhancement, name).text = f"{number:.6g}"
    SubElement(enhancement, "algorithm").text = "StretchToMinimumMaximum"
