"""WHU building data set, aerial images.

Ji, Wei & Lu, "Fully convolutional networks for multisource building extraction from an open aerial and satellite
imagery data set", IEEE TGRS 57(1), 2019; gpcv.whu.edu.cn/data/building_dataset.html. The folders are those that public
loaders of the cropped tiles agree on (4736, 1036 and 2416 tiles of 512 px); the archive itself could not be looked at.
"""

from __future__ import annotations

from pathlib import Path

from msgfm.data.layouts.change import SPLIT_FOLDERS
from msgfm.data.layouts.listing import (
    LayoutOptions,
    Listing,
    images_in,
    listed,
    load_cards,
    mask_file,
    whole_file,
)
from msgfm.errors import InputError


def list_whu_buildings(root: Path, options: LayoutOptions) -> Listing:
    """`{train,val,test}/image/<n>.tif` and `{train,val,test}/label/<n>.tif` (255 is a building), 0.3 m.

    Tiles touch each other within a split, and their names do not tell where they lie; each is a scene of its own.
    """
    sensors = load_cards(("rgb",), options.sensors)
    folders = [name for name in SPLIT_FOLDERS if (root / name / "image").is_dir()]
    if not folders:
        raise InputError(f"{root} has no folder train/image, val/image or test/image")
    samples = []
    for folder in folders:
        labels = {path.stem: path for path in images_in(root / folder / "label")}
        for path in images_in(root / folder / "image"):
            name = f"{folder}/{path.stem}"
            mask = mask_file(root, labels[path.stem]) if path.stem in labels else None
            files = {"rgb": [whole_file(root, path, sensors["rgb"].band_names)]}
            samples.append(listed(name, name, files, SPLIT_FOLDERS[folder], mask=mask))
    # A mask of one bit a pixel holds 1 where one of eight holds 255.
    return Listing(sensors=sensors, samples=samples, mask_classes={0: "background", 1: "building", 255: "building"})
