"""Real scenes through the command line: clouds, water, pan-sharpening, aerial photographs; scores and pictures.

    python benchmarks/real_scenes.py DATA MODELS OUT [--cases clouds water ...]

DATA is the folder of the real pack. MODELS holds the runs `clouds`, `water` and `pan` (fine-tuned as docs/results.md,
"Whole scenes", says) and the pretrained `small`. Every case runs `msgfm` as a user does, has `rio cogeo validate` look
at what came out, reads the result as any scene is read, and scores it beside what needs no training. OUT gets the
results, a table and a picture of each case.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import numpy as np
import torch
from numpy.typing import NDArray
from scene_commands import Table, made, msgfm, require_cogs, restored_scores
from scene_pictures import (
    RIGHT_AND_WRONG,
    UNIT,
    Image,
    Panel,
    classes,
    draw_panels,
    radar,
    read_scene,
    right_and_wrong,
    shown,
    stretch,
)
from scene_search import aerial
from scene_sharpening import pan
from task_runs import write_table

from msgfm.display import COLOURS
from msgfm.geo.raster import read_bands
from msgfm.metrics.segmentation import SegmentationMetrics
from msgfm.models.baselines.clear import CLOUDY, cloudiness, mean_of_clear
from msgfm.sensors import load_sensor

S1, S2 = load_sensor("sentinel1"), load_sensor("sentinel2")
FLOODS = "v1.1/data/flood_events/HandLabeled"


def main() -> None:
    """Runs the cases."""
    cases = {"clouds": clouds, "water": water, "pan": pan, "aerial": aerial}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the real pack")
    parser.add_argument("models", type=Path, help="folder of the models")
    parser.add_argument("out", type=Path)
    parser.add_argument("--cases", nargs="+", choices=list(cases), default=list(cases))
    arguments = parser.parse_args()
    for name in arguments.cases:
        (arguments.out / name).mkdir(parents=True, exist_ok=True)
        headings, rows = cases[name](arguments.data, arguments.models, arguments.out / name)
        write_table(arguments.out / f"{name}.md", headings, rows)
        print((arguments.out / f"{name}.md").read_text())


def clouds(data: Path, models: Path, out: Path) -> Table:
    """SEN12MS-CR's one triplet, which no model here was trained on."""
    name = "ROIs1970_fall_{}_139_p839.tif"
    files = {
        kind: data / f"SEN12MS-CR/ROIs1970_fall_{kind}/{kind}_139/{name.format(kind)}"
        for kind in ("s1", "s2", "s2_cloudy")
    }
    result = out / "results" / "clear.tif"
    names = ",".join(S2.band_names)
    msgfm(
        *("predict", models / "clouds/seed_0", "--sentinel1", files["s1"], "--sentinel2@cloudy", files["s2_cloudy"]),
        *("--bands", "sentinel1=VV,VH", "--bands", f"sentinel2@cloudy={names}"),
        *("--out", made(result), "--synthesised", "--uncertainty", "--overwrite"),
    )
    require_cogs(result.parent)
    cloudy, truth = (read_scene(S2, [files[kind]], S2.band_names)[0] for kind in ("s2_cloudy", "s2"))
    clear, _ = read_scene(S2, [result])
    seen = torch.from_numpy(cloudy)[None]
    covered = cloudiness(seen, S2) >= CLOUDY
    filled = mean_of_clear(seen, covered, []).numpy()[0]
    rows = []
    for label, image in {"model": clear, "copy": cloudy, "mean of clear neighbours": filled}.items():
        row = [label, *restored_scores(image, truth)]
        for part in (covered.numpy()[0], ~covered.numpy()[0]):
            row.append(restored_scores(np.where(part, image, np.float32(np.nan)), truth)[0])
        rows.append(row)
    rgb = list(S2.indices_of(S2.display))
    ends = stretch(truth[rgb])
    deviation = read_bands(result.with_name("clear_uncertainty.tif")).data[rgb].mean(0, keepdims=True)
    changed = read_bands(result.with_name("clear_synthesised.tif")).data[0].astype(int)
    radar_image, _ = read_scene(S1, [files["s1"]], ("VV", "VH"))
    draw_panels(
        out.with_suffix(".png"),
        [
            [
                ("Sentinel-1 (VV, VH, VV - VH)", radar(radar_image)),
                ("Sentinel-2, cloudy", shown(cloudy[rgb], ends)),
                ("msgfm predict", shown(clear[rgb], ends)),
                ("Sentinel-2, another day", shown(truth[rgb], ends)),
            ],
            [
                ("mean of clear neighbours", shown(filled[rgb], ends)),
                ("found cloudy (rule)", shown(covered.float().numpy(), UNIT)),
                ("--synthesised (orange)", classes(changed, COLOURS[:2])),
                ("--uncertainty of RGB, own stretch", shown(deviation)),
            ],
        ],
    )
    print(f"found cloudy: {covered.float().mean():.1%}")
    return ("", "MAE", "PSNR, dB", "SAM, degrees", "MAE where cloudy", "MAE elsewhere"), rows


