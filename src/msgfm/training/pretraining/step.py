"""One optimiser step over batches of one source or of all, on every rank, and what it saw."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim import AdamW

from msgfm.data.mixture import Batch
from msgfm.errors import too_many_bad
from msgfm.models.msgfm import PretrainOutput
from msgfm.training.pretraining.plan import Plan
from msgfm.training.ranks import fail_on_all_ranks, gather_messages, sum_over_ranks
from msgfm.training.steps import no_sync, noise_seed

STEP_COLUMNS = (
    *("step", "epoch", "source", "lr", "loss", "reconstruction", "auxiliary", "grad_norm"),
    *("images", "images_per_s", "data_wait", "expert_load_max", "dropped_share"),
)


@dataclass(kw_only=True)
class State:
    """What changes while it trains: optimiser steps done, and samples left out so far on any rank."""

    step: int = 0
    bad: dict[str, None] = field(default_factory=dict)


@dataclass(kw_only=True)
class StepRecord:
    """What one optimiser step saw, summed over its batches; after `reduce` over all ranks.

    losses: (3,) the step's loss, its reconstruction and its auxiliary part. directions: by direction, the sum of its
    images' losses and their number, (2,). load: (mixtures, experts) tokens that wanted each expert. dropped: tokens.
    waited_s: seconds in which this rank waited for its batches.
    """

    source: str
    directions: dict[str, Tensor]
    losses: Tensor = field(default_factory=lambda: torch.zeros(3))
    images: Tensor = field(default_factory=lambda: torch.zeros(()))
    load: Tensor | None = None
    dropped: Tensor = field(default_factory=lambda: torch.zeros(()))
    grad_norm: float = 0.0
    waited_s: float = 0.0

    def add(self, batch: Batch, output: PretrainOutput, weight: float) -> None:
        """Takes in one batch."""
        parts = torch.stack([output.loss, output.reconstruction, output.auxiliary]).detach()
        self.losses += weight * parts.float().cpu()
        self.images += batch.num_images
        for direction, (loss, count) in output.directions.items():
            self.directions[str(direction)] += torch.tensor([float(loss) * count, count])
        if output.mixtures:
            load = torch.stack([mixture.load for mixture in output.mixtures]).float().cpu()
            self.load = load if self.load is None else self.load + load
            self.dropped += torch.stack([mixture.dropped for mixture in output.mixtures]).sum().cpu()

    def reduce(self, fabric: Fabric) -> None:
        """Sums over ranks."""
        self.losses = sum_over_ranks(fabric, self.losses) / fabric.world_size
        self.images = sum_over_ranks(fabric, self.images)
        sums = sum_over_ranks(fabric, torch.stack(list(self.directions.values())))
        self.directions = dict(zip(self.directions, sums, strict=True))
        if self.load is not None:
            self.load = sum_over_ranks(fabric, self.load)
            self.dropped = sum_over_ranks(fabric, self.dropped)

    def row(self) -> dict[str, Any]:
        """Its part of a row of `log.csv`; directions that did not occur are left out."""
        loss, reconstruction, auxiliary = self.losses.tolist()
        row: dict[str, Any] = {
            "source": self.source,
            "loss": loss,
            "reconstruction": reconstruction,
            "auxiliary": auxiliary,
            "grad_norm": self.grad_norm,
            "images": int(self.images),
        }
        if self.load is not None:
            row["expert_load_max"] = float((self.load.amax(1) / self.load.mean(1)).mean())
            row["dropped_share"] = float(self.dropped / self.load.sum())
        means = {name: sums.tolist() for name, sums in self.directions.items()}
        return row | {name: total / count for name, (total, count) in means.items() if count}

    def describe_load(self) -> str:
        """Share of tokens per expert, mean over the mixtures, in percent."""
        if self.load is None:
            return ""
        shares = (self.load / self.load.sum(1, keepdim=True)).mean(0)
        dropped = float(self.dropped / self.load.sum())
        return f"load {' '.join(f'{share:.0%}' for share in shares.tolist())}, dropped {dropped:.1%}"


def train_step(
    fabric: Fabric, plan: Plan, state: State, model: Any, optimizer: AdamW, feed: Iterator[Batch]
) -> StepRecord:
    """One optimiser step over the batches of one source, or of all of them (`joint`)."""
    source = plan.source_of(state.step)
    record = StepRecord(
        source=source.name if source else "joint",
        directions={str(direction): torch.zeros(2) for direction in plan.directions},
    )
    for group in optimizer.param_groups:
        group["lr"] = plan.lr(state.step)
    begun = time.perf_counter()
    batches = [next(feed) for _ in range(plan.batches_per_step)]
    record.waited_s = time.perf_counter() - begun
    note_bad_samples(fabric, plan, state, batches)
    for part, (batch, weight) in enumerate(zip(batches, weights(fabric, plan, batches), strict=True)):
        batch = batch.to(fabric.device)
        # gate noise and stochastic depth follow from the step alone, so that a resumed run draws the same
        torch.manual_seed(noise_seed(plan.config.seed, state.step, part, fabric.global_rank))
        last = part + 1 == len(batches)
        with no_sync(fabric, model, not last):
            output = model(batch.images, batch.hidden, batch.targets)
            fabric.backward(output.loss * weight)
        record.add(batch, output, weight)
    record.reduce(fabric)
    if not record.losses.isfinite().all():
        fail_on_all_ranks(
            fabric,
            f"the loss is {float(record.losses[0])} at step {state.step + 1} (source {record.source}); "
            f"lower its lr or optim.clip_grad_norm, or look at the data with `msgfm data stats`; "
            f"earlier checkpoints stand",
        )
    if plan.config.optim.clip_grad_norm is not None:
        norm = fabric.clip_gradients(
            model, optimizer, max_norm=plan.config.optim.clip_grad_norm, error_if_nonfinite=False
        )
        record.grad_norm = float(cast(Tensor, norm))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return record


def weights(fabric: Fabric, plan: Plan, batches: Sequence[Batch]) -> list[float]:
    """What each batch's loss, a mean over its images, is multiplied by.

    Every image of a source then counts alike, on whichever rank and in whichever of the accumulated batches it is,
    as if the source's part of the step were one batch. Ranks' gradients are averaged, hence the number of ranks.
    """
    images = torch.zeros(len(plan.sources))
    for batch in batches:
        images[batch.source] += batch.num_images
    images = sum_over_ranks(fabric, images)
    return [
        plan.weight(batch.source) * batch.num_images * fabric.world_size / float(images[batch.source])
        for batch in batches
    ]


def note_bad_samples(fabric: Fabric, plan: Plan, state: State, batches: Sequence[Batch]) -> None:
    """Counts samples that could not be read on any rank; more than `skip_bad` end the run."""
    new = [message for batch in batches for message in batch.bad]
    state.bad.update(dict.fromkeys(gather_messages(fabric, new)))
    if len(state.bad) > plan.config.skip_bad:
        fail_on_all_ranks(fabric, too_many_bad("unreadable samples", list(state.bad), plan.config.skip_bad))
