"""Opens shards as a manifest, and reads the stored arrays that its files stand for."""

from __future__ import annotations

import errno
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from msgfm.data.records import Manifest, read_manifest
from msgfm.data.shards.cache import CacheLimits, Remote, fetch_chunk, mirror, remote_of
from msgfm.data.shards.chunks import item_of, parse_place, read_item
from msgfm.data.shards.codec import DamagedItemError, Item, array_of, unpack
from msgfm.data.shards.index import INDEX, MANIFEST, read_index, sha256
from msgfm.data.shards.storage import LocalStorage, is_remote, storage_at
from msgfm.errors import InputError

_REMEDY = "copy it again, or run `msgfm data shard MANIFEST OUT` again, which mends it"


class DamagedShardError(InputError):
    """Bytes of a chunk are not those that were written."""


def is_shards(location: Path | str) -> bool:
    """Whether it is a folder, finished or not, or an address on S3: a manifest is a file."""
    return is_remote(location) or Path(location).is_dir()


def listing_of(location: Path | str) -> bytes:
    """The file that says what the samples are: a manifest, or the `shards.json` of shards."""
    return storage_at(location).read(INDEX) if is_shards(location) else Path(location).read_bytes()


def open_shards(location: Path | str, limits: CacheLimits | None = None) -> Manifest:
    """The manifest of a folder of shards; its files are places in chunks, which `read_sample` reads.

    Args:
        location: a folder or `s3://bucket/prefix`.
        limits: where chunks from S3 are kept, and how many bytes of them.

    Raises:
        InputError: no shards there, unfinished or damaged ones, or a cache that cannot hold a chunk.
    """
    _item.cache_clear()  # shards that were here before may have been made anew
    folder = mirror(str(location), limits or CacheLimits()) if is_remote(location) else Path(location)
    storage = LocalStorage(folder)
    index = read_index(storage)
    try:
        content = storage.read(MANIFEST)
    except FileNotFoundError as error:
        raise InputError(f"{storage.url(MANIFEST)} is missing; {_REMEDY}") from error
    if sha256(content) != index.files[MANIFEST]:
        raise InputError(f"{storage.url(MANIFEST)} is damaged (its checksum is another); {_REMEDY}")
    if not is_remote(location):
        for chunk in index.chunks:
            if storage.size(chunk.name) != chunk.size:
                raise InputError(
                    f"{storage.url(chunk.name)} is missing or not {chunk.size} bytes long; copy the folder again, or "
                    f"run `msgfm data shard MANIFEST {location}` again, which mends it"
                )
    return read_manifest(folder / MANIFEST)


def read_place(root: Path, place: str) -> np.ma.MaskedArray[Any, Any]:
    """The stored array at a place in a chunk (`chunks.is_place`).

    Raises:
        DamagedShardError: the sample's checksum is wrong.
        InputError: no such chunk, or it cannot be read or fetched.
    """
    chunk, item, array = parse_place(place)
    return array_of(_item(root, chunk, item), array)


@lru_cache(maxsize=2)  # a sample's arrays are asked for one after the other
def _item(root: Path, chunk: str, number: int) -> Item:
    remote = remote_of(root)
    path = (remote.folder if remote else root) / chunk
    try:
        return unpack(_item_bytes(path, number) if remote is None else _cached_bytes(remote, path, number))
    except InputError:  # a ValueError, but of a chunk that is not there at all
        raise
    except (DamagedItemError, ValueError) as error:
        remedy = _REMEDY if remote is None else "delete it, it is fetched again"
        raise DamagedShardError(
            f"{path}, item {number}: damaged ({error}); `msgfm data verify` lists all that is; {remedy}"
        ) from error


def _item_bytes(path: Path, number: int) -> memoryview:
    try:
        return read_item(path, number)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; copy the folder again, or make the shards again") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _cached_bytes(remote: Remote, path: Path, number: int) -> memoryview:
    """From the cache's file, or fetched: another run may remove it before it is opened, or while it is read."""
    while True:
        if (content := fetch_chunk(remote, path.name)) is not None:
            return memoryview(bytes(item_of(memoryview(content), number)))  # a copy: the chunk itself can go
        try:
            return read_item(path, number)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE):  # ESTALE: removed by another host, on NFS
                raise InputError(f"cannot read {path}: {error.strerror or error}") from error
