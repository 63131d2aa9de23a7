"""Does every task learn? Fine-tuning on the world of `msgfm data synth` against what needs no training, a table.

    python benchmarks/every_task.py --init demo --out runs/every_task [--epochs 20]

Run it where `examples/index_synth_pack.sh` was run; `demo` is what `msgfm demo` leaves. The last rows are cloud removal
with and without radar, image by image under thick and thin cloud. What was finished is kept, so that a run that was
stopped goes on; the table is written anew after every row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from task_runs import scores_of, train, write_table

from msgfm.errors import InputError
from msgfm.metrics import higher_is_better
from msgfm.training.finetuning.results import read_scores

TASKS = {
    "synth_scenes": ("accuracy", ("class_prior",)),
    "synth_landcover_labels": ("map_macro", ("class_prior",)),
    "synth_landcover": ("miou", ("class_prior",)),
    "synth_urban": ("miou", ("class_prior",)),
    "synth_buildings": ("miou", ("class_prior",)),
    "synth_change": ("f1", ("class_prior",)),
    "synth_clouds": ("mae", ("copy", "mean_of_clear")),
    "synth_pansharpening": ("psnr", ("bicubic", "brovey", "gram_schmidt_adaptive")),
}
"""Metric and rules of each recipe."""

LEAN = ["keep_predictions=4", "log.tensorboard=false", "log.keep_checkpoints=1", "hardware.num_workers=0"]


def main() -> None:
    """Runs what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init", type=Path, required=True, help="folder of the pretrained model")
    parser.add_argument("--out", type=Path, default=Path("runs/every_task"))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--epochs", type=int, help="default: the recipes'")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows: list[list[str]] = []
    table = arguments.out / "table.md"
    for task in arguments.tasks:
        rows += against_rules(task, arguments)
        write_table(table, ("task", "metric", "fine-tuned", "rule", "its score", "margin"), rows)
    print(table.read_text())
    if "synth_clouds" in arguments.tasks:
        rows = with_and_without_radar(arguments)
        write_table(arguments.out / "radar.md", ("cloud cover, %", "images", "copy", "S2", "S1 + S2", "margin"), rows)
        print((arguments.out / "radar.md").read_text())


def against_rules(task: str, arguments: argparse.Namespace) -> list[list[str]]:
    """One task's rows, one a rule."""
    metric, rules = TASKS[task]
    try:
        score = scores_of(run(task, "finetuned", [f"init={arguments.init}"], arguments))[metric]
        rows = []
        for rule in rules:
            changes = ["init=null", f"backbone={{kind: rule, rule: {rule}}}"]
            theirs = scores_of(run(task, rule, changes, arguments))[metric]
            margin = score - theirs if higher_is_better(metric) else theirs - score
            rows.append([task, metric, f"{score:.4f}", rule, f"{theirs:.4f}", f"{margin:+.4f}"])
        return rows
    except InputError as error:
        return [[task, metric, f"not possible: {error}", "", "", ""]]


def with_and_without_radar(arguments: argparse.Namespace) -> list[list[str]]:
    """Mean absolute error of cloud removal by how much of the image is clouded."""
    optical = ["inputs=[sentinel2@cloudy]", f"init={arguments.init}"]
    folders = [
        run("synth_clouds", "copy", ["init=null", "backbone={kind: rule, rule: copy}"], arguments),
        run("synth_clouds", "without_radar", optical, arguments),
        run("synth_clouds", "finetuned", [f"init={arguments.init}"], arguments),
    ]
    scores = [read_scores(folder)["test"].by_cloud_cover for folder in folders]
    rows = []
    for cover, values in scores[0].items():
        errors = [score[cover]["mae"] for score in scores]
        margin = errors[1] - errors[2]
        rows.append([cover, f"{values['images']:.0f}", *(f"{error:.4f}" for error in errors), f"{margin:+.4f}"])
    return rows


def run(task: str, name: str, changes: list[str], arguments: argparse.Namespace) -> Path:
    """Trains, unless it was done, and returns the folder of the seed."""
    out = arguments.out / task / name
    epochs = [] if arguments.epochs is None else [f"epochs={arguments.epochs}"]
    train(task, out, [*changes, *epochs, *LEAN, f"seeds=[{arguments.seed}]"])
    folder: Path = out / f"seed_{arguments.seed}"
    return folder


if __name__ == "__main__":
    main()
