"""One pretraining step of msGFM, dense and with experts, against timm's Swin with SimMIM's head, at the same shape.

The mixture is measured at the paper's capacity, where an untrained router drops tokens and so saves work, and without
a limit, where every token passes through an expert: a trained, balanced router lies between the two.

Rounds are interleaved (every round runs each configuration once), so that a machine that slows down slows all alike.
Peak memory is taken in a fresh process for each configuration. On a machine that others use too, `--cpu-time
--threads 1` gives ratios that hold: it counts only the time that the process itself was running.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from msgfm.models.moe import MoEStatistics
from msgfm.models.msgfm import MsGFM, MsGFMConfig
from msgfm.models.patch_embed import PatchEmbedConfig
from msgfm.models.swin import EncoderConfig
from msgfm.sensors import load_sensor

EXAMPLES = """examples:
  python benchmarks/pretrain_step.py                                    the paper's base, batch 16, 192 px
  python benchmarks/pretrain_step.py --preset tiny --batch-size 2 --rounds 2     a minute, to see that it runs
  python benchmarks/pretrain_step.py --device cuda --batch-size 128 --rounds 20 --json gpu.json
"""
MODELS = ("timm + SimMIM", "dense", "MoE", "MoE, no limit")
PRECISIONS = ("float32", "bfloat16")
MASK_PATCH = 32


class Configuration(NamedTuple):
    """What is measured: one of MODELS in one of PRECISIONS."""

    model: str
    precision: str


class Step(NamedTuple):
    """Seconds of the parts of one step, and the share of tokens that the mixtures dropped."""

    forward: float
    backward: float
    optimizer: float
    dropped: float

    @property
    def total(self) -> float:
        """Seconds of the whole step."""
        return self.forward + self.backward + self.optimizer


class TimmSimMIM(nn.Module):
    """SimMIM (Xie et al. 2021) around timm's Swin, without dropout: what the step is compared with."""

    def __init__(self, encoder: EncoderConfig, image_size: int) -> None:
        super().__init__()
        self.swin = SwinTransformer(
            img_size=image_size,
            num_classes=0,
            drop_path_rate=0.0,
            **encoder.model_dump(include={"embed_dim", "depths", "num_heads", "window_size"}),
        )
        stride = 4 * encoder.downsampling
        self.mask_token = nn.Parameter(torch.zeros(encoder.embed_dim))
        self.decoder = nn.Sequential(nn.Conv2d(encoder.stage_dims[-1], stride**2 * 3, 1), nn.PixelShuffle(stride))

    def forward(self, image: Tensor, hidden: Tensor) -> Tensor:
        """The loss. image: (B, 3, H, W). hidden: (B, H / 32, W / 32) bool."""
        tokens = self.swin.patch_embed(image)  # B h w C
        factor = tokens.shape[1] // hidden.shape[1]
        weight = hidden.repeat_interleave(factor, 1).repeat_interleave(factor, 2)[..., None].to(tokens.dtype)
        features = self.swin.norm(self.swin.layers(tokens * (1 - weight) + self.mask_token.to(tokens.dtype) * weight))
        prediction: Tensor = self.decoder(features.permute(0, 3, 1, 2))
        mask = hidden.repeat_interleave(MASK_PATCH, 1).repeat_interleave(MASK_PATCH, 2)[:, None].float()
        return ((prediction.float() - image).abs() * mask).sum() / (mask.sum() + 1e-5) / 3


class Objective(NamedTuple):
    """A loss, and the share of tokens that the mixtures dropped."""

    loss: Tensor
    dropped: float


def dropped_share(mixtures: list[MoEStatistics]) -> float:
    """Of the tokens of all mixtures; 0 where there is none."""
    wanted = sum(float(mixture.load.sum()) for mixture in mixtures)
    return sum(float(mixture.dropped) for mixture in mixtures) / wanted if wanted else 0.0


