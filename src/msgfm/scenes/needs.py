"""What a model needs of a scene: bands by key, windows as large as those of training."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgfm.errors import InputError
from msgfm.geo.tiling import Tiling
from msgfm.models.baselines.rules import RuleBackbone
from msgfm.models.msgfm import MsGFMConfig
from msgfm.models.pretrained import CONFIG, load_model_config
from msgfm.models.tasks import Restoration
from msgfm.models.weights import WEIGHTS
from msgfm.sensors import Sensor


def wanted_cards(
    folder: Path, given: Mapping[str, Sequence[str]], target: str, *, features: bool = False
) -> tuple[dict[str, Sensor], str | None]:
    """The bands that a model takes, by key in its order, and the key whose grid is taken (None: the finest).

    Args:
        folder: of the model.
        given: files by key.
        target: of a translation, the sensor wanted.
        features: whether a pretrained model may do without a task, as its features are wanted.

    Raises:
        InputError: a model without a task, or a translation that the model cannot do.
    """
    config = load_model_config(folder)
    if isinstance(config, MsGFMConfig):
        if features:
            return _known_cards(config, given), None
        return _translation_cards(folder, config, given, target)
    if target:
        raise InputError(
            f"{folder} holds a model fine-tuned for {config.task.kind}; translation takes a pretrained one"
        )
    cards = {image.key: image.card(config.sensors) for image in config.inputs}
    over = config.task.over if isinstance(config.task, Restoration) else None
    if over is not None and _finest(cards[over]) <= min(map(_finest, cards.values())):
        return cards, over
    return cards, None


def _finest(card: Sensor) -> float:
    return min((band.gsd_m for band in card.bands if band.gsd_m), default=math.inf)


def _translation_cards(
    folder: Path, config: MsGFMConfig, given: Mapping[str, Sequence[str]], target: str
) -> tuple[dict[str, Sensor], str | None]:
    if not target:
        raise InputError(
            f"{folder} holds a pretrained model without a task: msgfm translate and msgfm embed use it as it is, msgfm "
            f"finetune makes one for a task"
        )
    if len(given) != 1:
        raise InputError(f"a translation starts from one sensor, not from {', '.join(given) or 'none'}")
    _known_cards(config, [target])
    return _known_cards(config, given), None


def _known_cards(config: MsGFMConfig, names: Iterable[str]) -> dict[str, Sensor]:
    known = {sensor.name: sensor for sensor in config.sensors}
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"the model has no sensor {unknown[0]!r}; it was trained with {', '.join(known)}")
    return {name: card for name, card in known.items() if name in set(names)}


def training_window(folder: Path) -> int:
    """The side of the images that a model was trained on, as its `run.json` says; without one the paper's 192."""
    try:
        recipe = json.loads((folder / "run.json").read_text(encoding="utf-8"))["recipe"]
        data = recipe.get("data", recipe)
        return int(data.get("window_size") or data["image_size"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 192


def require_whole(folder: Path, tiling: Tiling) -> None:
    """Refuses windows of a scene for a rule that takes a whole image.

    Raises:
        InputError: with the window that is one.
    """
    backbone = getattr(load_model_config(folder), "backbone", None)
    if not (isinstance(backbone, RuleBackbone) and backbone.takes_whole_images):
        return
    if len(tiling.rows.starts) > 1 or len(tiling.columns.starts) > 1:
        side = max(tiling.height, tiling.width)
        raise InputError(
            f"the rule {backbone.rule} takes its measures from the whole image, so that windows of {tiling.window} "
            f"pixels would each be sharpened in another way; give --window {side}, which is the whole scene (memory "
            f"then grows with it)"
        )


def model_digest(folder: Path, weights: str) -> str:
    """SHA-256 of a model's configuration and of the digest of its weights."""
    return hashlib.sha256((folder / CONFIG).read_bytes() + weights.encode()).hexdigest()


def digest_of_weights(folder: Path) -> str:
    """SHA-256 of a model's weights."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
