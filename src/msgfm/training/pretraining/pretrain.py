"""`pretrain`: from a recipe to a folder that `from_pretrained` loads."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from lightning.fabric import Fabric
from rich.console import Console
from torch.optim import AdamW

from msgfm.config import config_to_dict
from msgfm.data.mixture import Batch, MixtureDataset, MixtureSampler
from msgfm.errors import InputError
from msgfm.models.msgfm import MsGFM
from msgfm.models.pretrained import import_simmim, save_pretrained
from msgfm.models.weights import WEIGHTS, load_strictly, read_checkpoint
from msgfm.training.checkpoint import list_checkpoints, load_checkpoint, require_same, save_checkpoint
from msgfm.training.folder import RECIPE, RUN_FACTS, prepare_run_folder
from msgfm.training.hardware import make_fabric
from msgfm.training.loading import load_batches
from msgfm.training.logs import StepLogger, require_loggers
from msgfm.training.optim import make_optimizer
from msgfm.training.pretraining.config import PretrainConfig
from msgfm.training.pretraining.outcome import draw_picture, write_outcome
from msgfm.training.pretraining.plan import Plan, make_plan
from msgfm.training.pretraining.sources import load_sources
from msgfm.training.pretraining.step import STEP_COLUMNS, State, train_step
from msgfm.training.progress import TrainingProgress, make_console
from msgfm.training.ranks import end_ranks, on_first_rank
from msgfm.training.signals import StopRequest
from msgfm.training.steps import describe_step


class Found(NamedTuple):
    """A checkpoint to go on from."""

    path: Path
    content: dict[str, Any]


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
    console = console or make_console(stderr=True)
    require_loggers(config.log)
    sources = load_sources(config)
    fabric = make_fabric(config.hardware)
    if fabric.global_rank:
        console = Console(quiet=True)
    plan = make_plan(config, sources, fabric.world_size)
    checkpoint = find_checkpoint(plan, resume)
    if checkpoint and checkpoint.content["step"] == plan.total_steps and (config.out / RUN_FACTS).exists():
        console.print(f"{config.out} is complete, {plan.total_steps} steps; for more: --resume epochs=N")
        return 0
    torch.manual_seed(config.seed)
    model = build_model(plan, console)
    if checkpoint:
        load_strictly(model, checkpoint.content["model"], str(checkpoint.path))
    # nothing is written before every rank has found all of the above in order
    fabric.launch()
    try:
        fabric.barrier()
        return _run(fabric, plan, model, checkpoint, console)
    finally:
        end_ranks()


def _run(fabric: Fabric, plan: Plan, model: MsGFM, checkpoint: Found | None, console: Console) -> int:
    """From processes that have started to a folder with a model, which no other run may use meanwhile."""
    config = plan.config
    with ExitStack() as held:
        on_first_rank(fabric, lambda: prepare_run_folder(config.out, config, held))
        return _train_and_finish(fabric, plan, model, checkpoint, console)


def _train_and_finish(fabric: Fabric, plan: Plan, model: MsGFM, checkpoint: Found | None, console: Console) -> int:
    config = plan.config
    model.encoder.set_grad_checkpointing(config.hardware.grad_checkpointing)
    wrapped, optimizer = fabric.setup(model, make_optimizer(model, config.optim))
    state = State()
    if checkpoint:
        optimizer.load_state_dict(checkpoint.content["optimizer"])
        state = State(step=checkpoint.content["step"], bad=dict.fromkeys(checkpoint.content["bad"]))
        console.print(f"resuming {checkpoint.path} after step {state.step} of {plan.total_steps}")
    describe(console, plan, model)

    started = time.time()
    stop = StopRequest()
    with stop:
        train(fabric, plan, state, wrapped, cast(AdamW, optimizer), stop, console)
    if stop.signal and state.step < plan.total_steps:
        console.print(
            f"stopped by {stop.name} after step {state.step} of {plan.total_steps}; a checkpoint is saved, "
            f"go on with --resume"
        )
        # Lightning kills the first rank when it sees another one end with an error
        return 128 + stop.signal if fabric.is_global_zero else 0

    def finish() -> None:
        save_pretrained(model, config.out)
        write_outcome(config, plan.sources, model.eval(), state.bad, started, plan.total_steps, console)

    on_first_rank(fabric, finish)
    return 0


def find_checkpoint(plan: Plan, resume: bool) -> Found | None:
    """The last checkpoint when resuming; otherwise a folder that holds checkpoints or a model is refused.

    A run that was killed before its first checkpoint has left nothing to go on from, so its folder can be used again.
    """
    run = plan.config.out
    checkpoints = list_checkpoints(run)
    if not resume:
        if checkpoints or (run / WEIGHTS).exists():
            raise InputError(f"{run} holds a run already; go on with --resume, or choose another folder: out=FOLDER")
        return None
    if not checkpoints:
        if (run / RECIPE).exists() and not (run / WEIGHTS).exists():
            return None
        raise InputError(f"nothing to resume: no run was started in {run}; start without --resume")
    content = load_checkpoint(checkpoints[-1])
    require_same(content["shaping"], plan.shaping(), checkpoints[-1])
    if content["step"] > plan.total_steps:
        raise InputError(
            f"{checkpoints[-1]} is after step {content['step']}; epochs={plan.config.epochs} are only "
            f"{plan.total_steps} steps"
        )
    return Found(checkpoints[-1], content)


def build_model(plan: Plan, console: Console) -> MsGFM:
    """A new model, its encoder from `init_from` if the recipe names one."""
    path = plan.config.init_from
    if path is None:
        return MsGFM(plan.model)
    try:
        model, report = import_simmim(read_checkpoint(path), plan.model)
    except InputError as error:
        raise InputError(f"init_from: {error}") from error
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
    if plan.config.optim.warmup_epochs >= plan.config.epochs:
        console.print(
            f"the whole run of {plan.config.epochs} epochs is warm-up (optim.warmup_epochs="
            f"{plan.config.optim.warmup_epochs:g}); the learning rates below are not reached"
        )
    for source in plan.sources:
        console.print(
            f"  {source.name}: {len(source)} samples of {' + '.join(source.sensors)}, "
            f"batch {source.batch_size} x {plan.order.world_size}, lr {source.lr:g}"
        )


def batches(plan: Plan, state: State, rank: int) -> Generator[Batch]:
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
    yield from load_batches(dataset, sampler, config.hardware.num_workers)


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
    logger = StepLogger(config.out, log, columns, state.step, config_to_dict(config)) if fabric.is_global_zero else None
    feed = batches(plan, state, fabric.global_rank)
    saved = state.step
    with (
        closing(feed),  # else its workers, which leave signals to this process, outlive an error
        closing(logger) if logger else nullcontext(),
        TrainingProgress(console, plan.total_steps, state.step, log.every_steps) as progress,
    ):
        while state.step < plan.total_steps and not stop.agreed(fabric):
            begun = time.perf_counter()
            record = train_step(fabric, plan, state, model, optimizer, feed)
            state.step += 1
            took_s = time.perf_counter() - begun
            row = record.row() | describe_step(
                state.step, plan.steps_per_epoch, plan.lr(state.step - 1), int(record.images), took_s, record.waited_s
            )
            if logger:
                logger.write(row)
                losses = {key: value for key, value in row.items() if "->" in key}
                progress.update(state.step, losses, row["images_per_s"], record.describe_load())
                if log.picture_every_steps and state.step % log.picture_every_steps == 0:
                    picture = draw_picture(plan.config, plan.sources, model.module, state.step)
                    if picture:
                        logger.picture(picture, state.step)
            if state.step % log.checkpoint_every_steps == 0:
                save(fabric, plan, state, model, optimizer)
                saved = state.step
        if state.step > saved:
            save(fabric, plan, state, model, optimizer)


def save(fabric: Fabric, plan: Plan, state: State, model: Any, optimizer: AdamW) -> None:
    """Writes a checkpoint from the first rank."""

    def write() -> None:
        content = {
            "model": model.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "shaping": plan.shaping(),
            "bad": list(state.bad),
        }
        save_checkpoint(plan.config.out, state.step, content, plan.config.log.keep_checkpoints)

    on_first_rank(fabric, write)
