"""Makes those files of complete shards again that are missing or damaged."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgfm.data.records import Manifest, Sample, write_manifest
from msgfm.data.sharding.make import chunk_of, is_whole, note_name
from msgfm.data.sharding.pack import pack_samples, placed
from msgfm.data.sharding.plan import Plan, require_same
from msgfm.data.shards.chunks import chunk_name, item_of, litdata_index, number_of
from msgfm.data.shards.index import MANIFEST, ShardIndex, read_index, sha256, write_index
from msgfm.data.shards.storage import Storage
from msgfm.errors import InputError
from msgfm.progress import track


def mend(plan: Plan, storage: Storage) -> ShardIndex:
    """Makes those files of complete shards again that are missing or damaged."""
    index = read_index(storage)
    require_same(plan, index.plan, storage)
    for number in range(len(plan.parts)):
        storage.delete(note_name(number))  # a run that was killed while it removed them
    chunks = {chunk.name: chunk for chunk in index.chunks}
    broken = [n for n in range(len(plan.parts)) if (c := chunks.get(chunk_name(n))) and not is_whole(storage, c)]
    for number in track(broken, "mending", len(broken)):
        content, _, _ = chunk_of(storage, number, pack_samples(plan, number)[0])
        name = chunk_name(number)
        if sha256(content) != chunks[name].sha256:
            raise InputError(f"{storage.url(name)} is damaged and its files were changed since; make all shards anew")
        storage.write(name, content)
    lost = [name for name, digest in index.files.items() if not _has(storage, name, digest)]
    if not lost:
        return index
    for name in lost:
        content = _manifest_again(plan, index) if name == MANIFEST else _litdata_index_again(index, storage)
        storage.write(name, content)
        index = replace(index, files={**index.files, name: sha256(content)})  # another version of Parquet's writer
    write_index(storage, index)
    return index


def _has(storage: Storage, name: str, digest: str) -> bool:
    try:
        return sha256(storage.read(name)) == digest
    except FileNotFoundError:
        return False


def _manifest_again(plan: Plan, index: ShardIndex) -> bytes:
    """The manifest of complete shards, without a look at the images."""
    samples: list[Sample] = []
    for number, part in plan.parts.items():
        kept = [sample for sample in plan.manifest.samples[slice(*part)] if sample.sample not in index.left_out]
        samples += (placed(sample, chunk_name(number), position) for position, sample in enumerate(kept))
    return manifest_bytes(replace(plan.manifest, samples=tuple(samples)))


def _litdata_index_again(index: ShardIndex, storage: Storage) -> bytes:
    """LitData's index of complete shards, from their chunks."""
    facts: list[dict[str, Any]] = []
    config: dict[str, Any] = {}
    for chunk in track(index.chunks, "indexing", len(index.chunks)):
        content = memoryview(storage.read(chunk.name))
        items = [bytes(item_of(content, number)) for number in range(chunk.samples)]
        _, here, config = chunk_of(storage, number_of(chunk.name), items)
        facts.append(here)
    return litdata_index(facts, config)


def manifest_bytes(manifest: Manifest) -> bytes:
    """The Parquet file, whose root is the folder that it lies in, wherever that is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MANIFEST
        write_manifest(replace(manifest, root=path.parent), path)
        return path.read_bytes()
