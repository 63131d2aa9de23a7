"""SEN12MS (Schmitt et al., 2019) and SEN12MS-CR (Ebel et al., 2021)."""

from __future__ import annotations

import re
from pathlib import Path

from msgfm.data.layouts.listing import SENTINEL1, SENTINEL2_L1C, LayoutOptions, Listing, listed, load_cards, whole_file
from msgfm.data.records import RasterFile

_PATCH = re.compile(r"(?P<roi>ROIs\d+_[a-z]+)_(?P<kind>s1|s2|s2_cloudy)_(?P<scene>\d+)_p(?P<patch>\d+)\.tif")


def list_sen12ms(root: Path, options: LayoutOptions) -> Listing:
    """`ROIs<id>_<season>_<kind>/<kind>_<scene>/ROIs<id>_<season>_<kind>_<scene>_p<patch>.tif`.

    Sentinel-1 and Sentinel-2 of a patch are a pair; a patch of one of them alone is a sample with one sensor.
    `test_list.txt` at the root (SEN12MS's own, one patch a line) makes the test split.
    """
    sensors = load_cards(("sentinel1", "sentinel2"), options.sensors)
    kinds = {"s1": ("sentinel1", SENTINEL1), "s2_cloudy" if options.cloudy else "s2": ("sentinel2", SENTINEL2_L1C)}
    patches: dict[tuple[str, str, str], dict[str, list[RasterFile]]] = {}
    for path in sorted(root.rglob("ROIs*.tif")):
        if (match := _PATCH.fullmatch(path.name)) and match["kind"] in kinds:
            sensor, bands = kinds[match["kind"]]
            key = (match["roi"], match["scene"], match["patch"])
            patches.setdefault(key, {}).setdefault(sensor, []).append(whole_file(root, path, bands))
    held_out = _test_patches(root)
    return Listing(
        sensors=sensors,
        samples=[
            listed(f"{roi}_{scene}_p{patch}", f"{roi}_{scene}", files, "test" if key in held_out else "")
            for key, files in patches.items()
            for roi, scene, patch in [key]
        ],
    )


def _test_patches(root: Path) -> set[tuple[str, str, str]]:
    path = root / "test_list.txt"
    lines = path.read_text().split() if path.is_file() else []
    matches = (_PATCH.fullmatch(Path(line).name) for line in lines)
    return {(match["roi"], match["scene"], match["patch"]) for match in matches if match}