def make_objective(model: str, args: argparse.Namespace) -> tuple[nn.Module, Callable[[], Objective]]:
    """The named model, and a function that computes its loss on a batch that stays the same."""
    generator = torch.Generator().manual_seed(0)
    side = args.image_size // MASK_PATCH
    image = torch.rand(args.batch_size, 3, args.image_size, args.image_size, generator=generator)
    hidden = torch.rand(args.batch_size, side, side, generator=generator) < 0.6
    image, hidden = image.to(args.device), hidden.to(args.device)
    settings: dict[str, Any] = {"preset": args.preset, "window_size": args.window}
    if model == "MoE, no limit":
        settings["moe"] = {"capacity_factor": float(args.batch_size * args.image_size**2)}
    elif model != "MoE":
        settings["moe"] = None
    encoder = EncoderConfig.model_validate(settings)
    torch.manual_seed(0)
    if model == "timm + SimMIM":
        reference = TimmSimMIM(encoder, args.image_size).to(args.device)
        return reference, lambda: Objective(reference(image, hidden), 0.0)
    rgb = load_sensor("rgb")
    config = MsGFMConfig(sensors=(rgb,), encoder=encoder, patch_embed=PatchEmbedConfig(kind="strided"))
    ours = MsGFM(config).to(args.device)
    pixels = image * (rgb.bands[0].valid_range[1] - rgb.bands[0].valid_range[0]) + rgb.bands[0].valid_range[0]
    targets = {"rgb": torch.zeros(args.batch_size, dtype=torch.long, device=args.device)}

    def objective() -> Objective:
        output = ours({"rgb": pixels}, {"rgb": hidden}, targets)
        return Objective(output.loss, dropped_share(output.mixtures))

    return ours, objective


class Runner:
    """A model with its optimiser, ready to take steps."""

    def __init__(self, model: str, args: argparse.Namespace) -> None:
        self.device = torch.device(args.device)
        self.clock = time.process_time if args.cpu_time else time.perf_counter
        self.module, self.objective = make_objective(model, args)
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
        self.parameters = sum(p.numel() for p in self.module.parameters())

    def step(self, precision: str) -> Step:
        """Takes one step."""
        start = self._now()
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            loss, dropped = self.objective()
        forward = self._now()
        loss.backward()
        backward = self._now()
        self.optimizer.step()
        return Step(forward - start, backward - forward, self._now() - backward, dropped)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return self.clock()


def all_configurations(args: argparse.Namespace) -> list[Configuration]:
    """Every model in every precision asked for."""
    return [Configuration(model, precision) for precision in args.precision for model in MODELS]


def measure_times(args: argparse.Namespace, console: Console) -> dict[Configuration, list[Step]]:
    """Steps of every configuration, in interleaved rounds after one round to warm up."""
    runners = {model: Runner(model, args) for model in MODELS}
    configurations = all_configurations(args)
    steps: dict[Configuration, list[Step]] = {configuration: [] for configuration in configurations}
    for number in track(range(args.rounds + 1), "rounds", console=console):
        for configuration in configurations:
            step = runners[configuration.model].step(configuration.precision)
            if number:
                steps[configuration].append(step)
    return steps


def peak_memory(configuration: Configuration, args: argparse.Namespace) -> float:
    """GiB at the peak of two steps, in a process of its own."""
    options = [f"--{name.replace('_', '-')}={getattr(args, name)}" for name in SHAPE_OPTIONS]
    command = [sys.executable, __file__, *options, "--memory-of", *configuration]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak_memory(configuration: Configuration, args: argparse.Namespace) -> None:
    """What the process of `peak_memory` does."""
    runner = Runner(configuration.model, args)
    for _ in range(2):
        runner.step(configuration.precision)
    if args.device == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**30)
    else:
        # not getrusage, whose peak is inherited from the process that started this one
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        print(int(peak) / 2**20)


