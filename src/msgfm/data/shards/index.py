"""`shards.json`: what belongs to a folder of shards, and what each file's bytes must be."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from msgfm.data.shards.storage import Storage
from msgfm.errors import InputError

FORMAT_VERSION = 1
INDEX = "shards.json"
MANIFEST = "manifest.parquet"
_REMEDY = "copy it again, or delete it and run `msgfm data shard MANIFEST OUT` again, which writes the chunks anew"


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A chunk's file: name, length in bytes, SHA-256, and how many samples it holds."""

    name: str
    size: int
    sha256: str
    samples: int


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """The content of `shards.json`.

    Args:
        plan: what the shards were made from and how (`sharding.plan.Plan.facts`).
        chunks: in their order.
        files: SHA-256 of the other files, by name.
        left_out: what is wrong with samples that could not be used, by name.
    """

    plan: dict[str, Any]
    chunks: tuple[Chunk, ...]
    files: dict[str, str]
    left_out: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes of all chunks."""
        return sum(chunk.size for chunk in self.chunks)


def write_index(storage: Storage, index: ShardIndex) -> None:
    """Writes `shards.json` with a checksum of itself."""
    content = asdict(index)
    whole = {"format_version": FORMAT_VERSION, "sha256": _digest(content), **content}
    storage.write(INDEX, json.dumps(whole, indent=1).encode())


def read_index(storage: Storage) -> ShardIndex:
    """Reads `shards.json`.

    Raises:
        InputError: there is none, it is damaged, or it was written by a newer msgfm.
    """
    try:
        content = json.loads(storage.read(INDEX))
        version, digest = content.pop("format_version"), content.pop("sha256")
    except FileNotFoundError as error:
        raise InputError(
            f"{storage.url(INDEX)} is missing: no shards, or unfinished ones; `msgfm data shard MANIFEST OUT` makes "
            f"or completes them. (A manifest of images is a file, which `msgfm data index LAYOUT FOLDER` makes)"
        ) from error
    except InputError:  # a ValueError too, but of the storage
        raise
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{storage.url(INDEX)} is damaged ({error}); {_REMEDY}") from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"{storage.url(INDEX)} has shard format {version}, this msgfm reads {FORMAT_VERSION}; make the shards again"
        )
    if digest != _digest(content):
        raise InputError(f"{storage.url(INDEX)} is damaged (its checksum is another); {_REMEDY}")
    chunks = tuple(Chunk(**chunk) for chunk in content.pop("chunks"))
    return ShardIndex(chunks=chunks, **content)


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _digest(content: dict[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode())
