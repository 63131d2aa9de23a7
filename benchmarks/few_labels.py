"""Does pretraining help where labels are few? Fine-tuning from a pretrained encoder and from random weights, a table.

    python benchmarks/few_labels.py --init runs/small --out runs/few_labels [--tasks ucmerced ...] [--steps 200]

Run it where `examples/index_finetune_pack.sh` and `examples/index_synth_pack.sh` were run. For each task and share of
the training labels both ways have the same encoder, labels, steps and seeds; `rule` is what needs no training: the
commonest class, the copy of the cloudy image, or bicubic interpolation. What was finished is kept, so that a run that
was stopped goes on; the table is written anew after every row.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from task_runs import RECIPES, scores_of, train, write_table

from msgfm.config import config_to_dict, load_config
from msgfm.data.tasks import load_task_data
from msgfm.errors import InputError
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
    headings = ("task", "labels", "images", "metric", "pretrained", "random", "difference", "rule")
    rows: list[list[str]] = []
    for task in arguments.tasks:
        for fraction in arguments.fractions:
            rows += compare(task, fraction, arguments)
            write_table(arguments.out / "table.md", headings, rows)
    print((arguments.out / "table.md").read_text())


def compare(task: str, fraction: float, arguments: argparse.Namespace) -> Iterator[list[str]]:
    """The rows of one task and share of labels, one a metric."""
    study, folder = STUDIES[task], arguments.out / f"{task}_{fraction:g}"
    shape = load_model_config(arguments.init)
    ways = {
        "pretrained": [f"init={arguments.init}"],
        "random": [
            "init=null",
            f"encoder={json.dumps(config_to_dict(shape.encoder))}",
            f"patch_embed={json.dumps(config_to_dict(shape.patch_embed))}",
        ],
        "rule": ["init=null", f"backbone={{kind: rule, rule: {study.rule}}}", "seeds=[0]"],
    }
    try:
        settings = few_steps(task, fraction, arguments)
        for way, changes in ways.items():
            train(task, folder / way, [*settings, *study.changes, *changes])
    except InputError as error:
        print(f"{task}, {fraction:.0%}: {error}")
        yield [task, f"{fraction:.0%}", "", f"not possible: {error}", "", "", "", ""]
        return
    scores = {way: [scores_of(folder / way / f"seed_{seed}") for seed in SEEDS] for way in ("pretrained", "random")}
    rule = scores_of(folder / "rule" / "seed_0")
    facts = read_facts(folder / "pretrained" / "seed_0")
    assert facts is not None
    for metric in study.metrics:
        ours, theirs = ([score[metric] for score in scores[way]] for way in ("pretrained", "random"))
        difference = statistics.mean(ours) - statistics.mean(theirs)
        cells = [str(facts.data.samples["train"]), metric, spread(ours), spread(theirs)]
        yield [task, f"{fraction:.0%}", *cells, f"{difference:+.4f}", f"{rule[metric]:.4f}"]


def few_steps(task: str, fraction: float, arguments: argparse.Namespace) -> list[str]:
    """Settings that make about `--steps` steps of however few images there are."""
    config = load_config(FinetuneConfig, RECIPES / f"{task}.yaml", ["init=null", f"data.fraction={fraction}"])
    images = len(load_task_data(config.data, config.task, config.inputs).train)
    epochs = max(arguments.steps // -(-images // arguments.batch_size), 1)
    return [
        f"data.fraction={fraction}",
        f"batch_size={arguments.batch_size}",
        f"epochs={epochs}",
        f"val_every_epochs={max(epochs // 4, 1)}",
        f"optim.warmup_epochs={epochs / 10}",
        "early_stopping=null",
        f"seeds={list(SEEDS)}",
        "keep_predictions=8",
        "log.tensorboard=false",
        "log.keep_checkpoints=1",
        "hardware.num_workers=0",
    ]


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


if __name__ == "__main__":
    main()
