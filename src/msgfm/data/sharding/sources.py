"""Whether the files that a chunk was made from are still the same, without reading them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from msgfm.data.records import Sample
from msgfm.data.shards.chunks import is_place, parse_place
from msgfm.data.shards.index import read_index, sha256
from msgfm.data.shards.storage import LocalStorage


def fingerprint(root: Path, samples: Iterable[Sample]) -> str:
    """SHA-256 of the samples' file names with size and time of change; of chunks, with their checksum.

    Args:
        root: the folder that the paths start from; it is not part of the fingerprint.
        samples: of one chunk.
    """
    facts: dict[str, list[int] | str | None] = {}
    for sample in samples:
        for file in sample.files:
            if is_place(file.path):
                name = parse_place(file.path)[0]
                facts[name] = _checksums(root).get(name)
            elif file.path not in facts:
                facts[file.path] = _size_and_time(root / file.path)
    return sha256(json.dumps(facts, sort_keys=True).encode())


def _size_and_time(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:  # what reads it says so
        return None
    return [found.st_size, found.st_mtime_ns]


@lru_cache(maxsize=4)
def _checksums(root: Path) -> dict[str, str]:
    return {chunk.name: chunk.sha256 for chunk in read_index(LocalStorage(root)).chunks}
