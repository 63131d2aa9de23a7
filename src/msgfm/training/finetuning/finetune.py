"""`finetune`: from a recipe to a folder for each seed that `from_pretrained` loads, with its scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from signal import Signals
from typing import cast

from lightning.fabric import Fabric
from lightning.fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console
from torch.optim import AdamW

from msgfm.data.tasks import load_task_data, require_disjoint
from msgfm.files import lock_folder, remove_unfinished
from msgfm.models.baselines.rules import RuleBackbone
from msgfm.models.downstream import DownstreamModel
from msgfm.models.msgfm import MsGFM
from msgfm.models.pretrained import save_pretrained
from msgfm.models.swin import SwinEncoder
from msgfm.models.tasks import Restoration
from msgfm.models.transfer import TransferReport
from msgfm.models.weights import load_strictly
from msgfm.training.finetuning.build import build_model, freeze_below_head, load_init
from msgfm.training.finetuning.checking import check_samples
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.finetuning.full_resolution import evaluate_full_resolution
from msgfm.training.finetuning.losses import LossOfModel
from msgfm.training.finetuning.neighbours import with_neighbours
from msgfm.training.finetuning.outcome import end_run, evaluate_split, is_ended, scores_table, write_facts
from msgfm.training.finetuning.overrides import idle_settings
from msgfm.training.finetuning.pictures import draw_predictions
from msgfm.training.finetuning.plan import Plan, digest_of, make_plan, require_meaning, require_metric, seed_folder
from msgfm.training.finetuning.prior import with_class_prior
from msgfm.training.finetuning.resuming import Found, find_checkpoint, require_same_start, seeds_to_run
from msgfm.training.finetuning.schedule import make_optimizer
from msgfm.training.finetuning.step import State
from msgfm.training.finetuning.train import is_done, make_predictor, take_best, train
from msgfm.training.folder import prepare_run_folder
from msgfm.training.hardware import make_fabric
from msgfm.training.logs import require_loggers
from msgfm.training.progress import make_console
from msgfm.training.ranks import end_ranks, on_first_rank
from msgfm.training.signals import Stopped, StopRequest, stopping_at_once

_EVALUATION = timedelta(hours=12)
"""How long ranks wait for the first one, which evaluates alone."""


def finetune(config: FinetuneConfig, *, resume: bool = False, console: Console | None = None) -> int:
    """Fine-tunes and evaluates a model for each seed of the recipe, and leaves them at `config.out`.

    Args:
        config: the recipe.
        resume: goes on from the last checkpoint of each seed; seeds that are complete are left as they are.
        console: where progress is shown.

    Returns:
        0 when complete, else 128 + the number of the signal that stopped it; a checkpoint was saved then.

    Raises:
        InputError: anything wrong with recipe, data, pretrained model, checkpoint or disk.
    """
    console = console or make_console(stderr=True)
    require_loggers(config.log)
    config = _with_whole_images(config)
    seeds = seeds_to_run(config, resume)
    _end_complete_seeds([seed_folder(config.out, seed) for seed in config.seeds if seed not in seeds], console)
    if not seeds:
        console.print(f"{config.out} is complete, seeds {', '.join(map(str, config.seeds))}; for more: seeds=[...]")
        return 0
    data = load_task_data(config.data, config.task, config.inputs, limits=config.hardware.cache_limits)
    require_disjoint(data)
    config = with_class_prior(config, data)
    pretrained = load_init(config)
    fabric = make_fabric(config.hardware, patience=_EVALUATION)
    if fabric.global_rank:
        console = Console(quiet=True)
    model, report = build_model(config, data, pretrained, seeds[0])
    digest = digest_of(config.init)
    plans = [make_plan(config, data, model.config, seed, fabric.world_size, init_digest=digest) for seed in seeds]
    require_metric(plans[0])
    require_meaning(plans[0])
    _make_loss(plans[0], model)  # refuses weights of classes that there are not
    require_same_start(plans)
    checkpoints = [find_checkpoint(plan) for plan in plans]
    describe(console, plans[0], model, report)
    if not fabric.global_rank and trains(plans[0], model):
        check_samples(plans[0], console)
    # nothing is written before every rank has found all of the above in order
    fabric.launch()
    try:
        fabric.barrier()
        for plan, checkpoint in zip(plans, checkpoints, strict=True):
            if signal := _run_seed(fabric, plan, pretrained, checkpoint, console):
                # Lightning kills the first rank when it sees another one end with an error
                return 128 + signal if fabric.is_global_zero else 0
        return 0
    finally:
        end_ranks()


def _with_whole_images(config: FinetuneConfig) -> FinetuneConfig:
    """The recipe of a rule that restores images, as it is scored: means and gains of a rule are those of the image."""
    if not (isinstance(config.backbone, RuleBackbone) and isinstance(config.task, Restoration)):
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"window_size": "image"})})


@rank_zero_only
def _end_complete_seeds(folders: Iterable[Path], console: Console) -> None:
    """Report and model card of seeds that are complete but were killed before these were written."""
    for folder in folders:
        if not is_ended(folder):
            with lock_folder(folder):
                remove_unfinished(folder)
                end_run(folder)
            console.print(f"{folder} was complete, but for its report and model card; they are written")


def describe(console: Console, plan: Plan, model: DownstreamModel, report: TransferReport) -> None:
    """Says what is about to happen."""
    config, data = plan.config, plan.data
    console.print(
        f"{config.method} for {plan.model.task.kind}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M "
        f"parameters, seeds {', '.join(map(str, config.seeds))}, out: {config.out}"
    )
    if config.optim.warmup_epochs >= config.epochs and trains(plan, model):
        console.print(
            f"  the whole run of {config.epochs} epochs is warm-up (optim.warmup_epochs="
            f"{config.optim.warmup_epochs:g}); optim.lr is not reached"
        )
    for name, one in data.splits.items():
        console.print(f"  {name}: {len(one.samples)} samples, digest {data.digests[name]}", highlight=False)
    for why, keys in idle_settings(config).items():
        console.print(f"  {', '.join(keys)}: of no use {why}", highlight=False)
    for note in (*data.notes, *report.describe()):
        console.print(f"  {note}", highlight=False)


def _run_seed(fabric: Fabric, plan: Plan, pretrained: MsGFM | None, checkpoint: Found | None, console: Console) -> int:
    """From processes that have started to the folder of one seed, which no other run may use meanwhile.

    Returns:
        The signal that stopped it, the same on all ranks; 0 when the seed is complete.
    """
    started = time.time()
    model, report = build_model(plan.config, plan.data, pretrained, plan.seed)
    with ExitStack() as held:
        on_first_rank(fabric, lambda: prepare_run_folder(plan.folder, plan.config, held))
        state, stop = State(), StopRequest()
        if trains(plan, model):
            with stop:
                state = _train(fabric, plan, model, checkpoint, stop, console)
            if stop.signal and not is_done(plan, state):
                console.print(
                    f"stopped by {stop.name} after step {state.step} of {plan.total_steps} of seed {plan.seed}; a "
                    f"checkpoint is saved, go on with --resume"
                )
                return stop.signal
        finish = partial(_finish, fabric, plan, model, state, report, started, console)
        return _on_first_rank_until_stopped(fabric, finish, stop, plan, console)


def _on_first_rank_until_stopped(
    fabric: Fabric, finish: Callable[[], None], stop: StopRequest, plan: Plan, console: Console
) -> int:
    """What follows training, on the first rank; returns the signal that stopped it, on all ranks, or 0."""
    caught = 0

    def act() -> None:
        nonlocal caught
        try:
            with stopping_at_once():
                if stop.signal:  # it came in the last step
                    raise Stopped(stop.signal)
                finish()
        except Stopped as stopped:
            caught = stopped.signal

    # the other ranks hear of a signal from the first one
    with nullcontext() if fabric.is_global_zero else StopRequest():
        on_first_rank(fabric, act)
        caught = fabric.broadcast(caught)
    if caught:
        console.print(
            f"stopped by {Signals(caught).name} while seed {plan.seed} was evaluated; nothing of its training is lost, "
            f"go on with --resume"
        )
    return caught


def trains(plan: Plan, model: DownstreamModel) -> bool:
    """Whether there is anything to train: neighbours and rules without parameters need no step."""
    return plan.config.method != "knn" and any(True for _ in model.parameters())


def _train(
    fabric: Fabric, plan: Plan, model: DownstreamModel, checkpoint: Found | None, stop: StopRequest, console: Console
) -> State:
    if plan.config.method == "linear_probe":
        freeze_below_head(model)
    for module in model.modules():
        if isinstance(module, SwinEncoder):
            module.set_grad_checkpointing(plan.config.hardware.grad_checkpointing)
    loss = _make_loss(plan, model)
    optimizer = make_optimizer(model, model.layers(), plan.config.optim)
    if checkpoint:
        load_strictly(model, checkpoint.content["model"], str(checkpoint.path))
    wrapped, wrapped_optimizer = fabric.setup(loss, optimizer)
    state = State()
    if checkpoint:
        wrapped_optimizer.load_state_dict(checkpoint.content["optimizer"])
        state = State.from_checkpoint(checkpoint.content)
        console.print(f"resuming {checkpoint.path} after step {state.step} of {plan.total_steps}")
    train(fabric, plan, state, wrapped, cast(AdamW, wrapped_optimizer), stop, console)
    return state


def _make_loss(plan: Plan, model: DownstreamModel) -> LossOfModel:
    task = plan.model.task
    card = task.target.card(plan.model.sensors) if isinstance(task, Restoration) else None
    return LossOfModel(model, plan.config.loss, task, card)


def _finish(
    fabric: Fabric,
    plan: Plan,
    model: DownstreamModel,
    state: State,
    report: TransferReport,
    started: float,
    console: Console,
) -> None:
    """Model, scores, predictions and pictures of a trained seed; `run.json` last."""
    take_best(plan, state, model)
    if plan.data.val is not None and state.step and state.best_score is None:
        console.print(
            f"seed {plan.seed}: {plan.metric} was not defined (NaN) in any validation: the last weights are kept, "
            f"for none were known to be the best"
        )
    model.to(fabric.device).eval()
    predictor = make_predictor(fabric, plan, model)
    if plan.config.method == "knn":
        predictor = with_neighbours(plan, model, predictor)
    else:
        save_pretrained(model, plan.folder)
    splits = {"val": plan.data.val, "test": plan.data.test}
    scores = {name: evaluate_split(plan, name, one, predictor) for name, one in splits.items() if one is not None}
    scores |= evaluate_full_resolution(plan, "test", predictor)
    draw_predictions(plan, predictor, state.step)
    write_facts(plan, state, model, report.describe(), started)
    end_run(plan.folder)
    console.print(scores_table(plan, scores))
    for message in state.bad:
        console.print(f"left out: {message}", highlight=False)
    left = "load with msgfm.from_pretrained"
    if plan.config.method == "knn":
        left = "neighbours are no model to load; msgfm evaluate scores them on other splits"
    console.print(f"done: {plan.folder}  (open report.html there; {left})")
