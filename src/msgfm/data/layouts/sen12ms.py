"""SEN12MS: Sentinel-1, Sentinel-2 and land cover of the whole world.

Schmitt et al., "SEN12MS: a curated dataset of georeferenced multi-spectral Sentinel-1/2 imagery for deep learning and
data fusion", ISPRS Annals IV-2/W7, 2019. Lists of its test split: `splits/` of github.com/schmitt-muc/SEN12MS.
"""

from __future__ import annotations

import re
from collections import defaultdict
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

PATCH = re.compile(
    r"(?P<roi>ROIs\d+_[a-z]+)_(?P<kind>s1|s2|s2_cloudy|lc|cloud_mask)_(?P<scene>\d+)_p(?P<patch>\d+)\.tif"
)
# The land cover's first band: the classes of the International Geosphere-Biosphere Programme in MODIS MCD12Q1.
_IGBP = (
    "evergreen needleleaf forests",
    "evergreen broadleaf forests",
    "deciduous needleleaf forests",
    "deciduous broadleaf forests",
    "mixed forests",
    "closed shrublands",
    "open shrublands",
    "woody savannas",
    "savannas",
    "grasslands",
    "permanent wetlands",
    "croplands",
    "urban and built-up lands",
    "cropland/natural vegetation mosaics",
    "permanent snow and ice",
    "barren",
    "water bodies",
)


def list_sen12ms(root: Path, options: LayoutOptions) -> Listing:
    """`ROIs<id>_<season>/<kind>_<scene>/ROIs<id>_<season>_<kind>_<scene>_p<patch>.tif`, kind `s1`, `s2` or `lc`.

    Only the files' names count: `ROIs<id>_<season>_<kind>/<kind>_<scene>/...` and any other folders do as well.
    Sentinel-1 and Sentinel-2 of a patch are a pair; a patch of one of them alone is a sample with one sensor. The
    land cover, where it is there, is the mask (IGBP, 500 m, so coarse). `test_list.txt` at the root, SEN12MS's own,
    one patch a line, makes the test split; `train_list.txt` is all others.
    """
    sensors = load_cards(("sentinel1", "sentinel2"), options.sensors)
    held_out = _test_patches(root)
    samples = []
    for (roi, scene, patch), kinds in sorted(find_patches(root).items()):
        files = {
            "sentinel1": [whole_file(root, kinds["s1"], SENTINEL1)] if "s1" in kinds else [],
            "sentinel2": [whole_file(root, kinds["s2"], SENTINEL2_L1C)] if "s2" in kinds else [],
        }
        if any(files.values()):
            split = "test" if (roi, scene, patch) in held_out else ""
            mask = mask_file(root, kinds["lc"]) if "lc" in kinds else None
            samples.append(listed(f"{roi}_{scene}_p{patch}", f"{roi}_{scene}", files, split, mask=mask))
    return Listing(sensors=sensors, samples=samples, mask_classes=dict(enumerate(_IGBP, start=1)))


def find_patches(root: Path) -> dict[tuple[str, str, str], dict[str, Path]]:
    """The files of each patch (ROI with its season, scene, number), by kind."""
    patches: dict[tuple[str, str, str], dict[str, Path]] = defaultdict(dict)
    for path in sorted(root.rglob("ROIs*.tif")):
        if match := PATCH.fullmatch(path.name):
            patches[match["roi"], match["scene"], match["patch"]][match["kind"]] = path
    return dict(patches)


def _test_patches(root: Path) -> set[tuple[str, str, str]]:
    path = root / "test_list.txt"
    lines = path.read_text().split() if path.is_file() else []
    matches = (PATCH.fullmatch(Path(line).name) for line in lines)
    return {(match["roi"], match["scene"], match["patch"]) for match in matches if match}
