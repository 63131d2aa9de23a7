"""Whole scenes through a model: speed, peak memory and where the time goes, beside TerraTorch's tiled inference.

    pip install terratorch
    python benchmarks/scene.py [--sizes 1024 2048 4096 10980] [--rounds 3]

A made-up Sentinel-2 scene of 13 bands, as a GeoTIFF; a segmentation model of the `tiny` encoder, 10 classes, random
weights; the same windows (side, step, and the border of each that is thrown away) for both. Each measurement is a
process of its own, from the file to the written class map, rounds interleaved; medians are shown. The clock begins
when libraries and model are loaded; peak memory is that of the whole process, and what does not fit fails. `model
alone` is what as many windows would take on as many threads when nothing else is done, by the time of some batches:
no engine can be faster.

TerraTorch's function takes an array and gives one: the file is read by rasterio at once, as float32, and the class map
written as a GeoTIFF without overviews, which is less than is done here. It is given logits and spared the softmax.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.windows import Window as RasterWindow
from rich.console import Console
from rich.progress import track
from rich.table import Table

from msgfm.config import config_from_dict
from msgfm.data.memory import keep_freed_memory
from msgfm.geo.tiling import Tiling
from msgfm.models.downstream import DownstreamConfig, DownstreamModel
from msgfm.models.pretrained import load_downstream, save_pretrained
from msgfm.scenes.threads import model_threads
from msgfm.sensors import load_sensor

CLASSES = 10
GSD_M = 10
BLOCK = 512
LEFT_BYTES = 2**30
WAYS = ("model alone", "msgfm", "TerraTorch")


def make_model(folder: Path) -> None:
    """A segmentation model with random weights."""
    torch.manual_seed(0)
    task = {"kind": "segmentation", "classes": [f"class {number}" for number in range(CLASSES)]}
    sensors = [load_sensor("sentinel2").model_dump()]
    facts = {"sensors": sensors, "inputs": ["sentinel2"], "task": task, "encoder": "tiny"}
    save_pretrained(DownstreamModel(config_from_dict(DownstreamConfig, facts, "benchmark")), folder)


def make_scene(path: Path, size: int) -> None:
    """Smooth fields and noise, as Sentinel-2 stores them."""
    names, rng = load_sensor("sentinel2").band_names, np.random.default_rng(0)
    unfinished = path.with_suffix(".unfinished")
    profile = {
        "driver": "GTiff",
        "count": len(names),
        "height": size,
        "width": size,
        "dtype": "uint16",
        "nodata": 0,
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(GSD_M, 0, 5e5, 0, -GSD_M, 5e6),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "zlevel": 1,
        "predictor": 2,
        "bigtiff": "if_safer",
    }
    columns = np.arange(size)[None]
    with rasterio.open(unfinished, "w", **profile) as file:
        for band, name in enumerate(names, 1):
            file.set_band_description(band, name)
        for top in range(0, size, BLOCK):
            rows = np.arange(top, min(top + BLOCK, size))[:, None]
            base = 1500 + 800 * np.sin((columns + 37) / 90) * np.cos(rows / 70)
            for band in range(len(names)):
                values = base * (1 + 0.03 * band) + rng.normal(0, 40, base.shape)
                file.write(values.astype(np.uint16), band + 1, window=RasterWindow(0, top, size, len(rows)))
    unfinished.rename(path)


def run_model_alone(model: Path, scene: Path, options: argparse.Namespace) -> dict[str, Any]:
    """As many windows of the scene's corner as the scene has."""
    keep_freed_memory()
    loaded = load_downstream(model).eval()
    window = min(options.window, options.size)
    with rasterio.open(scene) as file:
        image = file.read(window=RasterWindow(0, 0, window, window), out_dtype=np.float32) * np.float32(1e-4)
    batch = {"sentinel2": torch.from_numpy(image).expand(options.batch_size, *image.shape).contiguous()}
    batches = math.ceil(windows_of(options) / options.batch_size)
    some = min(batches, options.model_batches)

    def run(_: int) -> None:
        with torch.inference_mode():
            loaded(batch).softmax(1)

    with model_threads("cpu") as threads, ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(threads)))
        begun = time.perf_counter()
        list(pool.map(run, range(some)))
        seconds = (time.perf_counter() - begun) / some * batches
    return {"seconds": seconds, "stages": {"model": seconds}}


def run_msgfm(model: Path, scene: Path, options: argparse.Namespace) -> dict[str, Any]:
    """`msgfm predict`."""
    from msgfm.scenes.predict import predict_scene
    from msgfm.scenes.products import ProductOptions
    from msgfm.scenes.settings import Running, SceneInputs

    load_downstream(model)  # what it imports is not counted for TerraTorch, either
    running = Running(
        window=options.window, overlap=options.overlap, batch_size=options.batch_size, device="cpu", overwrite=True
    )
    begun = time.perf_counter()
    outcome = predict_scene(
        str(model),
        SceneInputs(images={"sentinel2": [str(scene)]}),
        options.work / "msgfm.tif",
        ProductOptions(),
        running,
    )
    return {"seconds": time.perf_counter() - begun, "stages": outcome.clock.seconds}


