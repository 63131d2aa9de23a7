"""Makes shards of a manifest, chunk by chunk; what a killed run has finished is kept when it is started again.

Which samples a chunk holds, and every byte of it, follow from the manifest, the options and the files, so a run that
was killed and continued ends with the same bytes as one that was not, with any number of processes. A chunk whose
files have changed since (in size or time of change) is made again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from msgfm.data.checks import Finding, check_sample, require_kinds, require_no_errors
from msgfm.data.records import Manifest, RasterFile, Sample, sample_from_dict, write_manifest
from msgfm.data.shards.chunks import (
    LARGEST,
    LITDATA_INDEX,
    chunk_name,
    item_of,
    litdata_index,
    number_of,
    place_of,
    write_chunk,
)
from msgfm.data.shards.codec import Stored, pack
from msgfm.data.shards.cut import NO_DATA, cut_manifest, lacks_data, name_of_whole
from msgfm.data.shards.index import INDEX, MANIFEST, Chunk, ShardIndex, read_index, sha256, write_index
from msgfm.data.shards.parallel import in_processes
from msgfm.data.shards.place import require_own_folder
from msgfm.data.shards.sources import fingerprint
from msgfm.data.shards.storage import LocalStorage, Storage, storage_at
from msgfm.data.stored import read_stored
from msgfm.errors import InputError
from msgfm.files import lock_folder
from msgfm.progress import track

_SCRATCH = ".making-"
# What a tile may lack while the image that it was cut from has it: B10 over clear ground is one number for kilometres.
_OF_THE_WHOLE = ("constant-band", "empty-band")


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """How shards are made.

    Args:
        crop: side of the tiles that larger images are cut into; None keeps images whole.
        chunk_size: bytes of a chunk before compression, about: at most 4 GiB.
        workers: processes that read and compress.
        skip_bad: how many samples may be left out because they cannot be read or do not keep to their cards.
        accept: kinds of findings that are let through (`checks.KINDS`).
    """

    crop: int | None = None
    chunk_size: int = 64 * 2**20
    workers: int = 1
    skip_bad: int = 0
    accept: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is written: the samples of every chunk, by number; and by name those that tiles were cut from."""

    manifest: Manifest
    wholes: dict[str, Sample]
    parts: dict[int, tuple[int, int]]
    out: str
    facts: dict[str, Any]
    options: ShardOptions


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
    plan = _make_plan(manifest, str(out), options)
    storage = storage_at(out)
    with ExitStack() as held:
        if isinstance(storage, LocalStorage):
            require_own_folder(plan.manifest, storage.folder)
            held.enter_context(lock_folder(storage.folder))
            for unfinished in (*storage.folder.glob(f"{_SCRATCH}*"), *storage.folder.glob(".*.tmp")):
                shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()
        if storage.size(INDEX) is not None:
            return _mend(plan, storage)
        missing = [number for number in range(len(plan.parts)) if not _is_finished(plan, storage, number)]
        jobs = [(_only(plan, number), number) for number in missing]
        for _ in track(in_processes(_make_chunk, jobs, options.workers), "sharding", len(missing)):
            pass
        return _finish(plan, storage)


def _make_plan(manifest: Manifest, out: str, options: ShardOptions) -> _Plan:
    whole = manifest
    if options.crop is not None:
        manifest = cut_manifest(whole, options.crop)
    if not manifest.samples:
        raise InputError("the manifest has no samples")
    facts = {
        "manifest": f"{whole.digest} {_digest_of_rest(manifest)}",
        "crop": options.crop,
        "chunk_size": options.chunk_size,
        "accept": sorted(options.accept),
    }
    parts = dict(enumerate(_divide(manifest.samples, options.chunk_size)))
    kept = {sample.sample for sample in manifest.samples}
    wholes = {sample.sample: sample for sample in whole.samples if sample.sample not in kept}
    return _Plan(manifest=manifest, wholes=wholes, parts=parts, out=out, facts=facts, options=options)


def _digest_of_rest(manifest: Manifest) -> str:
    """Of the samples as they are cut, the cards, classes and all else but the root: data may be moved meanwhile."""
    about = {
        "samples": manifest.digest,
        "layout": manifest.layout,
        "sensors": [card.model_dump_json() for card in manifest.sensors.values()],
        "classes": manifest.classes,
        "mask_classes": sorted(manifest.mask_classes.items()),
        "mask_colours": sorted(manifest.mask_colours.items()),
        "subset": manifest.subset,
    }
    return sha256(json.dumps(about, sort_keys=True).encode())


