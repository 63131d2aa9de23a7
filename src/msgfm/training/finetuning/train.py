"""The loop of fine-tuning: steps, validations, best weights, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from rich.console import Console
from torch.optim import AdamW

from msgfm.config import config_to_dict
from msgfm.data.mixture import MixtureSampler
from msgfm.data.tasks import TaskBatch
from msgfm.metrics import higher_is_better
from msgfm.models.downstream import DownstreamModel
from msgfm.models.weights import load_strictly, read_weights, write_weights
from msgfm.training.checkpoint import CHECKPOINTS, save_checkpoint
from msgfm.training.finetuning.build import set_training
from msgfm.training.finetuning.pictures import draw_predictions
from msgfm.training.finetuning.plan import Plan
from msgfm.training.finetuning.predicting import Predictor
from msgfm.training.finetuning.scoring import metric_names, score
from msgfm.training.finetuning.step import STEP_COLUMNS, State, train_step
from msgfm.training.loading import load_batches
from msgfm.training.logs import StepLogger
from msgfm.training.progress import TrainingProgress
from msgfm.training.ranks import on_first_rank
from msgfm.training.signals import StopRequest
from msgfm.training.steps import describe_step

BEST = "best"
"""In the folder of checkpoints: the folder of the weights with the best validation so far."""


def train(
    fabric: Fabric,
    plan: Plan,
    state: State,
    wrapped: Any,
    optimizer: AdamW,
    stop: StopRequest,
    console: Console,
) -> None:
    """Takes steps until the end, an early one, or a signal. `wrapped` is a `LossOfModel` as Fabric wraps it."""
    log, model = plan.config.log, wrapped.module.model
    predictor = make_predictor(fabric, plan, model)
    logger = _make_logger(plan, state) if fabric.is_global_zero else None
    feed = batches(plan, state, fabric.global_rank)
    saved = state.step
    with (
        closing(feed),  # else its workers, which leave signals to this process, outlive an error
        closing(logger) if logger else nullcontext(),
        TrainingProgress(console, plan.total_steps, state.step, log.every_steps) as progress,
    ):
        while not is_done(plan, state) and not stop.agreed(fabric):
            set_training(model)
            begun = time.perf_counter()
            record = train_step(fabric, plan, state, wrapped, optimizer, feed)
            state.step += 1
            took_s = time.perf_counter() - begun
            row = record.row() | describe_step(
                state.step, plan.steps_per_epoch, plan.lr(state.step - 1), record.images, took_s, record.waited_s
            )
            if plan.data.val is not None and plan.validates_after(state.step):
                row |= validate(fabric, plan, state, predictor, model)
            if logger:
                logger.write(row)
                shown = {"loss": row["loss"]} | (
                    {} if state.best_score is None else {f"best {plan.metric}": state.best_score}
                )
                progress.update(state.step, shown, row["images_per_s"], "")
                if log.picture_every_steps and state.step % log.picture_every_steps == 0:
                    model.eval()
                    logger.picture(draw_predictions(plan, predictor, state.step), state.step)
            if state.step % log.checkpoint_every_steps == 0:
                save(fabric, plan, state, model, optimizer)
                saved = state.step
        if state.step > saved:
            save(fabric, plan, state, model, optimizer)


def is_done(plan: Plan, state: State) -> bool:
    """Whether no step is left to take."""
    return state.step >= plan.total_steps or state.ends_early(plan)


def make_predictor(fabric: Fabric, plan: Plan, model: DownstreamModel) -> Predictor:
    """The model as it predicts in evaluation, which the first rank does alone."""
    return Predictor(
        predict=model,
        task=plan.model.task,
        device=fabric.device,
        batch_size=plan.config.batch_size,
        num_workers=plan.config.hardware.num_workers,
        autocast=fabric.autocast,
    )


def batches(plan: Plan, state: State, rank: int) -> Generator[TaskBatch]:
    """This rank's batches from where the run stands to its end."""
    accumulate = plan.config.hardware.accumulate
    sampler = MixtureSampler(plan.order, rank=rank, start=state.step * accumulate, end=plan.total_steps * accumulate)
    yield from load_batches(plan.data.train, sampler, plan.config.hardware.num_workers)


def validate(
    fabric: Fabric, plan: Plan, state: State, predictor: Predictor, model: DownstreamModel
) -> dict[str, float]:
    """Scores the validation split on the first rank, keeps the weights if they are the best; columns for the log."""
    found: dict[str, float] = {}

    def score_and_keep() -> None:
        assert plan.data.val is not None
        model.eval()
        scores = score(plan.model.task, plan.data, predictor.over(plan.data.val, "validating"))
        found.update(scores.metrics)
        if is_better(plan.metric, found[plan.metric], state.best_score):
            write_weights(model, best_path(plan))

    on_first_rank(fabric, score_and_keep)
    found = fabric.broadcast(found)
    value = found[plan.metric]
    state.note(value, is_better(plan.metric, value, state.best_score))
    return {f"val/{name}": value for name, value in found.items()}


def is_better(metric: str, value: float, best: float | None) -> bool:
    """Whether a validation is better than all before; one whose metric is not defined (NaN) never is."""
    if best is None or math.isnan(value):
        return not math.isnan(value)
    return value > best if higher_is_better(metric) else value < best


def best_path(plan: Plan) -> Path:
    """Where the best weights lie while it trains."""
    return plan.folder / CHECKPOINTS / BEST


def take_best(plan: Plan, state: State, model: DownstreamModel) -> None:
    """Puts the best weights into the model; where no validation could tell, its last ones are kept.

    Raises:
        InputError: they are not there any more.
    """
    if state.best_score is not None:
        load_strictly(model, read_weights(best_path(plan)), str(best_path(plan)))


def save(fabric: Fabric, plan: Plan, state: State, model: DownstreamModel, optimizer: AdamW) -> None:
    """Writes a checkpoint from the first rank."""

    def write() -> None:
        content = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "shaping": plan.shaping(),
            "state": state.to_dict(),
        }
        save_checkpoint(plan.folder, state.step, content, plan.config.log.keep_checkpoints)

    on_first_rank(fabric, write)


def _make_logger(plan: Plan, state: State) -> StepLogger:
    names = metric_names(plan.model.task, plan.data) if plan.data.val is not None else []
    columns = [*STEP_COLUMNS, *(f"val/{name}" for name in names)]
    name = f"{plan.config.out.name}-{plan.folder.name}"
    return StepLogger(plan.folder, plan.config.log, columns, state.step, config_to_dict(plan.config), name)
