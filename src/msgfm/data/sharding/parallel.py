"""A function called for many jobs in several processes, which end when the one that started them does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from typing import Any

from msgfm.data.processes import fresh_processes


def in_processes(function: Callable[..., None], jobs: Sequence[tuple[Any, ...]], workers: int) -> Iterator[None]:
    """Calls `function(*job)` for every job; yields after each, in no certain order.

    Args:
        function: of a module.
        jobs: arguments; each is sent to the process that does it.
        workers: processes; 1 works in this one.

    Raises:
        InputError: a process was killed.
        Exception: the first that a call raises; calls that have begun are completed.
    """
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            function(*job)
            yield
        return
    with fresh_processes(min(workers, len(jobs)), kept="finished chunks are kept") as pool:
        for task in as_completed([pool.submit(function, *job) for job in jobs]):
            task.result()
            yield
