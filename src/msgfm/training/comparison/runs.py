"""Which runs there are in the folders that were named, and whether they can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgfm.errors import InputError
from msgfm.training.finetuning.results import (
    RUN_FACTS,
    RunFacts,
    SplitScores,
    Values,
    read_facts,
    read_missing_sensors,
    read_scores,
)
from msgfm.training.finetuning.settings import different_settings

_COMPARED_OF_TASK = ("kind", "multilabel", "target")
"""What makes a task another one. Over which image a restoration adds its residual does not: that is the model's."""


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A finished seed and its scores on the split that is compared.

    Args:
        folder: of the seed.
        facts: how it came to be.
        scores: on the split.
        by_sensors: those of subsets of its inputs.
        truth: SHA-256 of what they were scored by.
        truth_reading: SHA-256 of how that was read; None where that is not known.
    """

    folder: Path
    facts: RunFacts
    scores: SplitScores
    by_sensors: Mapping[str, Values]
    truth: str
    truth_reading: str | None

    @property
    def label(self) -> str:
        """`0`, or `0, fold 2` in cross-validation."""
        return str(self.facts.seed) if self.fold is None else f"{self.facts.seed}, fold {self.fold}"

    @property
    def fold(self) -> int | None:
        """Which fold was tested; None without cross-validation."""
        data = self.facts.recipe.get("data", {})
        return data.get("fold") if data.get("folds") else None


@dataclass(frozen=True, kw_only=True)
class Run:
    """All finished seeds of a recipe.

    Args:
        name: how tables call it.
        seeds: finished and scored, at least one.
        left_out: why others are not among them, a line each.
    """

    name: str
    seeds: tuple[Seed, ...]
    left_out: tuple[str, ...]

    @property
    def facts(self) -> RunFacts:
        """Those of the first seed; the others have the same task, classes and data."""
        return self.seeds[0].facts


def load_runs(folders: Sequence[Path], split: str) -> tuple[list[Run], list[str]]:
    """Reads the runs and makes sure that their scores mean the same.

    Args:
        folders: each a recipe's `out`, the folder of one of its seeds, or one that holds the `out` of every fold.
        split: whose scores are compared.

    Returns:
        The runs, and what was left out or is to be known, a line each.

    Raises:
        InputError: no such run, none that is finished, or runs of different tasks, classes or data.
    """
    names = _short_names(folders)
    runs, notes = [], []
    for folder, name in zip(folders, names, strict=True):
        run = _load_run(folder, name, split)
        if run.seeds:
            runs.append(run)
            notes += [f"{name}: {reason}" for reason in run.left_out]
            notes += _note_different_settings(run)
        else:
            notes.append(f"{name} is left out, no seed of it has scores of {split}: {'; '.join(run.left_out)}")
    _require_each_once(runs)
    if not runs:
        raise InputError(f"nothing to compare: {'; '.join(notes)}")
    for run in runs:
        _require_same_test(run, runs[0], split)
    return runs, notes + _note_different_windows(runs, split)


def _load_run(folder: Path, name: str, split: str) -> Run:
    seeds, left_out = [], []
    expected: dict[Path, set[int]] = {}
    for seed_folder in _seed_folders(folder):
        facts = read_facts(seed_folder)
        if facts is None:
            left_out.append(f"{seed_folder.name} is not finished (no {RUN_FACTS}); msgfm finetune --resume ends it")
            continue
        if seed_folder != folder:
            expected.setdefault(seed_folder.parent, set()).update(facts.recipe.get("seeds", ()))
        scores = read_scores(seed_folder).get(split)
        truth = facts.data.truths.get(split)
        if scores is None or truth is None:
            left_out.append(
                f"{seed_folder.name} has no scores of {split}; msgfm evaluate {seed_folder} --split {split}"
            )
            continue
        missing = read_missing_sensors(seed_folder).get(split)
        by_sensors = {subset.label: subset.metrics for subset in (missing.subsets if missing else ())}
        read = facts.data.truth_readings.get(split)
        seeds.append(
            Seed(folder=seed_folder, facts=facts, scores=scores, by_sensors=by_sensors, truth=truth, truth_reading=read)
        )
    for out, numbers in expected.items():
        absent = sorted(number for number in numbers if not (out / f"seed_{number}").is_dir())
        if absent:
            left_out.append(f"{_listed('seed', absent)} of its recipe not started in {out}")
    return Run(name=name, seeds=tuple(seeds), left_out=tuple(left_out))


def _seed_folders(folder: Path) -> list[Path]:
    """The folders of seeds that `folder` is, holds, or whose folds' folders hold.

    Raises:
        InputError: there are none.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}; give what msgfm finetune wrote (out of its recipe)")
    if (folder / RUN_FACTS).is_file():
        return [folder]
    for pattern in ("seed_*", "*/seed_*"):
        if found := sorted((path for path in folder.glob(pattern) if path.is_dir()), key=_by_number):
            return found
    if folder.name.startswith("seed_"):
        return [folder]
    raise InputError(f"{folder} holds no fine-tuning run: no folder seed_0, seed_1, ... in it, and no {RUN_FACTS}")


def _by_number(path: Path) -> tuple[str, int, str]:
    number = path.name.removeprefix("seed_")
    return str(path.parent), int(number) if number.isdigit() else 0, path.name


