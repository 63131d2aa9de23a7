"""What the run of a seed leaves in its folder: model, scores, predictions, pictures, and how it came to be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.table import Table

from msgfm.config import config_to_dict
from msgfm.data.tasks import TaskDataset
from msgfm.files import write_atomically
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import CONFIG
from msgfm.models.weights import WEIGHTS
from msgfm.training.checkpoint import CHECKPOINTS
from msgfm.training.facts import describe_origin
from msgfm.training.finetuning.card import write_model_card
from msgfm.training.finetuning.plan import Plan, digest_of
from msgfm.training.finetuning.predicting import Predicted, Predictor
from msgfm.training.finetuning.predictions import write_predictions
from msgfm.training.finetuning.report import REPORT, write_finetune_report
from msgfm.training.finetuning.results import RUN_FACTS, SplitScores, write_scores
from msgfm.training.finetuning.scoring import Scorer
from msgfm.training.finetuning.step import State


def evaluate_split(plan: Plan, split: str, dataset: TaskDataset, predictor: Predictor) -> SplitScores:
    """Predicts a split, scores it, and writes scores and predictions into the run's folder."""
    return write_split(plan, split, dataset, predictor, Scorer(plan.model.task, plan.data))


class AnyScorer(Protocol):
    """Scores predictions one by one, and all together."""

    def add_and_score(self, predicted: Predicted) -> dict[str, float]:
        """Counts an image, and scores it by itself."""

    def scores(self) -> SplitScores:
        """The metrics of all images so far."""


def write_split(plan: Plan, split: str, dataset: TaskDataset, predictor: Predictor, scorer: AnyScorer) -> SplitScores:
    """Predicts a split, and writes what the scorer says of it, and predictions, into the run's folder."""
    folder, task, keep = plan.folder / "predictions", plan.model.task, plan.config.keep_predictions
    with write_predictions(folder, split, task, keep) as writer:
        for predicted in predictor.over(dataset, f"evaluating {split}"):
            writer.add(predicted, scorer.add_and_score(predicted))
        scores = scorer.scores()
    write_scores(plan.folder, split, scores)
    return scores


def write_facts(plan: Plan, state: State, model: DownstreamModel, transfer: Iterable[str], started: float) -> None:
    """Writes `run.json`, the last of all files: it says that the run is complete."""
    data = plan.data
    facts: dict[str, Any] = describe_origin(started) | {
        "seed": plan.seed,
        "steps": state.step,
        "best": None
        if state.best_score is None
        else {"epoch": state.best_step // plan.steps_per_epoch, "metric": plan.metric, "value": state.best_score},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "task": config_to_dict(plan.model.task),
        "recipe": config_to_dict(plan.config),
        "init": {"folder": str(plan.config.init), "sha256": plan.init_digest} if plan.config.init else None,
        "weights": digest_of(plan.folder) if (plan.folder / WEIGHTS).is_file() else None,
        "transfer": list(transfer),
        "data": {
            "digests": data.digests,
            "truths": data.truths,
            "readings": data.readings,
            "truth_readings": data.truth_readings,
            "samples": {name: len(dataset.samples) for name, dataset in data.splits.items()},
            "notes": list(data.notes),
        },
        "left_out": list(state.bad),
    }
    with write_atomically(plan.folder / RUN_FACTS) as temporary:
        temporary.write_text(json.dumps(facts, indent=1))


def describe_run(folder: Path) -> None:
    """Writes the report of a complete run and, where it left a model, the model's card, of what is in the folder."""
    if (folder / CONFIG).is_file():  # nearest neighbours leave none
        write_model_card(folder)
    write_finetune_report(folder)


def end_run(folder: Path) -> None:
    """Describes a complete run, and deletes its checkpoints: nothing is left to resume."""
    describe_run(folder)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def is_ended(folder: Path) -> bool:
    """Whether `end_run` came to its end in the folder of a complete run."""
    return (folder / REPORT).is_file() and not (folder / CHECKPOINTS).exists()


def scores_table(plan: Plan, scores: dict[str, SplitScores]) -> Table:
    """A table of the splits' metrics, the paper's numbers beside them."""
    columns = list(dict.fromkeys(name for one in scores.values() for name in one.metrics))
    table = Table(title=f"seed {plan.seed}", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("split", "images", *columns):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for split, one in scores.items():
        table.add_row(split, str(one.images), *(_number(one.metrics, name) for name in columns))
    if plan.config.paper and "test" in scores:
        paper = plan.config.paper
        table.add_row("paper", "", *(_number(paper, name) for name in columns))
    return table


def _number(values: Mapping[str, float], name: str) -> str:
    return f"{values[name]:.4f}" if name in values else ""
