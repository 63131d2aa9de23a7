"""What `msgfm data check` shows: how many findings there are of each kind, with the first of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group as Parts
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from msgfm.data.checks.findings import KINDS, SEVERITIES, Finding, Group, Severity, require_no_errors

_COLOURS: dict[Severity, str] = {"error": "red", "warning": "yellow", "undecided": "cyan"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found in a manifest.

    Args:
        findings: the first of each group, worst first: not all, as a manifest of millions may have millions.
        counts: how many there are of each group.
        checked: samples that were looked at.
        samples: of the manifest.
        accepted: kinds that are no errors here.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[Group, int]
    checked: int
    samples: int
    accepted: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The first errors of each group whose kind is not accepted."""
        return self._first("error")

    @property
    def undecided(self) -> tuple[Finding, ...]:
        """The first of what the images do not say, of kinds that are not accepted."""
        return self._first("undecided")

    def count(self, severity: Severity) -> int:
        """How many findings there are of kinds that are not accepted."""
        counts = self.counts.items()
        return sum(number for (own, kind, _), number in counts if own == severity and kind not in self.accepted)

    def require_no_errors(self) -> None:
        """Raises `InputError` where there are errors that are not accepted."""
        require_no_errors(self.findings, self.accepted, total=self.count("error"))

    def numbers(self) -> dict[str, Any]:
        """How much was checked and found, accepted or not, for programs."""
        counts = {
            severity: sum(n for group, n in self.counts.items() if group[0] == severity) for severity in SEVERITIES
        }
        return {"checked": self.checked, "samples": self.samples, "accepted": self.accepted, "counts": counts}

    def table(self, examples: int = 2) -> Parts:
        """For a terminal: a row for each kind, severity and sensor, with the first findings of each.

        Args:
            examples: findings shown of each.
        """
        table = Table(show_lines=True)
        table.add_column("finding")
        table.add_column("images", justify="right")
        table.add_column("seen, expected, what to do", overflow="fold", ratio=1)
        for group in sorted(self.counts, key=lambda group: SEVERITIES.index(group[0])):
            severity, kind, sensor = group
            accepted = " (accepted)" if kind in self.accepted else ""
            name = f"[{_COLOURS[severity]}]{severity}[/]{accepted}\n[bold]{kind}[/]\n{escape(sensor)}".rstrip()
            shown = [one for one in self.findings if one.group == group][:examples]
            rest = self.counts[group] - len(shown)
            more = f"[dim]and {rest} more (--json lists all)[/]" if rest else ""
            lines = [f"[italic]{escape(KINDS[kind])}[/]", *(_shown(one) for one in shown), *([more] if more else [])]
            table.add_row(Text.from_markup(name), str(self.counts[group]), Text.from_markup("\n".join(lines)))
        return Parts(*([table] if self.counts else []), self.summary())

    def summary(self) -> str:
        """One line: how many samples were checked, and how many findings there are of each severity."""
        several = {"error": "errors", "warning": "warnings", "undecided": "undecided"}
        numbers = {severity: self.count(severity) for severity in SEVERITIES}
        counts = ", ".join(f"{n} {severity if n == 1 else several[severity]}" for severity, n in numbers.items())
        return f"checked {self.checked} of {self.samples} samples: {counts}"

    def _first(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.severity == severity and one.kind not in self.accepted)


def _shown(one: Finding) -> str:
    bands = f" [dim]band {escape(', '.join(one.bands))}[/]" if one.bands else ""
    return (
        f"{escape(one.file)}{bands}\n  seen: {escape(one.seen)} ({one.confidence:.0%} sure)"
        f"\n  expected: {escape(one.expected)}\n  [green]{escape(one.remedy)}[/]"
    )
