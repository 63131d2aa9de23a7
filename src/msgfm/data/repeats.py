"""Whether two listings show the same images, as a manifest and the shards that were made of it do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from msgfm.data.records import Manifest, RasterFile, Sample
from msgfm.data.sharding.cut import cut_manifest, name_of_whole
from msgfm.data.shards.index import read_index
from msgfm.data.shards.read import is_shards
from msgfm.data.shards.storage import LocalStorage
from msgfm.data.stored import read_stored
from msgfm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """What was opened at a place; the digests of it and of what it was made of; the side of tiles of shards."""

    place: Path | str
    manifest: Manifest
    digests: frozenset[str]
    packed: bool
    crop: int | None


def require_no_repeats(listed: Iterable[tuple[Path | str, Manifest]]) -> None:
    """Refuses listings of the same samples, which training would see twice as often as all others.

    They are recognised by the digest of their samples; shards know that of the manifest that they were made of. Since
    other images may have the same names, roots of files must be the same, and the numbers of some samples in shards.

    Args:
        listed: places, and what was opened there.

    Raises:
        InputError: two of them show the same images.
    """
    seen: list[_Listing] = []
    for place, manifest in listed:
        one = _listing(place, manifest)
        for other in seen:
            if one.digests & other.digests and _show_the_same(one, other):
                raise InputError(
                    f"{other.place} and {place} hold the same samples (shards and what they were made of, or one "
                    f"manifest twice), which would be trained on twice: list one of them"
                )
        seen.append(one)


def _listing(place: Path | str, manifest: Manifest) -> _Listing:
    digests, crop = {manifest.digest}, None
    if packed := is_shards(place):
        plan = read_index(LocalStorage(manifest.root)).plan
        digests.add(plan["manifest"].split()[0])
        crop = plan["crop"]
    return _Listing(place=place, manifest=manifest, digests=frozenset(digests), packed=packed, crop=crop)


def _show_the_same(one: _Listing, other: _Listing) -> bool:
    """By the first, middle and last sample of shards; where none of them can be compared, they do."""
    if not one.packed and not other.packed:
        return one.manifest.root.resolve() == other.manifest.root.resolve()
    tiles, whole = (one.manifest, other.manifest) if one.packed else (other.manifest, one.manifest)
    crop = (one.crop or other.crop) if one.packed != other.packed else None
    theirs = {sample.sample: sample for sample in whole.samples}
    for ours in (tiles.samples[k * (len(tiles.samples) - 1) // 2] for k in range(3)):
        same = theirs.get(ours.sample)
        if same is None and crop is not None and (of := theirs.get(name_of_whole(ours))) is not None:
            cut = cut_manifest(replace(whole, samples=(of,)), crop).samples
            same = next((tile for tile in cut if tile.sample == ours.sample), None)
        if same is not None and not _equal(tiles.root, ours, whole.root, same):
            return False
    return True


def _equal(root: Path, sample: Sample, other_root: Path, other: Sample) -> bool:
    """Whether the stored numbers of two samples are equal."""
    files, others = (_files(one) for one in (sample, other))
    return len(files) == len(others) and all(
        np.array_equal(read_stored(root, a).data, read_stored(other_root, b).data, equal_nan=True)
        for a, b in zip(files, others, strict=True)
    )


def _files(sample: Sample) -> list[RasterFile]:
    return [file for image in sample.images for file in image.files]
