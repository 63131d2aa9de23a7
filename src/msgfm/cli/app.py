"""The command line's frame: the two apps that commands are added to, their consoles, how errors are told."""

from __future__ import annotations

import functools
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ParamSpec, TextIO, TypeVar

import typer
from rich.text import Text

from msgfm.errors import InputError, InputWarning
from msgfm.training.progress import make_console

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    help="Multisensor foundation models for Earth observation: pretraining on your sensors, paired or not.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
data_app = typer.Typer(help="From folders of images to manifests, statistics and test data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

errors = make_console(stderr=True)
out = make_console()


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _TerminatedError


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Turns Ctrl-C and SIGTERM into a message, which says what became of the work, and exit code 130 or 143."""
    handles = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if handles else None
    try:
        yield
    except KeyboardInterrupt as stop:
        errors.print(message, highlight=False)
        raise typer.Exit(128 + (signal.SIGTERM if isinstance(stop, _TerminatedError) else signal.SIGINT)) from None
    finally:
        if handles:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _shows_warnings() -> Iterator[None]:
    """Shows each `InputWarning` once, on a line; others as Python does."""
    before, shown = warnings.showwarning, set[str]()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, InputWarning):
            before(message, category, filename, lineno, file, line)
        elif str(message) not in shown:
            shown.add(str(message))
            errors.print(Text.assemble(("warning:", "bold yellow"), f" {message}"))

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def reports_input_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turns an `InputError` into a message and exit code 2; Ctrl-C and SIGTERM into one and exit code 130 or 143."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with (
            _shows_warnings(),
            stoppable("stopped; files that were written are whole, and the same command can be started again"),
        ):
            try:
                return command(*args, **kwargs)
            except InputError as error:
                errors.print(Text.assemble(("error:", "bold red"), f" {error}"))
                raise typer.Exit(2) from error

    return wrapped


def tell_left_out(messages: Iterable[str]) -> None:
    """What was left out, a line each."""
    for message in messages:
        errors.print(f"left out: {message}", highlight=False)


def given_options(context: typer.Context) -> frozenset[str]:
    """Options that the user gave, as `--seed`, also those with their default value."""
    sources = {param.opts[0]: context.get_parameter_source(param.name or "") for param in context.command.params}
    return frozenset(option for option, source in sources.items() if source is not None and source.name != "DEFAULT")
