"""What the folder of a finished seed says of it: `run.json`, `metrics.json`, `missing_sensors.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from msgfm.config import Config, config_from_dict
from msgfm.data.tasks import FULL_RESOLUTION
from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.metrics.metric_set import Scores

RUN_FACTS = "run.json"
SCORES = "metrics.json"
MISSING_SENSORS = "missing_sensors.json"

Value = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A metric; JSON has null where it is not defined (the F1 of a class that is absent), Python NaN."""
Values = dict[str, Value]


class _Written(Config):
    """What another version may have written with more in it; only what is named here is read."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=True)


class Confusion(_Written):
    """How often a true class (row) was taken for which (column).

    Args:
        classes: in the order of rows and columns.
        counts: images, or pixels of a segmentation.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class SplitScores(_Written):
    """How good a model is on one split.

    Args:
        metrics: over the whole split, by name.
        images: how many were scored.
        per_class: of each class, its metrics by name.
        per_band: of each band of a restored image, its metrics by name.
        by_cloud_cover: of the images of each range of cloud cover in percent, as `20-40`; `images` counts them.
        confusion: where every image or pixel has one class.
    """

    metrics: Values
    images: int | None = None
    per_class: dict[str, Values] = Field(default={})
    per_band: dict[str, Values] = Field(default={})
    by_cloud_cover: dict[str, Values] = Field(default={})
    confusion: Confusion | None = None


_GROUPED = {"_per_class": "per_class", "_per_band": "per_band", "_by_clouds": "by_cloud_cover"}
"""Where the parts of a metric go, by the end of its name."""


def split_scores(computed: Scores, images: int, confusion: Confusion | None = None) -> SplitScores:
    """What `MetricSet.compute` gave, as it is kept in `metrics.json`.

    Args:
        computed: metrics by name; `f1_per_class` and the like hold one for each class.
        images: how many were scored.
        confusion: where every image or pixel has one class.
    """
    metrics: Values = {}
    groups: dict[str, dict[str, Values]] = {kind: {} for kind in _GROUPED.values()}
    for name, value in computed.items():
        if not isinstance(value, dict):
            metrics[name] = value
            continue
        ending = next(ending for ending in _GROUPED if name.endswith(ending))
        for group, part in value.items():
            groups[_GROUPED[ending]].setdefault(group, {})[name.removesuffix(ending)] = part
    metrics.pop("images", None)
    return SplitScores(metrics=metrics, images=images, confusion=confusion, **groups)


def write_scores(folder: Path, split: str, scores: SplitScores) -> None:
    """Puts the scores of a split into the folder's `metrics.json`; those of other splits stay.

    Raises:
        InputError: what is there is damaged, or it cannot be written.
    """
    kept = read_scores(folder) | {split: scores}
    # pydantic's JSON has null for what is not a number
    text = json.dumps({name: json.loads(one.model_dump_json()) for name, one in kept.items()}, indent=1)
    with write_atomically(folder / SCORES) as temporary:
        temporary.write_text(text, encoding="utf-8")


AT_FULL_RESOLUTION = (
    f"Splits that end in {FULL_RESOLUTION} are the images as they are, not degraded: sharpened to the grid of the "
    "panchromatic image and judged without a reference (qnr, d_lambda, d_s)."
)


def has_full_resolution(scores: Mapping[str, SplitScores]) -> bool:
    """Whether some split was scored at full resolution, so that `AT_FULL_RESOLUTION` is to be said."""
    return any(split.endswith(FULL_RESOLUTION) for split in scores)


def reported(scores: Mapping[str, SplitScores]) -> dict[str, SplitScores]:
    """The splits that are shown in detail: those that did not pick the weights, if there are any."""
    return {split: one for split, one in scores.items() if split != "val" or len(scores) == 1}


class DataFacts(_Written):
    """What it was trained and scored on, of each split.

    Args:
        digests: SHA-256 of the samples with their inputs.
        truths: SHA-256 of names and truth alone: scores on the same truth can be compared, whatever the inputs.
        samples: how many there are.
        readings: SHA-256 of how the files are read, by what says so; of runs of earlier versions not known.
        truth_readings: SHA-256 of how what was scored by is read; likewise.
        settings: of splits that were scored later, by dotted key what was not as in the recipe.
    """

    digests: dict[str, str]
    truths: dict[str, str]
    samples: dict[str, int]
    readings: dict[str, dict[str, str]] = Field(default={})
    truth_readings: dict[str, str] = Field(default={})
    settings: dict[str, dict[str, Any]] = Field(default={})


