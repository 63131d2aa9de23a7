"""The same pixels under two names: a training image that is also a test image, or counts twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredImage


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Of one image, so that images need not be held side by side.

    Args:
        sample: of the manifest.
        split: that it is in.
        key: sensor and role.
        file: of the image.
        digest: of its stored pixels, 16 bytes.
    """

    sample: str
    split: str
    key: str
    file: str
    digest: bytes


def fingerprint(image: StoredImage, *, split: str, key: str) -> Fingerprint | None:
    """Of an image; None for one whose pixels are all alike, which says nothing about its place."""
    if all(one.numbers.size == 0 or one.numbers[0] == one.numbers[-1] for one in image.bands):
        return None
    digest = hashlib.blake2b(digest_size=16)
    for one in image.bands:
        digest.update(repr((one.band.name, one.stored.shape, one.stored.dtype.str)).encode())
        digest.update(np.ascontiguousarray(one.stored).tobytes())
    return Fingerprint(sample=image.sample, split=split, key=key, file=image.file, digest=digest.digest())


class Duplicates:
    """Remembers the first image of each digest; says of a later one that it repeats it."""

    def __init__(self) -> None:
        self._first: dict[bytes, Fingerprint] = {}

    def add(self, fingerprints: Iterable[Fingerprint]) -> Iterator[Finding]:
        """One finding for each image that repeats an earlier one."""
        for one in fingerprints:
            other = self._first.setdefault(one.digest, one)
            if other is not one:
                yield _finding(one, other)


def _finding(one: Fingerprint, other: Fingerprint) -> Finding:
    across, within = other.split != one.split, other.sample == one.sample
    return Finding(
        kind="duplicate-across-splits" if across else "duplicate",
        severity="error" if across or within else "warning",
        file=one.file,
        seen=f"the same pixels as {other.file} (sample {other.sample}, split {other.split})",
        expected="two dates, or two sensors, in one sample" if within else "every image once",
        confidence=1.0,
        remedy="put both into one scene (--scenes) or leave one out"
        if across
        else "leave one of them out, or index again with the right file",
        sample=one.sample,
    )
