"""A progress bar around a loop over data, shown on a terminal and silent elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yields the items while a bar on the error stream counts them.

    Args:
        items: anything to go through.
        what: what is done to them, for the bar.
        total: how many there are.
    """
    from rich.console import Console
    from rich.progress import track as bar

    console = Console(stderr=True, emoji=False)
    yield from bar(items, what, total=total, console=console, transient=True, disable=not console.is_terminal)
