"""Chunks from S3 on the local disk: fetched once for all that read them, the least used removed at a limit.

    CACHE/<digest of address and shards>/           chunk-0-3.bin ...
    CACHE/<digest of address and shards>/<limit>/   shards.json, manifest.parquet, remote.json

Runs may share the folder, also from several hosts and with different limits: each opens the folder of its own limit,
and removes what is too much for that. A process may be killed at any point: chunks appear under their name when they
are whole and right, and what a dead process left half fetched is removed. Who holds what is told by locks on files,
which the system frees when their holder dies, on NFS too.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from msgfm.data.shards.index import INDEX, MANIFEST, Chunk, read_index, sha256
from msgfm.data.shards.storage import Storage, storage_at
from msgfm.errors import InputError
from msgfm.files import write_atomically

_REMOTE = "remote.json"
_PART = ".part"
_LOCK = ".lock"
_FETCHES = 3


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/msgfm/shards`, else below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "msgfm" / "shards"


@dataclass(frozen=True, kw_only=True)
class CacheLimits:
    """Where chunks from S3 are kept, and how many bytes of them at most; None is `default_cache`."""

    folder: Path | None = None
    size: int = 50 * 10**9


@dataclass(frozen=True, kw_only=True)
class Remote:
    """What a folder of the cache mirrors, and where and up to how many bytes its chunks are kept."""

    address: str
    limit: int
    chunks: dict[str, Chunk]
    folder: Path


def mirror(address: str, limits: CacheLimits) -> Path:
    """Makes the cache's folder for shards on S3, with their index and manifest; returns it.

    Raises:
        InputError: no shards there, a chunk is larger than the cache may be, or the cache cannot be written.
    """
    storage = storage_at(address)
    index = read_index(storage)
    if (largest := max((chunk.size for chunk in index.chunks), default=0)) > limits.size:
        raise InputError(f"{address} has a chunk of {largest} bytes, the cache may hold {limits.size}; raise the limit")
    content = storage.read(INDEX)
    files = {
        MANIFEST: storage.read(MANIFEST),
        INDEX: content,
        _REMOTE: json.dumps({"address": address, "limit": limits.size}).encode(),
    }
    base = (limits.folder or default_cache()).resolve()
    folder = base / sha256(address.encode() + content)[:24] / str(limits.size)
    with _locked(base / _LOCK):  # processes of two hosts may have one number, and with it one temporary name
        for name, file in files.items():
            with write_atomically(folder / name) as temporary:
                temporary.write_bytes(file)
    remote_of.cache_clear()
    return folder


@lru_cache(maxsize=64)
def remote_of(folder: Path) -> Remote | None:
    """What a folder mirrors; None if it is a folder of shards in its own right."""
    try:
        facts = json.loads((folder / _REMOTE).read_bytes())
    except FileNotFoundError:
        return None
    index = read_index(storage_at(folder))
    chunks = {chunk.name: chunk for chunk in index.chunks}
    return Remote(address=facts["address"], limit=facts["limit"], chunks=chunks, folder=folder.parent)


def fetch_chunk(remote: Remote, name: str) -> bytes | None:
    """Sees to it that a chunk is in the cache, and marks it as used.

    Returns:
        Its bytes if they had to be fetched: another run may remove the file before it is opened.

    Raises:
        InputError: it cannot be fetched, or is not what `shards.json` says, also when it is fetched again.
    """
    path = remote.folder / name
    with suppress(FileNotFoundError):
        os.utime(path)
        return None
    part = path.with_name(f".{name}{_PART}")  # only the lock's holder writes it
    with _locked(part.with_suffix(_LOCK)):
        if path.is_file():  # another process was faster
            return None
        chunk = remote.chunks[name]
        content = _fetch(storage_at(remote.address), chunk)
        try:
            with _locked(remote.folder.parent / _LOCK):
                _make_room(remote.folder.parent, remote.limit - chunk.size)
                with part.open("wb") as file:
                    file.truncate(chunk.size)  # counts from now on
            part.write_bytes(content)
            part.replace(path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}; free some space") from error
        finally:
            part.unlink(missing_ok=True)
    return content


def _fetch(storage: Storage, chunk: Chunk) -> bytes:
    for _ in range(_FETCHES):
        try:
            content = storage.read(chunk.name)
        except FileNotFoundError as error:
            raise InputError(f"{storage.url(chunk.name)} is missing; upload the shards again") from error
        if sha256(content) == chunk.sha256:
            return content
    raise InputError(
        f"{storage.url(chunk.name)} is damaged: its checksum is another, also when fetched {_FETCHES} times; "
        f"`msgfm data verify` names the samples"
    )


def _make_room(base: Path, limit: int) -> None:
    """Removes the chunks that were not used for longest, of all mirrors, until at most `limit` bytes are left."""
    for path in base.glob(f"*/.chunk-*{_PART}"):
        _remove_if_left(path)
    # what is being fetched counts and stays
    total = sum(_size(path) for path in base.glob(f"*/.chunk-*{_PART}"))
    kept: list[tuple[float, int, Path]] = []
    for path in base.glob("*/chunk-*.bin"):
        with suppress(FileNotFoundError):
            facts = path.stat()
            kept.append((facts.st_mtime, facts.st_size, path))
    total += sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= size


def _remove_if_left(part: Path) -> None:
    """Removes a half fetched chunk, unless the process that fetches it lives and so holds its lock."""
    with suppress(BlockingIOError), _locked(part.with_suffix(_LOCK), wait=False):
        part.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock file; the system frees it when its holder dies.

    Raises:
        BlockingIOError: another holds it, and this is not to wait.
        InputError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise _no_lock(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:  # a file system without locks
            raise _no_lock(path, error) from error
        yield


def _no_lock(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot lock {path}: {error.strerror or error}; choose another cache folder")
