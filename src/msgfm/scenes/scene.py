"""Windows of a scene: all inputs on one grid, in physical units."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

import numpy as np

from msgfm.errors import InputError
from msgfm.geo.align import grid_of, offset_on
from msgfm.geo.grid import Grid
from msgfm.geo.source import RasterSource
from msgfm.scenes.reading import AlignedFile, Image, Window
from msgfm.scenes.request import BandStorage, SceneFile, SceneImage, SceneRequest


class Scene:
    """The images of a request, open. One thread uses it; another process opens its own.

    It is best read from top to bottom, every row once.
    """

    def __init__(self, request: SceneRequest) -> None:
        self.request = request
        self.digest = request.digest()
        with ExitStack() as opened:
            self._sources = {
                place: opened.enter_context(RasterSource(place, request.network)) for place in request.places
            }
            self._readers = {image.key: [self._reader(image, file) for file in image.files] for image in request.images}
            self._opened = opened.pop_all()

    def _reader(self, image: SceneImage, file: SceneFile) -> AlignedFile:
        bands = [image.card.bands[i] for i in image.card.indices_of(file.bands)]
        source = self._sources[file.place]
        offset = offset_on(self.grid, grid_of(source.info, file.place))
        if offset is None:
            raise InputError(f"{file.place} does not lie on the scene's grid")
        return AlignedFile(source, file.file_bands, bands, offset)

    @property
    def grid(self) -> Grid:
        """That all images are read on."""
        return self.request.grid

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the images, in the model's order."""
        return tuple(image.key for image in self.request.images)

    @property
    def storage(self) -> Mapping[str, tuple[BandStorage, ...]]:
        """By key, how the files store each band that is read."""
        return {image.key: image.storage for image in self.request.images}

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
        """A window of every image.

        Args:
            row: of the upper left pixel on the grid.
            column: likewise.
            height: pixels.
            width: pixels.

        Returns:
            By key C x height x width, the bands of the request's cards in their order, in physical units; NaN where
            there is no data, and beyond the edges of a file.

        Raises:
            InputError: a file cannot be read there.
        """
        return {image.key: self._read_image(image, (row, column, height, width)) for image in self.request.images}

    def _read_image(self, image: SceneImage, window: Window) -> Image:
        result = np.full((len(image.card.bands), *window[2:]), np.nan, np.float32)
        for file, reader in zip(image.files, self._readers[image.key], strict=True):
            result[list(image.card.indices_of(file.bands))] = reader.read(window)
        return result


def open_scene(request: SceneRequest) -> Scene:
    """Opens all files of a request.

    Raises:
        InputError: one cannot be opened.
    """
    return Scene(request)
