"""A progress bar around a loop over data, shown on a terminal and silent elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
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
    from rich.markup import escape
    from rich.progress import track as bar

    console = Console(stderr=True, emoji=False)
    yield from bar(items, escape(what), total=total, console=console, transient=True, disable=not console.is_terminal)


def watch(amounts: Iterable[int], what: str, total: int) -> None:
    """Goes through amounts of work as they are done, while a bar on the error stream adds them up.

    Args:
        amounts: of work, as pixels.
        what: is done, for the bar.
        total: that they add up to.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, emoji=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        for amount in amounts:
            progress.advance(task, amount)


@contextmanager
def show_size(*files: Path, what: str) -> Iterator[None]:
    """Shows, while the block runs, how large files have become that something is writing which tells nothing itself.

    Args:
        files: as far as they are there.
        what: is done, for the line.
    """
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
    from rich.text import Text

    class Written(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{sum(map(_size, files)) / 1e6:.0f} MB")

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), Written())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(what, total=None)
        yield


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
