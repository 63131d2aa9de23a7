"""How fast samples come: from our shards, from our reader on the native files, and from TorchGeo's SEN12MS data set.

All three read the same Sentinel-1 + Sentinel-2 images whole, in one order of their own, shuffled. TorchGeo's data set
is spared its land cover files. SEN12MS's own files are not compressed, so it is measured on such copies, too. What a
reader gives differs: TorchGeo the stored numbers as float32; ours physical units with NaN for no data, units checked.
All keep freed memory, as the workers of `msgfm pretrain` do: it makes TorchGeo faster, too.

Rounds are interleaved (every round runs each reader once), so that a machine that slows down slows all alike. On a
machine that others use too, `--cpu-time` gives ratios that hold.

`--corpus N` makes N images in GeoPile-2's proportions instead (RGB : Sentinel-1 and -2 : RGB and heights = 0.8 : 0.16 :
0.02), shards them, trains `small` on the shards for an epoch, and reports how long it waited and how the anonymous
memory of each process changed over the last half of the epoch: what allocators keep levels off, what is lost does not.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchgeo.datasets import SEN12MS

from msgfm.data.layouts import LayoutOptions, index_layout
from msgfm.data.memory import keep_freed_memory
from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest, write_manifest
from msgfm.data.sharding.plan import ShardOptions
from msgfm.data.sharding.write import write_shards
from msgfm.data.shards.read import open_shards
from msgfm.data.synthetic import write_world

EXAMPLES = """examples:
  python benchmarks/data_loading.py                              made-up SEN12MS, 96 pairs of 256 px
  python benchmarks/data_loading.py SEN12MS --samples 500        folders as its archives give them
  python benchmarks/data_loading.py --corpus 20000 --size 128 --work corpus   hours; goes on where it was stopped
"""
SHARES = {"rgb": (0.8, 1), "sen12ms": (0.16, 2), "rgb_dsm": (0.02, 2)}
"""Of the images of GeoPile-2, and images a sample."""
PARTS = 10
"""Of the last half of an epoch."""


class WithoutLandCover(SEN12MS):
    """TorchGeo's data set, on any number of samples, without reading the land cover that it gives as a mask."""

    def _load_raster(self, filename: str, source: str) -> Tensor:
        return torch.zeros(1, 1, 1) if source == "lc" else super()._load_raster(filename, source)


class Read(Dataset[dict[str, Tensor]]):
    """A reader as a data set of whole images, by name, in the form that the reader gives them."""

    def __init__(self, length: int, read: Callable[[int], dict[str, Tensor]]) -> None:
        self.length, self.read = length, read

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.read(index)


def ours(manifest: Manifest) -> Read:
    """Our reader."""

    def read(index: int) -> dict[str, Tensor]:
        images = read_sample(manifest.root, manifest.samples[index], manifest.sensors)
        return {name: torch.from_numpy(image) for name, image in images.items()}

    return Read(len(manifest.samples), read)


def torchgeos(manifest: Manifest, folder: Path, *, compressed: bool) -> Read:
    """TorchGeo's data set on the same files in its own layout (`ROIs1158_spring/s1_1/...`), or on copies."""
    names = []
    for sample in manifest.samples:
        for image in sample.images:
            path = manifest.root / image.files[0].path
            roi, season, kind, scene, _ = path.stem.split("_")
            copy = folder / f"{roi}_{season}" / f"{kind}_{scene}" / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if compressed:
                copy.symlink_to(path)
            else:
                with rasterio.open(path) as source:
                    kept = {key: source.profile[key] for key in ("count", "height", "width", "dtype")}
                    with rasterio.open(copy, "w", driver="GTiff", **kept) as target:
                        target.write(source.read())
        names.append(path.name)
    for light in WithoutLandCover.light_filenames[:4]:
        (folder / light).mkdir(exist_ok=True)
    for split in ("train", "test"):
        (folder / f"{split}_list.txt").write_text("\n".join(names))
    data = WithoutLandCover(str(folder))
    return Read(len(data), lambda index: {"image": data[index]["image"]})


def one_core(data: Read, order: Sequence[int], clock: Callable[[], float]) -> float:
    """Seconds to read all samples in this process."""
    begun = clock()
    for index in order:
        data[index]
    return clock() - begun


def two_cores(data: Read, order: Sequence[int], clock: Callable[[], float]) -> float:
    """Seconds to read all samples in two processes, each its half, that give nothing back."""
    context = multiprocessing.get_context("fork")
    times: Any = context.Queue()
    ready = context.Barrier(2)

    def work(part: Sequence[int]) -> None:
        one_core(data, part[:8], clock)  # a process that has just forked copies the memory that it writes to
        ready.wait()
        times.put(one_core(data, part, clock))

    processes = [context.Process(target=work, args=(order[start::2],)) for start in (0, 1)]
    for process in processes:
        process.start()
    taken = [times.get() for _ in processes]
    for process in processes:
        process.join()
    return float(max(taken))


