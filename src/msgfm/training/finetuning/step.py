"""One optimiser step of fine-tuning, on every rank, and what it saw."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim import AdamW

from msgfm.data.tasks import TaskBatch
from msgfm.errors import too_many_bad
from msgfm.training.finetuning.plan import Plan
from msgfm.training.ranks import fail_on_all_ranks, gather_messages, sum_over_ranks
from msgfm.training.steps import no_sync, noise_seed

STEP_COLUMNS = (
    *("step", "epoch", "lr", "loss", "task_loss", "auxiliary", "grad_norm"),
    *("images", "images_per_s", "data_wait"),
)


@dataclass(kw_only=True)
class State:
    """What changes while it trains.

    step: optimiser steps done. best_score, best_step: of the validation metric. stale: validations since. bad: samples
    left out so far on any rank.
    """

    step: int = 0
    best_score: float | None = None
    best_step: int = 0
    stale: int = 0
    bad: dict[str, None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint, which has `step` itself."""
        return {
            "best_score": self.best_score,
            "best_step": self.best_step,
            "stale": self.stale,
            "bad": list(self.bad),
        }

    @classmethod
    def from_checkpoint(cls, content: dict[str, Any]) -> State:
        """As it was when the checkpoint was written."""
        saved = content["state"]
        return cls(step=content["step"], **(saved | {"bad": dict.fromkeys(saved["bad"])}))

    def note(self, score: float, better: bool) -> None:
        """Takes in a validation; one whose metric is not defined (NaN) says nothing, so patience does not count it."""
        if math.isnan(score):
            return
        self.stale += 1
        if better:
            self.best_score, self.best_step, self.stale = score, self.step, 0

    def ends_early(self, plan: Plan) -> bool:
        """Whether there is nothing more to be expected."""
        return plan.config.early_stopping is not None and self.stale >= plan.config.early_stopping


@dataclass(kw_only=True)
class StepRecord:
    """What one optimiser step saw, over its batches and all ranks.

    losses: (3,) the loss, the task's part, the auxiliary part. images: samples. waited_s: seconds in which this rank
    waited for its batches.
    """

    losses: Tensor = field(default_factory=lambda: torch.zeros(3))
    images: int = 0
    grad_norm: float = 0.0
    waited_s: float = 0.0

    def row(self) -> dict[str, Any]:
        """Its part of a row of `log.csv`."""
        loss, task, auxiliary = self.losses.tolist()
        return {
            "loss": loss,
            "task_loss": task,
            "auxiliary": auxiliary,
            "grad_norm": self.grad_norm,
            "images": self.images,
        }


def train_step(
    fabric: Fabric, plan: Plan, state: State, model: Any, optimizer: AdamW, feed: Iterator[TaskBatch]
) -> StepRecord:
    """One optimiser step; `model` is a `LossOfModel` as Fabric wraps it."""
    config = plan.config
    record = StepRecord()
    for group in optimizer.param_groups:
        group["lr"] = plan.lr(state.step) * group["scale"]
    begun = time.perf_counter()
    batches = [next(feed) for _ in range(config.hardware.accumulate)]
    record.waited_s = time.perf_counter() - begun
    note_bad_samples(fabric, plan, state, batches)
    for part, batch in enumerate(batches):
        batch = batch.to(fabric.device)
        # stochastic depth and gate noise follow from the step alone, so that a resumed run draws the same
        torch.manual_seed(noise_seed(plan.seed, state.step, part, fabric.global_rank))
        with no_sync(fabric, model, part + 1 < len(batches)):
            losses = model(batch.images, batch.target)
            fabric.backward(losses.loss / len(batches))
        record.losses += torch.stack([losses.loss, losses.task, losses.auxiliary]).detach().float().cpu() / len(batches)
    record.losses = sum_over_ranks(fabric, record.losses) / fabric.world_size
    record.images = sum(map(len, batches)) * fabric.world_size
    if not record.losses.isfinite().all():
        fail_on_all_ranks(
            fabric,
            f"the loss is {float(record.losses[0])} at step {state.step + 1}; lower optim.lr or "
            f"optim.clip_grad_norm, or look at the data with `msgfm data check`; earlier checkpoints stand",
        )
    if config.optim.clip_grad_norm is not None:
        norm = fabric.clip_gradients(model, optimizer, max_norm=config.optim.clip_grad_norm, error_if_nonfinite=False)
        record.grad_norm = float(cast(Tensor, norm))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return record


def note_bad_samples(fabric: Fabric, plan: Plan, state: State, batches: list[TaskBatch]) -> None:
    """Counts samples that could not be read on any rank; more than `skip_bad` end the run."""
    new = [message for batch in batches for message in batch.bad]
    state.bad.update(dict.fromkeys(gather_messages(fabric, new)))
    if len(state.bad) > plan.config.skip_bad:
        told = too_many_bad("unreadable samples", list(state.bad), plan.config.skip_bad, "skip_bad=N")
        fail_on_all_ranks(fabric, told)
