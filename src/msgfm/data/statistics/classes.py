"""How often each class occurs: samples that have it as a label, pixels that have it in their masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgfm.data.masks import read_labels
from msgfm.data.records import Manifest, Sample


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """Of some samples.

    Args:
        samples: those of data sets with classes of whole images.
        labels: of them, how many have each class; one may have several.
        masks: samples with a mask.
        mask_pixels: pixels of the masks, each on its own grid.
        pixels: of them, how many each class has; the others are not labelled.
    """

    samples: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    masks: int = 0
    mask_pixels: int = 0
    pixels: dict[str, int] = field(default_factory=dict)

    @property
    def labelled(self) -> int:
        """Pixels of any class."""
        return sum(self.pixels.values())


def count_classes(manifest: Manifest, sample: Sample) -> ClassCounts:
    """Counts the classes of one sample of a manifest; those that it lacks count 0.

    Raises:
        InputError: its mask cannot be read.
    """
    pixels: dict[str, int] = {}
    size = 0
    if sample.mask is not None:
        values = read_labels(manifest.root, sample.mask, manifest.mask_colours)
        size = values.size
        for value, name in manifest.mask_classes.items():  # several values may mean one class
            pixels[name] = pixels.get(name, 0) + int((values == value).sum())
    return ClassCounts(
        samples=int(bool(manifest.classes)),
        labels={name: int(name in sample.labels) for name in manifest.classes},
        masks=int(sample.mask is not None),
        mask_pixels=size,
        pixels=pixels,
    )


def merge_classes(a: ClassCounts, b: ClassCounts) -> ClassCounts:
    """Of the samples of both; classes of one name are one class."""
    return ClassCounts(
        samples=a.samples + b.samples,
        labels=_add(a.labels, b.labels),
        masks=a.masks + b.masks,
        mask_pixels=a.mask_pixels + b.mask_pixels,
        pixels=_add(a.pixels, b.pixels),
    )


def _add(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {name: a.get(name, 0) + b.get(name, 0) for name in (*a, *(name for name in b if name not in a))}
