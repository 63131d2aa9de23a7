"""Cuts each image of a manifest from left to right into parts that train, validate and test: 60, 20 and 20 %.

For data sets of one scene or two, which have nothing else to hold out. The parts touch, so scores are optimistic.
Columns at the right that not all images cover are left out.

    python examples/split_scene.py MANIFEST OUT
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from msgfm.data.records import Manifest, Sample, SensorImage, read_manifest, write_manifest

PARTS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}


def split(manifest: Manifest) -> Manifest:
    """Each sample becomes three, on the pixels of its coarsest image; a part is a scene."""
    return replace(manifest, samples=tuple(_part(sample, name) for sample in manifest.samples for name in PARTS))


def _part(sample: Sample, name: str) -> Sample:
    coarsest = min(image.width for image in sample.images)
    start, end = (round(share * coarsest) for share in PARTS[name])
    end = min(end, *(_reached(image, coarsest) for image in sample.images))
    images = tuple(_columns(image, start, end - start, coarsest) for image in sample.images)
    part = f"{sample.sample}-{name}"
    return replace(sample, sample=part, scene=part, split=name, images=images)


def _columns(image: SensorImage, start: int, width: int, coarsest: int) -> SensorImage:
    """Some columns of an image, all files of which have one grid, counted in pixels of the coarsest one."""
    ratio = round(image.width / coarsest)
    wide = width * ratio + _beyond(image, ratio)
    window = (0, start * ratio, image.height, wide)
    files = tuple(replace(file, window=window) for file in image.files)
    return replace(image, width=wide, files=files)


def _reached(image: SensorImage, coarsest: int) -> int:
    """How many columns of the coarsest image this one covers; a part beyond them would be registered otherwise."""
    ratio = round(image.width / coarsest)
    return (image.width - _beyond(image, ratio)) // ratio


def _beyond(image: SensorImage, ratio: int) -> int:
    """Columns beyond those of the coarsest image, as many as rows.

    Landsat's panchromatic image reaches half a pixel beyond the others on each side (2 N + 1), and so do its parts.
    """
    return ratio - 1 if image.height % ratio else 0


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    write_manifest(split(read_manifest(source)), target)