class Best(_Written):
    """The epoch whose weights were kept, and the value of the validation metric that picked it."""

    epoch: int
    metric: str
    value: Value


class Pretrained(_Written):
    """A pretrained model: where it lay, and the SHA-256 of its weights."""

    folder: str = ""
    sha256: str


class RunFacts(_Written):
    """How a seed's model came to be; `task` and `recipe` are those of the recipe as it was resolved.

    `weights` is the SHA-256 of `model.safetensors`: of nearest neighbours, and runs of earlier versions, there is none.
    """

    seed: int
    task: dict[str, Any]
    recipe: dict[str, Any]
    data: DataFacts
    best: Best | None = None
    init: Pretrained | None = None
    weights: str | None = None
    steps: int = 0
    parameters: int = 0
    finished: str = ""
    commit: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; none in restoration."""
        return tuple(self.task.get("classes", ()))

    @property
    def paper(self) -> dict[str, float]:
        """What the paper reports of the test split."""
        return dict(self.recipe.get("paper") or {})


class SensorSubset(_Written):
    """Scores with some of the inputs.

    Args:
        inputs: keys of the images that the model was given.
        missing: keys of those that it was not.
        fill: `none`, a missing image was left out; `predicted`, a pretrained model predicted it from the others.
        filled_by: that model; of earlier versions not known.
        images: how many were scored; likewise.
        left_out: how many were not, as they have none of the inputs.
        metrics: over those that were; none where there were none.
    """

    inputs: tuple[str, ...]
    missing: tuple[str, ...]
    fill: str = "none"
    filled_by: Pretrained | None = None
    images: int | None = None
    left_out: int = 0
    metrics: Values

    @property
    def given(self) -> str:
        """The inputs; and of how many images, where others have none of them."""
        some = f" ({self.images} of {(self.images or 0) + self.left_out} images)" if self.left_out else ""
        return " + ".join(self.inputs) + some

    @property
    def label(self) -> str:
        """What tables call it: what was given, and what was filled in."""
        filled = f", {' + '.join(self.missing)} predicted" if self.missing and self.fill == "predicted" else ""
        return self.given + filled


class MissingSensors(_Written):
    """Scores of one split for subsets of the inputs; `metric` is the one to draw."""

    metric: str
    subsets: tuple[SensorSubset, ...]

    @property
    def fillers(self) -> tuple[Pretrained, ...]:
        """The models that predicted what was missing, as far as they are known."""
        return tuple(dict.fromkeys(subset.filled_by for subset in self.subsets if subset.filled_by))


def missing_sensors_picture(split: str) -> str:
    """Name of the picture of a split's scores for subsets of the inputs."""
    return f"missing_sensors_{split}.png"


def read_facts(folder: Path) -> RunFacts | None:
    """How the model in a folder came to be; None where the run is not finished.

    Raises:
        InputError: damaged, or of another kind of run.
    """
    tree = _read(folder / RUN_FACTS)
    if tree is not None and "seed" not in tree and "sources" in tree.get("recipe", {}):
        raise InputError(
            f"{folder} holds a pretrained model without a task; fine-tune it first: msgfm finetune RECIPE init={folder}"
        )
    return None if tree is None else config_from_dict(RunFacts, tree, str(folder / RUN_FACTS))


def read_scores(folder: Path) -> dict[str, SplitScores]:
    """Scores of each split that was scored; empty where none was.

    Raises:
        InputError: damaged.
    """
    path = folder / SCORES
    tree = _read(path) or {}
    return {split: config_from_dict(SplitScores, scores, f"{path}: {split}") for split, scores in tree.items()}


def read_missing_sensors(folder: Path) -> dict[str, MissingSensors]:
    """Scores with missing sensors of each split that was scored so; empty where none was.

    Raises:
        InputError: damaged.
    """
    path = folder / MISSING_SENSORS
    tree = _read(path) or {}
    if isinstance(tree.get("split"), str):  # as long as there was place for one split
        tree = {tree["split"]: tree}
    return {split: config_from_dict(MissingSensors, one, f"{path}: {split}") for split, one in tree.items()}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); {_remedy(path)}") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path} is not what msgfm writes: a JSON object was expected; {_remedy(path)}")
    return tree


def _remedy(path: Path) -> str:
    if path.name == RUN_FACTS:
        return "restore it from a copy: nothing writes it again but another run"
    return "restore it from a copy, or delete it and score each split again with msgfm evaluate"
