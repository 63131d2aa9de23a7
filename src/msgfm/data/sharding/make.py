"""Makes one chunk, and the note beside it that says that it is finished and of what it was made."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgfm.data.sharding.pack import pack_samples, require_few
from msgfm.data.sharding.plan import Plan, require_same
from msgfm.data.sharding.sources import fingerprint
from msgfm.data.shards.chunks import chunk_name, write_chunk
from msgfm.data.shards.index import Chunk, sha256
from msgfm.data.shards.storage import LocalStorage, Storage, storage_at
from msgfm.errors import InputError

SCRATCH = ".making-"
"""What names of temporary folders begin with."""


def make_chunk(plan: Plan, number: int) -> None:
    """Writes one chunk and, after it, the note that says that it is finished."""
    storage = storage_at(plan.out)
    sources = _sources(plan, number)  # before they are read: what changes meanwhile is seen the next time
    items, rows, left_out = pack_samples(plan, number)
    note: dict[str, Any] = {"plan": plan.facts, "sources": sources, "rows": rows, "left_out": left_out, "chunk": None}
    if items:
        content, facts, config = chunk_of(storage, number, items)
        storage.write(chunk_name(number), content)
        note["chunk"] = {
            "name": chunk_name(number),
            "size": len(content),
            "sha256": sha256(content),
            "samples": len(items),
        }
        note |= {"litdata": facts, "config": config}
    else:
        storage.delete(chunk_name(number))  # of an earlier run, when its samples could be used
    storage.write(note_name(number), json.dumps(note).encode())


def chunk_of(storage: Storage, number: int, items: Sequence[bytes]) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """A chunk's bytes, what LitData's index says of it, and what it says of all.

    Raises:
        InputError: no space.
    """
    beside = storage.folder if isinstance(storage, LocalStorage) else None
    try:
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=beside) as scratch:
            return write_chunk(number, items, Path(scratch))
    except OSError as error:
        raise InputError(
            f"cannot write {storage.url(chunk_name(number))}: {error.strerror or error}; free some space and start "
            f"again: finished chunks are kept"
        ) from error


def _sources(plan: Plan, number: int) -> str:
    return fingerprint(plan.manifest.root, plan.manifest.samples[slice(*plan.parts[number])])


def note_name(number: int) -> str:
    """The file that says what a finished chunk is, until all are finished."""
    return f".{chunk_name(number)}.json"


def is_finished(plan: Plan, storage: Storage, number: int) -> bool:
    """Whether an earlier run has finished a chunk, and it and the files it was made from are still what they were.

    Raises:
        InputError: the earlier run was of another manifest or other options.
    """
    try:
        note = json.loads(storage.read(note_name(number)))
    except FileNotFoundError:
        return False
    require_same(plan, note["plan"], storage)
    if note.get("sources") != _sources(plan, number):
        return False
    require_few(note["left_out"], plan.options)
    return note["chunk"] is None or is_whole(storage, Chunk(**note["chunk"]))


def is_whole(storage: Storage, chunk: Chunk) -> bool:
    """Whether a chunk's file is as it was written."""
    if storage.size(chunk.name) != chunk.size:
        return False
    # an object on S3 appears whole, and reading it again would cost as much as making it
    return not isinstance(storage, LocalStorage) or sha256(storage.read(chunk.name)) == chunk.sha256
