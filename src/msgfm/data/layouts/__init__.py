"""Layouts: how data sets lay out their files. One function each lists samples; `index_layout` makes the manifest."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msgfm.data.layouts.bigearthnet import list_bigearthnet, list_bigearthnet_v2
from msgfm.data.layouts.change import list_dsifn, list_levir_cd, list_oscd
from msgfm.data.layouts.headers import check_headers
from msgfm.data.layouts.image_folder import list_geopile, list_image_folder
from msgfm.data.layouts.isprs import list_potsdam, list_vaihingen
from msgfm.data.layouts.listing import LayoutOptions, Listing, change_cards
from msgfm.data.layouts.mdas import list_mdas
from msgfm.data.layouts.pairs import list_pairs
from msgfm.data.layouts.scenes import list_eurosat, list_millionaid, list_ucmerced
from msgfm.data.layouts.sen1floods11 import list_sen1floods11
from msgfm.data.layouts.sen12ms import list_sen12ms
from msgfm.data.layouts.sen12ms_cr import list_sen12ms_cr
from msgfm.data.layouts.spacenet2 import list_spacenet2
from msgfm.data.layouts.splits import draw_split, draw_subset
from msgfm.data.layouts.ssl4eo_s12 import list_ssl4eo_s12
from msgfm.data.layouts.terramesh import list_terramesh
from msgfm.data.layouts.whu_buildings import list_whu_buildings
from msgfm.data.records import Manifest, Sample
from msgfm.errors import InputError, too_many_bad

__all__ = ["LAYOUTS", "IndexResult", "LayoutOptions", "Listing", "index_layout"]

LAYOUTS: dict[str, Callable[[Path, LayoutOptions], Listing]] = {
    # any data
    "image-folder": list_image_folder,
    "pairs": list_pairs,
    # pretraining
    "geopile": list_geopile,
    "millionaid": list_millionaid,
    "sen12ms": list_sen12ms,
    "mdas": list_mdas,
    "ssl4eo-s12": list_ssl4eo_s12,
    "terramesh": list_terramesh,
    # classification
    "bigearthnet": list_bigearthnet,
    "bigearthnet-v2": list_bigearthnet_v2,
    "eurosat": list_eurosat,
    "ucmerced": list_ucmerced,
    # segmentation
    "vaihingen": list_vaihingen,
    "potsdam": list_potsdam,
    "whu-buildings": list_whu_buildings,
    "sen1floods11": list_sen1floods11,
    # change
    "oscd": list_oscd,
    "levir-cd": list_levir_cd,
    "dsifn": list_dsifn,
    # cloud removal, pan-sharpening
    "sen12ms-cr": list_sen12ms_cr,
    "spacenet2": list_spacenet2,
}
# Options that only some layouts take: field of `LayoutOptions`, name on the command line, layouts.
_TAKEN_BY = {
    "scenes": ("--scenes", ("pairs",)),
    "mask": ("--mask", ("pairs",)),
    "mask_classes": ("--mask-class", ("pairs",)),
    "product": ("--product", ("ssl4eo-s12",)),
    "tile_size": ("--tile-size", ("mdas",)),
}


@dataclass(frozen=True, kw_only=True)
class IndexResult:
    """A manifest, and what to tell about it.

    Args:
        manifest: the samples whose files fit.
        left_out: one message for each bad file; the samples that they belong to are not in the manifest.
        combinations: how many samples have which images, as `sentinel1 + sentinel2` or `rgb@before + rgb@after`.
        splits: how many samples each split has.
        labels: how many samples each class has, in the order of `Manifest.classes`.
    """

    manifest: Manifest
    left_out: tuple[str, ...]
    combinations: dict[str, int]
    splits: dict[str, int]
    labels: dict[str, int]


def index_layout(
    layout: str,
    root: Path,
    options: LayoutOptions | None = None,
    *,
    val_fraction: float = 0.0,
    seed: int = 0,
    split: str | None = None,
    fraction: float = 1.0,
    skip_bad: int = 0,
    settings: Sequence[str] = (),
    given: Collection[str] = (),
) -> IndexResult:
    """Lists a data set, opens every file's header and makes a manifest.

    Args:
        layout: a key of `LAYOUTS`.
        root: the data set's folder.
        options: what the layout takes.
        val_fraction: share of the scenes drawn for validation, where the data set has no split of its own.
        seed: of the draws.
        split: puts every sample into this split instead.
        fraction: share of the training split to keep, drawn so that classes keep theirs (`splits.draw_subset`).
        skip_bad: how many bad files are left out, with their samples, before it is an error.
        settings: changes to the cards, as `sentinel2.offset=-1000` or `sentinel2.B10.nodata=65535`.
        given: options that a user gave on the command line, as `--val-fraction`; one that would do nothing is refused,
            whatever its value.

    Raises:
        InputError: unknown layout, no such folder, nothing found, an option that does nothing here, or more than
            `skip_bad` bad files.
    """
    if layout not in LAYOUTS:
        near = difflib.get_close_matches(layout, LAYOUTS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"no layout {layout!r}: {hint}there are {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise InputError(f"no folder {root}")
    if split not in (None, "train", "val", "test"):
        raise InputError(f"split {split!r}: it is train, val or test")
    if not 0 <= val_fraction <= 1:
        raise InputError(f"val_fraction {val_fraction}: it is a share, from 0 to 1")
    if not 0 < fraction <= 1:
        raise InputError(f"fraction {fraction}: it is a share of the training split, above 0 and at most 1")
    options = options or LayoutOptions()
    _require_used(layout, options, given)
    listing = LAYOUTS[layout](root, options)
    sensors = change_cards(listing.sensors, settings)
    if not listing.samples:
        raise InputError(f"{root}: nothing found in layout {layout}; docs/data.md shows the folders it expects")
    _require_drawn(listing.samples, split, given)
    _require_unique([sample.sample for sample in listing.samples], root)
    samples, problems = check_headers(root, listing.samples, sensors)
    bad = too_many_bad("bad files", list(problems.values()), skip_bad)
    if len(problems) > skip_bad:
        raise InputError(bad)
    if not samples:
        raise InputError(f"{root}: every sample has a bad file; {bad}")
    samples = [
        replace(sample, split=split or sample.split or draw_split(sample.scene, val_fraction, seed))
        for sample in samples
    ]
    samples.sort(key=lambda sample: sample.sample)
    if fraction < 1:
        samples = draw_subset(samples, fraction, seed)
    used = {name for sample in samples for name in sample.sensors}
    manifest = Manifest(
        root=root.resolve(),
        layout=layout,
        sensors={name: sensor for name, sensor in sensors.items() if name in used},
        samples=tuple(samples),
        classes=listing.classes,
        mask_classes=listing.mask_classes,
        mask_colours=listing.mask_colours,
        subset=f"{fraction:g} of train, stratified by class, seed {seed}" if fraction < 1 else "",
    )
    return IndexResult(
        manifest=manifest,
        left_out=tuple(problems.values()),
        combinations=dict(Counter(" + ".join(image.key for image in sample.images) for sample in samples)),
        splits=dict(Counter(sample.split for sample in samples)),
        labels=_count_labels(manifest),
    )


def _require_used(layout: str, options: LayoutOptions, given: Collection[str]) -> None:
    for name, (option, layouts) in _TAKEN_BY.items():
        is_given = option in given or getattr(options, name) != getattr(LayoutOptions(), name)
        if is_given and layout not in layouts:
            raise InputError(f"layout {layout} takes no {option}, only {', '.join(layouts)} does; leave it out")


def _require_drawn(samples: Sequence[Sample], split: str | None, given: Collection[str]) -> None:
    """Refuses options of draws that are not made."""
    if "--val-fraction" in given and split:
        raise InputError(f"--split {split} leaves nothing for --val-fraction to draw; leave one of them out")
    if "--val-fraction" in given and all(sample.split for sample in samples):
        there = ", ".join(sorted({sample.split for sample in samples}))
        raise InputError(
            f"--val-fraction draws nothing: the data set says which split each sample is in ({there}); leave it out"
        )
    if "--seed" in given and not {"--val-fraction", "--fraction"} & set(given):
        raise InputError("--seed is of the draws of --val-fraction and --fraction; give one of them, or leave it out")


def _count_labels(manifest: Manifest) -> dict[str, int]:
    times = Counter(label for sample in manifest.samples for label in sample.labels)
    return {name: times[name] for name in manifest.classes}


def _require_unique(names: list[str], root: Path) -> None:
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise InputError(f"{root}: {len(twice)} samples are there more than once, as {twice[0]}; index a copy alone")
