"""A catalogue on loopback: a STAC API (rustac), and a file server that knows ranges and can be told to misbehave."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.warp import transform, transform_bounds

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


class FileServer(ThreadingHTTPServer):
    """Serves a folder with ranges. `before` may hold a request up, or answer it with a status instead."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: list[str] = []
        self.queries: set[str] = set()
        self.ranges = 0
        self.sent = 0
        self.before: Callable[[str], int | None] = lambda name: None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no error of the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        name, _, query = self.path.lstrip("/").partition("?")
        self.server.queries.add(query)
        self.server.asked.append(name)
        path = self.server.folder / name
        status = self.server.before(name) or (200 if path.is_file() else 404)
        if status != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, first = path.read_bytes(), 0
        size = len(content)
        if asked := self.headers.get("Range"):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first = int(start)
            content = content[first : int(end) + 1 if end else size]
            self.server.ranges += 1
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{first + len(content) - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)
            self.server.sent += len(content)


@contextmanager
def stac_api(items: Sequence[dict[str, Any]], folder: Path) -> Iterator[str]:
    """`rustac serve` on these items; yields its address."""
    path = folder / "items.json"
    path.write_text(json.dumps(collection_of(items)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rustac = Path(sys.executable).with_name("rustac")
    command = [str(rustac), "serve", "--addr", f"127.0.0.1:{port}", "--create-collections", str(path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            if server.poll() is not None:
                raise RuntimeError(server.stderr.read().decode() if server.stderr else "rustac ended")
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        server.kill()
        server.communicate()


def collection_of(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(items)}


def item(
    name: str, collection: str, when: str, bounds: Sequence[float], assets: dict[str, Any], **properties: Any
) -> dict[str, Any]:
    """A STAC item; `bounds` are west, south, east, north, and in properties `__` stands for `:`."""
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    said = {key.replace("__", ":"): value for key, value in properties.items()}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "bbox": list(bounds),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": when} | said,
        "links": [],
        "assets": assets,
    }


def write_cog(
    path: Path, array: np.ndarray[Any, Any], crs: str, at: Affine, nodata: float | None = None
) -> tuple[float, float, float, float]:
    """Writes C x H x W as a COG of small tiles with overviews; gives its bounds in degrees."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = array.shape
    profile = {"driver": "COG", "count": count, "height": height, "width": width, "dtype": array.dtype.name}
    with rasterio.open(path, "w", crs=crs, transform=at, nodata=nodata, blocksize=128, **profile) as target:
        target.write(array)
    return lon_lat_bounds(crs, at, height, width)


def lon_lat_bounds(crs: str, at: Affine, height: int, width: int) -> tuple[float, float, float, float]:
    left, top = at @ (0, 0)
    right, bottom = at @ (width, height)
    west, south, east, north = transform_bounds(crs, "EPSG:4326", left, bottom, right, top)
    return west, south, east, north


def waves(crs: str, at: Affine, height: int, width: int, phase: float = 0.0) -> np.ndarray[Any, Any]:
    """A smooth function of longitude and latitude, -1..1, at the centres of a grid's pixels: waves of some 600 m."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = at @ (columns, rows)
    lon, lat = transform(crs, "EPSG:4326", x.ravel(), y.ravel())
    east, north = np.array(lon) * 75_000, np.array(lat) * 111_000
    wave = np.sin(2 * math.pi * east / 700 + phase) * np.cos(2 * math.pi * north / 600 + phase)
    return wave.reshape(height, width)
