"""TerraMesh: Sentinel-1, Sentinel-2, elevation and land cover on one grid.

Blumenstiel et al., "TerraMesh: a planetary mosaic of multimodal Earth observation data", CVPRW 2025;
huggingface.co/datasets/ibm-esa-geospatial/TerraMesh.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from msgfm.data.layouts.listing import (
    SENTINEL1,
    SENTINEL2_L1C,
    SENTINEL2_L2A,
    LayoutOptions,
    Listing,
    images_in,
    listed,
    load_cards,
    mask_file,
    whole_file,
)
from msgfm.data.records import Sample
from msgfm.errors import InputError
from msgfm.sensors import Sensor

_BANDS = {
    "S1RTC": ("sentinel1", SENTINEL1),
    "S1GRD": ("sentinel1", SENTINEL1),
    "S2L1C": ("sentinel2", SENTINEL2_L1C),
    "S2L2A": ("sentinel2_l2a", SENTINEL2_L2A),
    "S2RGB": ("rgb", None),
    "DEM": ("dsm", None),
}
# As published for the data set (ESRI's 10 m land cover); 0 is no data.
_LAND_COVER = {
    1: "water",
    2: "trees",
    3: "flooded vegetation",
    4: "crops",
    5: "built area",
    6: "bare ground",
    7: "snow/ice",
    8: "clouds",
    9: "rangeland",
}


def list_terramesh(root: Path, options: LayoutOptions) -> Listing:
    """`[{train,val}/]{S1RTC,S1GRD,S2L1C,S2L2A,S2RGB,DEM,LULC}/<tile>.tif`, a GeoTIFF a tile.

    That is how single samples of TerraMesh are passed around. As a whole it comes in shards of zipped Zarr arrays
    (`train/S2L2A/majortom_shard_000001.tar`), which the reader does not open: write them as GeoTIFFs first. The land
    cover is the mask; NDVI is not read. Splits are the folders; without them they are drawn. A tile is a scene. The
    1000 of processing baseline 04.00 is in some files and not in others; `msgfm data check` tells which.
    """
    sensors = load_cards(("sentinel1", "sentinel2", "sentinel2_l2a", "rgb", "dsm"), options.sensors)
    splits = [split for split in ("train", "val") if (root / split).is_dir()]
    for folder in (root, *(root / split / modality for split in splits or [""] for modality in (*_BANDS, "LULC"))):
        _require_unpacked(folder)
    samples = [sample for split in splits or [""] for sample in _tiles(root, split, sensors)]
    return Listing(sensors=sensors, samples=samples, mask_classes=_LAND_COVER)


def _require_unpacked(folder: Path) -> None:
    """Refuses TerraMesh as it is published."""
    packed = sorted(path for pattern in ("*.tar", "*.zarr", "*.zarr.zip") for path in folder.glob(pattern))
    if packed:
        raise InputError(
            f"{packed[0]}: TerraMesh as it is published, in shards (.tar) of one zipped Zarr store for each tile and "
            f"modality; msgfm reads GeoTIFFs. Write the array `bands` of each store, its bands in their order, as "
            f"[{{train,val}}/]MODALITY/TILE.tif, the tile named alike in all modalities (TerraMesh's own terramesh.py "
            f"reads the shards), and index that folder"
        )


def _tiles(root: Path, split: str, sensors: dict[str, Sensor]) -> list[Sample]:
    tiles: dict[str, dict[str, Path]] = defaultdict(dict)
    for modality in (*_BANDS, "LULC"):
        for path in images_in(root / split / modality):
            tiles[path.stem][modality] = path
    samples = []
    for tile, found in sorted(tiles.items()):
        if {"S1RTC", "S1GRD"} <= found.keys():
            raise InputError(
                f"{found['S1RTC']} and {found['S1GRD']}: a tile of TerraMesh has one of them; remove the other"
            )
        files = {
            sensor: [whole_file(root, found[modality], bands or sensors[sensor].band_names)]
            for modality, (sensor, bands) in _BANDS.items()
            if modality in found
        }
        mask = mask_file(root, found["LULC"]) if "LULC" in found else None
        if files:
            samples.append(listed(f"{split}/{tile}".lstrip("/"), tile, files, split, mask=mask))
    return samples
