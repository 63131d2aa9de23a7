"""What is seen while it trains: a bar with losses, speed and expert load; plain lines where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

_SMOOTHING = 0.95
_PIPE_WIDTH = 200


def make_console(*, stderr: bool = False) -> Console:
    """A console whose lines are never broken; in a file or a pipe, tables take the width that they need.

    Names are shown as they are: rich would make a picture of `:sun:` and a style of `[red]`, and end with an error at
    `[/y]`. What is to have a style is a `rich.text.Text`.
    """
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, soft_wrap=True, emoji=False, markup=False, width=None if terminal else _PIPE_WIDTH)


class TrainingProgress:
    """Running means of each direction's loss, images per second and expert load of each source's last step."""

    def __init__(self, console: Console, total_steps: int, start_step: int, every_steps: int) -> None:
        self.console = console
        self.every_steps = every_steps
        self.losses: dict[str, float] = {}
        self.images_per_s = 0.0
        self.load = ""
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("", total=total_steps, completed=start_step, speed="")
        self._total = total_steps
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> TrainingProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, step: int, losses: Mapping[str, float], images_per_s: float, load: str) -> None:
        """Takes in one step; `load` describes the experts, empty without a mixture."""
        for direction, loss in losses.items():
            before = self.losses.get(direction, loss)
            self.losses[direction] = _SMOOTHING * before + (1 - _SMOOTHING) * loss
        self.images_per_s = _SMOOTHING * (self.images_per_s or images_per_s) + (1 - _SMOOTHING) * images_per_s
        self.load = load
        self._bar.update(self._task, completed=step, speed=f"{self.images_per_s:.1f} images/s")
        if self._live:
            self._live.update(Group(self._bar, self._table()))
        elif step % self.every_steps == 0 or step == self._total:
            shown = "  ".join(f"{direction} {loss:.4f}" for direction, loss in self.losses.items())
            self.console.print(
                f"step {step}/{self._total}  {self.images_per_s:.1f} images/s  {shown}  {load}",
                highlight=False,
            )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for direction, loss in self.losses.items():
            table.add_row(direction, f"{loss:.4f}")
        if self.load:
            table.add_row("experts", self.load)
        return table
