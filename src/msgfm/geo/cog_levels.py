"""Which blocks and overviews a cloud-optimised GeoTIFF has, so that none of its levels looks like strips.

A level that is one block wide and many high is one of strips to who judges by a block's shape, as rio-cogeo does.
"""

from __future__ import annotations

_LEAST = 64  # pixels along a side of a block: GDAL's least for overviews, which must be a power of two
_SMALL = 512  # pixels: what is no larger need not be tiled


def block_and_overviews(height: int, width: int, block: int) -> tuple[int, int | None]:
    """The side of a block, and how many overviews there may be at most.

    Args:
        height: of the image in pixels.
        width: likewise.
        block: the largest side of a block, a power of two.

    Returns:
        The largest power of two with which no level is one of strips. Images that have none (more than eight times as
        high as wide) get the least, and only the overviews that are wider than it; else their number is None.
    """
    side = block
    while (level := _first_of_strips(height, width, side)) is not None and side > _LEAST:
        side //= 2
    return side, None if level is None else level - 1


def _first_of_strips(height: int, width: int, block: int) -> int | None:
    """The first level (0 is the image) that is one block wide and many high; drivers round either way."""
    level = 0
    while -(-height >> level) > _SMALL:
        if block in (width >> level, -(-width >> level)):
            return level
        level += 1
    return None
