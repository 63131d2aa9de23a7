"""`msgfm evaluate`: scores of runs that are complete, on any split, with all sensors or with some missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from msgfm.config import load_config
from msgfm.data.tasks import FULL_RESOLUTION, TaskData, TaskDataset, load_task_data
from msgfm.errors import InputError
from msgfm.files import lock_folder, remove_unfinished, write_atomically
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import load_downstream, load_msgfm
from msgfm.models.tasks import Restoration
from msgfm.models.weights import WEIGHTS
from msgfm.training.finetuning.build import build_model, load_init, require_same_bands
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.finetuning.full_resolution import evaluate_full_resolution
from msgfm.training.finetuning.missing import Filler, score_subsets, sensor_subsets
from msgfm.training.finetuning.neighbours import with_neighbours
from msgfm.training.finetuning.outcome import describe_run, evaluate_split, scores_table
from msgfm.training.finetuning.plan import digest_of, make_plan
from msgfm.training.finetuning.predictions import require_split_name
from msgfm.training.finetuning.results import RUN_FACTS, Pretrained, RunFacts, read_facts
from msgfm.training.finetuning.settings import changed_in_evaluation, own_name, require_same_settings
from msgfm.training.finetuning.train import make_predictor
from msgfm.training.folder import RECIPE
from msgfm.training.hardware import make_fabric

_SPLITS = ("train", "val", "test")
"""Those of the run, by the names under which it scored them, or may."""


@dataclass(frozen=True, kw_only=True)
class _Seed:
    """A run that is complete, the recipe that it is evaluated by, and what is not as in its own."""

    folder: Path
    facts: RunFacts
    config: FinetuneConfig
    changed: dict[str, Any]


def evaluate_run(
    run: Path, split: str, overrides: Sequence[str], *, subsets: bool = False, fill: Path | None = None
) -> Iterator[Table | str]:
    """Scores every complete seed of a run, and writes scores and predictions into its folder.

    Args:
        run: a recipe's `out`, or the folder of one seed.
        split: `val`, `test`, `train` (the samples that it was trained on, as they are), or a further split of the
            manifest, unless `data.test=` among the overrides names it.
        overrides: changes to the recipe, as `data.manifest=...`; not of model and training. What else scores hang on,
            as the size of windows, may change under a further name alone, and is noted with the scores.
        subsets: scores every subset of the sensors instead.
        fill: of subsets, the folder of a pretrained model that predicts what is missing, too.

    Yields:
        Tables of scores, and at last what is to be known of seeds that are not complete.

    Raises:
        InputError: no complete run; other classes, or other samples or settings than those that it was scored with.
    """
    require_split_name(split)
    filler = None if fill is None else _load_filler(fill)
    data: TaskData | None = None
    before: FinetuneConfig | None = None
    for folder in complete_seeds(run):
        seed = _open_seed(folder, split, overrides)
        if split.endswith(FULL_RESOLUTION):
            raise InputError(f"--split {split}: it is scored with --split {split.removesuffix(FULL_RESOLUTION)}")
        if split == "train" and seed.config.method == "knn":
            raise InputError("--split train: of method knn each training image is its own nearest neighbour")
        if subsets:
            sensor_subsets(seed.config.inputs)  # one sensor alone is told before anything is read
        if data is None or before is None or (before.data, before.task) != (seed.config.data, seed.config.task):
            data, before = _load_data(seed.config, split), seed.config
        dataset = data.splits.get(_read_as(split))
        if dataset is None:
            raise InputError(f"the run has no split {split!r}; name one with data.{split}=NAME")
        require_same_samples(seed, split, data)
        with ExitStack() as held:
            held.enter_context(lock_folder(folder))
            remove_unfinished(folder)
            table = _evaluate_seed(seed, split, data, dataset, filler, subsets)
            describe_run(folder)
            yield table
    for path in sorted(run.glob("seed_*")):
        if path.is_dir() and not (path / RUN_FACTS).is_file():
            yield f"{path} is left out, as it is not complete; msgfm finetune --resume ends it"


def complete_seeds(run: Path) -> list[Path]:
    """The folders of the complete seeds of a run.

    Raises:
        InputError: there are none.
    """
    folders = [run] if (run / RUN_FACTS).is_file() else sorted(path.parent for path in run.glob(f"seed_*/{RUN_FACTS}"))
    if not folders:
        raise InputError(
            f"{run} holds no complete fine-tuning run ({RUN_FACTS} is written last); give a recipe's out, or one of "
            f"the folders seed_N in it; msgfm finetune --resume completes it"
        )
    return folders


def _open_seed(folder: Path, split: str, overrides: Sequence[str]) -> _Seed:
    facts = read_facts(folder)
    assert facts is not None  # `complete_seeds` has seen it
    more = []
    if split not in _SPLITS:
        # the recipe's digests are those of its own splits
        further = {"data.test": split, "data.digest": "null"}
        given = {override.partition("=")[0] for override in overrides}
        more = [f"{key}={value}" for key, value in further.items() if key not in given]
    before = load_config(FinetuneConfig, folder / RECIPE)
    config = load_config(FinetuneConfig, folder / RECIPE, [*overrides, *more])
    changed = changed_in_evaluation(before, config)
    if split in facts.data.digests:
        require_same_settings(split, facts.data.settings.get(split, {}), changed, config)
    classes = facts.classes
    if classes and config.task.kind == facts.task["kind"]:
        # other classes than the model's are refused where the data are read
        config = config.model_copy(update={"task": config.task.model_copy(update={"classes": classes})})
    hardware = config.hardware.model_copy(update={"devices": 1, "num_nodes": 1})
    return _Seed(folder=folder, facts=facts, config=config.model_copy(update={"hardware": hardware}), changed=changed)


def _load_data(config: FinetuneConfig, split: str) -> TaskData:
    for location in map(str, config.data.manifest):
        if "://" not in location and not Path(location).exists():
            raise InputError(
                f"no manifest {location} in {Path.cwd()}; relative paths of a recipe start in the folder that it was "
                f"trained in: evaluate there, or say where it lies now: data.manifest=PATH"
            )
    limits = config.hardware.cache_limits
    return load_task_data(config.data, config.task, config.inputs, limits=limits, test_on_train=split == "train")


def require_same_samples(seed: _Seed, split: str, data: TaskData) -> None:
    """Refuses to mix scores of other samples, or of samples that are read otherwise, with those of the run.

    Raises:
        InputError: a split that was scored has other samples now, or other cards, classes or values of masks; or so
            have the images that neighbours are looked up among.
    """
    if seed.config.method == "knn" and (differing := _differing(seed, "train", data, "train")):
        raise InputError(
            f"the training samples are not those of the run in {seed.folder}, which are its neighbours: {differing}"
        )
    if differing := _differing(seed, split, data, _read_as(split)):
        raise InputError(
            f"the samples of {split} are not those of the run in {seed.folder}: {differing}; give their scores a name "
            f"of their own, as {own_name(split, seed.config)}"
        )


def _differing(seed: _Seed, split: str, data: TaskData, read_as: str) -> str:
    """In what the samples differ from those that the run has of a split; empty where it has none, or the same."""
    known, digest = seed.facts.data.digests.get(split), data.digests[read_as]
    if known is not None and known != digest:
        return f"digest {digest[:16]}, the run's is {known[:16]}"
    read, now = seed.facts.data.readings.get(split), data.readings[read_as]
    if read is None:
        return ""
    others = [what for what in dict.fromkeys((*read, *now)) if read.get(what) != now.get(what)]
    return f"the files are the same, but are read with another {', '.join(others)}" if others else ""


def _read_as(split: str) -> str:
    """As which split of the recipe's data the samples are read that are scored under a name."""
    if split.endswith(FULL_RESOLUTION):
        return f"{_read_as(split.removesuffix(FULL_RESOLUTION))}{FULL_RESOLUTION}"
    return "val" if split == "val" else "test"


