"""A function over numbers in several processes, which end when the one that started them does."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

from msgfm.data.processes import end_with_parent

P = TypeVar("P")

_work: dict[str, Any] = {}


def in_processes(function: Callable[[P, int], None], given: P, numbers: Sequence[int], workers: int) -> Iterator[None]:
    """Calls `function(given, number)` for every number; yields after each, in no certain order.

    Args:
        function: of a module.
        given: sent to each process once.
        numbers: what to do.
        workers: processes; 1 works in this one.

    Raises:
        Exception: the first that a call raises; calls that have begun are completed.
    """
    if workers == 1 or len(numbers) < 2:
        for number in numbers:
            function(given, number)
            yield
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(workers, len(numbers)), context, _begin, (function, given)) as pool:
        tasks = [pool.submit(_call, number) for number in numbers]
        try:
            for task in as_completed(tasks):
                task.result()
                yield
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(function: Callable[[Any, int], None], given: Any) -> None:
    _work.update(function=function, given=given)
    end_with_parent()


def _call(number: int) -> None:
    _work["function"](_work["given"], number)
