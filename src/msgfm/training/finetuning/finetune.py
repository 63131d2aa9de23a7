"""`finetune`: from a recipe to a folder for each seed that `from_pretrained` loads, with its scores."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

from lightning.fabric import Fabric
from rich.console import Console
from torch.optim import AdamW

from msgfm.data.tasks import load_task_data, require_disjoint
from msgfm.errors import InputError
from msgfm.models.downstream import DownstreamModel
from msgfm.models.msgfm import MsGFM
from msgfm.models.pretrained import save_pretrained
from msgfm.models.swin import SwinEncoder
from msgfm.models.tasks import Restoration
from msgfm.models.transfer import TransferReport
from msgfm.models.weights import WEIGHTS, load_strictly
from msgfm.training.checkpoint import list_checkpoints, load_checkpoint, require_same
from msgfm.training.finetuning.build import build_model, freeze_below_head, load_init
from msgfm.training.finetuning.checking import check_samples
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.finetuning.full_resolution import evaluate_full_resolution
from msgfm.training.finetuning.losses import LossOfModel
from msgfm.training.finetuning.neighbours import with_neighbours
from msgfm.training.finetuning.outcome import describe_run, evaluate_split, scores_table, write_facts
from msgfm.training.finetuning.pictures import draw_predictions
from msgfm.training.finetuning.plan import Plan, digest_of, make_plan, require_metric, seed_folder
from msgfm.training.finetuning.prior import with_class_prior
from msgfm.training.finetuning.results import RUN_FACTS
from msgfm.training.finetuning.schedule import make_optimizer
from msgfm.training.finetuning.step import State
from msgfm.training.finetuning.train import is_done, make_predictor, take_best, train
from msgfm.training.folder import prepare_run_folder
from msgfm.training.hardware import make_fabric
from msgfm.training.logs import require_loggers
from msgfm.training.progress import make_console
from msgfm.training.ranks import end_ranks, on_first_rank
from msgfm.training.signals import StopRequest

_EVALUATION = timedelta(hours=12)
"""How long ranks wait for the first one, which evaluates alone."""


class Found(NamedTuple):
    """A checkpoint to go on from."""

    path: Path
    content: dict[str, Any]


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
    seeds = seeds_to_run(config, resume)
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
    _make_loss(plans[0], model)  # refuses weights of classes that there are not
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


def seeds_to_run(config: FinetuneConfig, resume: bool) -> list[int]:
    """The seeds that are not complete. Without `resume`, folders that hold a run already are refused.

    Raises:
        InputError: such folders, or nothing to resume.
    """
    folders = {seed: seed_folder(config.out, seed) for seed in config.seeds}
    used = {seed: bool(list_checkpoints(path)) or (path / WEIGHTS).exists() for seed, path in folders.items()}
    done = {seed: (path / RUN_FACTS).exists() for seed, path in folders.items()}
    if not resume:
        if taken := [path for seed, path in folders.items() if used[seed] or done[seed]]:
            raise InputError(
                f"{taken[0]} holds a run already; go on with --resume, or choose another folder: out=FOLDER"
            )
    elif not any(used.values()) and not any(done.values()):
        raise InputError(f"nothing to resume: no checkpoint in {config.out}; start without --resume")
    return [seed for seed in config.seeds if not done[seed]]


def find_checkpoint(plan: Plan) -> Found | None:
    """The last checkpoint of a seed's run; None where it has none.

    Raises:
        InputError: it is damaged, or of a run with other settings.
    """
    checkpoints = list_checkpoints(plan.folder)
    if not checkpoints:
        return None
    content = load_checkpoint(checkpoints[-1])
    require_same(content["shaping"], plan.shaping(), checkpoints[-1])
    return Found(checkpoints[-1], content)


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
    for note in (*data.notes, *report.describe()):
        console.print(f"  {note}", markup=False, highlight=False)


def _run_seed(fabric: Fabric, plan: Plan, pretrained: MsGFM | None, checkpoint: Found | None, console: Console) -> int:
    """From processes that have started to the folder of one seed, which no other run may use meanwhile.

    Returns:
        The signal that stopped it, the same on all ranks; 0 when the seed is complete.
    """
    started = time.time()
    model, report = build_model(plan.config, plan.data, pretrained, plan.seed)
    with ExitStack() as held:
        on_first_rank(fabric, lambda: prepare_run_folder(plan.folder, plan.config, held))
        state = State()
        if trains(plan, model):
            stop = StopRequest()
            with stop:
                state = _train(fabric, plan, model, checkpoint, stop, console)
            if stop.signal and not is_done(plan, state):
                console.print(
                    f"stopped by {stop.name} after step {state.step} of {plan.total_steps} of seed {plan.seed}; a "
                    f"checkpoint is saved, go on with --resume"
                )
                return stop.signal
        on_first_rank(fabric, lambda: _finish(fabric, plan, model, state, report, started, console))
    return 0


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
    describe_run(plan.folder)
    console.print(scores_table(plan, scores))
    shutil.rmtree(plan.folder / "checkpoints", ignore_errors=True)  # nothing is left to resume
    for message in state.bad:
        console.print(f"left out: {message}", markup=False, highlight=False)
    console.print(f"done: {plan.folder}  (open report.html there; load with msgfm.from_pretrained)")
