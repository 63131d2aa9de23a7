"""The same pixels under two names: a training image that is also a test image, or counts twice."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredImage

_DIGEST_BYTES = 8
_FIRST_SLOTS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where an image stands.

    Args:
        sample: of the manifest.
        split: that it is in.
        key: sensor and role.
        file: of the image.
    """

    sample: str
    split: str
    key: str
    file: str


def fingerprint(image: StoredImage) -> int | None:
    """A hash of 64 bits of an image's pixels; None where they are all alike, which says nothing about its place.

    Two of two million different images have the same one with a chance of 1 in 9 million.
    """
    if all(one.numbers.size == 0 or one.numbers[0] == one.numbers[-1] for one in image.bands):
        return None
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for one in image.bands:
        digest.update(repr((one.band.name, one.stored.shape, one.stored.dtype.str)).encode())
        digest.update(np.ascontiguousarray(one.stored).tobytes())
    return int.from_bytes(digest.digest(), "little")


class Duplicates:
    """Remembers the number of the first image of each fingerprint; says of a later one that it repeats it.

    Args:
        origin: where the image with a number stands: asked only of images that are repeated, so that no name need be
            kept.
    """

    def __init__(self, origin: Callable[[int], Origin]) -> None:
        self._origin = origin
        self._first = _FirstNumbers()

    def add(self, number: int, fingerprint: int) -> Finding | None:
        """A finding where the image repeats an earlier one.

        Args:
            number: of the image; each has another.
            fingerprint: of the image.
        """
        first = self._first.setdefault(fingerprint, number)
        return None if first == number else _finding(self._origin(number), self._origin(first))


class _FirstNumbers:
    """A hash table with open addressing from fingerprints to numbers, of 16 bytes a slot.

    It is at most two thirds full, so 24 to 48 bytes an image (up to 72 while it grows), where a `dict` takes 170.
    """

    def __init__(self) -> None:
        self._used = 0
        self._make(_FIRST_SLOTS)

    def setdefault(self, key: int, number: int) -> int:
        """The number kept for a key, after keeping this one where there is none."""
        key = key or 1  # 0 marks a free slot
        slot = self._slot(key)
        if not self._keys[slot]:
            if 3 * (self._used + 1) > 2 * len(self._keys):
                self._grow()
                slot = self._slot(key)
            self._keys[slot], self._numbers[slot] = key, number
            self._used += 1
        return self._numbers[slot]

    def _slot(self, key: int) -> int:
        """Where the key is, or the free slot where it belongs."""
        keys, mask = self._keys, len(self._keys) - 1
        slot = key & mask
        while keys[slot] and keys[slot] != key:
            slot = (slot + 1) & mask
        return slot

    def _make(self, slots: int) -> None:
        # `array`, for its elements are read one by one faster than numpy's
        self._keys, self._numbers = array("Q", bytes(8)) * slots, array("Q", bytes(8)) * slots

    def _grow(self) -> None:
        keys, numbers = self._keys, self._numbers
        self._make(2 * len(keys))
        for key, number in zip(keys, numbers, strict=True):
            if key:
                slot = self._slot(key)
                self._keys[slot], self._numbers[slot] = key, number


def _finding(one: Origin, other: Origin) -> Finding:
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
        image=one.key,
    )
