"""The one error that means "the input is wrong", as against "the program is wrong"; and a warning of its kind."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 10


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message names the file, the band and the value where there are such, and says what to do. The command
    line prints it without a traceback and exits with code 2.
    """


class InputWarning(UserWarning):
    """Something the user gave is odd, but is used; the command line prints it on a line of its own."""


def too_many_bad(what: str, problems: Sequence[str], skip_bad: int, option: str = "--skip-bad N") -> str:
    """What is told where more is bad than may be left out.

    Args:
        what: the bad things, as `unreadable samples`.
        problems: a message for each of them; the first ten are shown, one on a line.
        skip_bad: how many may be left out.
        option: how a larger number is given; `skip_bad=N` where a recipe has it.
    """
    shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
    more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    counts = f"{what}: {len(problems)}, {option[:-2]} allows {skip_bad}"
    return f"{counts}:{shown}{more}\nmend or replace them, or leave more of them out with {option}"
