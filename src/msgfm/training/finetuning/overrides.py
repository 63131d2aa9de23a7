"""A recipe with the user's changes: which of its settings do nothing then, and whether the paper's numbers fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgfm.config import Config, load_config
from msgfm.errors import InputError
from msgfm.training.finetuning.config import FinetuneConfig

_OF_TRAINING = (
    "optim",
    "loss",
    "epochs",
    "val_every_epochs",
    "early_stopping",
    "skip_bad",
    "drop_path_rate",
    "data.augment",
    "data.jitter",
    "data.sensor_dropout",
    "hardware.accumulate",
    "hardware.grad_checkpointing",
)
"""Settings that nothing looks at where nothing is trained."""

_BELOW_THE_HEAD = ("optim.layer_decay", "loss.auxiliary_weight", "drop_path_rate", "hardware.grad_checkpointing")
"""Settings of an encoder that is trained."""

_WHAT_THE_PAPER_SCORED = ("inputs", "task", "data.fraction", "data.labels_from_mask", "data.wald", "data.test")
"""Settings without which a metric of the paper means something else."""


def load_recipe(path: Path, overrides: Sequence[str]) -> tuple[FinetuneConfig, list[str]]:
    """Reads a recipe with the user's changes to it.

    The paper's numbers are left out where inputs, task, labels or test are changed from those that they are of, unless
    `paper` is given, too.

    Returns:
        The recipe, and what is to be known of it, a line each.

    Raises:
        InputError: as `load_config`, or a change would do nothing with the rest of the recipe.
    """
    config = load_config(FinetuneConfig, path, overrides)
    given = [override.partition("=")[0] for override in overrides]
    for why, keys in idle_settings(config).items():
        if unused := [key for key in keys if any(_overlap(key, one) for one in given)]:
            them = "them" if len(unused) > 1 else "it"
            raise InputError(f"{' and '.join(unused)} would do nothing {why}; leave {them} out")
    changed = [one for one in given if any(_overlap(one, key) for key in _WHAT_THE_PAPER_SCORED)]
    if not config.paper or not changed or any(_overlap(one, "paper") for one in given):
        return config, []
    if _as_before(path, overrides, config):
        return config, []
    note = (
        f"the paper's numbers in {path.name} are of other {', '.join(changed)} and are not shown; where there are such "
        f"of these, give them: 'paper={{metric: value}}'"
    )
    return config.model_copy(update={"paper": {}}), [note]


def idle_settings(config: FinetuneConfig) -> dict[str, list[str]]:
    """Settings that are not as by default and do nothing beside the others: dotted keys, by why that is."""
    found: dict[str, list[str]] = {}
    known: set[str] = set()
    for why, keys in _idle(config):
        new = [changed for key in keys for changed in _not_default(config, key) if changed not in known]
        if new:
            found[why] = new
            known.update(new)
    return found


def _idle(config: FinetuneConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    if config.backbone.kind == "rule":
        yield "with a rule, which is not trained", ("method", "neighbours", *_OF_TRAINING)
    elif config.method == "knn":
        yield "with method knn, which trains nothing", _OF_TRAINING
    elif config.method == "linear_probe":
        yield "with method linear_probe, which trains the head alone", _BELOW_THE_HEAD
    if config.method != "knn":
        yield f"with method {config.method}", ("neighbours",)
    if len({image.sensor for image in config.inputs}) == 1:
        yield "with images of one sensor", ("data.sensor_dropout",)


def _not_default(config: FinetuneConfig, key: str) -> list[str]:
    """The setting, or those of a group, that have another value than by default."""
    group, _, name = key.rpartition(".")
    owner: Config = getattr(config, group) if group else config
    value, default = getattr(owner, name), type(owner).model_fields[name].default
    if isinstance(value, Config):
        return [f"{key}.{one}" for one in type(value).model_fields if getattr(value, one) != getattr(default, one)]
    return [key] if value != default else []


def _overlap(one: str, other: str) -> bool:
    """Whether dotted keys are the same, or one is of a group that the other is."""
    parts, others = one.split("."), other.split(".")
    shared = min(len(parts), len(others))
    return parts[:shared] == others[:shared]


def _as_before(path: Path, overrides: Sequence[str], config: FinetuneConfig) -> bool:
    """Whether the changes say of what the paper scored only what the recipe says, too."""
    others = [
        one for one in overrides if not any(_overlap(one.partition("=")[0], key) for key in _WHAT_THE_PAPER_SCORED)
    ]
    try:
        recipe = load_config(FinetuneConfig, path, others)
    except InputError:  # it needs the changes to be whole
        return False
    return (recipe.inputs, recipe.task, recipe.data) == (config.inputs, config.task, config.data)
