"""Small models with random weights, and cards for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from msgfm.models.msgfm import MsGFMConfig
from msgfm.sensors import Sensor

# rgb whose normalisation changes nothing, to compare with models that have none
PLAIN_RGB = Sensor.model_validate(
    {
        "name": "rgb",
        **{"unit": "1", "valid_range": [-100, 100], "mean": 0, "std": 1},
        "bands": [{"name": band} for band in "RGB"],
    }
)


def configure(*sensors: Sensor, kind: str = "strided", mask_patch_size: int = 32, **encoder: Any) -> MsGFMConfig:
    small = {"embed_dim": 8, "depths": [2, 2, 2, 2], "num_heads": [1, 1, 2, 2], "window_size": 7, "moe": None}
    return MsGFMConfig.model_validate(
        {
            "sensors": sensors or (PLAIN_RGB,),
            "encoder": small | encoder,
            "patch_embed": {"kind": kind},
            "mask_patch_size": mask_patch_size,
        }
    )


def randomised(model: nn.Module, std: float = 0.2) -> Any:
    """Biases and norms too: zeros and ones would hide a mix-up."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model.eval()


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


OWN = Sensor.model_validate(
    {
        "name": "own",
        "description": "a card of a user's own",
        "centre": "image",
        "clip": True,
        "display": ["b"],
        "bands": [
            {
                "name": "a",
                "unit": "m",
                "valid_range": [-5, 5],
                "mean": 0.1,
                "std": 1 / 3,
                "nodata": -9999,
                "gsd_m": 2.5,
            },
            {"name": "b", "unit": "K", "valid_range": [100, 400], "mean": 280.3, "std": 7.7, "wavelength_nm": 10_900.5},
        ],
    }
)
