"""No benchmark itself: pan-sharpening of Landsat 8 for real_scenes.py, at reduced and at full resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scene_commands import Table, made, msgfm, require_cogs, restored_scores
from scene_pictures import Image, Panel, draw_panels, read_scene, shown, stretch

from msgfm.data.tasks.wald import degrade
from msgfm.geo.raster import raster_info, read_bands, write_geotiff
from msgfm.metrics.pansharpening import quality_without_reference
from msgfm.models.baselines.sharpening import bicubic, brovey, gram_schmidt_adaptive
from msgfm.sensors import Sensor, load_sensor

CARDS = Path(__file__).parents[1] / "examples" / "cards"
SHARPENED = ("B2", "B3", "B4", "B5")
TEST_COLUMNS = (502, 626)
"""Of the scene: what `examples/split_scene.py` leaves to test."""


def pan(data: Path, models: Path, out: Path) -> Table:
    """The test part of Landsat 8's scene, degraded by two with itself as truth, then as it is."""
    ms_card, pan_card = (load_sensor(CARDS / f"landsat8_{kind}.yaml") for kind in ("ms", "pan"))
    coarse, fine = cut_landsat(data / "Landsat8/l8_north", ms_card, out / "inputs")
    model = models / "pan/seed_0"
    sensors = ("--landsat8_ms", "--landsat8_pan")
    for name, (bands, grey) in {"reduced": coarse, "full": fine}.items():
        places = (sensors[0], bands, sensors[1], grey)
        msgfm("predict", model, *places, "--out", made(out / f"results/{name}.tif"), "--overwrite")
    require_cogs(out / "results")
    subset = ms_card.select(SHARPENED)
    native, truth = (torch.from_numpy(read_scene(subset, [path])[0]) for path in (coarse[0], fine[0]))
    greys = [torch.from_numpy(read_scene(pan_card, [path])[0]) for path in (coarse[1], fine[1])]
    results = [torch.from_numpy(read_scene(subset, [out / f"results/{name}.tif"])[0]) for name in ("reduced", "full")]
    size = [(grey.shape[1], grey.shape[2]) for grey in greys]
    made_of = {
        "model": results,
        "bicubic": [bicubic(image, shape) for image, shape in zip((native, truth), size, strict=True)],
        "Brovey": [brovey(image, grey[0]) for image, grey in zip((native, truth), greys, strict=True)],
        "Gram-Schmidt adaptive": [
            gram_schmidt_adaptive(image, grey[0]) for image, grey in zip((native, truth), greys, strict=True)
        ],
    }
    rows = []
    for name, (reduced, full) in made_of.items():
        quality = quality_without_reference(full, truth, greys[1], truth.shape[2] / full.shape[2])
        row = restored_scores(reduced.numpy(), truth.numpy(), ratio=0.5)
        rows.append([name, *row, *(f"{value:.3f}" for value in (quality.d_lambda, quality.d_s, quality.qnr))])
    draw_pan(out.with_suffix(".png"), made_of, native, truth, greys)
    return ("", "MAE", "PSNR, dB", "SAM, degrees", "ERGAS", "D_lambda", "D_s", "QNR"), rows


def draw_pan(
    path: Path,
    made_of: Mapping[str, Sequence[torch.Tensor]],
    native: torch.Tensor,
    truth: torch.Tensor,
    greys: Sequence[torch.Tensor],
) -> None:
    """A corner at reduced and at full resolution."""
    side, rgb = 96, [2, 1, 0]
    ends = stretch(truth.numpy()[rgb])

    def corner(image: torch.Tensor, scale: int) -> Image:
        return np.ascontiguousarray(image.numpy()[rgb, : side * scale // 2, : side * scale // 2])

    rows: list[list[Panel]] = []
    for number, (pixel, image) in enumerate(((30, native), (15, truth))):
        grey = (
            greys[number].numpy()[:, :side, :side] if not number else greys[number].numpy()[:, : 2 * side, : 2 * side]
        )
        row: list[Panel] = [
            (f"bands, {2 * pixel} m", shown(corner(image, 1 + number), ends)),
            (f"panchromatic, {pixel} m", shown(grey)),
        ]
        for name in ("Gram-Schmidt adaptive", "model"):
            row.append((f"{name}, {pixel} m", shown(corner(made_of[name][number], 2 * (1 + number)), ends)))
        row.append(
            ("truth, 30 m", shown(corner(truth, 2), ends))
            if not number
            else ("bicubic, 15 m", shown(corner(made_of["bicubic"][1], 4), ends))
        )
        rows.append(row)
    draw_panels(path, rows)


def cut_landsat(folder: Path, card: Sensor, out: Path) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
    """The test part as GeoTIFFs: degraded by two, and as it is, each bands and panchromatic image."""
    first, last = TEST_COLUMNS
    stored = np.concatenate([read_bands(folder / f"l8_{name}.tif").data for name in card.band_names])
    info, fine = raster_info(folder / "l8_B2.tif"), raster_info(folder / "l8_B8.tif")
    bands = np.ma.getdata(stored)[..., first:last]
    grey = np.ma.getdata(read_bands(folder / "l8_B8.tif").data)[..., 2 * first : 2 * last + 1]
    at = info.transform.translation(first, 0)
    transform, fine_transform = info.transform @ at, fine.transform @ at.translation(2 * first, 0)
    out.mkdir(parents=True, exist_ok=True)
    whole = out / "ms.tif", out / "pan.tif"
    write_geotiff(whole[0], bands, crs=info.crs, transform=transform, descriptions=card.band_names)
    write_geotiff(whole[1], grey, crs=info.crs, transform=fine_transform, descriptions=["B8"])
    # the panchromatic image begins half its pixel before the bands: of halves of its pixels, one is left out
    halves = grey.repeat(2, axis=1).repeat(2, axis=2)[:, 1:-1, 1:-1]
    coarse = out / "ms_degraded.tif", out / "pan_degraded.tif"
    smaller = (np.rint(degrade(bands.astype(np.float32), 2)), np.rint(degrade(halves.astype(np.float32), 4)))
    for path, image, factor in zip(coarse, smaller, (2, 1), strict=True):
        write_geotiff(
            path,
            image.astype(np.uint16),
            crs=info.crs,
            transform=transform @ at.scale(factor),
            descriptions=card.band_names if factor == 2 else ["B8"],
        )
    return coarse, whole
