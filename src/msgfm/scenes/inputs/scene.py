"""Windows of a scene: all inputs on one grid, in physical units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType

import numpy as np

from msgfm.geo.align import grid_of, offset_on
from msgfm.geo.grid import Grid
from msgfm.geo.raster import RasterInfo
from msgfm.geo.source import RasterSource
from msgfm.scenes.inputs.reading import AlignedFile, Image, Read, WarpedFile
from msgfm.scenes.inputs.request import SceneFile, SceneImage, SceneRequest

# What is read at once is at most about so wide, and what GDAL keeps of decoded blocks is to hold a row of them.
_WIDTH_PX = 4608
_LEAST_CACHE, _MOST_CACHE = 32 * 2**20, 256 * 2**20


class Scene:
    """The images of a request, open. One thread uses it; another process opens its own.

    It is best read from top to bottom, every row once: no block of a file is then decoded twice.

    Attributes:
        request: what it was opened by.
        digest: of the request and the state of its files.
        sources: the open files by path or address.
    """

    def __init__(self, request: SceneRequest) -> None:
        self.request = request
        self.digest = request.digest()
        with ExitStack() as opened:
            self.sources: Mapping[str, RasterSource] = {
                place: opened.enter_context(RasterSource(place, request.network)) for place in request.places
            }
            cache = cache_bytes(source.info for source in self.sources.values())
            for source in self.sources.values():
                source.limit_cache(cache)
            self._reads: dict[str, list[Read]] = {
                image.key: [_read_of(image, file, self.sources[file.place], request.grid) for file in image.files]
                for image in request.images
            }
            self._opened = opened.pop_all()

    @property
    def grid(self) -> Grid:
        """That all images are read on."""
        return self.request.grid

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the images, in the model's order."""
        return tuple(image.key for image in self.request.images)

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all files."""
        self._opened.close()

    def read(self, row: int, column: int, height: int, width: int) -> dict[str, Image]:
        """A window of every image. What is in it does not depend on which windows are asked for.

        Args:
            row: of the upper left pixel on the grid.
            column: likewise.
            height: pixels.
            width: pixels.

        Returns:
            By key C x height x width, the bands of the request's cards in their order, in physical units; NaN where
            there is no data, and beyond the edges of files and grid.

        Raises:
            InputError: a file cannot be read there.
        """
        window = (row, column, height, width)
        images = {}
        for image in self.request.images:
            parts = [read(window) for read in self._reads[image.key]]
            if len(parts) == 1 and image.files[0].bands == image.card.band_names:  # nothing to put together
                images[image.key] = parts[0]
                continue
            images[image.key] = np.empty((len(image.card.bands), height, width), np.float32)
            for file, values in zip(image.files, parts, strict=True):
                images[image.key][list(image.card.indices_of(file.bands))] = values
        return images


def _read_of(image: SceneImage, file: SceneFile, source: RasterSource, grid: Grid) -> Read:
    bands = [image.card.bands[i] for i in image.card.indices_of(file.bands)]
    own = grid_of(source.info, file.place)
    offset = offset_on(grid, own)
    if offset is None:
        return WarpedFile(source, own, file.file_bands, bands, grid, image.power)
    return AlignedFile(source, file.file_bands, bands, offset, image.power)


def cache_bytes(infos: Iterable[RasterInfo]) -> int:
    """What a row of all files' blocks takes, within limits that do not depend on the scene's size."""
    row = sum(
        info.count * info.block[0] * min(info.width, _WIDTH_PX + info.block[1]) * np.dtype(info.dtype).itemsize
        for info in infos
    )
    return min(max(_LEAST_CACHE, round(1.2 * row)), _MOST_CACHE)


def open_scene(request: SceneRequest) -> Scene:
    """Opens all files of a request.

    Raises:
        InputError: one cannot be opened.
    """
    return Scene(request)