def _evaluate_seed(
    seed: _Seed, split: str, data: TaskData, dataset: TaskDataset, filler: Filler | None, subsets: bool
) -> Table:
    config = seed.config
    fabric = make_fabric(config.hardware)
    model = load_model(seed, data).to(fabric.device).eval()
    plan = make_plan(config, data, model.config, seed.facts.seed, 1, folder=seed.folder)
    predictor = make_predictor(fabric, plan, model)
    if config.method == "knn":
        predictor = with_neighbours(plan, model, predictor)
    if subsets:
        if filler is not None:
            filler.model.to(fabric.device)
        table = score_subsets(plan, split, dataset, predictor, filler)
        _note_splits(seed, [split], data)
        return table
    scores = {split: evaluate_split(plan, split, dataset, predictor)}
    if split != "val":
        scores |= evaluate_full_resolution(plan, split, predictor)
    _note_splits(seed, scores, data)
    return scores_table(plan, scores)


def load_model(seed: _Seed, data: TaskData) -> DownstreamModel:
    """The model of a run; that of `knn`, which is not trained, is built again."""
    if seed.config.method == "knn":
        if seed.facts.init is not None and digest_of(seed.config.init) != seed.facts.init.sha256:
            raise InputError(f"init: {seed.config.init} holds other weights than those of the run in {seed.folder}")
        return build_model(seed.config, data, load_init(seed.config), seed.facts.seed)[0]
    if seed.facts.weights is not None and digest_of(seed.folder) != seed.facts.weights:
        raise InputError(
            f"{seed.folder / WEIGHTS} holds other weights than the run's, by the digest in {RUN_FACTS}; put the run's "
            f"back, or fine-tune again"
        )
    model = load_downstream(seed.folder)
    require_same_classes(model, data, seed.folder)
    require_same_cards(model, data)
    return model


