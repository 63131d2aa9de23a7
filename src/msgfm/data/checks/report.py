"""What `msgfm data check` shows: findings by kind, with counts and examples, or all of them as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from msgfm.data.checks.findings import KINDS, Finding, require_no_errors

_COLOURS = {"error": "red", "warning": "yellow", "undecided": "cyan"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """The findings of a manifest.

    Args:
        findings: worst first.
        checked: samples that were looked at.
        samples: of the manifest.
        accepted: kinds that are no errors here.
    """

    findings: tuple[Finding, ...]
    checked: int
    samples: int
    accepted: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Errors whose kind is not accepted."""
        return tuple(one for one in self.findings if one.severity == "error" and one.kind not in self.accepted)

    @property
    def undecided(self) -> tuple[Finding, ...]:
        """What the images do not say, of kinds that are not accepted."""
        return tuple(one for one in self.findings if one.severity == "undecided" and one.kind not in self.accepted)

    def of(self, kind: str) -> tuple[Finding, ...]:
        """The findings of a kind."""
        return tuple(one for one in self.findings if one.kind == kind)

    def require_no_errors(self) -> None:
        """Raises `InputError` where there are errors that are not accepted."""
        require_no_errors(self.findings, self.accepted)

    def as_json(self) -> str:
        """Everything, for programs."""
        head: dict[str, Any] = {"checked": self.checked, "samples": self.samples, "accepted": self.accepted}
        counts = {severity: sum(one.severity == severity for one in self.findings) for severity in _COLOURS}
        return json.dumps(head | {"counts": counts, "findings": [asdict(one) for one in self.findings]}, indent=2)

    def table(self, examples: int = 2) -> Group:
        """For a terminal: a row for each kind and severity, with the first findings of each.

        Args:
            examples: findings shown of each kind.
        """
        groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
        for one in self.findings:
            groups[one.severity, one.kind].append(one)
        table = Table(show_lines=True)
        table.add_column("finding")
        table.add_column("images", justify="right")
        table.add_column("seen, expected, what to do", overflow="fold", ratio=1)
        for (severity, kind), found in sorted(groups.items(), key=lambda item: list(_COLOURS).index(item[0][0])):
            colour = _COLOURS[severity]
            accepted = " (accepted)" if kind in self.accepted else ""
            name = f"[{colour}]{severity}[/]{accepted}\n[bold]{kind}[/]"
            cell = "\n".join(_shown(one) for one in found[:examples])
            more = f"\n[dim]and {len(found) - examples} more (--json lists all)[/]" if len(found) > examples else ""
            table.add_row(name, str(len(found)), f"[italic]{escape(KINDS[kind])}[/]\n{cell}{more}")
        return Group(*([table] if groups else []), self.summary())

    def summary(self) -> str:
        """One line: how many samples were checked, and how many findings there are of each severity."""
        found = [(len(self.errors), "errors"), (len(self.undecided), "undecided")]
        found.insert(1, (sum(one.severity == "warning" for one in self.findings), "warnings"))
        counts = ", ".join(f"{number} {name}" for number, name in found)
        return f"checked {self.checked} of {self.samples} samples: {counts}"


def _shown(one: Finding) -> str:
    bands = f" [dim]band {escape(', '.join(one.bands))}[/]" if one.bands else ""
    return (
        f"{escape(one.file)}{bands}\n  seen: {escape(one.seen)} ({one.confidence:.0%} sure)"
        f"\n  expected: {escape(one.expected)}\n  [green]{escape(one.remedy)}[/]"
    )
