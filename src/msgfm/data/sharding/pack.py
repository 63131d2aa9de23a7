"""From samples to items of a chunk: held against their cards, read as they are stored, compressed."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

from msgfm.data.checks import Finding, check_sample, require_no_errors
from msgfm.data.records import Manifest, RasterFile, Sample, sample_to_dict
from msgfm.data.sharding.cut import NO_DATA, name_of_whole
from msgfm.data.sharding.plan import Plan, ShardOptions
from msgfm.data.shards.chunks import chunk_name, place_of
from msgfm.data.shards.codec import Stored, pack
from msgfm.data.stored import read_stored
from msgfm.errors import InputError, too_many_bad


def pack_samples(plan: Plan, number: int) -> tuple[list[bytes], list[dict[str, Any]], dict[str, str]]:
    """Items and manifest rows of a chunk, and what is wrong with samples that are left out."""
    manifest = plan.manifest
    items: list[bytes] = []
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    verdicts: dict[str, list[Finding]] = {}
    for sample in manifest.samples[slice(*plan.parts[number])]:
        try:
            found = check_sample(manifest.root, sample, manifest.sensors)
            if found and (whole := plan.wholes.get(name_of_whole(sample))):  # a tile without data is never clean
                if _lacks_data(found):
                    left_out[sample.sample] = NO_DATA
                    continue
                found = _verdict(manifest, whole, found, verdicts)
            require_no_errors(found, plan.options.accept)
            item, packed = _pack_sample(manifest, sample, chunk_name(number), len(items))
        except InputError as error:
            left_out[sample.sample] = str(error)
            require_few(left_out, plan.options)
        else:
            items.append(item)
            rows.append(sample_to_dict(packed))
    return items, rows, left_out


def _lacks_data(found: list[Finding]) -> bool:
    """Whether one of a tile's images has no pixel with data in any band: nothing to learn from, nor a pair.

    A file that cannot be read is told nevertheless.
    """
    empty = any(one.kind == "empty-band" and one.blank for one in found)
    return empty and not any(one.kind == "unreadable" for one in found)


def _verdict(
    manifest: Manifest, whole: Sample, found: list[Finding], verdicts: dict[str, list[Finding]]
) -> list[Finding]:
    """What is found of a tile; but where that is an error, what is found of the image that it was cut from.

    A tile may be too little to judge by: B10 is one number for kilometres, snow and sea are flat, and few materials
    stand for all.
    """
    if not any(one.severity == "error" for one in found):
        return found
    if whole.sample not in verdicts:
        verdicts[whole.sample] = check_sample(manifest.root, whole, manifest.sensors)
    return verdicts[whole.sample]


def require_few(left_out: dict[str, str], options: ShardOptions) -> None:
    """Sees to it that not too many samples are left out; tiles without data do not count.

    Raises:
        InputError: more than `skip_bad` are.
    """
    bad = [f"sample {name}: {message}" for name, message in left_out.items() if message != NO_DATA]
    if len(bad) > options.skip_bad:
        told = too_many_bad("samples that cannot be used so far", bad, options.skip_bad)
        raise InputError(f"{told}; finished chunks are kept")


def _pack_sample(manifest: Manifest, sample: Sample, chunk: str, position: int) -> tuple[bytes, Sample]:
    """A sample's item, and the sample as a manifest of shards lists it."""
    arrays: list[tuple[dict[str, Any], Stored]] = []
    files = [(file, image.key) for image in sample.images for file in image.files]
    for file, image in files if sample.mask is None else [*files, (sample.mask, "mask")]:
        facts = {"image": image, "bands": file.bands, "file": file.path, "file_bands": file.file_bands}
        arrays.append(({**facts, "window": file.window}, read_stored(manifest.root, file)))
    about = {"sample": sample.sample, "scene": sample.scene, "split": sample.split, "labels": sample.labels}
    return pack(about, arrays), placed(sample, chunk, position)


def placed(sample: Sample, chunk: str, position: int) -> Sample:
    """The sample with the places of its arrays, in their order, for its files."""
    numbers = count()

    def put(file: RasterFile) -> RasterFile:
        bands = tuple(range(1, len(file.file_bands) + 1))
        return replace(file, path=place_of(chunk, position, next(numbers)), file_bands=bands, window=None)

    images = tuple(replace(image, files=tuple(put(file) for file in image.files)) for image in sample.images)
    return replace(sample, images=images, mask=None if sample.mask is None else put(sample.mask))
