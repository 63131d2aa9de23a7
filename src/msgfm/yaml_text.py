"""YAML as recipes and sensor cards are written in: numbers as in YAML 1.2, no key twice."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """PyYAML reads YAML 1.1, where `25e-6` is text and `2026-05-01` a date; here as in 1.2. And no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - mypy: the base class has it so
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.YAMLError(f"{', '.join(sorted(twice))} stands more than once{node.start_mark}")
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes text that the loader would take for a number."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+0123456789."),
    )


def parse_yaml(text: str) -> Any:
    """Reads YAML with `25e-6` as a number, `2026-05-01` as text and duplicate keys refused."""
    return yaml.load(text, Loader=_Loader)


def dump_yaml(tree: Any) -> str:
    """Writes plain numbers, strings, lists and dicts so that `parse_yaml` reads the same."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
