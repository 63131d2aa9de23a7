"""Multisensor foundation models for Earth observation, after msGFM (Han et al., CVPR 2024).

The names below are loaded when they are first used, so that `import msgfm` and `msgfm --help` load no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msgfm.models.downstream import DownstreamModel
    from msgfm.models.msgfm import MsGFM
    from msgfm.models.pretrained import from_pretrained
    from msgfm.sensors import Sensor, load_sensor

__version__ = "0.1.0"
__all__ = ["DownstreamModel", "MsGFM", "Sensor", "__version__", "from_pretrained", "load_sensor"]

_HOME = {
    "DownstreamModel": "msgfm.models.downstream",
    "MsGFM": "msgfm.models.msgfm",
    "Sensor": "msgfm.sensors",
    "from_pretrained": "msgfm.models.pretrained",
    "load_sensor": "msgfm.sensors",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