def loaded(data: Read, order: Sequence[int]) -> float:
    """Seconds to get all samples, whole, in batches of 8 from torch's loader with two processes, after the first."""
    loader = DataLoader(
        data, batch_size=8, sampler=list(order), num_workers=2, worker_init_fn=lambda _: keep_freed_memory()
    )
    batches = iter(loader)
    next(batches)
    begun = time.perf_counter()
    for _ in batches:
        pass
    return (time.perf_counter() - begun) * len(order) / (len(order) - 8)


def measure_reading(arguments: argparse.Namespace, work: Path, console: Console) -> list[dict[str, Any]]:
    """The table of readers."""
    root = arguments.root
    if root is None:
        write_world(work / "world", scenes=arguments.samples, seed=0, size=arguments.size, kinds=("sen12ms",))
        root = work / "world" / "sen12ms"
    manifest = index_layout("sen12ms", root, LayoutOptions()).manifest
    paired = [sample for sample in manifest.samples if len(sample.images) == 2][: arguments.samples]
    manifest = Manifest(root=manifest.root, layout="sen12ms", sensors=manifest.sensors, samples=tuple(paired))
    index = write_shards(manifest, work / "shards", ShardOptions(accept=tuple(arguments.accept)))
    files = sum((manifest.root / i.files[0].path).stat().st_size for s in paired for i in s.images)
    console.print(f"{len(paired)} samples: {files / 1e6:.1f} MB in files, {index.size / 1e6:.1f} MB in shards")
    readers = {
        "TorchGeo, files": torchgeos(manifest, work / "torchgeo", compressed=True),
        "TorchGeo, uncompressed files": torchgeos(manifest, work / "torchgeo_plain", compressed=False),
        "ours, files": ours(manifest),
        "ours, shards": ours(open_shards(work / "shards")),
    }
    require_same(readers["ours, files"], readers["ours, shards"])
    clock = time.thread_time if arguments.cpu_time else time.perf_counter
    seconds: dict[str, dict[str, list[float]]] = {name: {"one": [], "two": [], "loader": []} for name in readers}
    rng = np.random.default_rng(0)
    for _ in track(range(arguments.rounds), "measuring", console=console, transient=True):
        order = rng.permutation(len(paired)).tolist()
        for name, reader in readers.items():
            seconds[name]["one"].append(one_core(reader, order, clock))
            seconds[name]["two"].append(two_cores(reader, order, clock))
            seconds[name]["loader"].append(loaded(reader, order))
    stored = sum(2 * 13 * i.height * i.width if i.sensor == "sentinel2" else 8 * i.height * i.width
                 for s in paired for i in s.images)  # fmt: skip
    medians = {name: {key: statistics.median(t) for key, t in times.items()} for name, times in seconds.items()}
    first = medians["TorchGeo, files"]
    return [
        {
            "reader": name,
            "one core: samples/s": len(paired) / median["one"],
            "MB/s": stored / 1e6 / median["one"],
            "ratio": first["one"] / median["one"],
            "two cores: samples/s": len(paired) / median["two"],
            "ratio ": first["two"] / median["two"],
            "loader: samples/s": len(paired) / median["loader"],
            "ratio  ": first["loader"] / median["loader"],
        }
        for name, median in medians.items()
    ]


def require_same(first: Read, second: Read) -> None:
    """Shards give what files give, bit for bit."""
    for index in range(min(len(first), 20)):
        one, other = first[index], second[index]
        if any(image.numpy().tobytes() != other[name].numpy().tobytes() for name, image in one.items()):
            raise SystemExit(f"sample {index} differs between files and shards")


def measure_corpus(arguments: argparse.Namespace, work: Path, console: Console) -> dict[str, Any]:
    """From images to an epoch of training on their shards."""
    total = sum(share for share, _ in SHARES.values())
    counts = {k: round(arguments.corpus * share / total / images) for k, (share, images) in SHARES.items()}
    facts: dict[str, Any] = {"samples": counts}
    sources = {}
    for kind, count in counts.items():
        write_world(work / "world", scenes=count, seed=0, size=arguments.size, kinds=(kind,), workers=2)
        begun = time.perf_counter()
        layout = {"sen12ms": "sen12ms", "rgb": "image-folder", "rgb_dsm": "pairs"}[kind]
        sensors = ("rgb=rgb", "dsm=dsm") if kind == "rgb_dsm" else ()
        manifest = index_layout(layout, work / "world" / kind, LayoutOptions(sensors=sensors)).manifest
        write_manifest(manifest, work / f"{kind}.parquet")
        indexed = time.perf_counter()
        options = ShardOptions(workers=2, accept=tuple(arguments.accept), skip_bad=arguments.skip_bad)
        index = write_shards(manifest, work / "shards" / kind, options)
        sharded = time.perf_counter()
        sources[kind] = {"manifest": str(work / "shards" / kind), "lr": 4e-4}
        facts[kind] = {
            "index_s": indexed - begun,
            "shard_s": sharded - indexed,
            "left_out": len(index.left_out),
            "chunks": len(index.chunks),
            "mb": index.size / 1e6,
        }
        console.print(f"{kind}: {facts[kind]}")
    return facts | train(sources, work, console)


