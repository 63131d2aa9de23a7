"""SEN12MS-CR: Sentinel-1, clear and cloudy Sentinel-2 of the same places, for cloud removal.

Ebel et al., "Multisensor data fusion for cloud removal in global and all-season Sentinel-2 imagery", IEEE TGRS 59(7),
2021. The split by season and region is that of the authors' loader (class SEN12MSCR, data/dataLoader.py of
github.com/PatrickTUM/UnCRtainTS), which lists 10 regions for validation, 10 for testing, and 155 for training; what it
does not name is training here, too.
"""

from __future__ import annotations

from pathlib import Path

from msgfm.data.layouts.listing import (
    SENTINEL1,
    SENTINEL2_L1C,
    LayoutOptions,
    Listing,
    listed,
    load_cards,
    mask_file,
    whole_file,
)
from msgfm.data.layouts.sen12ms import find_patches

_KINDS = {
    "s1": ("sentinel1", SENTINEL1),
    "s2": ("sentinel2", SENTINEL2_L1C),
    "s2_cloudy": ("sentinel2@cloudy", SENTINEL2_L1C),
}
_VAL = (
    "ROIs1158_spring_17",
    "ROIs1868_summer_17",
    "ROIs1868_summer_19",
    "ROIs1868_summer_80",
    "ROIs1868_summer_127",
    "ROIs1970_fall_65",
    "ROIs2017_winter_22",
    "ROIs2017_winter_84",
    "ROIs2017_winter_107",
    "ROIs2017_winter_130",
)
_TEST = (
    "ROIs1158_spring_31",
    "ROIs1158_spring_44",
    "ROIs1158_spring_106",
    "ROIs1158_spring_123",
    "ROIs1158_spring_140",
    "ROIs1868_summer_73",
    "ROIs1868_summer_119",
    "ROIs1970_fall_139",
    "ROIs2017_winter_63",
    "ROIs2017_winter_108",
)
_CLOUDS = {0: "clear", 1: "cloud", 2: "shadow"}
SPLITS = dict.fromkeys(_VAL, "val") | dict.fromkeys(_TEST, "test")


def list_sen12ms_cr(root: Path, options: LayoutOptions) -> Listing:
    """`ROIs<id>_<season>_<kind>/<kind>_<scene>/ROIs<id>_<season>_<kind>_<scene>_p<patch>.tif`.

    Kinds are `s1`, `s2` and `s2_cloudy`; the last becomes Sentinel-2 in the role `cloudy`. A patch that lacks some of
    them is a sample with the others. The mask is `cloud_mask`, which is not in the authors' archives but in worlds of
    `msgfm data synth`: 0 clear, 1 cloud, 2 shadow.
    """
    sensors = load_cards(("sentinel1", "sentinel2"), options.sensors)
    samples = []
    for (roi, scene, patch), found in sorted(find_patches(root).items()):
        files = {key: [whole_file(root, found[kind], bands)] for kind, (key, bands) in _KINDS.items() if kind in found}
        if files:
            region = f"{roi}_{scene}"
            mask = mask_file(root, found["cloud_mask"]) if "cloud_mask" in found else None
            samples.append(listed(f"{region}_p{patch}", region, files, SPLITS.get(region, "train"), mask=mask))
    mask_classes = _CLOUDS if any(sample.mask for sample in samples) else {}
    return Listing(sensors=sensors, samples=samples, mask_classes=mask_classes)
