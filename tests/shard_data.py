"""Small manifests with every kind of file that shards must keep, and what is asked of their shards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from msgfm.data.checks import KINDS
from msgfm.data.masks import read_mask
from msgfm.data.mixture import Batch, MixtureDataset, MixtureOrder, MixtureSampler, Source
from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage, write_manifest
from msgfm.data.sharding.plan import ShardOptions
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import load_sensor

NOISE = tuple(KINDS)
"""What the checks may say of random numbers: here it does not matter."""


def options(chunk_size: int = 110_000, **changes: object) -> ShardOptions:
    return ShardOptions(**({"chunk_size": chunk_size, "accept": NOISE} | changes))  # type: ignore[arg-type]


def make_manifest(root: Path, samples: int = 7, size: int = 48) -> Manifest:
    """Sentinel-2 in two files of 10 m and 20 m with no-data, Sentinel-1 with NaN, RGB before and after, and a mask."""
    rng = np.random.default_rng(size)
    made = []
    for k in range(samples):
        fine = rng.integers(0, 4000, (2, size, size)).astype(np.uint16)
        coarse = rng.integers(1, 4000, (1, size // 2, size // 2)).astype(np.int16)
        radar = rng.normal(-12, 3, (2, size, size)).astype(np.float32)
        radar[:, : 3 + k, :5] = np.nan
        fine[:, :4, 6:9] = 65535
        write_geotiff(root / f"{k}_fine.tif", fine, nodata=65535)
        write_geotiff(root / f"{k}_coarse.tif", coarse)
        write_geotiff(root / f"{k}_radar.tif", radar)
        for role in ("before", "after"):
            smooth = np.add.outer(np.arange(size), np.arange(size)) + rng.integers(0, 9, (3, size, size))
            write_geotiff(root / f"{k}_{role}.tif", smooth.astype(np.uint8))
        write_geotiff(root / f"{k}_mask.tif", rng.integers(0, 3, (1, size, size)).astype(np.uint8))
        images = [
            _image("sentinel2", size, (f"{k}_fine.tif", ("B03", "B02")), (f"{k}_coarse.tif", ("B11",))),
            _image("sentinel1", size, (f"{k}_radar.tif", ("VV", "VH"))),
            *(_image("rgb", size, (f"{k}_{role}.tif", ("R", "G", "B")), role=role) for role in ("before", "after")),
        ]
        made.append(
            Sample(
                sample=f"place{k}",
                scene=f"scene{k // 2}",
                split="val" if k == 3 else "train",
                images=tuple(images[: 2 + 2 * (k % 2)]),
                labels=("water",) if k % 2 else (),
                mask=RasterFile(path=f"{k}_mask.tif", bands=("mask",), file_bands=(1,)),
            )
        )
    return Manifest(
        root=root,
        layout="pairs",
        sensors={name: load_sensor(name) for name in ("sentinel2", "sentinel1", "rgb")},
        samples=tuple(made),
        classes=("water", "forest"),
        mask_classes={1: "water"},
    )


def _image(sensor: str, size: int, *files: tuple[str, tuple[str, ...]], role: str = "") -> SensorImage:
    found = tuple(RasterFile(path=p, bands=bands, file_bands=tuple(range(1, len(bands) + 1))) for p, bands in files)
    return SensorImage(sensor=sensor, height=size, width=size, files=found, role=role)


def content_of(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def flip(path: Path, position: int) -> None:
    """Changes one bit of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 16
    path.write_bytes(content)


def assert_same_samples(files: Manifest, packed: Manifest) -> None:
    assert (packed.sensors, packed.classes, packed.mask_classes) == (files.sensors, files.classes, files.mask_classes)
    for ours, theirs in zip(packed.samples, files.samples, strict=True):
        same = ("sample", "scene", "split", "labels")
        assert [getattr(ours, name) for name in same] == [getattr(theirs, name) for name in same]
        read = read_sample(packed.root, ours, packed.sensors)
        expected = read_sample(files.root, theirs, files.sensors)
        assert list(read) == list(expected)
        for key, image in expected.items():
            assert read[key].dtype == np.float32
            assert read[key].tobytes() == image.tobytes(), f"{ours.sample}, {key}"
        assert np.array_equal(read_mask(packed.root, ours), read_mask(files.root, theirs))


def write_many(folder: Path, count: int, size: int = 32) -> Path:
    """A manifest of photographs whose first pixel says which it is."""
    samples = []
    for k in range(count):
        image = np.full((3, size, size), 7 * k % 251, np.uint8)
        write_geotiff(folder / f"{k:03d}.tif", image)
        files = (RasterFile(path=f"{k:03d}.tif", bands=("R", "G", "B"), file_bands=(1, 2, 3)),)
        image_of = SensorImage(sensor="rgb", height=size, width=size, files=files)
        samples.append(Sample(sample=f"{k:03d}", scene=f"{k:03d}", split="train", images=(image_of,)))
    cards = {"rgb": load_sensor("rgb")}
    write_manifest(Manifest(root=folder, layout="x", sensors=cards, samples=tuple(samples)), folder / "it.parquet")
    return folder / "it.parquet"


def one_source(packed: Manifest, sensors: list[str]) -> Source:
    samples = [
        replace(sample, images=tuple(image for image in sample.images if image.sensor in sensors and not image.role))
        for sample in packed.samples
    ]
    cards = {name: packed.sensors[name] for name in sensors}
    only = replace(packed, samples=tuple(samples), sensors=cards)
    return Source(name="it", manifests=(only,), sensors=tuple(sensors), batch_size=1, lr=1.0)


def loader(source: Source, *, batch_size: int, workers: int, start: int, end: int, **order: int) -> DataLoader[Batch]:
    data = MixtureDataset(
        [source], source.sensors, image_size=32, mask_patch_size=8, mask_ratio=0.5, cross_sensor_share=0.0, seed=0
    )
    stream = MixtureOrder([len(source)], [batch_size], seed=3, world_size=1, accumulate=1, **order)
    sampler = MixtureSampler(stream, rank=0, start=start, end=end)
    return DataLoader(data, batch_sampler=sampler, collate_fn=lambda batch: batch, num_workers=workers)
