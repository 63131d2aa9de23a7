"""Building change in two colour pictures of one place: LEVIR-CD and DSIFN; and OSCD, in two Sentinel-2 images.

Chen & Shi, Remote Sensing 12(10):1662, 2020; Zhang et al., ISPRS J. 166, 2020; Daudt et al., IGARSS 2018.
"""

from __future__ import annotations

import re
from pathlib import Path

from msgfm.data.layouts.listing import (
    SENTINEL2_L1C,
    LayoutOptions,
    Listing,
    images_in,
    listed,
    load_cards,
    mask_file,
    read_split_lists,
    whole_file,
)
from msgfm.data.records import RasterFile, Sample
from msgfm.errors import InputError
from msgfm.sensors import Sensor

SPLIT_FOLDERS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
# DSIFN's masks are said to be 0/255 in one part and 0/1 in another; both mean change.
_CHANGE = {0: "unchanged", 1: "changed", 255: "changed"}
_PREFIX = re.compile(r"(?P<scene>(?P<split>train|val|test)_\d+)(_.*)?")
_OSCD = "Onera Satellite Change Detection dataset - "


def list_levir_cd(root: Path, options: LayoutOptions) -> Listing:
    """`{train,val,test}/{A,B,label}/<name>.png`, or `{A,B,label}/{train,val,test}_<n>[_<row>_<column>].png` unpacked.

    A is before, B after, the label 255 where a building changed. The split is the folder's, that of `list/<split>.txt`
    where those lists are there, or the one in the name. Crops of one image (LEVIR-CD-256) are one scene. LEVIR-CD+ and
    other sets of building change in the folders A, B and label can be indexed by it, too.
    """
    return _list_pictures(root, options, ("A", "B", ("label",)))


def list_dsifn(root: Path, options: LayoutOptions) -> Listing:
    """`{train,val,test}/{t1,t2,mask}/<name>.jpg`; the masks are PNG or TIFF of the same name.

    t1 is before, t2 after. The structure is that of several public loaders of DSIFN; the archive itself could not be
    looked at. Copies of 256 px in the folders A, B and label are indexed by `levir-cd`. The training pictures are ten
    variants of each of 360, whose names do not tell which belong together: each is a scene of its own.
    """
    return _list_pictures(root, options, ("t1", "t2", ("mask", "mask_256")))


def _list_pictures(root: Path, options: LayoutOptions, names: tuple[str, str, tuple[str, ...]]) -> Listing:
    sensors = load_cards(("rgb",), options.sensors)
    split_folders = [folder for folder in SPLIT_FOLDERS if (root / folder / names[0]).is_dir()]
    samples = []
    for folder in split_folders or [""]:
        samples += _pictures_below(root, root / folder, SPLIT_FOLDERS.get(folder, ""), names, sensors["rgb"])
    return Listing(sensors=sensors, samples=samples, mask_classes=_CHANGE)


def _pictures_below(
    root: Path, folder: Path, split: str, names: tuple[str, str, tuple[str, ...]], sensor: Sensor
) -> list[Sample]:
    before, after, labels = names
    lists = {} if split else read_split_lists(root / "list", {name: f"{name}.txt" for name in ("train", "val", "test")})
    afters = {path.stem: path for path in images_in(folder / after)}
    masks = {path.stem: path for name in labels for path in images_in(folder / name)}
    samples = []
    for path in images_in(folder / before):
        if path.stem not in afters:
            raise InputError(f"{path} has no partner in {folder / after}; fetch the data set again")
        match = _PREFIX.fullmatch(path.stem)
        files = {
            f"{sensor.name}@before": [whole_file(root, path, sensor.band_names)],
            f"{sensor.name}@after": [whole_file(root, afters[path.stem], sensor.band_names)],
        }
        own = split or lists.get(path.stem, "") or (match["split"] if match else "")
        # The folder is part of the name: DSIFN numbers each part from 0.
        name = (folder / path.stem).relative_to(root).as_posix()
        mask = mask_file(root, masks[path.stem]) if path.stem in masks else None
        samples.append(listed(name, match["scene"] if match else name, files, own, mask=mask))
    return samples


def list_oscd(root: Path, options: LayoutOptions) -> Listing:
    """`Onera Satellite Change Detection dataset - Images/<city>/imgs_{1,2}_rect/B01.tif`, 24 cities.

    `... - {Train,Test} Labels/<city>/cm/cm.png` is the mask (255 is change), and says which split the city is in; a
    city without a label is in the split that `train.txt` or `test.txt` of the images' folder name it in. `imgs_1_rect`
    is before, `imgs_2_rect` after, all bands on the 10 m grid. A city is a scene. Level-1C.
    """
    sensors = load_cards(("sentinel2",), options.sensors)
    images = root / f"{_OSCD}Images"
    if not images.is_dir():
        raise InputError(f"{root} has no folder {images.name!r}; ROOT is the folder that holds it")
    listed_cities = {city: split for split in ("train", "test") for city in _cities(images / f"{split}.txt")}
    samples = []
    for city in sorted(path for path in images.iterdir() if path.is_dir()):
        labels = {split: root / f"{_OSCD}{split.capitalize()} Labels" / city.name for split in ("train", "test")}
        split = next((split for split, folder in labels.items() if folder.is_dir()), listed_cities.get(city.name, ""))
        mask = labels[split] / "cm" / "cm.png" if split else None
        files = {
            "sentinel2@before": _bands(root, city / "imgs_1_rect"),
            "sentinel2@after": _bands(root, city / "imgs_2_rect"),
        }
        label = mask_file(root, mask) if mask and mask.is_file() else None
        samples.append(listed(city.name, city.name, files, split, mask=label))
    return Listing(sensors=sensors, samples=samples, mask_classes={0: "unchanged", 255: "changed"})


def _cities(path: Path) -> list[str]:
    return path.read_text().replace(",", " ").split() if path.is_file() else []


def _bands(root: Path, folder: Path) -> list[RasterFile]:
    """One file a band, `B01.tif`, or with something before it that ends in `_`."""
    paths = {path.stem.rpartition("_")[2]: path for path in images_in(folder)}
    return [
        RasterFile(
            path=paths.get(band, folder / f"{band}.tif").relative_to(root).as_posix(), bands=(band,), file_bands=(1,)
        )
        for band in SENTINEL2_L1C
    ]
