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


_IN_OUR_WORDS = {"tuple_type": "should be a list", "too_short": "should have at least {min_length}"}
"""Messages for pydantic's kinds of errors whose own speak of Python."""


def explain(kind: type[CheckedModel], error: ValidationError) -> str:
    """One line for each place: what is wrong with it and, for a mistyped key, the nearest valid one.

    Args:
        kind: the model that was validated.
        error: what its validation raised.
    """
    lines: dict[str, str] = {}
    problems = error.errors(include_url=False)
    for problem in problems:
        if problem["type"] == "too_short" and any(_is_within(one["loc"], problem["loc"]) for one in problems):
            continue  # what is wrong in a list is not counted
        place, message = _explain(kind, problem)
        # a second message of one place is that of another branch of a union
        lines[place] = f"{lines[place]}, or {message}" if place in lines else f"{place}: {message}".removeprefix(": ")
    return "\n  ".join(lines.values())


def _is_within(location: Sequence[str | int], other: Sequence[str | int]) -> bool:
    return len(location) > len(other) and tuple(location[: len(other)]) == tuple(other)


def _explain(kind: type[CheckedModel], problem: Any) -> tuple[str, str]:
    """Place and message of one of pydantic's errors."""
    location = problem["loc"]
    if problem["type"] == "extra_forbidden":
        *parents, key = location
        steps, kinds = _follow(kind, parents)
        groups = [group for group in kinds if isinstance(group, type) and issubclass(group, CheckedModel)]
        valid = sorted({name for group in groups for name in (*group.model_fields, *group.shorthands)})
        near = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(valid)}"
        return ".".join(map(str, [*steps, key])), f"unknown key {key!r}; {hint}"
    place = ".".join(map(str, _follow(kind, location)[0]))
    if problem["type"] == "missing":
        return place, "missing"
    if problem["type"] == "union_tag_not_found":
        key = problem["ctx"]["discriminator"].strip("'")
        return place, f"without {key}; write {{{key}: NAME, ...}}, with a space behind each colon"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if problem["type"] in _IN_OUR_WORDS:
        message = _IN_OUR_WORDS[problem["type"]].format(**problem.get("ctx", {}))
    message = message.partition(", unable to ")[0]  # parse or interpret: what was given is told below
    # a whole group of keys would hide the message
    return place, message if isinstance(problem["input"], dict) else f"{message} (got {problem['input']!r:.200})"


def _follow(kind: Any, location: Sequence[str | int]) -> tuple[list[str | int], list[Any]]:
    """The steps of a location that stand in the file, and the types that may stand at its end.

    The others are pydantic's own: the branch of a union, the key of a dict as against its value.
    """
    steps, here = [], [kind]
    for part in location:
        inner = [branch for kind in here for branch in _inside(kind, part)]
        if inner:
            steps.append(part)
            here = inner
        else:
            here = [kind for kind in here if _is_branch(kind, part)] or here
    return steps, here


def _is_branch(kind: Any, part: str | int) -> bool:
    """Whether pydantic calls this member of a union so: by its name, or by the value that tells it from the others."""
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return False
    fields = kind.model_fields.values()
    return kind.__name__ == part or any(typing.get_args(field.annotation) == (part,) for field in fields)


def _inside(kind: Any, part: str | int) -> list[Any]:
    """The types that may stand at the entry `part` of a model, dict, list or tuple."""
    inner, origin = typing.get_args(kind), typing.get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _branches(kind.model_fields[part].annotation) if part in kind.model_fields else []
    if origin is dict:
        return _branches(inner[1])
    return _branches(inner[0]) if origin in (list, tuple) and isinstance(part, int) else []


def _branches(annotation: Any) -> list[Any]:
    """The members of a union, or the type alone."""
    is_union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    return list(typing.get_args(annotation)) if is_union else [annotation]
