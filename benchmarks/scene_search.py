"""No benchmark itself: search in aerial photographs for real_scenes.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scene_commands import Table, made, msgfm
from scene_pictures import Image, Panel, draw_panels, read_scene, shown

from msgfm.scenes.similar import cosines
from msgfm.scenes.windows_table import read_windows
from msgfm.sensors import load_sensor

Area = tuple[int, int, int, int]
Vectors = dict[Area, NDArray[np.float32]]

QUERIES = (0.5, 0.8)
"""Which windows are looked for: how far down the table they stand."""
_FRAME_PX = 6


def aerial(data: Path, models: Path, out: Path) -> Table:
    """NGI's aerial photographs: windows of one that look like windows of the other, on ground that both show."""
    tiles = [data / f"NGI-Baviaans/aerial_rgb_5m/ngi_rgb_byte_{i}.tif" for i in (2, 3)]
    tables = [made(out / f"tile_{i}.parquet") for i in (2, 3)]
    for tile, table in zip(tiles, tables, strict=True):
        msgfm(
            *("embed", models / "small", "--rgb", tile, "--like", tiles[0], "--window", 48, "--out", table),
            *("--overwrite",),
        )
    card = load_sensor("rgb")
    images = [read_scene(card, [tile], like=tiles[0])[0] for tile in tiles]
    vectors = [{area: vector for area, vector in windows_of(table, images[i])} for i, table in enumerate(tables)]
    shared = sorted(vectors[0].keys() & vectors[1].keys())
    rows = []
    simple = [{area: colours_of(image, area) for area in of_it} for image, of_it in zip(images, vectors, strict=True)]
    for name, (theirs, ours) in {"features of small": vectors, "mean and deviation of R, G, B": simple}.items():
        rows.append([name, *retrieval(theirs, ours, shared)])
        rows.append([f"{name}, each tile's mean taken away", *retrieval(centred(theirs), centred(ours), shared)])
    rows.append(
        ["by chance", f"{1 / len(vectors[0]):.1%}", f"{10 / len(vectors[0]):.1%}", f"{len(vectors[0]) / 2:.0f}"]
    )
    print(f"{len(shared)} windows on shared ground, {len(vectors[0])} and {len(vectors[1])} in all")
    draw_aerial(out.with_suffix(".png"), images[0], tables[0])
    return ("", "same place first", "among ten", "median rank"), rows


def windows_of(table: Path, image: Image) -> list[tuple[Area, NDArray[np.float32]]]:
    """Windows of a table that have data everywhere."""
    found = []
    for windows in read_windows(table):
        for numbers, vector in zip(windows.areas.tolist(), windows.values, strict=True):
            row, column, height, width = numbers
            if np.isfinite(image[:, row : row + height, column : column + width]).mean() > 0.99:
                found.append(((row, column, height, width), vector))
    return found


def colours_of(image: Image, area: Area) -> NDArray[np.float32]:
    """What a window looks like without a model."""
    row, column, height, width = area
    part = image[:, row : row + height, column : column + width].reshape(len(image), -1)
    return np.concatenate([np.nanmean(part, axis=1), np.nanstd(part, axis=1)])


def centred(vectors: Vectors) -> Vectors:
    """Without what all of them share."""
    mean = np.mean(list(vectors.values()), axis=0)
    return {area: vector - mean for area, vector in vectors.items()}


def retrieval(theirs: Vectors, ours: Vectors, shared: Sequence[Area]) -> list[str]:
    """Of windows of one image, at which rank the same ground comes among all windows of the other."""
    areas, matrix = list(theirs), np.stack(list(theirs.values()))
    ranks = []
    for area in shared:
        alike = cosines(matrix, ours[area], np.zeros(matrix.shape[1]))
        ranks.append(int((alike > alike[areas.index(area)]).sum()) + 1)
    found = np.array(ranks)
    return [f"{(found == 1).mean():.1%}", f"{(found <= 10).mean():.1%}", f"{np.median(found):.0f}"]


def draw_aerial(path: Path, image: Image, table: Path) -> None:
    """Where windows look like one on the valley floor and one on a slope, by `msgfm similar`; beside it the image."""
    found = [windows for windows in read_windows(table) if windows.corners is not None]
    areas = np.concatenate([windows.areas for windows in found])
    middles = np.concatenate([windows.corners.mean(1) for windows in found if windows.corners is not None])
    panels: list[Panel] = []
    photograph = shown(image)
    for number, share in enumerate(QUERIES):
        asked = int(share * len(areas))
        longitude, latitude = middles[asked].tolist()
        alike = path.with_name(f"alike_{number}.parquet")
        print(
            msgfm(
                "similar", table, "--at", f"{longitude:.6f},{latitude:.6f}", "--top", 5, "--out", alike, "--overwrite"
            )
        )
        cosine = np.concatenate([windows.values[:, 0] for windows in read_windows(alike)])
        picture = np.full(image.shape[1:], np.nan, np.float32)
        for (row, column, height, width), value in zip(areas.tolist(), cosine.tolist(), strict=True):
            picture[row : row + height, column : column + width] = value
        drawn = shown(picture[None])
        for target in (drawn, photograph):
            frame(target, areas[asked].tolist())
        panels.append(("cosine with the orange window", drawn))
    draw_panels(path, [[("aerial photograph, 5 m", photograph), *panels]])


def frame(picture: Image, area: Sequence[int]) -> None:
    """Draws an orange frame."""
    row, column, height, width = area
    part = picture[row : row + height, column : column + width]
    for edge in (part[:_FRAME_PX], part[-_FRAME_PX:], part[:, :_FRAME_PX], part[:, -_FRAME_PX:]):
        edge[:] = (0.9, 0.6, 0)
