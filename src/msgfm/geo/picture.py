"""Pictures for a page, as files in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from msgfm.geo.raster import quiet

_QUALITY = 90  # of 100; beyond it files grow fast and nobody sees more


def encode_picture(picture: NDArray[np.uint8], *, lossless: bool) -> tuple[str, bytes]:
    """A picture as a file of a format that every browser shows.

    Args:
        picture: 4 x H x W: red, green, blue, and 0 where nothing is to be seen, else 255.
        lossless: PNG, which keeps every colour as it is, else WebP.

    Returns:
        The MIME type and the file.
    """
    _, height, width = picture.shape
    driver, options = ("PNG", {"ZLEVEL": 9}) if lossless else ("WEBP", {"QUALITY": _QUALITY})
    with MemoryFile() as memory:
        with (
            quiet(),
            memory.open(driver=driver, count=4, height=height, width=width, dtype="uint8", **options) as target,
        ):
            target.write(picture)
        return f"image/{driver.lower()}", bytes(memory.getbuffer())
