"""MDAS (Hu et al., 2023): aerial RGB and surface model of Augsburg, cut into tiles."""

from __future__ import annotations

from pathlib import Path

from msgfm.data.layouts.listing import LayoutOptions, Listing, listed, load_cards
from msgfm.data.records import RasterFile, Sample
from msgfm.errors import InputError
from msgfm.geo.raster import RasterInfo, raster_info
from msgfm.sensors import Sensor

_SUB_AREAS = ("sub_area_1", "sub_area_2", "sub_area_3")
_SCENE_TILES = 8


def list_mdas(root: Path, options: LayoutOptions) -> Listing:
    """`entire_city/3K_{RGB,DSM}.tif`, or else `sub_area_<n>/3K_{RGB,DSM}_sub_area<n>.tif`.

    Tiles of `tile_size` pixels of the RGB image (the paper's 384), side by side; the surface model's window has its
    own, coarser pixels and is brought to the RGB grid by the reader. The sub-areas lie inside the city: they are
    listed only where the city is not there. A scene is a block of 8 x 8 tiles.
    """
    if options.tile_size < 1:
        raise InputError(f"tile size {options.tile_size}: give a number of pixels, 384 in the paper")
    sensors = load_cards(("rgb", "dsm"), options.sensors)
    base = next((path for path in (root / "Augsburg_data_4_publication", root) if path.is_dir()), root)
    areas = [area for area in ("entire_city", *_SUB_AREAS) if (base / area).is_dir()]
    if not areas:
        raise InputError(f"{root} has neither entire_city nor {', '.join(_SUB_AREAS)}, the folders of MDAS")
    samples = []
    for area in areas[:1] if areas[0] == "entire_city" else areas:
        rgb, dsm = (_find(base / area, kind) for kind in ("RGB", "DSM"))
        samples += _tiles(root, area, rgb, dsm, sensors, options.tile_size)
    return Listing(sensors=sensors, samples=samples)


def _find(folder: Path, kind: str) -> Path:
    """MDAS's own copies write `3K_DSM.tif` and `3K_dsm.tif`."""
    matches = sorted(path for path in folder.glob("3K_*.tif") if path.stem.upper().startswith(f"3K_{kind}"))
    if len(matches) != 1:
        raise InputError(f"{folder} has {len(matches)} files 3K_{kind}*.tif, one was expected")
    return matches[0]


def _tiles(root: Path, area: str, rgb: Path, dsm: Path, sensors: dict[str, Sensor], size: int) -> list[Sample]:
    info, coarse = raster_info(rgb), raster_info(dsm)
    if min(info.height, info.width) < size:
        raise InputError(f"{rgb} has {info.height} x {info.width} pixels, less than one tile of {size}")
    samples = []
    for i in range(info.height // size):
        for j in range(info.width // size):
            window = (i * size, j * size, size, size)
            other = _same_ground(window, info, coarse)
            if other is None:
                continue
            files = {
                # 3K_RGB has a fourth band, alpha.
                "rgb": [_window(root, rgb, sensors["rgb"], window)],
                "dsm": [_window(root, dsm, sensors["dsm"], other)],
            }
            scene = f"{area}_{i // _SCENE_TILES}_{j // _SCENE_TILES}"
            samples.append(listed(f"{area}_r{window[0]}_c{window[1]}", scene, files))
    return samples


def _window(root: Path, path: Path, sensor: Sensor, window: tuple[int, int, int, int]) -> RasterFile:
    positions = tuple(range(1, len(sensor.bands) + 1))
    return RasterFile(
        path=path.relative_to(root).as_posix(), bands=sensor.band_names, file_bands=positions, window=window
    )


def _same_ground(
    window: tuple[int, int, int, int], fine: RasterInfo, coarse: RasterInfo
) -> tuple[int, int, int, int] | None:
    """The window in pixels of the coarser file, by coordinates; None where it leaves the file."""
    row, column, height, width = window
    corners = [(column, row), (column + width, row + height)]
    if fine.crs is not None and fine.crs == coarse.crs:
        (left, top), (right, bottom) = (~coarse.transform @ (fine.transform @ corner) for corner in corners)
    else:
        ratio = (coarse.width / fine.width, coarse.height / fine.height)
        (left, top), (right, bottom) = ((x * ratio[0], y * ratio[1]) for x, y in corners)
    top, left = round(top), round(left)
    height, width = round(bottom) - top, round(right) - left
    inside = top >= 0 and left >= 0 and top + height <= coarse.height and left + width <= coarse.width
    return (top, left, height, width) if inside and height > 0 and width > 0 else None
