"""The model card of a fine-tuned model: a `README.md` that says what it takes, what it gives, and how good it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgfm.files import write_atomically
from msgfm.metrics import higher_is_better
from msgfm.models.downstream import DownstreamConfig
from msgfm.models.pretrained import load_model_config
from msgfm.models.tasks import Classification, Restoration
from msgfm.sensors import Sensor
from msgfm.training.finetuning.results import (
    AT_FULL_RESOLUTION,
    MissingSensors,
    RunFacts,
    SplitScores,
    Values,
    has_full_resolution,
    missing_sensors_picture,
    read_facts,
    read_missing_sensors,
    read_scores,
    reported,
)

MODEL_CARD = "README.md"


def write_model_card(folder: Path) -> None:
    """Writes `README.md` into a fine-tuned model's folder.

    It is made of the other files there: `config.json`, `run.json`, `metrics.json` and `missing_sensors.json`, of which
    the first must be there.

    Raises:
        InputError: no fine-tuned model in the folder, or a damaged file.
    """
    config = load_model_config(folder)
    assert isinstance(config, DownstreamConfig), f"{folder} was not fine-tuned"
    text = describe_model(config, read_facts(folder), read_scores(folder), read_missing_sensors(folder))
    with write_atomically(folder / MODEL_CARD) as temporary:
        temporary.write_text(text, encoding="utf-8")


def describe_model(
    config: DownstreamConfig,
    facts: RunFacts | None,
    scores: Mapping[str, SplitScores],
    missing: Mapping[str, MissingSensors],
) -> str:
    """The card's text, Markdown."""
    kind = config.task.kind
    of = f" of {config.task.target.key}" if isinstance(config.task, Restoration) else ""
    inputs = ", ".join(image.key for image in config.inputs)
    parts = [
        f"---\nlibrary_name: msgfm\ntags: [remote-sensing, earth-observation, {kind.replace('_', '-')}]\n---",
        f"# {kind.replace('_', ' ').capitalize()}{of} from {inputs}",
        "## Use",
        _usage(config),
        "## Inputs",
        _inputs(config),
        "## Output",
        _output(config),
    ]
    if scores:
        parts += ["## Scores", *_scores(scores, facts)]
    if missing:
        parts += [
            "## Missing sensors",
            _MISSING,
            *(part for split, one in missing.items() for part in _missing(split, one)),
        ]
    if facts:
        parts += ["## How it was made", *_origin(facts)]
    return "\n\n".join(parts) + "\n"


def _usage(config: DownstreamConfig) -> str:
    images = ", ".join(f'"{image.key}": {_variable(image.key)}' for image in config.inputs)
    shapes = "; ".join(f"{image.key} (B, {len(image.card(config.sensors).bands)}, H, W)" for image in config.inputs)
    return (
        "```python\nimport msgfm\n\n"
        'model = msgfm.from_pretrained(".")  # this folder\n'
        f"images = {{{images}}}  # float32: {shapes}\n"
        "prediction = model.predict(images)\n```"
    )


def _variable(key: str) -> str:
    return re.sub(r"\W", "_", key)


def _inputs(config: DownstreamConfig) -> str:
    rows = []
    for image in config.inputs:
        card = image.card(config.sensors)
        rows.append([f"`{image.key}`", ", ".join(card.band_names), _units(card), _ranges(card)])
    return (
        f"{_table(['image', 'bands, in this order', 'unit', 'valid range'], rows)}\n\n"
        "Physical units, NaN where there is no data, all images on one grid of any height and width; the model "
        "normalises them itself. A missing sensor is left out (`allow_missing=True`) or all NaN."
    )


def _output(config: DownstreamConfig) -> str:
    task = config.task
    if isinstance(task, Restoration):
        card = task.target.card(config.sensors)
        return (
            f"An image (B, {len(card.bands)}, H, W) of `{task.target.key}` in {_units(card)}, "
            f"bands {', '.join(card.band_names)}."
        )
    classes = ", ".join(f"{number} {name}" for number, name in enumerate(task.classes))
    if not isinstance(task, Classification):
        return f"The class of every pixel, (B, H, W): {classes}."
    kind = "the probability of each label by itself" if task.multilabel else "probabilities that sum to 1"
    return f"(B, {len(task.classes)}), {kind}: {classes}."


