"""Folders as fine-tuning leaves them, with scores made up, for the tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LABELS = ("forest", "water", "town")
TASK: dict[str, Any] = {"kind": "classification", "classes": list(LABELS), "multilabel": False}
TRUTH = "ab12" * 16


def write_seed(
    out: Path,
    seed: int,
    metrics: Mapping[str, float | None],
    *,
    task: Mapping[str, Any] = TASK,
    truth: str = TRUTH,
    seeds: tuple[int, ...] = (0, 1, 2),
    split: str = "test",
    recipe: Mapping[str, Any] | None = None,
    **groups: Any,
) -> Path:
    """Writes `run.json` and `metrics.json` of one seed; `groups` are `per_class` and the like."""
    folder = out / f"seed_{seed}"
    folder.mkdir(parents=True)
    facts = {
        "finished": "2026-01-02T03:04:05+00:00",
        "commit": "0123456789ab",
        "steps": 40,
        "parameters": 1_500_000,
        "seed": seed,
        "task": dict(task),
        "recipe": {"out": str(out), "seeds": list(seeds), "task": dict(task), "data": {"folds": None, "fold": 0}}
        | (recipe or {}),
        "data": {
            "digests": {"train": "cd34" * 16, split: f"{seed}" * 64},
            "truths": {"train": "cd34" * 16, split: truth},
            "samples": {"train": 60, split: 24},
        },
        "best": {"epoch": 3, "metric": next(iter(metrics)), "value": 0.5},
        "left_out": [],
    }
    (folder / "run.json").write_text(json.dumps(facts))
    scores = {split: {"metrics": dict(metrics), "images": 24, **groups}}
    (folder / "metrics.json").write_text(json.dumps(scores))
    return folder


def write_run(out: Path, values: Mapping[str, list[float]], **settings: Any) -> Path:
    """Writes a run of as many seeds as there are values of each metric."""
    for seed in range(len(next(iter(values.values())))):
        write_seed(out, seed, {name: numbers[seed] for name, numbers in values.items()}, **settings)
    return out


def write_missing_sensors(folder: Path, metric: str, *splits: str) -> None:
    """Scores with both sensors, and with each alone, the missing one left out and predicted; worse by 0.1 a split."""
    both = ("sentinel1", "sentinel2")
    scores = {}
    for less, split in enumerate(splits or ("test",)):
        subsets = [{"inputs": both, "missing": (), "fill": "none", "metrics": {metric: 0.9 - less / 10}}]
        for fill, value in (("none", 0.5), ("predicted", 0.6)):
            for given, other in (both, both[::-1]):
                metrics = {metric: value - less / 10}
                subsets.append({"inputs": (given,), "missing": (other,), "fill": fill, "metrics": metrics})
        scores[split] = {"metric": metric, "subsets": subsets}
    (folder / "missing_sensors.json").write_text(json.dumps(scores))
