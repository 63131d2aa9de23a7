"""What shards are made of: which samples each chunk holds, as it follows from the manifest and the options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgfm.data.records import Manifest, Sample
from msgfm.data.sharding.cut import cut_manifest, name_of_whole
from msgfm.data.shards.chunks import LARGEST
from msgfm.data.shards.index import sha256
from msgfm.data.shards.storage import Storage
from msgfm.errors import InputError


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
class Plan:
    """What is written: the samples of every chunk, by number; and by name those that tiles were cut from."""

    manifest: Manifest
    wholes: dict[str, Sample]
    parts: dict[int, tuple[int, int]]
    out: str
    facts: dict[str, Any]
    options: ShardOptions


def make_plan(manifest: Manifest, out: str, options: ShardOptions) -> Plan:
    """Cuts large images, if they are to be cut, and divides the samples among chunks.

    Raises:
        InputError: there are none, or tiles or chunks cannot be of that size.
    """
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
    return Plan(manifest=manifest, wholes=wholes, parts=parts, out=out, facts=facts, options=options)


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


def only(plan: Plan, number: int) -> Plan:
    """The plan of one chunk alone: a process that makes it needs no copy of the whole manifest."""
    samples = plan.manifest.samples[slice(*plan.parts[number])]
    names = {name_of_whole(sample) for sample in samples}
    return replace(
        plan,
        manifest=replace(plan.manifest, samples=samples),
        wholes={name: plan.wholes[name] for name in names if name in plan.wholes},
        parts={number: (0, len(samples))},
    )


def require_same(plan: Plan, facts: dict[str, Any], storage: Storage) -> None:
    """Sees to it that what lies there was made to the same plan.

    Raises:
        InputError: it is of another manifest or other options.
    """
    if facts != plan.facts:
        other = ", ".join(key for key in plan.facts if facts.get(key) != plan.facts[key])
        raise InputError(f"{storage.url('')} holds shards of another {other}; choose another place, or empty it first")
