"""From files to the page: reads them on the grid of the first, finds the place, writes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from msgfm.errors import InputError
from msgfm.files import require_none_read, require_suffix, require_writable, write_atomically
from msgfm.geo.facts import RasterFacts
from msgfm.geo.grid import Grid
from msgfm.geo.network import Network, without_secrets
from msgfm.geo.overview import has_grid_of, overview_grid
from msgfm.geo.picture import encode_picture
from msgfm.progress import track
from msgfm.scenes.preview.class_names import class_names
from msgfm.scenes.preview.page import Shown, render_page
from msgfm.scenes.preview.pictures import Painted, Values, paint, read_values, stretches
from msgfm.scenes.preview.place import place_of
from msgfm.scenes.preview.sources import open_source

_OURS = '<meta name="generator" content="msgfm preview">'
_SHAPES_ALIKE = 0.02  # of the ratio of height to width, for files without coordinates that are laid over each other


@dataclass(frozen=True, kw_only=True)
class PreviewRequest:
    """What is to be shown.

    Args:
        places: paths or addresses of images, folders of bands, catalogue items (`sources.open_source`); they are
            brought to the grid of the first.
        labels: what to call them; empty for the names of the files.
        shown: by place, as given or the last parts of it: bands, or `classes` (see `looks.look_of`).
        longest: pixels along the longer side of the pictures at most.
        network: how patient to be.
    """

    places: tuple[str, ...]
    labels: tuple[str, ...] = ()
    shown: tuple[tuple[str, str], ...] = ()
    longest: int = 1600
    network: Network = field(default_factory=Network)


def write_preview(request: PreviewRequest, out: Path) -> None:
    """Writes one HTML file that shows the images and needs no other file.

    Memory depends on the size of the pictures and their number, not on that of the images.

    Raises:
        InputError: an image cannot be read, or lies elsewhere than the first; a label or band is none; the page would
            replace an image, or another file than such a page.
    """
    require_suffix(out, ".html")
    require_writable(out)
    require_none_read([out], request.places)
    if out.exists() and _OURS not in out.read_text(encoding="utf-8", errors="replace")[:1000]:
        raise InputError(f"{out} is there already, and no page of msgfm preview; choose another name")
    labels, asked = _labels(request), _asked(request)
    with ExitStack() as opened:
        sources = [
            opened.enter_context(open_source(place, bands, request.network))
            for place, bands in zip(request.places, asked, strict=True)
        ]
        facts = [source.facts() for source in sources]
        for other in facts[1:]:
            _check_alike(facts[0], other)
        grid = overview_grid(facts[0], request.longest)
        reading = track(zip(sources, asked, strict=True), "reading", len(sources))
        images = [read_values(source, grid, what) for source, what in reading]
    painting = track(zip(labels, images, facts, stretches(images), strict=True), "drawing", len(images))
    shown = [
        _shown(label, image, of_file, paint(image, ends, of_file, class_names(of_file)), grid, facts[0])
        for label, image, of_file, ends in painting
    ]
    page = render_page(shown, grid, place_of(grid) if grid.crs else None)
    with write_atomically(out) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _shown(label: str, image: Values, facts: RasterFacts, painted: Painted, grid: Grid, first: RasterFacts) -> Shown:
    kind, file = encode_picture(painted.picture, lossless=image.look.kind == "classes")
    return Shown(
        label=label,
        facts=facts,
        look=image.look,
        painted=painted,
        kind=kind,
        file=file,
        note=_moved(facts, first, grid),
    )


def _moved(facts: RasterFacts, first: RasterFacts, grid: Grid) -> str:
    """How the picture's pixels came from the file's."""
    if not has_grid_of(facts, first):
        return "brought to the grid of the first image"
    factor = max(facts.height / grid.height, facts.width / grid.width)
    return f"reduced {factor:.1f} times" if factor > 1 else ""


def _check_alike(first: RasterFacts, other: RasterFacts) -> None:
    """Files that do not both say where they lie must at least have one shape."""
    if first.crs and other.crs:
        return
    ratios = other.height / other.width, first.height / first.width
    if abs(ratios[0] / ratios[1] - 1) > _SHAPES_ALIKE:
        lacking = other if not other.crs else first
        raise InputError(
            f"{lacking.place} has no coordinate system, and the {other.width} x {other.height} pixels of {other.place} "
            f"do not fit on the {first.width} x {first.height} of {first.place}; give georeferenced images, or of one "
            f"shape"
        )


def _labels(request: PreviewRequest) -> tuple[str, ...]:
    if not request.labels:
        return _short_names(request.places)
    if len(request.labels) != len(request.places):
        raise InputError(f"{len(request.labels)} labels are given for {len(request.places)} images; give one for each")
    if len(set(request.labels)) < len(request.labels):
        raise InputError(f"two images have one label ({', '.join(request.labels)}); give each its own")
    return request.labels


def _short_names(places: Sequence[str]) -> tuple[str, ...]:
    """The last part of each path, with as many of those before it as tell them apart."""
    parts = [without_secrets(place).rstrip("/").split("/") for place in places]
    for depth in range(1, max(map(len, parts)) + 1):
        names = tuple("/".join(of_it[-depth:]) for of_it in parts)
        if len(set(names)) == len(names):
            return names
    raise InputError(f"two images are called alike: {', '.join(places)}; give each once, or names with --label")


def _asked(request: PreviewRequest) -> list[str]:
    wanted = {_place_of(name, request.places): bands for name, bands in request.shown}
    return [wanted.get(place, "") for place in request.places]


def _place_of(name: str, places: Sequence[str]) -> str:
    """The image that is called so, as it was given or by the last parts of its path."""
    if name in places:
        return name
    found = [place for place in places if f"/{place}".rstrip("/").endswith("/" + name.removeprefix("./").rstrip("/"))]
    if len(found) != 1:
        told = "more than one image of that name is given" if found else "no such image is given"
        raise InputError(f"--show {name}=...: {told}; there are {', '.join(places)}")
    return found[0]
