"""Does pretraining help where labels are few? Fine-tuning from a pretrained encoder and from random weights, a table.

    python benchmarks/few_labels.py --init runs/small --out runs/few_labels [--tasks ucmerced ...] [--steps 200]

Run it where `examples/index_finetune_pack.sh` and `examples/index_synth_pack.sh` were run. For each task and share of
the training labels all ways have the same encoder, labels, steps and seeds. Random weights are trained by the recipe,
and once more with one learning rate for all layers: a rate that falls from layer to layer suits pretrained ones. `rule`
is what needs no training: the commonest class, the copy of the cloudy image, or bicubic interpolation. What was
finished is kept, so that a run that was stopped goes on; table and picture are written anew after every task.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from task_runs import RECIPES, scores_of, train, write_table

from msgfm.config import config_to_dict, load_config
from msgfm.data.tasks import load_task_data
from msgfm.display import COLOURS
from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.metrics import higher_is_better
from msgfm.models.pretrained import load_model_config
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.finetuning.results import read_facts

SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A task, the metrics that are shown of it, and the rule that needs no training."""

    metrics: tuple[str, ...]
    rule: str
    changes: tuple[str, ...] = ()


STUDIES = {
    "ucmerced": Study(metrics=("accuracy",), rule="class_prior"),
    "ombria_flood": Study(metrics=("miou",), rule="class_prior"),
    "hls_water": Study(metrics=("miou",), rule="class_prior"),
    "synth_scenes": Study(metrics=("accuracy",), rule="class_prior"),
    "synth_urban": Study(metrics=("miou",), rule="class_prior"),
    "synth_landcover": Study(metrics=("miou",), rule="class_prior"),
    "synth_clouds": Study(metrics=("mae", "sam"), rule="copy"),
    "synth_pansharpening": Study(metrics=("psnr", "sam"), rule="bicubic"),
}


RANDOM = ("random", "random, even rate")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Scores of all seeds by way, of one task, share of labels and metric."""

    task: str
    fraction: float
    images: int
    metric: str
    scores: dict[str, list[float]]

    def cells(self) -> list[str]:
        """Of the table; the lead is that of the pretrained encoder over the better of the random ones."""
        *trained, rule = self.scores.items()
        sign = 1 if higher_is_better(self.metric) else -1
        means = {way: sign * statistics.mean(values) for way, values in trained}
        lead = means["pretrained"] - max(means[way] for way in RANDOM)
        spreads = [f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" for _, values in trained]
        return [
            self.task,
            f"{self.fraction:.0%}",
            str(self.images),
            self.metric,
            *spreads,
            f"{lead:+.4f}",
            f"{rule[1][0]:.4f}",
        ]


def main() -> None:
    """Runs what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init", type=Path, required=True, help="folder of the pretrained model")
    parser.add_argument("--out", type=Path, default=Path("runs/few_labels"))
    parser.add_argument("--tasks", nargs="+", choices=sorted(STUDIES), default=list(STUDIES))
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.01, 0.1])
    parser.add_argument("--steps", type=int, default=200, help="optimiser steps of each run, about")
    parser.add_argument("--batch-size", type=int, default=8)
    arguments = parser.parse_args()
    headings = ("task", "labels", "images", "metric", "pretrained", *RANDOM, "lead", "rule")
    rows: list[Row] = []
    for task in arguments.tasks:
        for fraction in arguments.fractions:
            rows += compare(task, fraction, arguments)
            write_table(arguments.out / "table.md", headings, [row.cells() for row in rows])
        draw(arguments.out / "few_labels.png", rows)
    print((arguments.out / "table.md").read_text())


def compare(task: str, fraction: float, arguments: argparse.Namespace) -> list[Row]:
    """The rows of one task and share of labels, one a metric; none where there are too few labels."""
    study, folder = STUDIES[task], arguments.out / f"{task}_{fraction:g}"
    shape = load_model_config(arguments.init)
    random = [
        "init=null",
        f"encoder={json.dumps(config_to_dict(shape.encoder))}",
        f"patch_embed={json.dumps(config_to_dict(shape.patch_embed))}",
    ]
    ways = {
        "pretrained": [f"init={arguments.init}"],
        "random": random,
        "random, even rate": [*random, "optim.layer_decay=1"],
        "rule": ["init=null", f"backbone={{kind: rule, rule: {study.rule}}}", "seeds=[0]"],
    }
    try:
        settings = few_steps(task, fraction, arguments)
    except InputError as error:
        print(f"{task}, {fraction:.0%}: {error}")
        return []
    for way, changes in ways.items():
        train(task, folder / folder_name(way), [*settings, *study.changes, *changes])
    facts = read_facts(folder / "pretrained" / "seed_0")
    assert facts is not None
    scores = {way: [scores_of(seed) for seed in sorted((folder / folder_name(way)).glob("seed_*"))] for way in ways}
    return [
        Row(
            task=task,
            fraction=fraction,
            images=facts.data.samples["train"],
            metric=metric,
            scores={way: [score[metric] for score in one] for way, one in scores.items()},
        )
        for metric in study.metrics
    ]


def folder_name(way: str) -> str:
    """Of a way's runs."""
    return way.replace(", ", "_").replace(" ", "_")


def few_steps(task: str, fraction: float, arguments: argparse.Namespace) -> list[str]:
    """Settings that make about `--steps` steps of however few images there are."""
    config = load_config(FinetuneConfig, RECIPES / f"{task}.yaml", ["init=null", f"data.fraction={fraction}"])
    images = len(load_task_data(config.data, config.task, config.inputs).train)
    epochs = max(arguments.steps // -(-images // arguments.batch_size), 1)
    return [
        f"data.fraction={fraction}",
        f"batch_size={arguments.batch_size}",
        f"epochs={epochs}",
        f"val_every_epochs={epochs}",  # the last weights count: a validation split has more labels than are trained on
        f"optim.warmup_epochs={epochs / 10}",
        "early_stopping=null",
        f"seeds={list(SEEDS)}",
        "keep_predictions=8",
        "log.tensorboard=false",
        "log.keep_checkpoints=1",
        "hardware.num_workers=0",
    ]


def draw(path: Path, rows: Sequence[Row]) -> None:
    """A panel for each task and metric: a point for each seed, a bar at each mean, a line for the rule."""
    panels = list(dict.fromkeys((row.task, row.metric) for row in rows))
    figure = Figure(figsize=(2.6 * len(panels), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (task, metric) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        shown = [row for row in rows if (row.task, row.metric) == (task, metric)]
        for place, row in enumerate(shown):
            for offset, way in enumerate(("pretrained", *RANDOM)):
                values, at, colour = row.scores[way], place + (offset - 1) / 4, COLOURS[offset]
                axis.plot([at] * len(values), values, "o", color=colour, markersize=3, label="" if place else way)
                axis.plot([at - 0.1, at + 0.1], [statistics.mean(values)] * 2, color=colour)
        axis.axhline(shown[0].scores["rule"][0], color="grey", linewidth=0.8, linestyle=":", label="rule")
        axis.set_xticks(range(len(shown)), [f"{row.fraction:.0%}\n{row.images} images" for row in shown])
        axis.set_title(f"{task}\n{metric}, {'higher' if higher_is_better(metric) else 'lower'} is better", fontsize=8)
    figure.get_axes()[0].legend(fontsize=6)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


if __name__ == "__main__":
    main()
