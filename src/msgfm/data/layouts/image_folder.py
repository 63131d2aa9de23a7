"""Any folder tree of images of one sensor, and GeoPile, which is one."""

from __future__ import annotations

from pathlib import Path

from msgfm.data.layouts.listing import LayoutOptions, Listing, is_image, listed, whole_file
from msgfm.errors import InputError
from msgfm.sensors import load_sensor

_SPLITS = ("train", "val", "test")


def list_image_folder(root: Path, options: LayoutOptions) -> Listing:
    """Every image below the root is a sample, and a scene of its own.

    `train.txt`, `val.txt` and `test.txt` at the root, where there are any, list paths below it: then those are the
    samples, in those splits.
    """
    if len(options.sensors) > 1:
        raise InputError("this layout takes one card; for several sensors take layout pairs")
    sensor = load_sensor(options.sensors[0] if options.sensors else "rgb")
    found = _listed_splits(root) or [
        ("", path) for path in sorted(root.rglob("*")) if is_image(path) and path.is_file()
    ]
    samples = []
    for split, path in found:
        name = path.relative_to(root).as_posix()
        samples.append(listed(name, name, {sensor.name: [whole_file(root, path, sensor.band_names)]}, split))
    return Listing(sensors={sensor.name: sensor}, samples=samples)


def list_geopile(root: Path, options: LayoutOptions) -> Listing:
    """Every image below `GeoPileV0` (or below the root, if there is no such folder), for training.

    Mendieta et al., "Towards geospatial foundation models via continual pretraining", ICCV 2023: NAIP, RSD46-WHU,
    MLRSNet, RESISC45 and PatternNet, 600 000 RGB images (github.com/mmendiet/GFM). The folders below `GeoPileV0` could
    not be looked up, so none is relied on: any tree is taken, as the authors' loader does, and classes are not read.
    """
    listing = list_image_folder(root, options)
    inside = [sample for sample in listing.samples if sample.sample.startswith("GeoPileV0/")]
    return Listing(sensors=listing.sensors, samples=inside or listing.samples)


def _listed_splits(root: Path) -> list[tuple[str, Path]]:
    lists = [(split, root / f"{split}.txt") for split in _SPLITS if (root / f"{split}.txt").is_file()]
    return [
        (split, root / line.strip()) for split, path in lists for line in path.read_text().splitlines() if line.strip()
    ]
