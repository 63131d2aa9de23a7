"""`pretrain`: from a recipe to a folder that `from_pretrained` loads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy
from rich.console import Console
from torch import Tensor
from torch.optim import AdamW
from torch.utils.data import DataLoader

from msgfm.config import config_to_dict
from msgfm.data.mixture import Batch, MixtureDataset, MixtureOrder, MixtureSampler, Source
from msgfm.errors import InputError
from msgfm.models.msgfm import Direction, MsGFM, MsGFMConfig, PretrainOutput
from msgfm.models.pretrained import import_simmim, load_strictly, save_pretrained
from msgfm.training.checkpoint import list_checkpoints, load_checkpoint, require_same, save_checkpoint
from msgfm.training.config import PretrainConfig
from msgfm.training.logs import StepLogger
from msgfm.training.optim import learning_rate, make_optimizer
from msgfm.training.outcome import draw_picture, prepare_run_folder, write_outcome
from msgfm.training.progress import TrainingProgress
from msgfm.training.signals import StopRequest, ignore_in_worker
from msgfm.training.sources import agree_on_sensors, load_sources


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything about a run that follows from its recipe and data.

    Args:
        config: the recipe.
        sources: the mixture.
        model: the model's configuration, with the sensors of the data.
        order: which samples the batches hold.
    """

    config: PretrainConfig
    sources: tuple[Source, ...]
    model: MsGFMConfig
    order: MixtureOrder

    @property
    def turns(self) -> int:
        """Sources per optimiser step: one in turn, or all of them."""
        return len(self.sources) if self.config.mixture.schedule == "joint" else 1

    @property
    def batches_per_step(self) -> int:
        return self.turns * self.config.hardware.accumulate

    @property
    def steps_per_epoch(self) -> int:
        return self.order.rounds_per_epoch * len(self.sources) // self.turns

    @property
    def total_steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch

    @property
    def directions(self) -> list[Direction]:
        """All predictions that a batch can ask for, own first."""
        found = {
            Direction(i, j): None for source in self.sources for i in source.sensors for j in source.sensors if i == j
        }
        if self.config.mixture.cross_sensor_share > 0:
            found |= {Direction(i, j): None for source in self.sources for i in source.sensors for j in source.sensors}
        return list(found)

    def source_of(self, step: int) -> Source | None:
        """The source of a step (counted from 0); None is all of them."""
        return None if self.turns > 1 or len(self.sources) == 0 else self.sources[step % len(self.sources)]

    def lr(self, step: int) -> float:
        """The learning rate of a step (counted from 0)."""
        source = self.source_of(step)
        base = source.lr if source else max(source.lr for source in self.sources)
        round_ = step if self.turns > 1 else step // len(self.sources)
        return learning_rate(self.config.optim, base, round_ / self.order.rounds_per_epoch)

    def weight(self, source: int) -> float:
        """Share of a batch's loss in its step's loss."""
        if self.turns == 1:
            return 1 / self.config.hardware.accumulate
        sizes = self.order.batch_sizes
        return sizes[source] / sum(sizes) / self.config.hardware.accumulate

    def shaping(self) -> dict[str, Any]:
        """The settings that shape the result; resuming asks for the same."""
        config = config_to_dict(self.config)
        shaping: dict[str, Any] = {
            key: config[key] for key in ("seed", "image_size", "optim", "mixture", "epochs", "init_from")
        }
        shaping["model"] = config_to_dict(self.model)
        shaping["hardware"] = {key: config["hardware"][key] for key in ("precision", "accumulate")}
        shaping["devices"] = self.order.world_size
        shaping["sources"] = {
            source.name: {"lr": source.lr, "batch_size": source.batch_size, "samples": len(source)}
            for source in self.sources
        }
        return shaping


@dataclass(kw_only=True)
class State:
    """What changes while it trains: optimiser steps done, and files left out so far."""

    step: int = 0
    bad: dict[str, None] = field(default_factory=dict)


