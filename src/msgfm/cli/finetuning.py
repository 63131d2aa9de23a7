"""`msgfm finetune` and `msgfm evaluate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from msgfm.cli.app import app, errors, out, reports_input_errors
from msgfm.cli.recipes import find_recipe


class Sensors(StrEnum):
    """With which of its sensors a model is evaluated."""

    ALL = "all"
    ALL_SUBSETS = "all-subsets"


@app.command()
@reports_input_errors
def finetune(
    recipe: Annotated[str, typer.Argument(help="A recipe's path, or the name of one that comes with msgfm.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoints; complete seeds are left as they are.")
    ] = False,
) -> None:
    """Fine-tune a pretrained model on a task, once for each seed, and evaluate it.

    The first lines of a recipe say which data it needs, with which splits, and how they are indexed.

    For example:

        msgfm data index ucmerced UCMerced_LandUse --out manifests/tasks/ucmerced.parquet

        msgfm finetune ucmerced init=runs/first

        msgfm finetune ucmerced init=null encoder=small optim.layer_decay=1 out=runs/random

        msgfm finetune my_recipe.yaml data.fraction=0.1 seeds=[0] method=linear_probe

        msgfm finetune my_recipe.yaml --resume
    """
    from msgfm.training.finetuning.finetune import finetune as run
    from msgfm.training.finetuning.overrides import load_recipe

    config, notes = load_recipe(find_recipe("finetune", recipe), overrides or [])
    for note in notes:
        errors.print(note, highlight=False)
    raise typer.Exit(run(config, resume=resume))


@app.command()
@reports_input_errors
def evaluate(
    run: Annotated[Path, typer.Argument(help="A recipe's `out`, for all of its seeds, or the folder of one.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Changes to its recipe: other data, hardware, batches."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="A split of its data, or a further name to keep scores under, with data.test=SPLIT.")
    ] = "test",
    sensors: Annotated[
        Sensors, typer.Option(help="Evaluate with all of its sensors, or with every subset of them.")
    ] = Sensors.ALL,
    fill: Annotated[
        Path | None,
        typer.Option(help="With all-subsets: a pretrained model's folder, which predicts what is missing, too."),
    ] = None,
) -> None:
    """Score a fine-tuned model on a split, with all sensors or with some of them missing.

    For example:

        msgfm evaluate runs/ucmerced

        msgfm evaluate runs/ucmerced/seed_0 data.manifest=moved/ucmerced.parquet --split val

        msgfm evaluate runs/clouds --split larger_windows data.test=test data.window_size=256

        msgfm evaluate runs/clouds --sensors all-subsets --fill runs/pretrained
    """
    from msgfm.errors import InputError
    from msgfm.training.finetuning.evaluate import evaluate_run

    if fill is not None and sensors is Sensors.ALL:
        raise InputError("--fill predicts missing sensors; give --sensors all-subsets, too, or leave it out")
    for shown in evaluate_run(run, split, overrides or [], subsets=sensors is Sensors.ALL_SUBSETS, fill=fill):
        out.print(shown, highlight=False)
