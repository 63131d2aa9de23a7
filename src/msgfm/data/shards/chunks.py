"""Chunks in LitData's format, one at a time: written by LitData's own writer, read by offset.

    number of items (uint32) | offsets of the items and of the end (uint32 each) | items

LitData puts the length of its one leaf (uint32) before each item's bytes. A file in a manifest of shards is a place in
a chunk: `chunk-0-3.bin#17.2` is array 2 of item 17.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LITDATA_INDEX = "index.json"
LARGEST = 2**32 - 1
"""Bytes of a chunk at most: its offsets have 32 bits."""

_UINT = struct.Struct("<I")
_SPAN = struct.Struct("<II")


def chunk_name(number: int) -> str:
    """The file name that LitData's writer gives."""
    return f"chunk-0-{number}.bin"


def number_of(name: str) -> int:
    """The number in a chunk's file name."""
    return int(name.removesuffix(".bin").rpartition("-")[2])


def write_chunk(number: int, items: Sequence[bytes], scratch: Path) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """Makes a chunk, in an empty folder.

    Returns:
        Its bytes; what LitData's index says of it; and what that index says of all chunks.
    """
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(scratch), chunk_bytes=LARGEST, chunk_index=number)
    for position, item in enumerate(items):
        writer.add_item(position, item)
    (path,) = writer.done()
    listed = json.loads((scratch / f"0.{LITDATA_INDEX}").read_bytes())
    (facts,) = listed["chunks"]
    return Path(path).read_bytes(), facts, listed["config"]


def litdata_index(facts: Sequence[dict[str, Any]], config: dict[str, Any]) -> bytes:
    """LitData's `index.json` over all chunks, without the time of day that LitData adds."""
    return json.dumps({"chunks": list(facts), "config": config}, sort_keys=True).encode()


def count_items(chunk: memoryview) -> int:
    """Items that a chunk says it has; 0 where it is too short to say."""
    return int(_UINT.unpack_from(chunk)[0]) if len(chunk) >= _UINT.size else 0


def item_of(chunk: memoryview, number: int) -> memoryview:
    """Bytes of an item of a chunk in memory; `ValueError` where its offsets cannot be."""
    if len(chunk) < 4 + 4 * number + _SPAN.size:
        raise ValueError("the chunk ends before its table does")
    start, end = _SPAN.unpack_from(chunk, 4 + 4 * number)
    _require_span(start, end, len(chunk))
    return chunk[start + 4 : end]


def read_item(path: Path, number: int) -> memoryview:
    """Bytes of an item of a chunk's file; `ValueError` where its offsets cannot be, `OSError` as the system's."""
    file = os.open(path, os.O_RDONLY)
    try:
        place = os.pread(file, _SPAN.size, 4 + 4 * number)
        if len(place) < _SPAN.size:
            raise ValueError("the file ends before its table does")
        start, end = _SPAN.unpack(place)
        _require_span(start, end, os.fstat(file).st_size)
        return memoryview(os.pread(file, end - start - 4, start + 4))
    finally:
        os.close(file)


def _require_span(start: int, end: int, size: int) -> None:
    if not start + 4 <= end <= size:
        raise ValueError(f"an item from byte {start} to {end} of {size}")


def place_of(chunk: str, item: int, array: int) -> str:
    """How a manifest of shards calls an array."""
    return f"{chunk}#{item}.{array}"


def is_place(path: str) -> bool:
    """Whether a manifest's path is a place in a chunk."""
    name, mark, _ = path.rpartition("#")
    return bool(mark) and name.startswith("chunk-") and name.endswith(".bin")


def parse_place(path: str) -> tuple[str, int, int]:
    """Chunk, item and array of a place."""
    chunk, _, numbers = path.rpartition("#")
    item, _, array = numbers.partition(".")
    return chunk, int(item), int(array)