def pretrain(config: PretrainConfig, *, resume: bool = False, console: Console | None = None) -> int:
    """Pretrains a model and leaves its folder at `config.out`.

    Args:
        config: the recipe.
        resume: goes on from the last checkpoint in `config.out`.
        console: where progress is shown.

    Returns:
        0 when complete, else 128 + the number of the signal that stopped it; a checkpoint was saved then.

    Raises:
        InputError: anything wrong with recipe, data, checkpoint or disk.
    """
    console = console or Console(stderr=True)
    sources = load_sources(config)
    fabric = make_fabric(config)
    fabric.launch()
    if fabric.global_rank:
        console = Console(quiet=True)
    plan = make_plan(config, sources, fabric.world_size)
    checkpoint = find_checkpoint(config.out, resume)
    if fabric.is_global_zero:
        prepare_run_folder(config)
    # every rank has looked for checkpoints before the first one writes any
    fabric.barrier()

    torch.manual_seed(config.seed)
    model = build_model(plan, console)
    state = State()
    raw = load_checkpoint(checkpoint) if checkpoint else None
    if raw and checkpoint:
        require_same(raw["shaping"], plan.shaping(), checkpoint)
        load_strictly(model, raw["model"], str(checkpoint))
        state = State(step=raw["step"], bad=dict.fromkeys(raw["bad"]))
        console.print(f"resuming {checkpoint} after step {state.step} of {plan.total_steps}")
    model.encoder.set_grad_checkpointing(config.hardware.grad_checkpointing)
    wrapped, optimizer = fabric.setup(model, make_optimizer(model, config.optim))
    if raw:
        optimizer.load_state_dict(raw["optimizer"])
    del raw
    describe(console, plan, model)

    started = time.time()
    stop = StopRequest()
    with stop:
        train(fabric, plan, state, wrapped, cast(AdamW, optimizer), stop, console)
    if stop.signal and state.step < plan.total_steps:
        console.print(
            f"stopped by {stop.name} after step {state.step} of {plan.total_steps}; "
            f"go on with: msgfm pretrain ... --resume"
        )
        return 128 + stop.signal
    if fabric.is_global_zero:
        save_pretrained(model, config.out)
        write_outcome(plan.config, plan.sources, model.eval(), list(state.bad), started, plan.total_steps, console)
    fabric.barrier()
    return 0


def make_fabric(config: PretrainConfig) -> Fabric:
    """Lightning Fabric: devices, processes and precision. Batches of one source leave other sensors' weights unused."""
    hardware = config.hardware
    devices = 1 if hardware.devices == "auto" and not torch.cuda.is_available() else hardware.devices
    strategy: Any = "auto"
    if (isinstance(devices, int) and devices > 1) or hardware.num_nodes > 1 or torch.cuda.device_count() > 1:
        strategy = DDPStrategy(find_unused_parameters=True)
    try:
        return Fabric(
            accelerator=hardware.accelerator,
            devices=devices,
            num_nodes=hardware.num_nodes,
            strategy=strategy,
            precision=hardware.precision,
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(f"hardware: {error}") from error


def make_plan(config: PretrainConfig, sources: Sequence[Source], world_size: int) -> Plan:
    """Puts recipe and data together."""
    return Plan(
        config=config,
        sources=tuple(sources),
        model=MsGFMConfig(sensors=agree_on_sensors(sources), **dict(config.model)),
        order=MixtureOrder(
            [len(source) for source in sources],
            [source.batch_size for source in sources],
            seed=config.seed,
            world_size=world_size,
            accumulate=config.hardware.accumulate,
        ),
    )


def find_checkpoint(run: Path, resume: bool) -> Path | None:
    """The last checkpoint when resuming; otherwise a folder that holds a run is refused."""
    checkpoints = list_checkpoints(run)
    if resume and not checkpoints:
        raise InputError(f"nothing to resume: no checkpoint in {run / 'checkpoints'}; start without --resume")
    if not resume and (checkpoints or (run / "log.csv").exists()):
        raise InputError(f"{run} holds a run already; go on with --resume, or choose another folder with out=FOLDER")
    return checkpoints[-1] if resume else None


def build_model(plan: Plan, console: Console) -> MsGFM:
    """A new model, its encoder from `init_from` if the recipe names one."""
    path = plan.config.init_from
    if path is None:
        return MsGFM(plan.model)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"init_from: cannot read {path} as safetensors: {error}") from error
    model, report = import_simmim(weights, plan.model)
    console.print(
        f"encoder from {path}: {len(report.loaded)} tensors loaded ({len(report.interpolated)} interpolated), "
        f"{len(report.new)} new, {len(report.unused)} of the file unused"
    )
    return model


def describe(console: Console, plan: Plan, model: MsGFM) -> None:
    """Says what is about to happen."""
    total = sum(parameter.numel() for parameter in model.parameters())
    console.print(
        f"{total / 1e6:.1f} M parameters ({(total - model.expert_parameters) / 1e6:.1f} M active), "
        f"{plan.total_steps} steps in {plan.config.epochs} epochs, out: {plan.config.out}"
    )
    for source in plan.sources:
        console.print(
            f"  {source.name}: {len(source)} samples of {' + '.join(source.sensors)}, "
            f"batch {source.batch_size} x {plan.order.world_size}, lr {source.lr:g}"
        )


