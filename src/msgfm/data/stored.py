"""The numbers behind a manifest's file as they are stored, whether it is a raster file or a place in a shard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from msgfm.data.records import RasterFile
from msgfm.data.shards.chunks import is_place
from msgfm.data.shards.read import read_place
from msgfm.geo.raster import read_bands


def read_stored(root: Path, file: RasterFile) -> np.ma.MaskedArray[Any, Any]:
    """Reads the bands of one file.

    Args:
        root: the folder that the manifest's paths start from.
        file: the file, its bands and window.

    Returns:
        C x h x w in the stored type, masked where the file itself says that it has no data.

    Raises:
        InputError: it is missing, truncated or damaged, or lacks a band or the window.
    """
    if is_place(file.path):
        return read_place(root, file.path)
    return read_bands(root / file.path, file.file_bands, file.window)