def water(data: Path, models: Path, out: Path) -> Table:
    """Sen1Floods11's two chips of Spain, which the model was tested on; radar alone."""
    rows, panels = [], []
    for folder, chip in (("Sen1Floods11", "Spain_7370579"), ("Sen1Floods11-S1", "Spain_6860600")):
        files = data / folder / FLOODS
        result = made(out / "results" / f"{chip}.tif")
        source = files / "S1Hand" / f"{chip}_S1Hand.tif"
        msgfm("predict", models / "water/seed_0", "--sentinel1", source, "--out", result, "--entropy", "--overwrite")
        truth = read_bands(files / "LabelHand" / f"{chip}_LabelHand.tif").data[0].astype(np.int64)
        image, _ = read_scene(S1, [source])
        threshold = otsu(image[0])
        rule = f"VV below {threshold:.1f} dB (Otsu)"
        maps = {
            "model": read_bands(result).data[0].astype(np.int64),
            rule: (image[0] < threshold).astype(np.int64),
        }
        optical = files / "S2Hand" / f"{chip}_S2Hand.tif"
        row: list[Panel] = [("Sentinel-1 (VV, VH, VV - VH)", radar(image))]
        if optical.is_file():
            reflectance, _ = read_scene(S2, [optical])
            green, infrared = reflectance[list(S2.indices_of(("B03", "B08")))]
            maps["NDWI above 0 (Sentinel-2)"] = (green > infrared).astype(np.int64)
            row.append(("Sentinel-2 (model does not see it)", shown(reflectance[list(S2.indices_of(S2.display))])))
        known = np.isfinite(image).all(0)
        for label, numbers in maps.items():
            rows.append([chip, label, *water_scores(np.where(known, numbers, 0), np.where(known, truth, -1))])
        row.append((f"msgfm predict: {RIGHT_AND_WRONG}", right_and_wrong(maps["model"], truth)))
        row.append((f"{rule}, likewise", right_and_wrong(maps[rule], truth)))
        panels.append(row)
    require_cogs(out / "results")
    draw_panels(out.with_suffix(".png"), panels[:1])
    return ("chip", "", "IoU of water", "precision", "recall", "accuracy", "share of water"), rows


def water_scores(predicted: NDArray[np.int64], truth: NDArray[np.int64]) -> list[str]:
    """Of one chip."""
    metrics = SegmentationMetrics(("not water", "water"))
    metrics.update(torch.from_numpy(predicted)[None], torch.from_numpy(truth)[None])
    scores = metrics.compute()
    shares = [f"{scores[name]:.3f}" for name in ("iou", "precision", "recall", "accuracy")]
    return [*shares, f"{(truth == 1).sum() / (truth >= 0).sum():.1%}"]


def otsu(values: Image) -> float:
    """The threshold that parts values into two kinds with the most variance between them (Otsu, 1979)."""
    counts, edges = np.histogram(values[np.isfinite(values)], bins=256)
    middles = (edges[1:] + edges[:-1]) / 2
    below = counts.cumsum()
    above, total = below[-1] - below, (counts * middles).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(edges[1:][np.nanargmax(between)])


if __name__ == "__main__":
    main()