def batches(plan: Plan, state: State, rank: int) -> Iterator[Batch]:
    """This rank's batches from where the run stands to its end."""
    config = plan.config
    dataset = MixtureDataset(
        plan.sources,
        [sensor.name for sensor in plan.model.sensors],
        image_size=config.image_size,
        mask_patch_size=plan.model.mask_patch_size,
        mask_ratio=plan.model.mask_ratio,
        cross_sensor_share=config.mixture.cross_sensor_share,
        seed=config.seed,
    )
    sampler = MixtureSampler(
        plan.order,
        rank=rank,
        start=state.step * plan.batches_per_step,
        end=plan.total_steps * plan.batches_per_step,
    )
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=_as_it_is,  # the data set makes whole batches
        num_workers=config.hardware.num_workers,
        worker_init_fn=ignore_in_worker,
    )
    yield from loader


def _as_it_is(batch: Batch) -> Batch:
    return batch


def train(
    fabric: Fabric,
    plan: Plan,
    state: State,
    model: Any,
    optimizer: AdamW,
    stop: StopRequest,
    console: Console,
) -> None:
    """The loop: step, log, picture, checkpoint, until the end or a signal."""
    config, log = plan.config, plan.config.log
    columns = [*STEP_COLUMNS, *map(str, plan.directions)]
    logger = (
        StepLogger(config.out, log, columns, state.step, config_to_dict(config)) if fabric.is_global_zero else None
    )
    feed = batches(plan, state, fabric.global_rank)
    saved = state.step
    with TrainingProgress(console, plan.total_steps, state.step, log.every_steps) as progress:
        while state.step < plan.total_steps and not stop.agreed(fabric):
            begun = time.perf_counter()
            record = train_step(fabric, plan, state, model, optimizer, feed)
            state.step += 1
            row = record.reduce(fabric, plan) | {
                "step": state.step,
                "epoch": state.step / plan.steps_per_epoch,
                "lr": optimizer.param_groups[0]["lr"],
            }
            row["images_per_s"] = row["images"] / (time.perf_counter() - begun)
            if logger:
                logger.write(row)
                losses = {key: value for key, value in row.items() if "->" in key}
                progress.update(state.step, losses, row["images_per_s"], record.describe_load())
                if log.picture_every_steps and state.step % log.picture_every_steps == 0:
                    logger.picture(draw_picture(plan.config, plan.sources, model.module, state.step), state.step)
            if state.step % log.checkpoint_every_steps == 0:
                save(fabric, plan, state, model, optimizer)
                saved = state.step
    if state.step > saved:
        save(fabric, plan, state, model, optimizer)
    if logger:
        logger.close()


def save(fabric: Fabric, plan: Plan, state: State, model: Any, optimizer: AdamW) -> None:
    """Writes a checkpoint from the first rank."""
    if fabric.is_global_zero:
        content = {
            "model": model.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "shaping": plan.shaping(),
            "bad": list(state.bad),
        }
        save_checkpoint(plan.config.out, state.step, content, plan.config.log.keep_checkpoints)
    fabric.barrier()


STEP_COLUMNS = (
    *("step", "epoch", "source", "lr", "loss", "reconstruction", "auxiliary", "grad_norm"),
    *("images", "images_per_s", "expert_load_max", "dropped_share"),
)


