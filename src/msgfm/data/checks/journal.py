"""All findings as JSON, written as they are found: there may be more of them than memory holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.sums import Source
from msgfm.data.checks.tally import Judge
from msgfm.files import require_writable, write_atomically


@contextmanager
def write_findings(path: Path) -> Iterator[Journal]:
    """A journal whose file appears at `path` when the block ends well; that it can be written is tried at once.

    Raises:
        InputError: the path is a folder, its folder cannot be written, or the disk is full.
    """
    require_writable(path)
    with (
        write_atomically(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
        TemporaryFile("w+", encoding="utf-8", dir=path.parent) as waiting,
    ):
        yield Journal(file, waiting)


class Journal:
    """Writes `{"findings": [...], "checked": ..., "samples": ..., "accepted": [...], "counts": {...}}`.

    Args:
        file: what it is written to.
        waiting: takes the findings that their source may settle, until it is judged.
    """

    def __init__(self, file: IO[str], waiting: IO[str]) -> None:
        self._file, self._waiting = file, waiting
        self._sources: dict[Source, int] = {}
        self._file.write('{"findings": [')
        self._separator = "\n  "

    def take(self, finding: Finding, source: Source | None = None) -> None:
        """Writes a finding; with a source, puts it by until this source is judged."""
        if source is None:
            self._file.write(self._separator + json.dumps(asdict(finding)))
            self._separator = ",\n  "
        else:
            number = self._sources.setdefault(source, len(self._sources))
            self._waiting.write(json.dumps([number, asdict(finding)]) + "\n")

    def settle(self, judge: Judge) -> None:
        """Writes what was put by, less what is settled."""
        sources = list(self._sources)
        self._waiting.seek(0)
        for line in self._waiting:
            number, fields = json.loads(line)
            one = judge(Finding(**fields | {"bands": tuple(fields["bands"])}), sources[number])
            if one is not None:
                self.take(one)

    def finish(self, numbers: Mapping[str, Any]) -> None:
        """Ends the file with `Report.numbers`."""
        self._file.write("\n]" + "".join(f", {json.dumps(key)}: {json.dumps(value)}" for key, value in numbers.items()))
        self._file.write("}\n")