def matmul_peak(device: str) -> float:
    """Floating point operations per second of a large bf16 matrix product: the best of ten."""
    n = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


def model_flops(args: argparse.Namespace) -> float:
    """Floating point operations of one dense step: matrix products, forward and backward (twice the forward)."""
    from torch.utils.flop_counter import FlopCounterMode

    _, objective = make_objective("dense", args)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        objective()
    return 3 * float(counter.get_total_flops())


def summarize(
    args: argparse.Namespace, steps: dict[Configuration, list[Step]], memory: dict[Configuration, float]
) -> list[dict[str, Any]]:
    """One row of numbers per configuration: medians over the rounds, and ratios of the steps' medians."""
    peak, flops = (matmul_peak(args.device), model_flops(args)) if args.device == "cuda" else (None, 0.0)
    medians = {configuration: statistics.median(step.total for step in taken) for configuration, taken in steps.items()}
    rows = []
    for configuration, taken in steps.items():
        seconds = medians[configuration]
        row: dict[str, Any] = {"model": configuration.model, "precision": configuration.precision}
        row |= {"images/s": args.batch_size / seconds, "step_s": seconds}
        row |= {part: statistics.median(getattr(step, part) for step in taken) for part in Step._fields}
        row["vs_timm"] = seconds / medians[Configuration("timm + SimMIM", configuration.precision)]
        row["vs_dense"] = seconds / medians[Configuration("dense", configuration.precision)]
        if memory:
            row["peak_gib"] = memory[configuration]
        if peak:
            row["share_of_peak"] = flops / seconds / peak
        rows.append(row)
    return rows


def print_table(rows: list[dict[str, Any]], args: argparse.Namespace, console: Console) -> None:
    """The rows, and under what circumstances they were measured."""
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    title = (
        f"{args.preset}, batch {args.batch_size}, {args.image_size} px, window {args.window}; {where}; "
        f"torch {torch.__version__}; medians of {args.rounds} interleaved rounds; GiB; "
        f"{'CPU' if args.cpu_time else 'wall-clock'} seconds"
    )
    table = Table(*[name.replace("_", " ") for name in rows[0]], title=title, box=box.SIMPLE)
    for row in rows:
        table.add_row(*[value if isinstance(value, str) else f"{value:.3g}" for value in row.values()])
    console.print(table)


SHAPE_OPTIONS = ("preset", "batch_size", "image_size", "window", "threads", "device")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="base", choices=("base", "small", "tiny"), help="encoder (base)")
    parser.add_argument("--batch-size", type=int, default=16, help="images a step (16)")
    parser.add_argument("--image-size", type=int, default=192, help="side in pixels, a multiple of 32 (192)")
    parser.add_argument("--window", type=int, default=6, help="side of an attention window in tokens (6)")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", nargs="+", default=PRECISIONS, choices=PRECISIONS, help="(both)")
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds of the process, not those of the clock")
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory (two steps each)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the numbers to this file")
    parser.add_argument("--memory-of", nargs=2, metavar=("MODEL", "PRECISION"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cpu_time and args.device != "cpu":
        parser.error("--cpu-time measures nothing on a GPU")
    if args.image_size % MASK_PATCH:
        parser.error(f"--image-size {args.image_size} is not a multiple of {MASK_PATCH}")
    return args


def main() -> None:
    """Measures and prints."""
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print_peak_memory(Configuration(*args.memory_of), args)
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    # memory first: while its processes run, this one must not hold the models
    memory = {} if args.no_memory else {each: peak_memory(each, args) for each in all_configurations(args)}
    rows = summarize(args, measure_times(args, console), memory)
    print_table(rows, args, console)
    if args.json:
        settings = {name: getattr(args, name) for name in SHAPE_OPTIONS} | {
            "rounds": args.rounds,
            "cpu_time": args.cpu_time,
        }
        args.json.write_text(json.dumps({"torch": torch.__version__, "settings": settings, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
