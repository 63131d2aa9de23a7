"""`write_shards`: plans, makes what is missing, and finishes the folder."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from msgfm.data.checks import require_kinds
from msgfm.data.records import Manifest, sample_from_dict
from msgfm.data.sharding.cut import NO_DATA
from msgfm.data.sharding.make import SCRATCH, is_finished, make_chunk, note_name
from msgfm.data.sharding.mend import manifest_bytes, mend
from msgfm.data.sharding.pack import require_few
from msgfm.data.sharding.parallel import in_processes
from msgfm.data.sharding.place import require_own_folder
from msgfm.data.sharding.plan import Plan, ShardOptions, make_plan, only
from msgfm.data.shards.chunks import LITDATA_INDEX, litdata_index
from msgfm.data.shards.index import INDEX, MANIFEST, Chunk, ShardIndex, sha256, write_index
from msgfm.data.shards.storage import LocalStorage, Storage, storage_at
from msgfm.errors import InputError
from msgfm.files import lock_folder
from msgfm.progress import track


def write_shards(manifest: Manifest, out: Path | str, options: ShardOptions) -> ShardIndex:
    """Writes the images of a manifest into shards, or completes and mends what is there already.

    Args:
        manifest: of files.
        out: a folder or `s3://bucket/prefix`. Two runs cannot write to one folder; on S3 nothing keeps them apart.
        options: see there.

    Raises:
        InputError: images that do not keep to their cards or cannot be read, beyond `skip_bad`; other shards or
            other files at `out`; no space.
    """
    require_kinds(options.accept)
    plan = make_plan(manifest, str(out), options)
    storage = storage_at(out)
    with ExitStack() as held:
        if isinstance(storage, LocalStorage):
            require_own_folder(plan.manifest, storage.folder)
            held.enter_context(lock_folder(storage.folder))
            for unfinished in (*storage.folder.glob(f"{SCRATCH}*"), *storage.folder.glob(".*.tmp")):
                shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()
        if storage.size(INDEX) is not None:
            return mend(plan, storage)
        missing = [number for number in range(len(plan.parts)) if not is_finished(plan, storage, number)]
        jobs = [(only(plan, number), number) for number in missing]
        for _ in track(in_processes(make_chunk, jobs, options.workers), "sharding", len(missing)):
            pass
        return _finish(plan, storage)


def _finish(plan: Plan, storage: Storage) -> ShardIndex:
    """The indices and the manifest, from the notes of all chunks, which then go."""
    notes = [json.loads(storage.read(note_name(number))) for number in range(len(plan.parts))]
    left_out = {name: message for note in notes for name, message in note["left_out"].items()}
    require_few(left_out, plan.options)
    made = [note for note in notes if note["chunk"]]
    if not made:
        dropped = list(left_out.values()).count(NO_DATA)
        raise InputError("no sample can be used" + (f": {dropped} tiles are without data" if dropped else ""))
    samples = tuple(sample_from_dict(row) for note in notes for row in note["rows"])
    files = {
        MANIFEST: manifest_bytes(replace(plan.manifest, samples=samples)),
        LITDATA_INDEX: litdata_index([note["litdata"] for note in made], made[0]["config"]),
    }
    for name, content in files.items():
        storage.write(name, content)
    index = ShardIndex(
        plan=plan.facts,
        chunks=tuple(Chunk(**note["chunk"]) for note in made),
        files={name: sha256(content) for name, content in files.items()},
        left_out=left_out,
    )
    write_index(storage, index)
    for number in range(len(plan.parts)):
        storage.delete(note_name(number))
    return index
