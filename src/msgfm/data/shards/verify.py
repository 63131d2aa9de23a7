"""Holds shards against the checksums that were taken when they were made."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from msgfm.data.records import read_manifest
from msgfm.data.shards.chunks import count_items, item_of, parse_place
from msgfm.data.shards.codec import DamagedItemError, unpack
from msgfm.data.shards.index import MANIFEST, Chunk, read_index, sha256
from msgfm.data.shards.storage import Storage, storage_at
from msgfm.errors import InputError
from msgfm.progress import track


def verify_shards(location: Path | str) -> list[str]:
    """Reads every byte of shards.

    Args:
        location: a folder or `s3://bucket/prefix`.

    Returns:
        What is damaged or missing, with chunk and sample; nothing if all is as it was written.

    Raises:
        InputError: no shards there, or `shards.json` itself is damaged, or the storage does not answer.
    """
    storage = storage_at(location)
    index = read_index(storage)
    damage = [problem for name, digest in index.files.items() for problem in _file_damage(storage, name, digest)]
    names: dict[str, dict[int, str]] | None = None
    for chunk in track(index.chunks, "verifying", len(index.chunks)):
        try:
            content = storage.read(chunk.name)
        except FileNotFoundError:
            damage.append(f"{storage.url(chunk.name)} is missing, with {chunk.samples} samples")
            continue
        if sha256(content) != chunk.sha256:
            names = _sample_names(storage) if names is None else names
            damage.extend(_chunk_damage(storage.url(chunk.name), chunk, content, names.get(chunk.name, {})))
    return damage


def _file_damage(storage: Storage, name: str, digest: str) -> Iterator[str]:
    try:
        if sha256(storage.read(name)) != digest:
            yield f"{storage.url(name)} is damaged"
    except FileNotFoundError:
        yield f"{storage.url(name)} is missing"


def _chunk_damage(url: str, chunk: Chunk, content: bytes, names: dict[int, str]) -> Iterator[str]:
    """Which samples of a damaged chunk cannot be used."""
    if len(content) != chunk.size:
        yield f"{url} has {len(content)} bytes in place of {chunk.size}"
    view = memoryview(content)
    intact = 0
    for number in range(chunk.samples):
        try:
            unpack(item_of(view, number))
            intact += 1
        except (DamagedItemError, ValueError) as error:
            yield f"{url}, sample {names.get(number, f'number {number}')}: {error}"
    if intact == chunk.samples and len(content) == chunk.size:
        said = count_items(view)
        yield f"{url}: damaged outside of its samples (LitData's table; it says {said} samples of {chunk.samples})"


def _sample_names(storage: Storage) -> dict[str, dict[int, str]]:
    """By chunk and item; empty where the manifest cannot be read."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / MANIFEST
            path.write_bytes(storage.read(MANIFEST))
            manifest = read_manifest(path)
    except (FileNotFoundError, InputError):
        return {}
    found: dict[str, dict[int, str]] = {}
    for sample in manifest.samples:
        chunk, item, _ = parse_place(sample.images[0].files[0].path)
        found.setdefault(chunk, {})[item] = sample.sample
    return found