def _divide(samples: Sequence[Sample], chunk_size: int) -> Iterator[tuple[int, int]]:
    """First sample of each chunk and of the next, by the bytes that images of two-byte numbers would have."""
    if not 0 < chunk_size <= LARGEST:
        raise InputError(f"a chunk of {chunk_size} bytes: give 1 byte to {LARGEST} ({LARGEST / 2**30:.0f} GiB)")
    start, size = 0, 0
    for position, sample in enumerate(samples):
        bands = ((image, len(file.bands)) for image in sample.images for file in image.files)
        here = sum(2 * image.height * image.width * count for image, count in bands)
        if position > start and size + here > chunk_size:
            yield start, position
            start, size = position, 0
        size += here
    yield start, len(samples)


def _only(plan: _Plan, number: int) -> _Plan:
    """The plan of one chunk alone: a process that makes it needs no copy of the whole manifest."""
    samples = plan.manifest.samples[slice(*plan.parts[number])]
    names = {name_of_whole(sample) for sample in samples}
    return replace(
        plan,
        manifest=replace(plan.manifest, samples=samples),
        wholes={name: plan.wholes[name] for name in names if name in plan.wholes},
        parts={number: (0, len(samples))},
    )


def _make_chunk(plan: _Plan, number: int) -> None:
    """Writes one chunk and, after it, the note that says that it is finished."""
    storage = storage_at(plan.out)
    sources = _sources(plan, number)  # before they are read: what changes meanwhile is seen the next time
    items, rows, left_out = _pack_samples(plan, number)
    note: dict[str, Any] = {"plan": plan.facts, "sources": sources, "rows": rows, "left_out": left_out, "chunk": None}
    if items:
        content, facts, config = _chunk(storage, number, items)
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
    storage.write(_note_name(number), json.dumps(note).encode())


def _chunk(storage: Storage, number: int, items: Sequence[bytes]) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    beside = storage.folder if isinstance(storage, LocalStorage) else None
    try:
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=beside) as scratch:
            return write_chunk(number, items, Path(scratch))
    except OSError as error:
        raise InputError(
            f"cannot write {storage.url(chunk_name(number))}: {error.strerror or error}; free some space and start "
            f"again: finished chunks are kept"
        ) from error


def _pack_samples(plan: _Plan, number: int) -> tuple[list[bytes], list[dict[str, Any]], dict[str, str]]:
    """Items and manifest rows of a chunk, and what is wrong with samples that are left out."""
    manifest = plan.manifest
    items: list[bytes] = []
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    verdicts: dict[str, set[tuple[str, str]]] = {}
    for sample in manifest.samples[slice(*plan.parts[number])]:
        try:
            found = check_sample(manifest.root, sample, manifest.sensors)
            if found and (whole := plan.wholes.get(name_of_whole(sample))):  # a tile without data is never clean
                if lacks_data(manifest, sample):
                    left_out[sample.sample] = NO_DATA
                    continue
                found = _judged_whole(manifest, whole, found, verdicts)
            require_no_errors(found, plan.options.accept)
            item, packed = _pack_sample(manifest, sample, chunk_name(number), len(items))
        except InputError as error:
            left_out[sample.sample] = str(error)
            _require_few(left_out, plan.options)
        else:
            items.append(item)
            rows.append(asdict(packed))
    return items, rows, left_out


def _judged_whole(
    manifest: Manifest, whole: Sample, found: list[Finding], verdicts: dict[str, set[tuple[str, str]]]
) -> list[Finding]:
    """What was found of a tile; whether its bands are empty or of one value, the image that it was cut from says."""
    if not any(one.kind in _OF_THE_WHOLE for one in found):
        return found
    if whole.sample not in verdicts:
        of_whole = check_sample(manifest.root, whole, manifest.sensors)
        verdicts[whole.sample] = {(one.kind, one.image) for one in of_whole}
    verdict = verdicts[whole.sample]
    return [one for one in found if one.kind not in _OF_THE_WHOLE or (one.kind, one.image) in verdict]


def _require_few(left_out: dict[str, str], options: ShardOptions) -> None:
    bad = {name: message for name, message in left_out.items() if message != NO_DATA}
    if len(bad) <= options.skip_bad:
        return
    listed = "\n".join(f"  sample {name}: {message}" for name, message in list(bad.items())[:10])
    raise InputError(
        f"samples that cannot be used: at least {len(bad)}, --skip-bad allows {options.skip_bad}:\n{listed}\n"
        f"finished chunks are kept; start again after mending them"
    )


def _pack_sample(manifest: Manifest, sample: Sample, chunk: str, position: int) -> tuple[bytes, Sample]:
    """A sample's item, and the sample as a manifest of shards lists it."""
    arrays: list[tuple[dict[str, Any], Stored]] = []
    files = [(file, image.key) for image in sample.images for file in image.files]
    for file, image in files if sample.mask is None else [*files, (sample.mask, "mask")]:
        facts = {"image": image, "bands": file.bands, "file": file.path, "file_bands": file.file_bands}
        arrays.append(({**facts, "window": file.window}, read_stored(manifest.root, file)))
    about = {"sample": sample.sample, "scene": sample.scene, "split": sample.split, "labels": sample.labels}
    return pack(about, arrays), _placed(sample, chunk, position)


