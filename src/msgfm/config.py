"""Frozen configurations: YAML in, typed and checked objects out, and back.

A mistyped key is an error that names its place and the nearest valid key; nothing is ever ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, ValidationError

from msgfm.errors import InputError
from msgfm.validation import CheckedModel, explain
from msgfm.yaml_text import dump_yaml, parse_yaml


class Config(CheckedModel):
    """Base of every configuration: frozen, no unknown keys, every value checked, defaults too."""

    model_config = ConfigDict(validate_default=True)


ConfigT = TypeVar("ConfigT", bound=Config)


def load_config(kind: type[ConfigT], path: Path, overrides: Sequence[str] = ()) -> ConfigT:
    """Reads a recipe, applies `key.sub=value` overrides, and checks the result against `kind`.

    Raises:
        InputError: no such file, not YAML, an unknown key (the nearest valid one is named) or a wrong value.
    """
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
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
    try:
        parsed = parse_yaml(value) if value else None
    except yaml.YAMLError as error:
        raise InputError(f"{override!r}: the value is not YAML: {error}") from error
    *parents, last = key.split(".")
    node: Any = tree
    for depth, parent in enumerate(parents, start=1):
        place = _place(node, parent, override)
        inner = node[place] if isinstance(node, list) else node.get(place)
        if inner is None:
            inner = node[place] = {}
        elif isinstance(inner, str):
            # a name stands for its own settings (`encoder: base`), so what is refined becomes a preset
            inner = node[place] = {"preset": inner}
        elif not isinstance(inner, (dict, list)):
            raise InputError(f"{override!r}: {'.'.join(parents[:depth])} is {inner!r}, not a group of keys")
        node = inner
    node[_place(node, last, override)] = parsed


def _place(group: dict[str, Any] | list[Any], key: str, override: str) -> Any:
    """A key of a dict, or a position in a list."""
    if isinstance(group, dict):
        return key
    if not key.isdecimal() or int(key) >= len(group):
        raise InputError(f"{override!r}: {key!r} is not a position in a list of {len(group)}, counted from 0")
    return int(key)


def config_from_dict(kind: type[ConfigT], tree: Mapping[str, Any], where: str) -> ConfigT:
    """Checks a nested dict against `kind`; `where` names its origin in errors."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"{where}: {explain(kind, error)}") from error


def config_to_dict(config: Config) -> dict[str, Any]:
    """Plain numbers, strings, lists and dicts, for YAML and JSON."""
    return config.model_dump(mode="json")


def save_yaml(config: Config, path: Path) -> None:
    """Writes a configuration so that `load_config` reads an equal one."""
    path.write_text(dump_yaml(config_to_dict(config)), encoding="utf-8")
