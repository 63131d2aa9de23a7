"""Chunks from S3 on the local disk: fetched once for all processes of a machine, the least used removed at a limit.

    CACHE/<digest of address and shards>/   shards.json, manifest.parquet, remote.json, chunk-0-3.bin ...

A process may be killed at any point: chunks appear under their name when they are whole and right, and what a dead
process left half fetched is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
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
_TEMPORARY = ".part"
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
    """What a folder of the cache mirrors."""

    address: str
    limit: int
    chunks: dict[str, Chunk]


def mirror(address: str, limits: CacheLimits) -> Path:
    """Makes the cache's folder for shards on S3, with their index and manifest; returns it.

    Raises:
        InputError: no shards there, or a chunk is larger than the cache may be.
    """
    storage = storage_at(address)
    index = read_index(storage)
    if (largest := max((chunk.size for chunk in index.chunks), default=0)) > limits.size:
        raise InputError(f"{address} has a chunk of {largest} bytes, the cache may hold {limits.size}; raise the limit")
    content = storage.read(INDEX)
    base = (limits.folder or default_cache()).resolve()
    folder = base / sha256(address.encode() + content)[:24]
    with write_atomically(folder / MANIFEST) as temporary:
        temporary.write_bytes(storage.read(MANIFEST))
    with write_atomically(folder / INDEX) as temporary:
        temporary.write_bytes(content)
    with write_atomically(folder / _REMOTE) as temporary:
        temporary.write_text(json.dumps({"address": address, "limit": limits.size}))
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
    return Remote(address=facts["address"], limit=facts["limit"], chunks=chunks)


def fetch_chunk(remote: Remote, path: Path) -> None:
    """Sees to it that a chunk is in the cache, and marks it as used.

    Raises:
        InputError: it cannot be fetched, or is not what `shards.json` says, also when it is fetched again.
    """
    with suppress(FileNotFoundError):
        os.utime(path)
        return
    with _locked(path.with_name(f".{path.name}.lock")):
        if path.is_file():  # another process was faster
            return
        chunk = remote.chunks[path.name]
        content = _fetch(storage_at(remote.address), chunk)
        temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
        try:
            with _locked(path.parent.parent / ".lock"):
                _make_room(path.parent.parent, remote.limit - chunk.size)
                with temporary.open("wb") as file:
                    file.truncate(chunk.size)  # counts from now on
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}; free some space") from error
        finally:
            temporary.unlink(missing_ok=True)


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
    kept: list[tuple[float, int, Path]] = []
    for path in base.glob("*/*chunk-*"):
        if path.name.endswith(".lock"):
            continue
        with suppress(FileNotFoundError):
            if path.name.endswith(_TEMPORARY) and not _alive(int(path.name.split(".")[-2])):
                path.unlink()
                continue
            facts = path.stat()
            # what is being fetched counts and stays
            when = time.time() + 1e6 if path.name.endswith(_TEMPORARY) else facts.st_mtime
            kept.append((when, facts.st_size, path))
    total = sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if total <= limit or path.name.endswith(_TEMPORARY):
            return
        path.unlink(missing_ok=True)
        total -= size


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits for the lock file; the system frees it when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
