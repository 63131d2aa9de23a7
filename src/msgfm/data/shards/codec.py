"""A sample as bytes: its stored arrays in their own types, compressed without loss, under one checksum.

    magic (4) | CRC-32 of all that follows (4) | length of the header (4) | header (JSON) | arrays

The header says for each array its type, shape, filter, codec and length. Arrays are little-endian. Numbers of several
bytes are split into planes of their first, second, ... bytes and compressed with LZ4: of what was measured, that is the
fastest to read, and nearly as small as Zstandard. Single bytes (photographs) are replaced by their difference to the
band before and to the row above and compressed with Zstandard, since LZ4 hardly makes them smaller. docs/results.md,
"Data loading", has the measurement.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MAGIC = b"MSF1"
_MASK_CODEC = "zstd"
_FRONT = struct.Struct("<4sII")

Stored = np.ma.MaskedArray[Any, Any]


class DamagedItemError(ValueError):
    """The bytes of an item are not those that were written."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A sample whose checksum was right.

    Args:
        header: what `pack` was given, and a list `arrays`.
        body: the compressed arrays, one after the other.
    """

    header: dict[str, Any]
    body: memoryview


def pack(about: Mapping[str, Any], arrays: Sequence[tuple[Mapping[str, Any], Stored]]) -> bytes:
    """Packs a sample.

    Args:
        about: what the header says of the sample, for whoever reads the item without its manifest.
        arrays: C x H x W as stored, masked where the file says that it has no data; each with what the header says
            of it.
    """
    facts, parts = [], []
    for described, stored in arrays:
        data = np.ma.getdata(stored)
        data = np.ascontiguousarray(data, data.dtype.newbyteorder("<"))
        name, codec = ("differences", "zstd") if data.dtype.itemsize == 1 else ("planes", "lz4_raw")
        packed = [_compress(FILTERS[name](data), codec)]
        if np.ma.is_masked(stored):
            packed.append(_compress(np.packbits(np.ma.getmaskarray(stored)), _MASK_CODEC))
        stored_as = {"type": data.dtype.str, "shape": data.shape, "filter": name, "codec": codec}
        facts.append({**described, **stored_as, "lengths": [len(part) for part in packed]})
        parts += packed
    header = json.dumps({**about, "arrays": facts}, separators=(",", ":")).encode()
    rest = b"".join([len(header).to_bytes(4, "little"), header, *parts])
    return b"".join([MAGIC, zlib.crc32(rest).to_bytes(4, "little"), rest])


def unpack(packed: memoryview) -> Item:
    """Checks an item's bytes and reads its header.

    Raises:
        DamagedItemError: any byte is another than was written.
    """
    if len(packed) < _FRONT.size:
        raise DamagedItemError(f"{len(packed)} bytes are no sample")
    magic, checksum, length = _FRONT.unpack_from(packed)
    if magic != MAGIC:
        raise DamagedItemError("no sample begins where one should")
    found = zlib.crc32(packed[8:])
    if found != checksum:
        raise DamagedItemError(f"checksum {found:08x} in place of {checksum:08x}")
    start = _FRONT.size + length
    return Item(header=json.loads(bytes(packed[_FRONT.size : start])), body=packed[start:])


def array_of(item: Item, number: int) -> Stored:
    """One of an item's arrays, C x H x W, as it was stored."""
    before = sum(sum(facts["lengths"]) for facts in item.header["arrays"][:number])
    facts = item.header["arrays"][number]
    kind, shape = np.dtype(facts["type"]), tuple(facts["shape"])
    size = int(np.prod(shape))
    data, mask = (*facts["lengths"], 0)[:2]
    plain = _decompress(item.body[before : before + data], size * kind.itemsize, facts["codec"])
    array = UNDONE[facts["filter"]](plain, kind, shape)
    if not mask:
        return np.ma.MaskedArray(array)
    bits = _decompress(item.body[before + data : before + data + mask], -(-size // 8), _MASK_CODEC)
    return np.ma.MaskedArray(array, np.unpackbits(bits, count=size).view(bool).reshape(shape))


@lru_cache(maxsize=4)
def _codec(name: str) -> Any:
    return pa.Codec(name, compression_level=1) if name == "zstd" else pa.Codec(name)


def _compress(data: NDArray[np.uint8], codec: str) -> bytes:
    return bytes(_codec(codec).compress(data.tobytes(), asbytes=True))


def _decompress(data: memoryview, size: int, codec: str) -> NDArray[np.uint8]:
    return np.frombuffer(_codec(codec).decompress(data, size), np.uint8)


def _planes(data: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(data.reshape(-1).view(np.uint8).reshape(-1, data.dtype.itemsize).T)


def _from_planes(plain: NDArray[np.uint8], kind: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    planes = plain.reshape(kind.itemsize, -1)
    if kind.itemsize in (2, 4):  # several times faster than putting single bytes in their places
        whole = planes[-1].astype(f"<u{kind.itemsize}")
        for plane in planes[-2::-1]:
            whole <<= 8
            whole |= plane
        numbers: NDArray[Any] = whole.view(kind).reshape(shape)
        return numbers
    return np.ascontiguousarray(planes.T).view(kind).reshape(shape)


def _differences(data: NDArray[Any]) -> NDArray[np.uint8]:
    """C x H x W to H x C x W, so that taking it back adds whole rows of all bands at once."""
    rows = data.view(np.uint8).transpose(1, 0, 2).copy()  # (H, C, W)
    rows[:, 1:] -= rows[:, :-1].copy()
    rows[1:] -= rows[:-1].copy()
    return rows


def _from_differences(plain: NDArray[np.uint8], kind: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    bands, height, width = shape
    rows = plain.reshape(height, bands, width).copy()
    for above, row in pairwise(rows):
        row += above
    for band in range(1, bands):
        rows[:, band] += rows[:, band - 1]
    return np.ascontiguousarray(rows.transpose(1, 0, 2)).view(kind)  # (C, H, W)


FILTERS = {"planes": _planes, "differences": _differences}
UNDONE = {"planes": _from_planes, "differences": _from_differences}
