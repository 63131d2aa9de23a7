"""A model as STAC's machine-learning-model extension (MLM) tells of it: what it takes, what it gives, where it is from.

The extension: https://github.com/stac-extensions/mlm, version 1.4.0, which pystac knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from msgfm.display import Colour, class_colours
from msgfm.models.downstream import DownstreamConfig
from msgfm.models.msgfm import MsGFMConfig
from msgfm.models.pretrained import CONFIG, load_model_config
from msgfm.models.tasks import Classification, Restoration
from msgfm.models.weights import WEIGHTS
from msgfm.sensors import Sensor

SCHEMA = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_RUN = "run.json"
_FEATURES = "similarity-search"  # what comes nearest to features among MLM's tasks
_BATCH, _BANDS, _ROWS, _COLUMNS = "batch", "bands", "height", "width"


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What an item says of a model.

    Args:
        properties: of the item.
        assets: the model's files, by key.
    """

    properties: dict[str, Any]
    assets: dict[str, dict[str, Any]]


def describe_model(
    folder: Path,
    cards: Mapping[str, Sensor],
    *,
    target: str = "",
    features: int = 0,
    digest: str,
    settings: Mapping[str, Any],
) -> ModelFacts:
    """Gathers them from a model's folder.

    Args:
        folder: with `config.json` and, where training left one, `run.json`.
        cards: by key, of the inputs that were used.
        target: of a translation by a pretrained model, the sensor that is predicted.
        features: where these are the result, how many there are; else 0.
        digest: SHA-256 of its weights.
        settings: how it was run over the scene (window, overlap ...).

    Raises:
        InputError: no model there.
    """
    config = load_model_config(folder)
    run = _run_facts(folder)
    init = run.get("init") or {}
    properties: dict[str, Any] = {
        "mlm:name": _name(folder),
        "mlm:architecture": _architecture(config),
        "mlm:framework": "PyTorch",
        "mlm:framework_version": str(torch.__version__),
        "mlm:tasks": [_FEATURES if features else _task(config)],
        "mlm:input": [_input(key, card) for key, card in cards.items()],
        "mlm:output": [_features(features) if features else _output(config, target)],
    }
    if run:  # else nobody knows
        properties["mlm:pretrained"] = bool(init)
        if not init or init.get("sha256"):  # null says that it was not pretrained
            properties["mlm:pretrained_source"] = f"sha256:{init['sha256']}" if init else None
    if given := {key: value for key, value in settings.items() if value is not None}:
        properties["mlm:hyperparameters"] = given
    if run.get("parameters"):
        properties["mlm:total_parameters"] = int(run["parameters"])
    if commit := run.get("commit"):
        properties["msgfm:commit"] = commit
    return ModelFacts(properties=properties, assets=_assets(folder, digest))


def _run_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / _RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a model need not have been trained here
        return {}
    return facts if isinstance(facts, dict) else {}


def _name(folder: Path) -> str:
    """As MLM wants names: begun by a letter, ended by a letter or digit."""
    plain = re.sub(r"[^a-zA-Z0-9_.-]+", "-", folder.resolve().name).strip("-._")
    return plain if re.fullmatch(r"[a-zA-Z].+[a-zA-Z0-9]", plain) else f"msgfm-{plain or 'model'}"


def _architecture(config: MsGFMConfig | DownstreamConfig) -> str:
    backbone = getattr(config, "backbone", None)
    if backbone is None or backbone.kind == "msgfm":
        return "Swin Transformer with mixtures of experts (msGFM)"
    return str(getattr(backbone, "name", backbone.kind))


def _task(config: MsGFMConfig | DownstreamConfig) -> str:
    if isinstance(config, MsGFMConfig):
        return "generative"
    kinds = {"classification": "scene-classification", "restoration": "regression"}
    return kinds.get(config.task.kind, "semantic-segmentation")


def _input(key: str, card: Sensor) -> dict[str, Any]:
    return {
        "name": key,
        "description": f"{_units(card)}; NaN where there is no data. The model normalises the bands itself.",
        "bands": list(card.band_names),
        "input": _structure(len(card.bands), _BANDS, _ROWS, _COLUMNS),
    }


def _output(config: MsGFMConfig | DownstreamConfig, target: str) -> dict[str, Any]:
    if isinstance(config, MsGFMConfig):
        card = next(sensor for sensor in config.sensors if sensor.name == target)
        return _image(target, card, _task(config))
    task = config.task
    if isinstance(task, Restoration):
        return _image(task.target.key, task.target.card(config.sensors), _task(config))
    sides = () if isinstance(task, Classification) else (_ROWS, _COLUMNS)
    colours = class_colours(dict(enumerate(task.classes)))
    return {
        "name": "classes",
        "description": "logits of the classes",
        "tasks": [_task(config)],
        "result": _structure(len(task.classes), "class", *sides),
        # without titles, which MLM's own reader (stac-model) does not take
        "classification:classes": [
            _without_title(class_entry(value, name, colours[value])) for value, name in enumerate(task.classes)
        ],
    }


def _features(number: int) -> dict[str, Any]:
    return {
        "name": "features",
        "description": "features of the encoder, one vector for each token",
        "tasks": [_FEATURES],
        "result": _structure(number, "feature", _ROWS, _COLUMNS),
    }


def _without_title(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "title"}


def _image(key: str, card: Sensor, task: str) -> dict[str, Any]:
    return {
        "name": key,
        "description": _units(card),
        "tasks": [task],
        "bands": list(card.band_names),
        "result": _structure(len(card.bands), _BANDS, _ROWS, _COLUMNS),
    }


def _structure(channels: int, what: str, *sides: str) -> dict[str, Any]:
    """-1 is any number."""
    return {"shape": [-1, channels, *(-1 for _ in sides)], "dim_order": [_BATCH, what, *sides], "data_type": "float32"}


def _units(card: Sensor) -> str:
    return ", ".join(dict.fromkeys(band.unit for band in card.bands))


def class_entry(value: int, name: str, colour: Colour) -> dict[str, Any]:
    """A class as STAC's classification extension has it: `name` is for machines, `title` for people."""
    plain = re.sub(r"[^0-9A-Za-z-]+", "_", name).strip("_") or f"class_{value}"
    red, green, blue = colour
    hint = f"{red:02X}{green:02X}{blue:02X}"
    return {"value": value, "name": plain, "title": name, "description": name, "color_hint": hint}


def _assets(folder: Path, digest: str) -> dict[str, dict[str, Any]]:
    place = folder.resolve()
    assets: dict[str, dict[str, Any]] = {
        "model": {
            "href": str(place / WEIGHTS),
            "type": "application/octet-stream; framework=pytorch; profile=safetensors",
            "title": "Weights of the model",
            "roles": ["mlm:model", "mlm:weights"],
            "mlm:artifact_type": "safetensors.torch.save_file",
            "file:size": (place / WEIGHTS).stat().st_size,
            "file:checksum": f"1220{digest}",  # multihash: SHA-256, 32 bytes
        }
    }
    for key, name, title in (
        ("model_config", CONFIG, "Configuration"),
        ("model_run", _RUN, "How the model came to be"),
    ):
        if (place / name).is_file():
            assets[key] = {
                "href": str(place / name),
                "type": "application/json",
                "title": title,
                "roles": ["metadata"],
            }
    return assets
