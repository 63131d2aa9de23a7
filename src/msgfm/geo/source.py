"""A raster that stays open while windows of it are read, from a disk or over the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from msgfm.errors import InputError
from msgfm.geo.network import Network, gdal_name, is_address
from msgfm.geo.raster import LOCAL_OPTIONS, RasterInfo, gdal_threads, info_of, quiet, read_masked, require_utf8

# GDAL keeps what an address answered for as long as a process lives, and never asks one again that failed once.
_FRESH = {"CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/"}


class RasterSource:
    """An open raster; to be used by one thread.

    Args:
        place: a path, or an address (`network.is_address`).
        network: how patient to be.

    Raises:
        InputError: no such file, it cannot be reached, or GDAL cannot open it.
    """

    def __init__(self, place: str, network: Network) -> None:
        self.place, self._network = place, network
        options = {**network.options(), **_FRESH} if is_address(place) else LOCAL_OPTIONS
        self._options: dict[str, Any] = {**options, "GDAL_NUM_THREADS": gdal_threads()}
        if not is_address(place) and not Path(place).is_file():
            raise InputError(f"no file {place}")
        require_utf8(Path(place))
        self._dataset, self.info = self._open()

    def __enter__(self) -> RasterSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def files(self) -> tuple[str, ...]:
        """What is read on this machine: the file, and those that it names, as a virtual raster does."""
        return () if is_address(self.place) else tuple(self._dataset.files)

    def close(self) -> None:
        """Lets go of the file."""
        self._dataset.close()

    def limit_cache(self, total_bytes: int) -> None:
        """Bounds what decoded blocks of all open rasters take together while this one is read.

        GDAL's own limit is a twentieth of the machine's memory.
        """
        self._options = self._options | {"GDAL_CACHEMAX": total_bytes}  # rasterio takes bytes, where GDAL has MB

    def read(self, file_bands: Sequence[int], window: tuple[int, int, int, int]) -> np.ma.MaskedArray[Any, Any]:
        """Reads a window as it is stored; what the file says has no data is masked.

        Of an address it is tried again where it fails.

        Args:
            file_bands: positions counted from 1.
            window: row, column, height, width, within the file.

        Raises:
            InputError: a part of it cannot be read.
        """
        waits = [self._network.wait_s * 2**i for i in range(self._network.retries)] if is_address(self.place) else []
        while True:
            begun = monotonic()
            try:
                return self._read(file_bands, window)
            except InputError:
                if not waits or monotonic() - begun > self._network.timeout_s:  # GDAL itself repeats what hangs
                    raise
            sleep(waits.pop(0))

    def _read(self, file_bands: Sequence[int], window: tuple[int, int, int, int]) -> np.ma.MaskedArray[Any, Any]:
        row, column, height, width = window
        if self._dataset.closed:
            self._open_again()
        try:
            with self._clear_errors(f"rows {row} to {row + height - 1}, columns {column} to {column + width - 1}"):
                return read_masked(self._dataset, file_bands, window)
        except InputError:
            if is_address(self.place):
                self._dataset.close()  # of what broke off in the middle GDAL keeps the half, and takes it for the whole
            raise

    def _open(self) -> tuple[DatasetReader, RasterInfo]:
        with self._clear_errors("truncated, or not an image"):
            dataset = rasterio.open(gdal_name(self.place))
            return dataset, info_of(dataset)

    def _open_again(self) -> None:
        dataset, info = self._open()
        if _pixels_of(info) != _pixels_of(self.info):
            dataset.close()
            raise InputError(f"{self.place} has changed while it was read; begin anew with --overwrite")
        self._dataset = dataset

    @contextmanager
    def _clear_errors(self, what: str) -> Iterator[None]:
        try:
            with quiet(self._options):
                yield
        except (RasterioError, OSError) as error:
            reason = " ".join(str(error.__cause__ or error).split())
            remedy = "look at the address, or try later" if is_address(self.place) else "fetch it again"
            raise InputError(f"cannot read {self.place}: {what} ({reason}); {remedy}") from error


def _pixels_of(info: RasterInfo) -> tuple[Any, ...]:
    return info.count, info.height, info.width, info.dtype, info.transform