@dataclass(kw_only=True)
class StepRecord:
    """What one optimiser step saw: sums over its batches on this rank."""

    source: str
    grad_norm: float = 0.0
    losses: Tensor = field(default_factory=lambda: torch.zeros(3))  # loss, reconstruction, auxiliary
    directions: dict[str, tuple[float, int]] = field(default_factory=dict)
    images: int = 0
    load: Tensor | None = None
    dropped: float = 0.0

    def add(self, batch: Batch, output: PretrainOutput, weight: float) -> None:
        """Takes in one batch."""
        parts = torch.stack([output.loss, output.reconstruction, output.auxiliary]).detach()
        self.losses += weight * parts.float().cpu()
        self.images += batch.num_images
        for direction, (loss, count) in output.directions.items():
            total, seen = self.directions.get(str(direction), (0.0, 0))
            self.directions[str(direction)] = (total + float(loss) * count, seen + count)
        if output.mixtures:
            load = torch.stack([mixture.load for mixture in output.mixtures]).float().cpu()
            self.load = load if self.load is None else self.load + load
            self.dropped += float(torch.stack([mixture.dropped for mixture in output.mixtures]).sum())

    def reduce(self, fabric: Fabric, plan: Plan) -> dict[str, Any]:
        """A row of `log.csv`: means over ranks, directions weighted by their images."""
        names = [str(direction) for direction in plan.directions]
        pairs = [self.directions.get(name, (0.0, 0)) for name in names]
        sums = torch.tensor([*[total for total, _ in pairs], *[count for _, count in pairs], self.images])
        losses = self.losses
        if fabric.world_size > 1:
            sums = cast(Tensor, fabric.all_reduce(sums.to(fabric.device), reduce_op="sum")).cpu()
            losses = cast(Tensor, fabric.all_reduce(losses.to(fabric.device), reduce_op="mean")).cpu()
        totals, counts = sums[: len(names)].tolist(), sums[len(names) : -1].tolist()
        loss, reconstruction, auxiliary = losses.tolist()
        row: dict[str, Any] = {
            "source": self.source,
            "loss": loss,
            "reconstruction": reconstruction,
            "auxiliary": auxiliary,
            "grad_norm": self.grad_norm,
            "images": int(sums[-1]),
        }
        if self.load is not None:
            row["expert_load_max"] = float((self.load.amax(1) / self.load.mean(1)).mean())
            row["dropped_share"] = self.dropped / float(self.load.sum())
        return row | {
            name: total / count for name, total, count in zip(names, totals, counts, strict=True) if count
        }

    def describe_load(self) -> str:
        """Share of tokens per expert, mean over the mixtures, in percent."""
        if self.load is None:
            return ""
        shares = (self.load / self.load.sum(1, keepdim=True)).mean(0)
        dropped = self.dropped / float(self.load.sum())
        return f"load {' '.join(f'{share:.0%}' for share in shares.tolist())}, dropped {dropped:.1%}"


def train_step(
    fabric: Fabric, plan: Plan, state: State, model: Any, optimizer: AdamW, feed: Iterator[Batch]
) -> StepRecord:
    """One optimiser step over the batches of one source, or of all of them (`joint`)."""
    source = plan.source_of(state.step)
    record = StepRecord(source=source.name if source else "joint")
    for group in optimizer.param_groups:
        group["lr"] = plan.lr(state.step)
    for part in range(plan.batches_per_step):
        batch = next(feed)
        note_bad_files(plan, state, batch)
        batch = batch.to(fabric.device)
        # gate noise and stochastic depth follow from the step alone, so that a resumed run draws the same
        torch.manual_seed(hash((plan.config.seed, state.step, part, fabric.global_rank)) % 2**63)
        weight = plan.weight(batch.source)
        last = part + 1 == plan.batches_per_step
        with _no_sync(fabric, model, not last):
            output = model(batch.images, batch.hidden, batch.targets)
            if not torch.isfinite(output.loss):
                raise InputError(
                    f"the loss is {float(output.loss)} at step {state.step + 1} (source {record.source}); "
                    f"lower its lr or optim.clip_grad_norm, or look at the data with `msgfm data stats`; "
                    f"earlier checkpoints stand"
                )
            fabric.backward(output.loss * weight)
        record.add(batch, output, weight)
    if plan.config.optim.clip_grad_norm is not None:
        norm = fabric.clip_gradients(
            model, optimizer, max_norm=plan.config.optim.clip_grad_norm, error_if_nonfinite=False
        )
        record.grad_norm = float(cast(Tensor, norm))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return record


def _no_sync(fabric: Fabric, model: Any, enabled: bool) -> AbstractContextManager[Any]:
    """Gradients of a step's batches are exchanged once, with the last."""
    return fabric.no_backward_sync(model, enabled=enabled and fabric.world_size > 1)


def note_bad_files(plan: Plan, state: State, batch: Batch) -> None:
    """Counts samples that could not be read; more than `skip_bad` end the run."""
    state.bad.update(dict.fromkeys(batch.bad))
    if len(state.bad) > plan.config.skip_bad:
        listed = "\n  ".join(list(state.bad)[:10])
        raise InputError(
            f"{len(state.bad)} samples cannot be read, skip_bad allows {plan.config.skip_bad}:\n  {listed}\n"
            f"mend or remove them and index again, or allow more with --skip-bad N"
        )
