"""The page: HTML around pictures, legends, place and headers of files. It needs no other file and no network."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import msgfm
from msgfm.geo.facts import RasterFacts
from msgfm.geo.grid import Grid
from msgfm.scenes.preview.header import crs_in_words, describe_file, number
from msgfm.scenes.preview.locator import describe_place
from msgfm.scenes.preview.looks import Look
from msgfm.scenes.preview.pictures import ClassEntry, Painted
from msgfm.scenes.preview.place import NODES, Place, in_words

_HERE = Path(__file__).parent
_MOST_TITLED = 3  # labels in the title


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One image of the page.

    Args:
        label: what to call it; unlike that of all others.
        facts: of its file.
        look: which bands were taken, as what.
        painted: its picture's legend.
        kind: MIME type of the picture's file.
        file: the picture.
        note: how its pixels came from the file's; empty where they are the same.
    """

    label: str
    facts: RasterFacts
    look: Look
    painted: Painted
    kind: str
    file: bytes
    note: str


def render_page(images: Sequence[Shown], grid: Grid, place: Place | None) -> str:
    """Writes the page as text; `grid` is that of the pictures, `place` where it lies, if that is known."""
    parts = {
        "title": escape(_title([image.label for image in images])),
        "summary": escape(_summary(images[0].facts, grid, place)),
        "style": read_asset("page.css"),
        "figures": "\n".join(_figure(image, _aspect(place) * grid.width / grid.height) for image in images),
        "place": "" if place is None else describe_place(place, grid, read_asset("land.svg")),
        "files": "\n".join(describe_file(image.label, image.facts) for image in images),
        "version": escape(msgfm.__version__),
        "scene": _scene(images, grid, place),
        "script": read_asset("page.js"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], read_asset("page.html"))


def read_asset(name: str) -> str:
    """A file that lies beside this one."""
    return (_HERE / name).read_text(encoding="utf-8").strip()


def _scene(images: Sequence[Shown], grid: Grid, place: Place | None) -> str:
    """What the script needs to know, as JSON."""
    first = images[0].facts
    scene: dict[str, Any] = {
        "labels": [image.label for image in images],
        "width": grid.width,
        "height": grid.height,
        "factor": [first.width / grid.width, first.height / grid.height],
        "aspect": _aspect(place),
    }
    if place is not None:
        longitudes, latitudes = (numbers.ravel().round(7).tolist() for numbers in place.nodes)
        scene |= {
            "metres": place.pixel_width,
            "map": [grid.left, grid.pixel_width, grid.top, grid.pixel_height],
            "digits": 6 if first.crs_unit == "degree" else 1,
            "nodes": {"count": NODES, "longitudes": longitudes, "latitudes": latitudes},
        }
    # a label could end the element that holds it
    return json.dumps(scene, ensure_ascii=False).replace("<", "\\u003c")


def _aspect(place: Place | None) -> float:
    """Width of a pixel in its heights: degrees of longitude are shorter than those of latitude."""
    return 1.0 if place is None else place.pixel_width / place.pixel_height


def _title(labels: Sequence[str]) -> str:
    if len(labels) <= _MOST_TITLED:
        return " | ".join(labels)
    return f"{labels[0]} and {len(labels) - 1} more"


def _summary(first: RasterFacts, grid: Grid, place: Place | None) -> str:
    if place is None:
        return f"{first.width} x {first.height} pixels, without coordinates"
    width, height = grid.width * place.pixel_width / 1000, grid.height * place.pixel_height / 1000
    return f"{width:.3g} x {height:.3g} km around {in_words(*place.centre, digits=3)}, in {crs_in_words(first)}"


def _figure(image: Shown, shape: float) -> str:
    """An image's picture and legend; `shape` is its width by its height on the ground."""
    data = base64.b64encode(image.file).decode()
    notes = "; ".join(filter(None, (image.note, image.look.because)))
    return (
        f'<figure><img src="data:{image.kind};base64,{data}" alt="{escape(image.label)}" '
        f'style="aspect-ratio: {shape:.5g}">'
        f"<figcaption><h3>{escape(image.label)}</h3>{_legend(image.painted)}"
        f"{f'<p>{escape(notes)}</p>' if notes else ''}</figcaption></figure>"
    )


def _legend(painted: Painted) -> str:
    if not painted.channels:
        return f'<ul class="classes">{"".join(map(_class_line, painted.classes))}</ul>'
    unit = f" {escape(painted.unit)}" if painted.unit else ""
    if painted.ramp:
        ((label, low, high),) = painted.channels
        colours = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in painted.ramp)
        return (
            f"<p>{escape(label)}</p>"
            f'<div class="ramp" style="background: linear-gradient(90deg, {colours})"></div>'
            f'<div class="ends"><span>{number(low)}{unit}</span><span>{number(high)}{unit}</span></div>'
        )
    lines = [
        f"<tr><th>{colour}</th><td>{escape(label)}</td><td>{number(low, 3)} … {number(high, 3)}{unit}</td></tr>"
        for colour, (label, low, high) in zip(("red", "green", "blue"), painted.channels, strict=True)
    ]
    return f"<table>{''.join(lines)}</table>"


def _class_line(entry: ClassEntry) -> str:
    red, green, blue = entry.colour
    share = f"{100 * entry.share:.1f} %" if entry.share >= 0.001 else "< 0.1 %"
    return (
        f'<li><i style="background: rgb({red} {green} {blue})"></i>'
        f"<span>{escape(entry.name or f'class {entry.number}')}</span><span>{share}</span></li>"
    )
