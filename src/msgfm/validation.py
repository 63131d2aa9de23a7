"""Models of what a user wrote, and what is wrong with it in the user's own terms."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError


class CheckedModel(BaseModel):
    """Base of configurations and sensor cards: frozen, no unknown keys, every value checked.

    Attributes:
        shorthands: keys that a file may use although they are no fields; a validator takes them in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    shorthands: ClassVar[tuple[str, ...]] = ()


def explain(kind: type[CheckedModel], error: ValidationError) -> str:
    """One line for each place: what is wrong with it and, for a mistyped key, the nearest valid one.

    Args:
        kind: the model that was validated.
        error: what its validation raised.
    """
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        place, message = _explain(kind, problem)
        # a second message of one place is that of another branch of a union
        lines[place] = f"{lines[place]}, or {message}" if place in lines else f"{place}: {message}".removeprefix(": ")
    return "\n  ".join(lines.values())


def _explain(kind: type[CheckedModel], problem: Any) -> tuple[str, str]:
    """Place and message of one of pydantic's errors."""
    location = problem["loc"]
    if problem["type"] == "extra_forbidden":
        *parents, key = location
        steps, group = _follow(kind, parents)
        valid = sorted((*group.model_fields, *group.shorthands))
        near = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(valid)}"
        return ".".join(map(str, [*steps, key])), f"unknown key {key!r}; {hint}"
    place = ".".join(map(str, _follow(kind, location)[0]))
    if problem["type"] == "missing":
        return place, "missing"
    message = problem["msg"].removeprefix("Value error, ")
    # a whole group of keys would hide the message
    return place, message if isinstance(problem["input"], dict) else f"{message} (got {problem['input']!r:.200})"


def _follow(kind: Any, location: Sequence[str | int]) -> tuple[list[str | int], Any]:
    """The steps of a location that stand in the file, and the type at its end.

    The others are pydantic's own: the branch of a union, the key of a dict as against its value.
    """
    steps, here = [], kind
    for part in location:
        inner = _inside(here, part)
        if inner is not None:
            steps.append(part)
            here = inner
    return steps, here


def _inside(annotation: Any, part: str | int) -> Any:
    """The type of the entry `part` of a model, dict, list or tuple, or of the first in a union that has one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return next((found for branch in inner if (found := _inside(branch, part)) is not None), None)
    if origin is dict:
        return inner[1]
    return inner[0] if origin in (list, tuple) and isinstance(part, int) else None
