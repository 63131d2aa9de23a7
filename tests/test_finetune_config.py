"""Settings of fine-tuning that would do nothing are refused, with what to say instead."""

from __future__ import annotations

from typing import Any

import pytest

from msgfm.config import config_from_dict
from msgfm.errors import InputError
from msgfm.training.finetuning.config import FinetuneConfig

RECIPE: dict[str, Any] = {
    "out": "runs/clouds",
    "data": {"manifest": "clouds.parquet"},
    "inputs": ["sentinel1", "sentinel2@cloudy"],
    "task": {"kind": "restoration", "target": "sentinel2", "over": "sentinel2@cloudy"},
}
BACKBONES: dict[str, dict[str, Any]] = {
    "timm": {"kind": "timm", "name": "resnet50"},
    "dsen2cr": {"kind": "dsen2cr"},
    "rule": {"kind": "rule", "rule": "copy"},
}
SETTINGS = {
    "init": "runs/pretrained",
    "encoder": "tiny",
    "patch_embed": {"kind": "strided"},
    "window_size": 7,
    "drop_path_rate": 0.2,
}


def read(**changes: Any) -> FinetuneConfig:
    return config_from_dict(FinetuneConfig, RECIPE | changes, "recipe")


@pytest.mark.parametrize("setting", list(SETTINGS))
@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_settings_of_our_encoder_are_refused_beside_another(backbone: str, setting: str) -> None:
    changes = {setting: SETTINGS[setting]}
    read(**changes)
    beside = changes | {"backbone": BACKBONES[backbone]}
    if (backbone, setting) == ("timm", "drop_path_rate"):
        assert read(**beside).drop_path_rate == 0.2
        return
    with pytest.raises(InputError, match=f"{setting} would do nothing with backbone {backbone}; say {setting}=null"):
        read(**beside)
    read(**beside | {setting: None})


def test_all_settings_that_would_do_nothing_are_named() -> None:
    message = r"init and drop_path_rate would do nothing with backbone dsen2cr; say init=null drop_path_rate=null$"
    with pytest.raises(InputError, match=message):
        read(init="runs/pretrained", drop_path_rate=0.2, backbone=BACKBONES["dsen2cr"])
    with pytest.raises(InputError, match=r"init would do nothing .*weights is backbone\.weights"):
        read(init="runs/pretrained", drop_path_rate=0.2, backbone=BACKBONES["timm"])