def _short_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as make the names different."""
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        twice = next(folder for folder in folders if resolved.count(folder.resolve()) > 1)
        raise InputError(f"{twice} is named twice; give each run once")
    for length in range(1, max(len(path.parts) for path in resolved) + 1):
        names = ["/".join(path.parts[-length:]) for path in resolved]
        if len(set(names)) == len(names):
            break
    return names


def _require_each_once(runs: Sequence[Run]) -> None:
    """Raises `InputError` where a seed would be compared with itself: named beside the run that it is of."""
    of_run: dict[Path, str] = {}
    for run in runs:
        for seed in run.seeds:
            if (other := of_run.setdefault(seed.folder.resolve(), run.name)) != run.name:
                raise InputError(f"{seed.folder} is in both {other} and {run.name}; give each seed once")


def _require_same_test(run: Run, first: Run, split: str) -> None:
    """Raises `InputError` where two numbers of these runs would not mean the same."""
    reference = first.seeds[0]
    for seed in run.seeds:
        if run is first:  # which of its seeds are the odd ones
            _require_same_task(
                seed, reference, f"{seed.folder.name} of {run.name}", f"{reference.folder.name} of {run.name}"
            )
        else:
            _require_same_task(seed, reference, run.name, first.name)
    _require_one_test(run, split)
    if {seed.truth for seed in run.seeds} != {seed.truth for seed in first.seeds}:
        raise InputError(
            f"{first.name} and {run.name} were scored on different data: the truth of {split} has SHA-256 "
            f"{_truths(first, split)} in {first.name} and {_truths(run, split)} in {run.name}; compare runs on the "
            f"same samples"
        )
    _require_one_reading(run, first, split)
    for seed in run.seeds:
        own, other = (_scored_with(one, split, "wald") for one in (seed, first.seeds[0]))
        if own != other:
            raise InputError(
                f"{first.name} and {run.name} were scored on images degraded differently: data.wald is {other} in "
                f"{first.name} and {own} in {run.name}; compare runs with the same"
            )


def _require_one_reading(run: Run, first: Run, split: str) -> None:
    """Raises `InputError` where the same files meant different things: other values of masks, or another card."""
    found: dict[str, tuple[str, str]] = {}
    for name, seed in [(one.name, seed) for one in (first, run) for seed in one.seeds if seed.truth_reading]:
        reading, where = found.setdefault(seed.truth, (str(seed.truth_reading), name))
        if reading != seed.truth_reading:
            raise InputError(
                f"{f'seeds of {name}' if where == name else f'{where} and {name}'} were scored on the same files of "
                f"{split}, but these were read differently: values of masks stood for other classes, or the card of "
                f"the image that is restored has another unit, valid range, scale, offset or no-data number; compare "
                f"runs on one manifest"
            )


def _scored_with(seed: Seed, split: str, key: str) -> Any:
    """A setting of the data as it was when the split was scored."""
    changed = seed.facts.data.settings.get(split, {})
    return changed.get(f"data.{key}", seed.facts.recipe.get("data", {}).get(key))


def _note_different_windows(runs: Sequence[Run], split: str) -> list[str]:
    """Says where models saw the images in squares of other sizes, which is theirs to choose, but not nothing."""
    seen = {run.name: " and ".join(dict.fromkeys(_window(seed, split) for seed in run.seeds)) for run in runs}
    if len(set(seen.values())) < 2:
        return []
    return [f"models saw images in different squares: {'; '.join(f'{name} {what}' for name, what in seen.items())}"]


def _window(seed: Seed, split: str) -> str:
    size = _scored_with(seed, split, "window_size") or _scored_with(seed, split, "image_size")
    if size == "image":
        return "whole images"
    return f"whole images at {size} px" if _scored_with(seed, split, "resize") else f"{size} px"


def _require_same_task(seed: Seed, reference: Seed, name: str, reference_name: str) -> None:
    own, other = seed.facts, reference.facts
    for key in _COMPARED_OF_TASK:
        if own.task.get(key) != other.task.get(key):
            raise InputError(
                f"{reference_name} and {name} have different tasks: {key} is {other.task.get(key)} in {reference_name} "
                f"and {own.task.get(key)} in {name}; compare runs of one task"
            )
    if own.classes != other.classes:
        raise InputError(
            f"{reference_name} and {name} have different classes: "
            f"{_difference(other.classes, own.classes, reference_name, name)}; compare runs with the same classes"
        )


def _require_one_test(run: Run, split: str) -> None:
    """All seeds of a run have the same test samples, or those of their fold."""
    of_fold: dict[int | None, str] = {}
    for seed in run.seeds:
        if of_fold.setdefault(seed.fold, seed.truth) != seed.truth:
            raise InputError(
                f"the seeds of {run.name} were scored on different data: the truth of {split} has SHA-256 "
                f"{_truths(run, split)}; evaluate them on the same manifest"
            )


def _note_different_settings(run: Run) -> list[str]:
    """Names settings in which the seeds of a run differ: their mean is then that of different trainings."""
    keys = sorted(different_settings([seed.facts.recipe for seed in run.seeds]).keys() - {"data.fold"})
    return [f"{run.name}: its seeds were trained with different {', '.join(keys)}"] if keys else []


def _truths(run: Run, split: str) -> str:
    described = [f"{seed.truth[:12]} ({seed.facts.data.samples.get(split, '?')} samples)" for seed in run.seeds]
    return ", ".join(dict.fromkeys(described))


def _difference(one: Sequence[str], other: Sequence[str], name: str, other_name: str) -> str:
    parts = [
        f"{', '.join(classes)} only in {where}"
        for classes, where in (
            ([label for label in one if label not in other], name),
            ([label for label in other if label not in one], other_name),
        )
        if classes
    ]
    return " and ".join(parts) or "the same names in another order"


def _listed(what: str, numbers: Sequence[int]) -> str:
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
