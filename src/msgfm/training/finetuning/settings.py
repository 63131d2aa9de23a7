"""Settings of recipes side by side: in which they differ, and which of them an evaluation may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgfm.config import config_to_dict
from msgfm.errors import InputError
from msgfm.training.finetuning.config import FinetuneConfig

WITHOUT_EFFECT = ("out", "seeds", "log", "hardware", "paper", "keep_predictions")
"""Settings that shape no model."""

_WHERE_SAMPLES_ARE = ("manifest", "digest", "train", "val", "test")
"""Of `data`: digests say whether the samples are others."""


def different_settings(
    recipes: Sequence[Mapping[str, Any]], without: Sequence[str] = WITHOUT_EFFECT
) -> dict[str, list[Any]]:
    """Settings, by dotted key, whose values are not the same in all recipes; None where a recipe has none.

    Args:
        recipes: as `config_to_dict` gives them.
        without: groups of settings that may differ.
    """
    flat = [_flatten({key: value for key, value in recipe.items() if key not in without}) for recipe in recipes]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    values = {key: [settings.get(key) for settings in flat] for key in keys}
    return {key: found for key, found in values.items() if any(value != found[0] for value in found)}


def changed_in_evaluation(before: FinetuneConfig, after: FinetuneConfig) -> dict[str, Any]:
    """Settings that scores hang on and that are not those of the run, by dotted key, as they are now.

    Where samples lie, and which they are, is not among them, as digests tell that; nor are batches and hardware.

    Raises:
        InputError: a setting of model or training was changed, which evaluation takes from the run.
    """
    free = ["batch_size", "keep_predictions", "hardware", *(["init"] if before.method == "knn" else [])]
    differing = different_settings([config_to_dict(before), config_to_dict(after)], free)
    if fixed := [key for key in differing if not key.startswith("data.")]:
        raise InputError(
            f"{', '.join(fixed)}: not to be changed in evaluation, for model and task are those in the run's folder; "
            f"what can be changed is data, {', '.join(free)}"
        )
    return {key: now for key, (_, now) in differing.items() if key.split(".")[1] not in _WHERE_SAMPLES_ARE}


def own_name(split: str, config: FinetuneConfig) -> str:
    """Options of `msgfm evaluate` that keep scores of the same samples under a name of their own.

    Args:
        split: the name under which they cannot be kept.
        config: of the evaluation.
    """
    samples = {"train": config.data.train, "val": config.data.val}.get(split, config.data.test)
    return f"--split {'elsewhere' if split != 'elsewhere' else 'elsewhere_2'} data.test={samples}"


def require_same_settings(
    split: str, scored: Mapping[str, Any], now: Mapping[str, Any], config: FinetuneConfig
) -> None:
    """Refuses to write over scores of a split that were made with other settings.

    Args:
        split: its name.
        scored: `changed_in_evaluation` of the scores that there are.
        now: the same of those to come.
        config: of the evaluation.

    Raises:
        InputError: names the settings that differ.
    """
    keys = dict.fromkeys((*scored, *now))
    if differing := [key for key in keys if (key in scored, scored.get(key)) != (key in now, now.get(key))]:
        raise InputError(
            f"{split} was scored with another {', '.join(differing)}; give the scores to come a name of their own, as "
            f"{own_name(split, config)}"
        )


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
