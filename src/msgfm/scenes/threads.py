"""Threads that run a model at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MOST = 8
"""More of them would wait for Python's lock, of a small model at least."""


@contextmanager
def model_threads(device: str) -> Iterator[int]:
    """How many threads are to run the model in this block: on a CPU one for each core, on a GPU one.

    Each takes batches of its own and computes alone: threads that share an operation wait for each other at its end,
    and a core that decodes a file meanwhile holds up all of them.

    Args:
        device: as torch names it.
    """
    cores = torch.get_num_threads()
    threads = min(cores, _MOST) if torch.device(device).type == "cpu" else 1
    if threads == 1:
        yield 1
        return
    torch.set_num_threads(cores // threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(cores)
