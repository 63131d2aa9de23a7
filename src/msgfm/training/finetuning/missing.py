"""How good a model is when sensors are missing: left out, or predicted from the others by a pretrained model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from rich.table import Table
from torch import Tensor

from msgfm.data.tasks import TaskDataset
from msgfm.errors import InputError
from msgfm.models.inputs import InputImage
from msgfm.models.msgfm import MsGFM
from msgfm.sensors import Sensor
from msgfm.training.finetuning.build import require_same_bands
from msgfm.training.finetuning.missing_tables import subsets_table, write_subsets
from msgfm.training.finetuning.plan import Plan
from msgfm.training.finetuning.predicting import Predictor
from msgfm.training.finetuning.results import MissingSensors, Pretrained, SensorSubset, read_missing_sensors
from msgfm.training.finetuning.scoring import score

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def sensor_subsets(inputs: Sequence[InputImage]) -> list[tuple[str, ...]]:
    """All subsets of the inputs' sensors but the empty one, from all of them to each alone.

    Raises:
        InputError: there is only one sensor.
    """
    sensors = list(dict.fromkeys(image.sensor for image in inputs))
    if len(sensors) < 2:
        raise InputError(f"--sensors all-subsets: the model takes only {sensors[0]}; there is nothing to leave out")
    return [subset for size in range(len(sensors), 0, -1) for subset in itertools.combinations(sensors, size)]


@dataclass(frozen=True, kw_only=True)
class Filler:
    """A pretrained model that predicts missing images, and which one it is."""

    model: MsGFM
    origin: Pretrained


def score_subsets(plan: Plan, split: str, dataset: TaskDataset, predictor: Predictor, filler: Filler | None) -> Table:
    """Scores a split with every subset of the sensors; writes tables, as CSV and JSON, and a picture.

    Images that have nothing of a subset are not scored with it: that would be the score of an empty input. What other
    splits were scored stays, as do, without a filler, the scores that were made with one.

    Args:
        plan: of the run.
        split: its name.
        dataset: its samples.
        predictor: of the run's model.
        filler: predicts what is missing, too, if given.

    Raises:
        InputError: a sensor that the pretrained model cannot predict, or predict from.
    """
    inputs, cards = plan.model.inputs, plan.model.sensors
    if filler is not None:
        require_fillable(inputs, cards, filler.model)
    found = []
    for present in sensor_subsets(inputs):
        given = tuple(image.key for image in inputs if image.sensor in present)
        missing = tuple(image.key for image in inputs if image.sensor not in present)
        samples = dataset.with_any_of(given)
        changes: list[tuple[Change, Pretrained | None]] = [(leave_out(missing), None)]
        if missing and filler is not None:
            changes.append((fill_in(inputs, cards, missing, filler.model), filler.origin))
        for change, filled_by in changes:
            what = f"evaluating {split} with {' + '.join(present)}"
            predictions = replace(predictor, change=change).over(samples, what)
            found.append(
                SensorSubset(
                    inputs=given,
                    missing=missing,
                    fill="none" if filled_by is None else "predicted",
                    filled_by=filled_by,
                    images=len(samples.samples),
                    left_out=len(dataset.samples) - len(samples.samples),
                    metrics=score(plan.model.task, plan.data, predictions).metrics if len(samples) else {},
                )
            )
    kept = read_missing_sensors(plan.folder)
    result = MissingSensors(metric=plan.metric, subsets=_with_kept(found, kept.get(split)))
    write_subsets(plan, kept | {split: result})
    return subsets_table(plan, split, result)


def _with_kept(found: Sequence[SensorSubset], before: MissingSensors | None) -> tuple[SensorSubset, ...]:
    """Those that were scored now, each followed by those before of the same inputs that were filled in otherwise."""
    subsets = []
    for given, group in itertools.groupby(found, key=lambda subset: subset.inputs):
        now = list(group)
        fills = {subset.fill for subset in now}
        subsets += now
        subsets += [one for one in (before.subsets if before else ()) if one.inputs == given and one.fill not in fills]
    return tuple(subsets)


def leave_out(missing: Sequence[str]) -> Change:
    """Takes images away; the model treats what is not there as an image without data."""
    return lambda images: {key: image for key, image in images.items() if key not in missing}


def require_fillable(inputs: Sequence[InputImage], cards: Sequence[Sensor], pretrained: MsGFM) -> None:
    """Refuses a pretrained model that does not know all sensors and bands of the inputs, or has them in other units.

    Raises:
        InputError: names the sensor or the band.
    """
    for image in inputs:
        if image.sensor not in pretrained.sensors:
            raise InputError(
                f"--fill: the pretrained model has no sensor {image.sensor!r}; it was trained with "
                f"{', '.join(pretrained.sensors)}"
            )
        own = image.card(cards)
        require_same_bands(pretrained.sensors[image.sensor].select(own.band_names), own, "that of --fill")


def fill_in(inputs: Sequence[InputImage], cards: Sequence[Sensor], missing: Sequence[str], pretrained: MsGFM) -> Change:
    """Replaces images by what the pretrained model predicts of them from another, nothing of which is hidden.

    An image is predicted from the first input that is there, one of its own role (date) if there is any.
    """
    by_key = {image.key: image for image in inputs}

    def change(images: dict[str, Tensor]) -> dict[str, Tensor]:
        known = {key: image for key, image in images.items() if key not in missing}
        return known | {key: predict(by_key[key], known) for key in missing}

    def predict(wanted: InputImage, known: Mapping[str, Tensor]) -> Tensor:
        sources = [by_key[key] for key in known if key in by_key]
        source = next((image for image in sources if image.role == wanted.role), sources[0])
        image = known[source.key]
        bands = {source.sensor: source.card(cards).band_names}
        predicted = pretrained.reconstruct({source.sensor: image}, source.sensor, wanted.sensor, bands=bands)
        indices = pretrained.sensors[wanted.sensor].indices_of(wanted.card(cards).band_names)
        # where the source has no data nothing was seen, and nothing is known
        return torch.where(image.isfinite().any(1, keepdim=True), predicted[:, list(indices)], torch.nan)

    return change