def run_terratorch(model: Path, scene: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Its function for tiled inference between a read and a write."""
    from terratorch.tasks.tiled_inference import tiled_inference

    loaded = load_downstream(model).eval()
    stages: dict[str, float] = {}

    def forward(image: torch.Tensor, **_: Any) -> torch.Tensor:
        logits: torch.Tensor = timed("model", lambda: loaded({"sentinel2": image}))
        return logits

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        made = work()
        stages[stage] = stages.get(stage, 0.0) + time.perf_counter() - begun
        return made

    def read() -> torch.Tensor:
        with rasterio.open(scene) as file:
            image = file.read(out_dtype=np.float32)
        image *= np.float32(1e-4)
        return torch.from_numpy(image)[None]

    def write(classes: torch.Tensor) -> None:
        with rasterio.open(scene) as file:
            profile = file.profile | {"count": 1, "dtype": "uint8", "nodata": 255}
        with rasterio.open(options.work / "terratorch.tif", "w", **profile) as file:
            file.write(classes[0].numpy().astype(np.uint8), 1)

    begun = time.perf_counter()
    image = timed("reading", read)
    with torch.inference_mode():
        logits = timed(
            "tiles",
            lambda: tiled_inference(
                forward,
                image,
                crop=options.window,
                stride=options.window - options.overlap,
                delta=options.overlap // 4,
                batch_size=options.batch_size,
                padding="reflect" if options.terratorch_padding else False,
            ),
        )
    timed("writing", lambda: write(logits.argmax(1)))
    stages["blending"] = stages.pop("tiles") - stages["model"]
    return {"seconds": time.perf_counter() - begun, "stages": stages}


RUNS = {"model alone": run_model_alone, "msgfm": run_msgfm, "TerraTorch": run_terratorch}


def windows_of(options: argparse.Namespace) -> int:
    """Of a scene."""
    tiling = Tiling(height=options.size, width=options.size, window=options.window, overlap=options.overlap)
    return len(tiling.rows.starts) * len(tiling.columns.starts)


def measure(way: str, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """One way in a process of its own."""
    own = ["--one", way, "--sizes", str(size)] + ([] if options.terratorch_padding else ["--no-terratorch-padding"])
    for name in ("work", "window", "overlap", "batch_size", "threads", "model_batches"):
        own += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(
        [sys.executable, __file__, *own], capture_output=True, text=True, check=False, preexec_fn=leave_some_memory
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"failed": f"ended with {done.returncode}: {reason}"}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def leave_some_memory() -> None:
    """What does not fit into this machine's memory fails, rather than take others with it."""
    free = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    resource.setrlimit(resource.RLIMIT_DATA, (int(free.split()[1]) * 1024 - LEFT_BYTES,) * 2)


def measure_here(options: argparse.Namespace) -> None:
    """What a process of `measure` does; prints JSON."""
    torch.set_num_threads(options.threads)
    options.size = options.sizes[0]
    result = RUNS[options.one](options.work / "model", options.work / f"scene_{options.size}.tif", options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**result, "peak": peak}))


def shown(way: str, size: int, results: list[dict[str, Any]], options: argparse.Namespace) -> list[str]:
    """A row of the table."""
    good = [one for one in results if "failed" not in one]
    if not good:
        return [str(size), way, results[0]["failed"][:60], "", "", "", ""]
    options.size = size
    seconds = statistics.median(one["seconds"] for one in good)
    middle = min(good, key=lambda one: abs(one["seconds"] - seconds))
    shares = ", ".join(f"{stage} {spent / middle['seconds']:.0%}" for stage, spent in middle["stages"].items())
    peak = statistics.median(one["peak"] for one in good) / 1e9
    area = (size * GSD_M / 1e3) ** 2
    per_second = windows_of(options) / seconds
    return [
        str(size),
        way,
        f"{seconds:.1f}",
        f"{area / seconds:.1f}",
        f"{per_second:.1f}",
        "" if way == "model alone" else f"{peak:.2f}",
        shares,
    ]


def compared(size: int, results: dict[str, list[dict[str, Any]]]) -> str:
    """Ours against the others, by medians."""

    def middle(way: str, fact: str) -> float:
        return float(statistics.median([one[fact] for one in results[way] if "failed" not in one] or [math.nan]))

    ours, theirs, floor = (middle(way, "seconds") for way in ("msgfm", "TerraTorch", "model alone"))
    told = f"{size} px: {1 - floor / ours:.1%} of the time is not the model's"
    if math.isnan(theirs):
        return f"{told}; TerraTorch did not finish"
    memory = middle("msgfm", "peak") / middle("TerraTorch", "peak")
    return f"{told}; {theirs / ours:.2f} x TerraTorch's speed in {memory:.2f} of its memory"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096, 10980], help="of a side, pixels")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=int, default=192)
    parser.add_argument("--overlap", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--model-batches", type=int, default=50, help="that the model alone is timed on, at most")
    parser.add_argument("--terratorch-padding", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--work", type=Path, help="folder for model, scenes and results; default: a temporary one")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return measure_here(options)
    with tempfile.TemporaryDirectory() as temporary:
        options.work = options.work or Path(temporary)
        options.work.mkdir(parents=True, exist_ok=True)
        make_model(options.work / "model")
        run_all(options)


def run_all(options: argparse.Namespace) -> None:
    """Every size, every way, round by round; the table grows as sizes are done."""
    console = Console()
    table = Table(title=f"windows of {options.window} px, overlap {options.overlap}; {options.threads} threads")
    for heading in ("px", "", "s", "km²/s", "windows/s", "peak GB", "of the time"):
        table.add_column(heading, justify="left" if heading in ("", "of the time") else "right")
    told = []
    for size in options.sizes:
        scene = options.work / f"scene_{size}.tif"
        if not scene.exists():
            make_scene(scene, size)
        results: dict[str, list[dict[str, Any]]] = {way: [] for way in options.ways}
        for _ in track(range(options.rounds), f"{size} px", console=console):
            for way in options.ways:
                results[way].append(measure(way, size, options))
        for way in options.ways:
            table.add_row(*shown(way, size, results[way], options))
        if set(options.ways) == set(WAYS):
            told.append(compared(size, results))
        console.print(table)
    for line in told:
        console.print(line)


if __name__ == "__main__":
    main()
