"""A Swin of SimMIM, GFM or ImageNet from a file, as a pretrained model of one sensor: photographs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from msgfm.errors import InputError
from msgfm.models.msgfm import MsGFM, MsGFMConfig
from msgfm.models.pretrained import import_simmim
from msgfm.models.weights import read_checkpoint
from msgfm.sensors import load_sensor

_SENSOR = "rgb"


def load_swin(path: Path) -> MsGFM:
    """Builds the model that a file of Swin weights is of, and fills it (`import_simmim`).

    Its one sensor is `rgb`, whose card normalises as SimMIM, GFM and ImageNet's training do.

    Args:
        path: safetensors or PyTorch, of SimMIM, GFM, the authors' Swin or timm's.

    Raises:
        InputError: not readable, not such a Swin, or not all of it.
    """
    state = read_checkpoint(path)
    try:
        model, report = import_simmim(state, config_of_swin(state))
    except (InputError, ValidationError) as error:
        raise InputError(f"{path}: {error}") from error
    if missing := [name for name in report.new if name.startswith(("encoder.", "patch_embed."))]:
        raise InputError(f"{path} lacks {len(missing)} tensors of its encoder, as {missing[0]}; copy it again")
    return model


def config_of_swin(state: Mapping[str, Tensor]) -> MsGFMConfig:
    """The configuration of the Swin whose weights these are, as their names and shapes tell it.

    Raises:
        InputError: they are not those of a Swin (of version 1, with position biases in tables).
    """
    places = [
        re.search(r"^(.*?)layers\.(\d+)\.blocks\.(\d+)\.attn\.relative_position_bias_table$", name) for name in state
    ]
    tables = {(int(place[2]), int(place[3])): state[place[0]] for place in places if place}
    prefix = next((place[1] for place in places if place), "")
    names = [f"{prefix}layers.0.blocks.0.mlp.fc1.weight", f"{prefix}patch_embed.proj.weight"]
    if not tables or any(name not in state for name in names):
        raise InputError(f"no Swin encoder in these weights; their names start with {', '.join(list(state)[:3])}")
    stages = range(1 + max(stage for stage, _ in tables))
    fc1, proj = (state[name] for name in names)
    tree: dict[str, Any] = {
        "embed_dim": fc1.shape[1],
        "depths": [sum(other == stage for other, _ in tables) for stage in stages],
        "num_heads": [tables[stage, 0].shape[1] for stage in stages],
        "window_size": (round(len(tables[0, 0]) ** 0.5) + 1) // 2,
        "mlp_ratio": fc1.shape[0] / fc1.shape[1],
        "moe": None,
    }
    return MsGFMConfig.model_validate(
        {
            "sensors": [load_sensor(_SENSOR)],
            "encoder": tree,
            "patch_embed": {"kind": "strided", "patch_size": proj.shape[-1]},
        }
    )
