"""Threads that run a model at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MOST = 16
"""More of them would wait for Python's lock, of a small model at least; `--workers` uses more cores."""


@contextmanager
def model_threads(device: str) -> Iterator[int]:
    """How many threads are to run the model in this block: on a CPU one for each core, on a GPU one.

    Each takes batches of its own and computes alone: threads that share an operation wait for each other at its end,
    and a core that decodes a file meanwhile holds up all of them. So numbers do not
    depend on how many cores there are, either.

    Args:
        device: as torch names it.
    """
    cores = torch.get_num_threads()
    if torch.device(device).type != "cpu":
        yield 1
        return
    torch.set_num_threads(1)
    try:
        yield min(cores, _MOST)
    finally:
        torch.set_num_threads(cores)