def require_same_classes(model: DownstreamModel, data: TaskData, folder: Path) -> None:
    """Refuses data whose classes are not the model's, in its order.

    Raises:
        InputError: names the classes.
    """
    classes = getattr(model.config.task, "classes", ())
    if tuple(classes) != data.classes:
        raise InputError(
            f"the model in {folder} has the classes {', '.join(classes)}; the data have {', '.join(data.classes)}"
        )


def require_same_cards(model: DownstreamModel, data: TaskData) -> None:
    """Refuses data in other bands or units than the model's, on which it would be scored without a warning.

    Raises:
        InputError: names the sensor, and what differs.
    """
    config, cards = model.config, tuple(data.cards.values())
    target = [config.task.target] if isinstance(config.task, Restoration) else []
    for image in (*config.inputs, *target):
        require_same_bands(image.card(cards), image.card(config.sensors), "the data")


def _load_filler(folder: Path) -> Filler:
    try:
        return Filler(model=load_msgfm(folder), origin=Pretrained(folder=str(folder), sha256=digest_of(folder)))
    except InputError as error:
        raise InputError(f"--fill: {error}") from error


def _note_splits(seed: _Seed, splits: Iterable[str], data: TaskData) -> None:
    """Adds the samples of further splits to `run.json`, so that runs can be compared on them."""
    new = [split for split in splits if split not in seed.facts.data.digests]
    if not new:
        return
    path = seed.folder / RUN_FACTS
    facts = json.loads(path.read_text(encoding="utf-8"))
    for split in new:
        read_as = _read_as(split)
        noted = {
            "digests": data.digests[read_as],
            "truths": data.truths[read_as],
            "readings": data.readings[read_as],
            "truth_readings": data.truth_readings[read_as],
            "samples": len(data.splits[read_as].samples),
        }
        for name, value in noted.items():
            facts["data"].setdefault(name, {})[split] = value
        if seed.changed:
            facts["data"].setdefault("settings", {})[split] = seed.changed
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=1))
