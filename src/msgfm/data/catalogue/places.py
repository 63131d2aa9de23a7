"""The patches of a grid, and the blocks of them that are read at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgfm.geo.grid import Grid

# COGs have tiles of 256 to 1024 pixels: a block reads most of them once, and takes 50 MB of 13 bands.
_BLOCK_PX = 1024


@dataclass(frozen=True, kw_only=True)
class Block:
    """Neighbouring patches.

    Args:
        name: of the block, unique on its grid.
        grid: of the block.
        patches: by name, row and column of the upper left pixel in the block.
    """

    name: str
    grid: Grid
    patches: dict[str, tuple[int, int]]


def blocks_of(grid: Grid, size: int) -> Iterator[Block]:
    """Cuts a grid into blocks of whole patches.

    Args:
        grid: whole patches high and wide.
        size: side of a patch in pixels.
    """
    step = max(1, _BLOCK_PX // size)
    rows, columns = grid.height // size, grid.width // size
    for row in range(0, rows, step):
        for column in range(0, columns, step):
            high, wide = min(step, rows - row), min(step, columns - column)
            yield Block(
                name=f"block_r{row:04d}_c{column:04d}",
                grid=grid.window(row * size, column * size, high * size, wide * size),
                patches={
                    f"r{row + i:04d}_c{column + j:04d}": (i * size, j * size) for i in range(high) for j in range(wide)
                },
            )
