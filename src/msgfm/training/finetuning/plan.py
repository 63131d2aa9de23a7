"""What one fine-tuning run does, as it follows from its recipe, data and seed."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgfm.config import config_to_dict
from msgfm.data.mixture import MixtureOrder
from msgfm.data.tasks import TaskData
from msgfm.errors import InputError
from msgfm.metrics import NO_REFERENCE, default_metric
from msgfm.models.downstream import DownstreamConfig
from msgfm.models.pretrained import model_folder
from msgfm.models.tasks import Classification
from msgfm.models.weights import WEIGHTS
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.finetuning.schedule import learning_rate
from msgfm.training.finetuning.scoring import metric_names


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything about the run of one seed.

    Args:
        config: the recipe.
        data: its samples.
        model: the model's configuration, with the data's classes and the cards.
        seed: of weights, order, crops and noise.
        order: which training samples the batches hold.
        init_digest: SHA-256 of the pretrained weights; empty without.
        folder: where the run of this seed leaves everything.
    """

    config: FinetuneConfig
    data: TaskData
    model: DownstreamConfig
    seed: int
    order: MixtureOrder
    init_digest: str
    folder: Path

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in which every training sample is seen."""
        return self.order.rounds_per_epoch

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the run, unless it ends early."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def metric(self) -> str:
        """Of the validation split, which picks the best weights."""
        task = self.model.task
        return self.config.metric or default_metric(
            task.kind, multilabel=isinstance(task, Classification) and task.multilabel
        )

    def lr(self, step: int) -> float:
        """The head's learning rate at a step (counted from 0)."""
        optim = self.config.optim
        return learning_rate(optim, step, optim.warmup_epochs * self.steps_per_epoch, self.total_steps)

    def validates_after(self, step: int) -> bool:
        """Whether the validation split is scored after so many steps."""
        return step == self.total_steps or step % (self.config.val_every_epochs * self.steps_per_epoch) == 0

    def shaping(self) -> dict[str, Any]:
        """The settings that shape every step; resuming asks for the same."""
        config = config_to_dict(self.config)
        names = ("loss", "optim", "method", "epochs", "batch_size", "val_every_epochs", "early_stopping")
        shaping: dict[str, Any] = {name: config[name] for name in names}
        shaping["data"] = {key: value for key, value in config["data"].items() if key not in ("manifest", "digest")}
        shaping["samples"] = dict(self.data.digests)
        shaping["readings"] = dict(self.data.readings)
        shaping["model"] = config_to_dict(self.model)
        shaping["init"] = self.init_digest
        shaping["metric"] = self.metric
        shaping["seed"] = self.seed
        shaping["hardware"] = {key: config["hardware"][key] for key in ("precision", "accumulate")}
        shaping["devices"] = self.order.world_size
        return shaping


def seed_folder(out: Path, seed: int) -> Path:
    """The folder of one seed's run."""
    return out / f"seed_{seed}"


def make_plan(
    config: FinetuneConfig,
    data: TaskData,
    model: DownstreamConfig,
    seed: int,
    world_size: int,
    *,
    init_digest: str = "",
    folder: Path | None = None,
) -> Plan:
    """Puts recipe, data and seed together; of a run that was moved, `folder` is where it lies now."""
    return Plan(
        config=config,
        data=_with_seed(data, seed),
        model=model,
        seed=seed,
        order=MixtureOrder(
            [len(data.train)],
            [config.batch_size],
            seed=seed,
            world_size=world_size,
            accumulate=config.hardware.accumulate,
        ),
        init_digest=init_digest,
        folder=folder or seed_folder(config.out, seed),
    )


def _with_seed(data: TaskData, seed: int) -> TaskData:
    """The same data with the random changes of another seed; to read the manifests again would take much longer."""
    train = copy.copy(data.train)
    train.seed = seed
    return replace(data, train=train)


def require_metric(plan: Plan) -> None:
    """Refuses a metric that the task has not, before anything is trained.

    Raises:
        InputError: names those that there are.
    """
    known = metric_names(plan.model.task, plan.data)
    reported = known if plan.data.full_resolution is None else (*known, *NO_REFERENCE)
    for key, name in (("metric", plan.metric), *(("paper", name) for name in plan.config.paper)):
        if name not in (known if key == "metric" else reported):
            raise InputError(f"{key}: no metric {name!r} in {plan.model.task.kind}; there are {', '.join(known)}")


def require_meaning(plan: Plan) -> None:
    """Refuses settings that would do nothing, or nothing that has a meaning, with these data.

    Raises:
        InputError: names them.
    """
    config = plan.config
    unused = [name for name in ("metric", "early_stopping") if getattr(config, name) is not None]
    if plan.data.val is None and unused:
        raise InputError(
            f"{' and '.join(unused)} would do nothing: there is no validation split (data.val=null); name one, or say "
            f"{' '.join(f'{name}=null' for name in unused)}"
        )
    if config.loss.spectral_angle and "sam" not in metric_names(plan.model.task, plan.data):
        raise InputError(
            "loss.spectral_angle: a target has spectra, and angles between them, where it has several bands of a unit "
            "whose 0 is nothing, as reflectance; this one has not: say loss.spectral_angle=0"
        )


def digest_of(init: Path | None) -> str:
    """SHA-256 of the weights of a model, given as `model_folder` takes it or as their file; empty without one."""
    if init is None:
        return ""
    path = init if init.is_file() else model_folder(init) / WEIGHTS
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read weights {path}: {error.strerror or error}") from error
