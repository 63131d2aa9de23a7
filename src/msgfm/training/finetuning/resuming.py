"""Which seeds of a run are left to do, where they go on, and whether they are of the run that lies in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgfm.config import config_from_dict, config_to_dict
from msgfm.errors import InputError
from msgfm.models.weights import WEIGHTS
from msgfm.training.checkpoint import list_checkpoints, load_checkpoint, require_same
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.finetuning.plan import Plan, digest_of, seed_folder
from msgfm.training.finetuning.results import RUN_FACTS, RunFacts, read_facts
from msgfm.training.finetuning.settings import WITHOUT_EFFECT
from msgfm.training.folder import RECIPE


class Found(NamedTuple):
    """A checkpoint to go on from."""

    path: Path
    content: dict[str, Any]


def seeds_to_run(config: FinetuneConfig, resume: bool) -> list[int]:
    """The seeds that are not complete. Without `resume`, folders that hold a run already are refused.

    A seed that was stopped before its first checkpoint starts anew.

    Raises:
        InputError: such folders, nothing to resume, or seeds in `config.out` that were made with other settings.
    """
    folders = {seed: seed_folder(config.out, seed) for seed in config.seeds}
    used = {seed: bool(list_checkpoints(path)) or (path / WEIGHTS).exists() for seed, path in folders.items()}
    done = {seed: (path / RUN_FACTS).exists() for seed, path in folders.items()}
    if not resume:
        if taken := [path for seed, path in folders.items() if used[seed] or done[seed]]:
            raise InputError(
                f"{taken[0]} holds a run already; go on with --resume, or choose another folder: out=FOLDER"
            )
    elif not any(config.out.glob(f"seed_*/{RECIPE}")):
        raise InputError(f"nothing to resume: no run was started in {config.out}; start without --resume")
    for path, facts in complete_facts(config.out):
        _require_same_recipe(config, facts, path)
    return [seed for seed in config.seeds if not done[seed]]


def complete_facts(out: Path) -> list[tuple[Path, RunFacts]]:
    """Of each complete seed its `run.json`, and what that says.

    Raises:
        InputError: one of them is damaged.
    """
    found = [(path, read_facts(path.parent)) for path in sorted(out.glob(f"seed_*/{RUN_FACTS}"))]
    return [(path, facts) for path, facts in found if facts is not None]


def _require_same_recipe(config: FinetuneConfig, facts: RunFacts, path: Path) -> None:
    before = config_from_dict(FinetuneConfig, facts.recipe, f"{path}: recipe")
    require_same(_shaping(before), _shaping(config), path)
    if before.init != config.init:  # the same weights may lie elsewhere now
        _require_same_init(facts, digest_of(config.init), path)


def _shaping(config: FinetuneConfig) -> dict[str, Any]:
    """What of a recipe shapes the result, whatever the samples and the pretrained weights."""
    tree = {key: value for key, value in config_to_dict(config).items() if key not in (*WITHOUT_EFFECT, "init")}
    del tree["skip_bad"]
    tree["data"] = {key: value for key, value in tree["data"].items() if key not in ("manifest", "digest")}
    tree["backbone"].pop("prior", None)  # follows from the samples where the recipe has none
    hardware = config_to_dict(config)["hardware"]
    tree["hardware"] = {key: hardware[key] for key in ("precision", "accumulate")}
    return tree


def _require_same_init(facts: RunFacts, digest: str, path: Path) -> None:
    require_same({"init": facts.init.sha256 if facts.init else ""}, {"init": digest}, path)


def require_same_start(plans: Sequence[Plan]) -> None:
    """Refuses to put seeds beside others that were trained on other samples, or from other weights.

    Raises:
        InputError: names what differs.
    """
    first = plans[0]
    for path, facts in complete_facts(first.config.out):
        _require_same_init(facts, first.init_digest, path)
        known = {split: facts.data.digests.get(split) for split in first.data.digests}
        require_same({"samples": known}, {"samples": first.data.digests}, path)
        read = {split: known for split, known in facts.data.readings.items() if split in first.data.readings}
        require_same({"readings": read}, {"readings": {split: first.data.readings[split] for split in read}}, path)


def find_checkpoint(plan: Plan) -> Found | None:
    """The last checkpoint of a seed's run; None where it has none.

    Raises:
        InputError: it is damaged, or of a run with other settings.
    """
    checkpoints = list_checkpoints(plan.folder)
    if not checkpoints:
        return None
    content = load_checkpoint(checkpoints[-1])
    saved, present = content["shaping"], plan.shaping()
    if "readings" not in saved:  # earlier versions did not note them
        del present["readings"]
    require_same(saved, present, checkpoints[-1])
    return Found(checkpoints[-1], content)
