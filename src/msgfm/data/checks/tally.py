"""Counts findings, and keeps the first of each group: as many as there may be, memory stays flat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from msgfm.data.checks.findings import Finding, Group, sort_findings
from msgfm.data.checks.sums import Source

# What becomes of a finding once its source is judged: it may say another remedy, or be settled (None).
Judge = Callable[[Finding, Source], Finding | None]


@dataclass
class _Some:
    """Findings of one group: how many, and the first of them."""

    number: int = 0
    first: list[Finding] = field(default_factory=list)


class Tally:
    """Of the findings of a manifest.

    Args:
        keep: so many findings are kept of each kind, severity and sensor; at least one.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._groups: dict[Group, _Some] = {}
        self._waiting: dict[tuple[Source, Group], _Some] = {}

    def take(self, finding: Finding, source: Source | None = None) -> None:
        """Counts a finding; with a source, one that this source may settle."""
        if source is None:
            some = self._groups.setdefault(finding.group, _Some())
        else:
            some = self._waiting.setdefault((source, finding.group), _Some())
        some.number += 1
        if len(some.first) < self._keep:
            some.first.append(finding)

    def settle(self, judge: Judge) -> None:
        """Counts in what waits, less what is settled."""
        for (source, group), some in self._waiting.items():
            kept = [one for first in some.first if (one := judge(first, source)) is not None]
            if kept:
                into = self._groups.setdefault(group, _Some())
                into.number += some.number
                into.first += kept[: self._keep - len(into.first)]
        self._waiting.clear()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The first of each group, worst first."""
        return tuple(sort_findings(one for some in self._groups.values() for one in some.first))

    @property
    def counts(self) -> dict[Group, int]:
        """How many there are of each group."""
        return {group: some.number for group, some in self._groups.items()}
