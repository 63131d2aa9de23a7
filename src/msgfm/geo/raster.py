"""Reading and writing raster files. Outside `geo` nothing in msgfm imports rasterio."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window

from msgfm.errors import InputError
from msgfm.files import write_atomically

# GDAL logs what it also raises; the exception, with the file's name, is enough.
logging.getLogger("rasterio._env").setLevel(logging.CRITICAL)

LOCAL_OPTIONS = {
    # Listing the folder at every open is quadratic in folders of many thousand images. TRUE still finds side files.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    # Otherwise libjpeg fills the missing part of a truncated file with grey, and only warns.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    # GDAL's fast way through a PNG (3.10) gives zeros for the missing part of a truncated file, without an error.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
}


_THREADS = 4  # each holds some blocks
_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "uint32": "UInt32"}  # others: with a capital


def gdal_type(dtype: str) -> str:
    """What GDAL calls numpy's type."""
    return _GDAL_TYPES.get(dtype, dtype.capitalize())


def gdal_threads() -> int:
    """That decode or compress the blocks of a file at once."""
    return min(_THREADS, len(os.sched_getaffinity(0)))


@dataclass(frozen=True, kw_only=True)
class RasterInfo:
    """What a file's header says.

    Args:
        count: bands in the file, an alpha band included.
        height: pixels.
        width: pixels.
        dtype: numpy's name of the stored type.
        descriptions: the bands' names in the file; None where it has none.
        nodata: the stored number that means "no data"; None where the file names none.
        crs: coordinate reference system; None where there is none (PNG, JPEG).
        transform: pixel to map coordinates; the identity where there is none.
        has_alpha: whether the last band says which pixels have data, and is no image.
        colours: what colour each band stands for, `red`, `gray` or `undefined` as GDAL has it.
        scales: of each band, where the file says that value = stored * scale + offset; 1 where it does not.
        offsets: likewise, in values; 0 where it does not.
        block: height and width of the pieces in which it is stored.
        has_control_points: whether control points alone say where it lies, as of radar in ground range.
        date_time: TIFF's tag of that name, which tells neither a time zone nor whether it was taken or written then;
            empty where there is none.
    """

    count: int
    height: int
    width: int
    dtype: str
    descriptions: tuple[str | None, ...]
    nodata: float | None
    crs: CRS | None
    transform: Affine
    has_alpha: bool
    colours: tuple[str, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    block: tuple[int, int]
    has_control_points: bool
    date_time: str

    @property
    def image_bands(self) -> int:
        """Bands that hold an image: all but alpha."""
        return self.count - int(self.has_alpha)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The ground that a file, or a window of it, shows.

    Args:
        crs: coordinate reference system.
        edges: left, bottom, right, top in its units.
    """

    crs: str
    edges: tuple[float, float, float, float]

    def is_ground_of(self, other: Extent) -> bool:
        """Whether both show the same place: one CRS, and edges alike within a tenth of the other's extent.

        Products of one place differ by a few pixels.
        """
        left, bottom, right, top = other.edges
        sides = (right - left, top - bottom) * 2
        alike = (abs(a - b) <= 0.1 * abs(side) for a, b, side in zip(self.edges, other.edges, sides, strict=True))
        return self.crs == other.crs and all(alike)

    def __str__(self) -> str:
        return f"{self.crs} " + " ".join(f"{edge:.8g}" for edge in self.edges)


def extent_of(info: RasterInfo, window: tuple[int, int, int, int] | None = None) -> Extent | None:
    """The extent of a file or of a window (row, column, height, width) of it; None where it has no coordinates."""
    if info.crs is None or info.transform.is_identity:
        return None
    row, column, height, width = window or (0, 0, info.height, info.width)
    left, top = info.transform @ (column, row)
    right, bottom = info.transform @ (column + width, row + height)
    return Extent(crs=info.crs.to_string(), edges=(float(left), float(bottom), float(right), float(top)))


def raster_info(path: Path) -> RasterInfo:
    """Reads a file's header.

    Raises:
        InputError: no such file, or not a raster that GDAL can open.
    """
    with _open(path) as source:
        return info_of(source)


def info_of(source: DatasetReader) -> RasterInfo:
    """What the header of an opened file says."""
    return RasterInfo(
        count=source.count,
        height=source.height,
        width=source.width,
        dtype=source.dtypes[0],
        descriptions=tuple(source.descriptions),
        nodata=source.nodata,
        crs=source.crs,
        transform=source.transform,
        has_alpha=source.count > 1 and source.colorinterp[-1] == ColorInterp.alpha,
        colours=tuple(colour.name for colour in source.colorinterp),
        scales=tuple(source.scales),
        offsets=tuple(source.offsets),
        block=max(source.block_shapes),
        has_control_points=bool(source.gcps[0]),
        date_time=source.tags().get("TIFFTAG_DATETIME", ""),
    )


def read_bands(
    path: Path, file_bands: Sequence[int] | None = None, window: tuple[int, int, int, int] | None = None
) -> np.ma.MaskedArray[Any, Any]:
    """Reads bands of a file, or of a window of it, as they are stored.

    Args:
        path: the file.
        file_bands: positions counted from 1; None is all.
        window: row, column, height, width in pixels; None is the whole file.

    Returns:
        C x height x width in the file's own type; masked where the file itself says that it has no data (its
        no-data number, its alpha band, its mask, NaN).

    Raises:
        InputError: missing, unreadable or truncated file, a band that it lacks, a window that leaves it.
    """
    with _open(path) as source:
        if beyond := [band for band in file_bands or () if not 1 <= band <= source.count]:
            raise InputError(f"{path} has {source.count} bands, so there is no band {beyond[0]} (counted from 1)")
        if window is not None:
            row, column, height, width = window
            inside = 0 <= row <= row + height <= source.height and 0 <= column <= column + width <= source.width
            if not inside or height < 1 or width < 1:
                raise InputError(
                    f"{path} has {source.height} x {source.width} pixels; the window of {height} x {width} at row "
                    f"{row}, column {column} leaves it; index the data set again"
                )
        return read_masked(source, range(1, source.count + 1) if file_bands is None else file_bands, window)


def read_masked(
    source: DatasetReader, file_bands: Sequence[int], window: tuple[int, int, int, int] | None
) -> np.ma.MaskedArray[Any, Any]:
    """As `read_bands`, of an opened file and a window that lies in it."""
    part = None if window is None else Window(window[1], window[0], window[3], window[2])
    bands = list(file_bands)
    marks = _marks(source, bands)
    if marks is None:
        stored: np.ma.MaskedArray[Any, Any] = source.read(bands, window=part, masked=True)
        return stored
    values = source.read(bands, window=part)
    return np.ma.MaskedArray(values, _where_marked(values, marks))


def _marks(source: DatasetReader, bands: Sequence[int]) -> list[float | None] | None:
    """For each band the number that alone says that there is no data, if any; None where GDAL's masks are needed.

    GDAL makes a mask from the band read once more: blocks are decoded twice where they do not fit into its cache.
    """
    marks: list[float | None] = []
    for band in bands:
        flags, dtype = source.mask_flag_enums[band - 1], np.dtype(source.dtypes[band - 1])
        if dtype.kind not in "iu" or dtype.itemsize > 4:  # equality of others is GDAL's own
            return None
        if flags == [MaskFlags.all_valid]:
            marks.append(None)
        elif flags == [MaskFlags.nodata]:
            marks.append(source.nodatavals[band - 1])
        else:
            return None
    return marks


def _where_marked(values: NDArray[Any], marks: Sequence[float | None]) -> NDArray[np.bool_] | np.bool_:
    """(C, h, w) whether a value is the mark of its band."""
    if all(mark is None for mark in marks):
        return np.ma.nomask
    if len(set(marks)) == 1:
        return np.asarray(values == marks[0])
    return np.stack([np.zeros(v.shape, bool) if m is None else v == m for v, m in zip(values, marks, strict=True)])


def write_geotiff(
    path: Path,
    array: np.ndarray[Any, Any],
    *,
    crs: CRS | str | None = None,
    transform: Affine | None = None,
    descriptions: Sequence[str] | None = None,
    nodata: float | None = None,
) -> None:
    """Writes C x H x W as a GeoTIFF, compressed without loss, in one piece.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    count, height, width = array.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": array.dtype.name,
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
        "compress": "deflate",
        "predictor": 3 if array.dtype.kind == "f" else 2,
    }
    with MemoryFile() as memory:
        with quiet(), memory.open(**profile) as target:
            target.write(array)
            for band, description in enumerate(descriptions or (), start=1):
                target.set_band_description(band, description)
        # GDAL reports a full disk only when it closes a file, and then not as an exception; Python does.
        with write_atomically(path) as temporary:
            temporary.write_bytes(memory.getbuffer())


@contextmanager
def _open(path: Path) -> Iterator[DatasetReader]:
    if not path.is_file():
        raise InputError(f"no file {path}; was it moved? (a manifest keeps paths: index the data set again)")
    require_utf8(path)
    try:
        with quiet(), rasterio.open(path) as source:
            yield source
    except (RasterioError, OSError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise InputError(f"cannot read {path}: truncated, or not an image ({reason}); fetch it again") from error


def require_utf8(path: Path) -> None:
    """Refuses a name that GDAL cannot take.

    Raises:
        InputError: with the name.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"file name {str(path)!r} is not UTF-8, which GDAL needs; rename the file") from error


@contextmanager
def quiet(options: Mapping[str, Any] = LOCAL_OPTIONS) -> Iterator[None]:
    """GDAL's options, and no warning that a PNG has no coordinates."""
    # Not catch_warnings: it swaps the whole process's filters, and threads open files at the same time.
    if not any(entry[2] is NotGeoreferencedWarning for entry in warnings.filters):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
    with rasterio.Env(**options):
        yield