def _units(card: Sensor) -> str:
    return _unique(band.unit for band in card.bands)


def _ranges(card: Sensor) -> str:
    return _unique(f"{band.valid_range[0]:g} to {band.valid_range[1]:g}" for band in card.bands)


def _unique(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _scores(scores: Mapping[str, SplitScores], facts: RunFacts | None) -> list[str]:
    names = list(dict.fromkeys(name for one in scores.values() for name in one.metrics))
    rows = [[split, str(one.images or ""), *_numbers(one.metrics, names)] for split, one in scores.items()]
    if facts and facts.paper:
        rows.append(["paper", "", *_numbers(facts.paper, names)])
    parts = [_table(["split", "images", *map(_with_arrow, names)], rows)]
    parts += [AT_FULL_RESOLUTION] if has_full_resolution(scores) else []
    for split, one in reported(scores).items():
        for by, groups in (("class", one.per_class), ("band", one.per_band), ("cloud cover (%)", one.by_cloud_cover)):
            if groups:
                parts += [f"Split {split} by {by}:", _group_table(by, groups)]
    return parts


def _group_table(by: str, groups: dict[str, Values]) -> str:
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    names.sort(key=lambda name: name == "images")
    return _table([by, *map(_with_arrow, names)], [[group, *_numbers(groups[group], names)] for group in groups])


_MISSING = (
    "Scores with some of the inputs; others were left out, or predicted by a pretrained model from those given. Images "
    "that have none of those given are not scored."
)


def _missing(split: str, missing: MissingSensors) -> list[str]:
    names = list(dict.fromkeys(name for subset in missing.subsets for name in subset.metrics))
    rows = [
        [
            subset.given,
            {"none": "left out"}.get(subset.fill, subset.fill) if subset.missing else "",
            *_numbers(subset.metrics, names),
        ]
        for subset in missing.subsets
    ]
    fillers = " and ".join(f"{Path(one.folder).name} (SHA-256 `{one.sha256}`)" for one in missing.fillers)
    return [
        f"Split {split}, predicted by {fillers}:" if fillers else f"Split {split}:",
        _table(["given", "missing", *map(_with_arrow, names)], rows),
        f"![{missing.metric} with some of the inputs]({missing_sensors_picture(split)})",
    ]


def _origin(facts: RunFacts) -> list[str]:
    init = facts.recipe.get("init")
    best = facts.best
    chosen = f"; best {best.metric} in validation {best.value:.4f}, epoch {best.epoch}" if best else ""
    manifests = [Path(path).name for path in facts.recipe.get("data", {}).get("manifest", ())]
    lines = [
        f"- data: {', '.join(manifests) or 'not known'}",
        f"- method: {facts.recipe.get('method', 'finetune')}, transfer: {facts.recipe.get('transfer', 'stack')}",
        f"- started from: {Path(init).name if init else 'random weights'}",
        f"- trained: {facts.steps} steps, seed {facts.seed}{chosen}",
        f"- parameters: {facts.parameters / 1e6:.2f} M",
        f"- finished {facts.finished}, msgfm commit {facts.commit or 'of a release'}; the recipe is in `recipe.yaml`",
    ]
    splits = [[split, str(n), f"`{facts.data.digests.get(split, '')}`"] for split, n in facts.data.samples.items()]
    return ["\n".join(lines), _table(["split", "samples", "SHA-256 of their list"], splits)]


def _numbers(values: Values, names: Sequence[str]) -> list[str]:
    return [_number(name, values.get(name, math.nan)) for name in names]


def _number(name: str, value: float) -> str:
    if math.isnan(value):
        return "n/a"
    return str(int(value)) if name == "images" else f"{value:.4f}"


def _with_arrow(name: str) -> str:
    return name if name == "images" else f"{name} {'↑' if higher_is_better(name) else '↓'}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)