def train(sources: dict[str, Any], work: Path, console: Console) -> dict[str, Any]:
    """An epoch of `small` on two cores, in a process of its own, watched from outside."""
    recipe = yaml.safe_load((Path(__file__).parents[1] / "recipes" / "pretrain" / "small.yaml").read_text())
    recipe |= {"out": str(work / "run"), "sources": sources, "epochs": 1}
    recipe["mixture"] |= {"batch_size": 24}
    recipe["optim"] |= {"warmup_epochs": 0.1}
    recipe["log"] = {"picture_every_steps": None}
    (work / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = [str(Path(sys.executable).with_name("msgfm")), "pretrain", str(work / "recipe.yaml")]
    if (work / "run" / "checkpoints").is_dir():
        command.append("--resume")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    memory: dict[str, list[tuple[int, float]]] = {}
    while process.poll() is None:
        step = steps_done(work / "run" / "log.csv")
        for number, pid in enumerate([process.pid, *children(process.pid)]):
            name = "trainer" if number == 0 else f"reader {number}"
            if (size := own_memory(pid)) is not None:
                memory.setdefault(name, []).append((step, size))
        time.sleep(2)
    if process.returncode:
        raise SystemExit(f"training ended with code {process.returncode}")
    with (work / "run" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    took = [float(row["images"]) / float(row["images_per_s"]) for row in rows]
    waited = [float(row["data_wait"]) * seconds for row, seconds in zip(rows, took, strict=True)]
    # starting takes memory of its own, and so do the pictures and scores after the last step
    training = {name: [one for one in seen if 0 < one[0] < len(rows)] for name, seen in memory.items()}
    # the first step of each source waits for processes to start
    first = len(sources)
    return {
        "steps": len(rows),
        "images": sum(int(row["images"]) for row in rows),
        "images_per_s": sum(int(row["images"]) for row in rows) / sum(took),
        "data_wait": sum(waited[first:]) / sum(took[first:]),
        "memory_mb": {name: growth(seen) for name, seen in training.items() if len(seen) >= 4 * PARTS},
    }


def steps_done(log: Path) -> int:
    """Rows of a `log.csv`, of which there may be none yet."""
    return max(log.read_bytes().count(b"\n") - 1, 0) if log.is_file() else 0


def growth(seen: list[tuple[int, float]]) -> dict[str, float]:
    """How the memory of a process changes over the last half of its steps.

    A step of a large batch takes more than one of a small batch, so single samples spread widely. The half is cut into
    `PARTS`; a straight line goes through what each part's memory reached in a tenth of its samples.

    Args:
        seen: steps done and memory in MB, in the order of time.

    Returns:
        That height of the first and the last part, the largest sample of the half and of all before, the line's
        slope in MB per 1000 steps, and the slope's standard error.
    """
    steps, sizes = np.array(seen).T
    last = steps > (steps[0] + steps[-1]) / 2
    parts = np.array_split(np.flatnonzero(last), PARTS)
    x = np.array([np.median(steps[part]) for part in parts]) / 1000
    y = np.array([np.quantile(sizes[part], 0.9) for part in parts])
    line, covariance = np.polyfit(x, y, 1, cov=True)
    facts = {
        "first_part": y[0],
        "last_part": y[-1],
        "highest": sizes[last].max(),
        "highest_before": sizes[~last].max(),
        "slope_per_1000_steps": line[0],
        "standard_error": covariance[0, 0] ** 0.5,
    }
    return {name: float(value) for name, value in facts.items()}


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())
    except OSError:
        return []


def own_memory(pid: int) -> float | None:
    """Megabytes of a process that are not of files (RssAnon): what other processes do changes nothing in it.

    A reader is forked from the trainer: what the trainer had then counts for both.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon:")), None)


def print_table(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Readers, one a row."""
    table = Table()
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading == "reader" else "right")
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else f"{value:.3g}" for value in row.values()))
    console.print(table)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", nargs="?", type=Path, help="SEN12MS's folder; default: a made-up one")
    parser.add_argument("--samples", type=int, default=96, help="pairs to read")
    parser.add_argument("--size", type=int, default=256, help="pixels along a side of made-up images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="count CPU time, not wall-clock (but for the loader)")
    parser.add_argument("--corpus", type=int, help="images of the corpus to make and train on")
    parser.add_argument("--accept", action="append", default=[], help="kind of finding to let through")
    parser.add_argument("--skip-bad", type=int, default=0, help="samples of the corpus that may be left out")
    parser.add_argument("--work", type=Path, help="folder to work in and keep; default: a temporary one")
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    return parser.parse_args()


def main() -> None:
    """Measures and prints."""
    arguments = parse_arguments()
    console = Console()
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if arguments.corpus:
            result: Any = measure_corpus(arguments, work.resolve(), console)
            console.print_json(json.dumps(result))
        else:
            result = measure_reading(arguments, work.resolve(), console)
            print_table(result, console)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
