"""What the ranks of a run must agree on, so that none waits for one that has ended.

With one rank all of this does nothing but what is asked.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import NoReturn, cast

import torch
import torch.distributed
from lightning.fabric import Fabric
from torch import Tensor

from msgfm.errors import InputError


def fail_on_all_ranks(fabric: Fabric, message: str) -> NoReturn:
    """Ends every rank, on each of which it must be called; the first one raises `InputError`.

    The others end without an error: Lightning kills the first rank when it sees another one fail.
    """
    if fabric.is_global_zero:
        raise InputError(message)
    raise SystemExit(0)


def on_first_rank(fabric: Fabric, action: Callable[[], None]) -> None:
    """Runs `action` on the first rank while the others wait; an `InputError` in it ends them all."""
    message = ""
    if fabric.is_global_zero:
        try:
            action()
        except InputError as error:
            message = str(error)
    if message := fabric.broadcast(message):
        fail_on_all_ranks(fabric, message)


def sum_over_ranks(fabric: Fabric, numbers: Tensor) -> Tensor:
    """The sum of a tensor that every rank has one of, on the CPU."""
    if fabric.world_size == 1:
        return numbers
    return cast(Tensor, fabric.all_reduce(numbers.to(fabric.device), reduce_op="sum")).cpu()


def gather_messages(fabric: Fabric, messages: Sequence[str]) -> list[str]:
    """The messages of all ranks, in the ranks' order."""
    if not sum_over_ranks(fabric, torch.tensor(float(len(messages)))) or fabric.world_size == 1:
        return list(messages)
    gathered: list[Sequence[str]] = [()] * fabric.world_size
    torch.distributed.all_gather_object(gathered, messages)
    return [message for part in gathered for message in part]


def end_ranks() -> None:
    """Ends the process group while Python is still whole: its threads, if they outlive it, can abort the process."""
    if torch.distributed.is_initialized():
        gc.collect()  # the wrapped model holds the group, and lies in a circle of references
        torch.distributed.destroy_process_group()
