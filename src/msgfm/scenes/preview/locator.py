"""Where on Earth, as HTML: a small map of the world and one of the surroundings, coordinates, links to map services."""

from __future__ import annotations

import math
import re

import numpy as np

from msgfm.geo.grid import Grid
from msgfm.scenes.preview.place import Place, in_words, within

_AROUND = 24.0  # degrees of latitude that the nearer map shows; more for a large scene
_SERVICES = {
    "OpenStreetMap": "https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map={zoom}/{latitude}/{longitude}",
    "Copernicus Browser": "https://browser.dataspace.copernicus.eu/?zoom={zoom}&lat={latitude}&lng={longitude}",
}
_WEB_TILE = 40075016.7  # metres around the equator: one tile of 256 pixels at zoom 0 of web maps


def describe_place(place: Place, grid: Grid, land: str) -> str:
    """The section of the page; `land` is the outline of all land as an SVG with one path, in tenths of a degree."""
    longitude, latitude = place.centre
    corners = {name: in_words(*corner) for name, corner in place.corners.items()} | {
        "middle": in_words(longitude, latitude)
    }
    rows = "".join(f'<tr><th scope="row">{name}</th><td>{where}</td></tr>' for name, where in corners.items())
    view = {"latitude": f"{latitude:.5f}", "longitude": f"{longitude:.5f}", "zoom": _zoom(place, grid)}
    links = " or ".join(
        f'<a href="{address.format(**view).replace("&", "&amp;")}" rel="noreferrer noopener" target="_blank">{name}</a>'
        for name, address in _SERVICES.items()
    )
    return (
        '<section aria-labelledby="place-title">\n<h2 id="place-title">Place</h2>\n<div class="where">\n'
        f"{_world(place, land)}\n{_surroundings(place)}\n"
        f"<div><table>{rows}</table><p>See the place in {links} (opens the site).</p></div>\n</div>\n</section>"
    )


def _zoom(place: Place, grid: Grid) -> int:
    """The web map's zoom at which the scene's longer side takes about 600 pixels."""
    metres = max(grid.width * place.pixel_width, grid.height * place.pixel_height) / 600
    across = _WEB_TILE * math.cos(math.radians(place.centre[1])) / 256
    return min(18, max(1, math.floor(math.log2(across / metres))))


def _world(place: Place, land: str) -> str:
    (path,) = re.findall(r"<path[^>]*>", land)
    longitude, latitude = place.centre
    lines = "".join(f"M{x} -900v1800" for x in range(-1500, 1800, 300))
    lines += "".join(f"M-1800 {y}h3600" for y in range(-600, 900, 300))
    shape = path.replace("<path", '<path class="land"', 1)
    return (
        '<svg viewBox="-1800 -900 3600 1800" role="img" '
        f'aria-label="Map of the world: {in_words(longitude, latitude, 1)}">'
        f'{shape}<use href="#land" x="3600" class="land"/><path class="lines" d="{lines}"/>{_outline(place)}'
        f'<circle class="ring" cx="{10 * longitude:.1f}" cy="{-10 * latitude:.1f}" r="70"/>'
        f"</svg>"
    )


def _surroundings(place: Place) -> str:
    """A map of the same shape as that of the world, its degrees as wide as they are there."""
    longitude, latitude = place.centre
    south_to_north = float(np.ptp(place.nodes[1]))
    height = 10 * min(90.0, max(_AROUND, 3 * south_to_north))
    narrow = max(0.2, math.cos(math.radians(latitude)))  # a degree of longitude, in degrees of latitude
    width = 2 * height / narrow
    left, top = 10 * longitude - width / 2, -10 * latitude - height / 2
    step = next(step for step in (5, 10, 20, 45, 90) if width / 10 / step < 12)
    verticals = [x for x in range(-360, 361, step) if left < 10 * x < left + width]
    horizontals = [y for y in range(-90, 91, step) if top < -10 * y < top + height]
    lines = "".join(f"M{10 * x} {top:.1f}v{height:.1f}" for x in verticals)
    lines += "".join(f"M{left:.1f} {-10 * y}h{width:.1f}" for y in horizontals)
    size = height / 22

    def text(x: float, y: float, said: str) -> str:
        # letters are squeezed like the land around them, unless that is undone
        place = f"translate({x:.1f} {y:.1f}) scale({1 / narrow:.3f} 1)"
        return f'<text transform="{place}" font-size="{size:.1f}">{said}</text>'

    below, beside = top + height - 0.5 * size, left + 0.4 * size / narrow
    texts = [text(10 * x + 0.3 * size, below, _degrees(within(x), "E", "W")) for x in verticals]
    texts += [text(beside, -10 * y - 0.3 * size, _degrees(y, "N", "S")) for y in horizontals]
    copies = "".join(f'<use href="#land" x="{x}" class="land"/>' for x in (-3600, 0, 3600))
    return (
        f'<svg viewBox="{left:.1f} {top:.1f} {width:.1f} {height:.1f}" preserveAspectRatio="none" '
        f'style="aspect-ratio: 2" role="img" aria-label="Map of the surroundings with lines every {step} degrees">'
        f'{copies}<path class="lines" d="{lines}"/>{"".join(texts)}{_outline(place)}'
        f'<ellipse class="ring" cx="{10 * longitude:.1f}" cy="{-10 * latitude:.1f}" '
        f'rx="{height / 18 / narrow:.1f}" ry="{height / 18:.1f}"/></svg>'
    )


def _degrees(angle: float, positive: str, negative: str) -> str:
    side = "" if angle % 180 == 0 else positive if angle > 0 else negative
    return f"{abs(angle):.0f}°{side}"


def _outline(place: Place) -> str:
    """The scene's edges, from node to node, on the sheet on which its middle lies."""
    around = [place.nodes[:, 0, :], place.nodes[:, 1:, -1], place.nodes[:, -1, -2::-1], place.nodes[:, -2:0:-1, 0]]
    longitudes, latitudes = np.concatenate(around, axis=1)
    middle = place.nodes[0, place.nodes.shape[1] // 2, place.nodes.shape[2] // 2]
    shift = place.centre[0] - float(middle)
    points = " ".join(
        f"{10 * (x + shift):.2f},{-10 * y:.2f}" for x, y in zip(longitudes.tolist(), latitudes.tolist(), strict=True)
    )
    return f'<polygon class="spot" points="{points}"/>'