def _placed(sample: Sample, chunk: str, position: int) -> Sample:
    """The sample with the places of its arrays, in their order, for its files."""
    numbers = count()

    def put(file: RasterFile) -> RasterFile:
        bands = tuple(range(1, len(file.file_bands) + 1))
        return replace(file, path=place_of(chunk, position, next(numbers)), file_bands=bands, window=None)

    images = tuple(replace(image, files=tuple(put(file) for file in image.files)) for image in sample.images)
    return replace(sample, images=images, mask=None if sample.mask is None else put(sample.mask))


def _sources(plan: _Plan, number: int) -> str:
    return fingerprint(plan.manifest.root, plan.manifest.samples[slice(*plan.parts[number])])


def _note_name(number: int) -> str:
    return f".{chunk_name(number)}.json"


def _is_finished(plan: _Plan, storage: Storage, number: int) -> bool:
    """Whether an earlier run has finished a chunk, and it and the files it was made from are still what they were.

    Raises:
        InputError: the earlier run was of another manifest or other options.
    """
    try:
        note = json.loads(storage.read(_note_name(number)))
    except FileNotFoundError:
        return False
    _require_same(plan, note["plan"], storage)
    if note.get("sources") != _sources(plan, number):
        return False
    _require_few(note["left_out"], plan.options)
    return note["chunk"] is None or _is_whole(storage, Chunk(**note["chunk"]))


def _is_whole(storage: Storage, chunk: Chunk) -> bool:
    if storage.size(chunk.name) != chunk.size:
        return False
    # an object on S3 appears whole, and reading it again would cost as much as making it
    return not isinstance(storage, LocalStorage) or sha256(storage.read(chunk.name)) == chunk.sha256


def _require_same(plan: _Plan, facts: dict[str, Any], storage: Storage) -> None:
    if facts != plan.facts:
        other = ", ".join(key for key in plan.facts if facts.get(key) != plan.facts[key])
        raise InputError(f"{storage.url('')} holds shards of another {other}; choose another place, or empty it first")


def _finish(plan: _Plan, storage: Storage) -> ShardIndex:
    """The indices and the manifest, from the notes of all chunks, which then go."""
    notes = [json.loads(storage.read(_note_name(number))) for number in range(len(plan.parts))]
    left_out = {name: message for note in notes for name, message in note["left_out"].items()}
    _require_few(left_out, plan.options)
    made = [note for note in notes if note["chunk"]]
    if not made:
        dropped = list(left_out.values()).count(NO_DATA)
        raise InputError("no sample can be used" + (f": {dropped} tiles are without data" if dropped else ""))
    samples = tuple(sample_from_dict(row) for note in notes for row in note["rows"])
    files = {
        MANIFEST: _manifest_bytes(replace(plan.manifest, samples=samples)),
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
        storage.delete(_note_name(number))
    return index


def _manifest_bytes(manifest: Manifest) -> bytes:
    """The Parquet file, whose root is the folder that it lies in, wherever that is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MANIFEST
        write_manifest(replace(manifest, root=path.parent), path)
        return path.read_bytes()


def _mend(plan: _Plan, storage: Storage) -> ShardIndex:
    """Makes those files of complete shards again that are missing or damaged."""
    index = read_index(storage)
    _require_same(plan, index.plan, storage)
    for number in range(len(plan.parts)):
        storage.delete(_note_name(number))  # a run that was killed while it removed them
    chunks = {chunk.name: chunk for chunk in index.chunks}
    broken = [n for n in range(len(plan.parts)) if (c := chunks.get(chunk_name(n))) and not _is_whole(storage, c)]
    for number in track(broken, "mending", len(broken)):
        content, _, _ = _chunk(storage, number, _pack_samples(plan, number)[0])
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


def _manifest_again(plan: _Plan, index: ShardIndex) -> bytes:
    """The manifest of complete shards, without a look at the images."""
    samples: list[Sample] = []
    for number, part in plan.parts.items():
        kept = [sample for sample in plan.manifest.samples[slice(*part)] if sample.sample not in index.left_out]
        samples += (_placed(sample, chunk_name(number), position) for position, sample in enumerate(kept))
    return _manifest_bytes(replace(plan.manifest, samples=tuple(samples)))


def _litdata_index_again(index: ShardIndex, storage: Storage) -> bytes:
    """LitData's index of complete shards, from their chunks."""
    facts: list[dict[str, Any]] = []
    config: dict[str, Any] = {}
    for chunk in track(index.chunks, "indexing", len(index.chunks)):
        content = memoryview(storage.read(chunk.name))
        items = [bytes(item_of(content, number)) for number in range(chunk.samples)]
        _, here, config = _chunk(storage, number_of(chunk.name), items)
        facts.append(here)
    return litdata_index(facts, config)
