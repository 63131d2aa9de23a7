"""Frozen configurations: YAML in, typed and checked objects out, and back.

A mistyped key is an error that names its place and the nearest valid key; nothing is ever ignored.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from msgfm.errors import InputError


class Config(BaseModel):
    """Base of every configuration: frozen, no unknown keys, every value checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


ConfigT = TypeVar("ConfigT", bound=Config)


class _RecipeLoader(yaml.SafeLoader):
    """YAML 1.2's numbers (`25e-6` is a number; PyYAML reads YAML 1.1, where it is text), and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.YAMLError(f"{', '.join(map(str, twice))} stands more than once{node.start_mark}")
        return super().construct_mapping(node, deep)


_RecipeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def parse_yaml(text: str) -> Any:
    """Reads YAML with `25e-6` as a number and duplicate keys refused."""
    return yaml.load(text, Loader=_RecipeLoader)  # noqa: S506 - a SafeLoader


def load_config(kind: type[ConfigT], path: Path, overrides: Sequence[str] = ()) -> ConfigT:
    """Reads a recipe, applies `key.sub=value` overrides, and checks the result against `kind`.

    Raises:
        InputError: no such file, not YAML, an unknown key (the nearest valid one is named) or a wrong value.
    """
    try:
        tree = parse_yaml(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read recipe {path}: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"recipe {path} is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise InputError(f"recipe {path} holds {type(tree).__name__}, not keys and values")
    for override in overrides:
        apply_override(tree, override)
    return config_from_dict(kind, tree, str(path))


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Sets one `key.sub=value` in a nested dict in place; the value is YAML; numbers index into lists."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"{override!r} is not an override; write key.sub=value, for example optim.lr=1e-4")
    *parents, last = key.split(".")
    node: Any = tree
    for depth, parent in enumerate(parents):
        if isinstance(node, list):
            node = node[_list_index(node, parent, override)]
            continue
        if not isinstance(node.get(parent), (dict, list)):
            # a name stands for its own settings (`encoder: base`), so what is refined becomes a preset
            node[parent] = {} if node.get(parent) is None else {"preset": node[parent]}
        node = node[parent]
        if not isinstance(node, (dict, list)):
            raise InputError(f"{override!r}: {'.'.join(parents[: depth + 1])} is not a group of keys")
    try:
        parsed = parse_yaml(value) if value else None
    except yaml.YAMLError as error:
        raise InputError(f"{override!r}: the value is not YAML: {error}") from error
    if isinstance(node, list):
        node[_list_index(node, last, override)] = parsed
    else:
        node[last] = parsed


def _list_index(items: list[Any], key: str, override: str) -> int:
    if not key.isdigit() or int(key) >= len(items):
        raise InputError(f"{override!r}: {key!r} is not a position in a list of {len(items)}")
    return int(key)


def config_from_dict(kind: type[ConfigT], tree: Mapping[str, Any], where: str) -> ConfigT:
    """Checks a nested dict against `kind`; `where` names its origin in errors."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(kind, problem) for problem in error.errors()]
        raise InputError(f"{where}: " + "\n  ".join(lines)) from error


def _explain(kind: type[BaseModel], problem: Any) -> str:
    place = [part for part in problem["loc"] if part != "function-before"]
    dotted = ".".join(map(str, place))
    if problem["type"] == "extra_forbidden":
        valid = _valid_keys(kind, place[:-1])
        near = difflib.get_close_matches(str(place[-1]), valid, n=1, cutoff=0.5)
        parent = ".".join(map(str, place[:-1]))
        hint = f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(valid)}"
        return f"unknown key {place[-1]!r}{f' in {parent}' if parent else ''}; {hint}"
    if problem["type"] == "missing":
        return f"{dotted} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{dotted}: {message} (got {problem['input']!r:.200})" if dotted else message


def _valid_keys(kind: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Field names of the model that stands at `place` below `kind`."""
    here: Any = kind
    for part in place:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = field.annotation if field else None
        models = _models_in(here)
        here = models[0] if models else here
    return sorted(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models inside `X | None`, `tuple[X, ...]`, `dict[str, X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]
    return []


def config_to_dict(config: Config) -> dict[str, Any]:
    """Plain numbers, strings, lists and dicts, for YAML and JSON."""
    return config.model_dump(mode="json")


def save_yaml(config: Config, path: Path) -> None:
    """Writes a configuration so that `load_config` reads an equal one."""
    path.write_text(yaml.safe_dump(config_to_dict(config), sort_keys=False, allow_unicode=True))
