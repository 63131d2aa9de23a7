"""What every optimiser step needs, whatever it trains."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from lightning.fabric import Fabric


def noise_seed(*numbers: int) -> int:
    """One seed from several numbers, the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def no_sync(fabric: Fabric, model: Any, enabled: bool) -> AbstractContextManager[Any]:
    """Gradients of a step's batches are exchanged once, with the last."""
    return fabric.no_backward_sync(model, enabled=enabled and fabric.world_size > 1)


def describe_step(
    step: int, steps_per_epoch: int, lr: float, images: float, took_s: float, waited_s: float
) -> dict[str, float]:
    """What every row of a `log.csv` says of the step that ended: when it was, its learning rate, and its speed."""
    return {
        "step": step,
        "epoch": step / steps_per_epoch,
        "lr": lr,
        "images_per_s": images / took_s,
        "data_wait": waited_s / took_s,
    }
