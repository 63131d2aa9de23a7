"""Counts of labels and of the pixels of masks, against numpy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from statistics_data import card, manifest_of, run

from msgfm.data.records import Manifest, RasterFile, write_manifest
from msgfm.data.statistics import measure
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff

CLASSES = ("beach", "forest [dense]", "unseen")
MASK_CLASSES = {0: "ground", 1: "water", 255: "water", 7: "never there"}


def with_classes(root: Path, colours: dict[int, tuple[int, int, int]] | None = None) -> tuple[Manifest, list, list]:
    """Twelve images with labels and, but for one, masks of another grid, with the labels and the values in them."""
    random = np.random.default_rng(3)
    manifest = manifest_of(root, card(), [random.normal(0, 1, (3, 8, 6)).astype(np.float32)] * 12, ["train"] * 12)
    samples, labels, masks = [], [], []
    for i, sample in enumerate(manifest.samples):
        labels.append(tuple(random.permutation(CLASSES[:2])[: i % 3]))
        mask = None
        if i:
            values = random.choice([0, 1, 255, 9], (16, 12 + i))
            masks.append(values)
            bands = ("R", "G", "B") if colours else ("mask",)
            stored = (
                np.moveaxis(np.array([colours.get(v, (9, 9, 9)) for v in values.flat]), 1, 0) if colours else values
            )
            write_geotiff(root / f"mask{i}.tif", stored.reshape(len(bands), *values.shape).astype(np.uint8))
            mask = RasterFile(path=f"mask{i}.tif", bands=bands, file_bands=tuple(range(1, len(bands) + 1)))
        samples.append(replace(sample, labels=labels[-1], mask=mask))
    more = {"classes": CLASSES, "mask_classes": MASK_CLASSES, "mask_colours": colours or {}}
    return replace(manifest, samples=tuple(samples), **more), labels, masks


@pytest.mark.parametrize("colours", [None, {0: (0, 0, 0), 1: (0, 0, 255), 255: (0, 255, 255), 7: (1, 2, 3)}])
def test_classes_are_counted_as_numpy_counts_them(tmp_path: Path, colours: dict | None) -> None:
    manifest, labels, masks = with_classes(tmp_path, colours)
    counts = measure(manifest, workers=0).classes
    flat = np.concatenate([values.ravel() for values in masks])
    assert counts.samples == 12
    assert counts.labels == {name: sum(name in of_one for of_one in labels) for name in CLASSES}
    assert counts.labels["unseen"] == 0 < counts.labels["beach"]
    assert (counts.masks, counts.mask_pixels) == (11, flat.size)
    assert counts.pixels == {"ground": (flat == 0).sum(), "water": np.isin(flat, (1, 255)).sum(), "never there": 0}
    assert counts.labelled == flat.size - (flat == 9).sum()
    assert measure(manifest, workers=2).classes == counts


def test_classes_of_what_is_left_out_do_not_count(tmp_path: Path) -> None:
    manifest, _, masks = with_classes(tmp_path)
    (tmp_path / "mask5.tif").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"mask5\.tif"):
        measure(manifest)
    counts = measure(manifest, skip_bad=1).classes
    assert (counts.samples, counts.masks) == (11, 10)
    assert counts.mask_pixels == sum(values.size for values in masks) - masks[4].size


def test_manifests_are_counted_together_by_the_names_of_classes(tmp_path: Path) -> None:
    manifest, labels, _ = with_classes(tmp_path)
    swapped = replace(manifest, classes=("new", "beach"), mask_classes={9: "ground", 0: "new"})
    bare = replace(manifest, classes=(), samples=tuple(replace(s, labels=(), mask=None) for s in manifest.samples))
    one, other = measure(manifest).classes, measure(swapped).classes
    both = measure(manifest, swapped, bare).classes
    assert both.samples == 24
    assert both.labels == {**one.labels, "beach": 2 * sum("beach" in of_one for of_one in labels), "new": 0}
    assert list(both.labels) == [*CLASSES, "new"]
    assert both.pixels["ground"] == one.pixels["ground"] + other.pixels["ground"]
    assert measure(bare).classes.labels == {}


def test_the_command_shows_and_writes_classes(tmp_path: Path) -> None:
    manifest, _, masks = with_classes(tmp_path)
    write_manifest(manifest, tmp_path / "m.parquet")
    code, text = run("data", "stats", tmp_path / "m.parquet", "--json", tmp_path / "found.json", "--workers", 0)
    assert code == 0 and "labels, 12 samples" in text and "forest [dense]" in text and "masks, 11" in text, text
    found = json.loads((tmp_path / "found.json").read_text())
    flat = np.concatenate([values.ravel() for values in masks])
    water, labelled = int(np.isin(flat, (1, 255)).sum()), int((flat != 9).sum())
    assert found["masks"]["classes"]["water"] == {"pixels": water, "share": pytest.approx(water / labelled)}
    assert found["masks"]["not_labelled"] == flat.size - labelled
    assert f"{water / labelled:.2%}" in text
    beach = found["labels"]["classes"]["beach"]
    assert beach["share"] == pytest.approx(beach["samples"] / 12)
    bare = replace(manifest, classes=(), samples=tuple(replace(s, labels=(), mask=None) for s in manifest.samples))
    write_manifest(bare, tmp_path / "m.parquet")
    assert "labels" not in run("data", "stats", tmp_path / "m.parquet", "--json", tmp_path / "found.json")[1]
    assert not {"labels", "masks"} & json.loads((tmp_path / "found.json").read_text()).keys()
