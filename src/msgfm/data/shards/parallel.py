"""A function over numbers in several processes, which end when the one that started them does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from typing import Any, TypeVar

from msgfm.data.processes import fresh_processes

P = TypeVar("P")

_KEPT = "finished chunks are kept"
_work: dict[str, Any] = {}


def in_processes(function: Callable[[P, int], None], given: P, numbers: Sequence[int], workers: int) -> Iterator[None]:
    """Calls `function(given, number)` for every number; yields after each, in no certain order.

    Args:
        function: of a module.
        given: sent to each process once.
        numbers: what to do.
        workers: processes; 1 works in this one.

    Raises:
        InputError: a process was killed.
        Exception: the first that a call raises; calls that have begun are completed.
    """
    if workers == 1 or len(numbers) < 2:
        for number in numbers:
            function(given, number)
            yield
        return
    with fresh_processes(min(workers, len(numbers)), _begin, (function, given), kept=_KEPT) as pool:
        for task in as_completed([pool.submit(_call, number) for number in numbers]):
            task.result()
            yield


def _begin(function: Callable[[Any, int], None], given: Any) -> None:
    _work.update(function=function, given=given)


def _call(number: int) -> None:
    _work["function"](_work["given"], number)
