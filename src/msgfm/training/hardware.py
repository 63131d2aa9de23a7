"""Where a run computes: devices, processes and precision, by Lightning Fabric."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from pydantic import Field
from torch.distributed.constants import default_pg_timeout

from msgfm.config import Config
from msgfm.data.shards.cache import CacheLimits
from msgfm.errors import InputError


class HardwareConfig(Config):
    """Where and how it runs.

    Args:
        accelerator: `auto`, `cpu`, `gpu` or another of Lightning's.
        devices: devices per node; `auto` is all of them (1 on a CPU).
        num_nodes: nodes.
        precision: `bf16-mixed` (router, normalisation and loss stay float32) or `32-true`.
        accumulate: batches of a source per optimiser step.
        num_workers: processes that read data, per device.
        grad_checkpointing: computes activations again in the backward pass to save memory.
        cache: folder where chunks of shards on S3 are kept; null is `~/.cache/msgfm/shards`.
        cache_gb: gigabytes (10^9 bytes) that it may hold; the chunks not used for longest are removed.
    """

    accelerator: str = "auto"
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    num_nodes: int = Field(default=1, ge=1)
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    accumulate: int = Field(default=1, ge=1)
    num_workers: int = Field(default=2, ge=0)
    grad_checkpointing: bool = False
    cache: Path | None = None
    cache_gb: float = Field(default=50, gt=0)

    @property
    def cache_limits(self) -> CacheLimits:
        """Where chunks from S3 are kept, and how many bytes of them."""
        return CacheLimits(folder=self.cache, size=round(self.cache_gb * 1e9))


def make_fabric(hardware: HardwareConfig, *, patience: timedelta = default_pg_timeout) -> Fabric:
    """Lightning Fabric: devices, processes and precision. Batches of one source leave other sensors' weights unused.

    Args:
        hardware: the recipe's.
        patience: how long ranks wait for one another before they give up.
    """
    devices = 1 if hardware.devices == "auto" and not torch.cuda.is_available() else hardware.devices
    strategy: Any = "auto"
    if (isinstance(devices, int) and devices > 1) or hardware.num_nodes > 1 or torch.cuda.device_count() > 1:
        strategy = DDPStrategy(find_unused_parameters=True, timeout=patience)
    try:
        return Fabric(
            accelerator=hardware.accelerator,
            devices=devices,
            num_nodes=hardware.num_nodes,
            strategy=strategy,
            precision=hardware.precision,
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"hardware: {error} (accelerator {hardware.accelerator}, devices {hardware.devices}); "
            f"on a CPU: hardware.accelerator=cpu hardware.devices=1 hardware.precision=32-true"
        ) from error
