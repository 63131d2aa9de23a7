"""`report.html`: one file with the curves, the scores and the pictures of a run."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msgfm.training.logs import read_log
from msgfm.training.pretraining.reconstruction import Score
from msgfm.training.report_html import embed, new_figure, to_png, write_page


def write_report(run: Path, scores: Sequence[Score], facts: Mapping[str, Any]) -> None:
    """Writes `report.html` into the run's folder; it needs no other file to be read."""
    pictures = sorted((run / "pictures").glob("reconstruction_*.png"))
    chosen = [pictures[0], pictures[-1]] if len(pictures) > 1 else pictures
    parts = [
        f"<h1>Pretraining run {html.escape(run.name)}</h1>",
        f"<p>{facts['steps']} steps, {facts['parameters'] / 1e6:.1f} M parameters, finished {facts['finished']}, "
        f"commit {html.escape(str(facts['commit']))}.</p>",
        "<h2>Loss</h2><p>Masked L1 of each direction in normalised units, running mean.</p>",
        embed(draw_curves(read_log(run / "log.csv"))),
        "<h2>Held-out scores</h2>" + _score_rows(scores),
        "<h2>Reconstructions</h2><p>Masked input, own prediction and truth; then each partner's.</p>",
        *[
            f"<h3>after step {int(path.stem.rsplit('_', 1)[1])}</h3>{embed(path.read_bytes())}"
            for path in reversed(chosen)
        ],
        f"<h2>Facts</h2><pre>{html.escape(json.dumps(facts, indent=1))}</pre>",
    ]
    write_page(run / "report.html", run.name, parts)


def draw_curves(rows: Sequence[Mapping[str, str]]) -> bytes:
    """A PNG of each direction's loss over the steps, smoothed over a fiftieth of the run; own solid, across dashed."""
    figure, axis = new_figure(9, 4)
    for name in [name for name in (rows[0] if rows else {}) if "->" in name]:
        points = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        if not points:
            continue
        steps, losses = np.array(points).T
        width = max(len(losses) // 50, 1)
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        source, target = name.split("->")
        axis.plot(steps[width - 1 :], smooth, "-" if source == target else "--", label=name, linewidth=1)
    axis.set_xlabel("step")
    axis.set_ylabel("masked L1")
    axis.set_ylim(bottom=0)
    if axis.lines:
        axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return to_png(figure)


def _score_rows(scores: Sequence[Score]) -> str:
    if not scores:
        return "<p>No samples were held out (split <code>val</code>).</p>"
    head = "<tr><th>data<th>direction<th>images<th>squares<th>masked L1<th>baseline<th>its L1<th>ratio</tr>"
    rows = [
        f"<tr><td>{html.escape(s.data)}<td>{html.escape(s.direction)}<td>{s.images}<td>{s.squares}<td>{s.masked_l1:.4f}"
        f"<td>{s.baseline}<td>{s.baseline_l1:.4f}<td{'' if s.ratio < 1 else ' class=worse'}>{s.ratio:.3f}</tr>"
        for s in scores
    ]
    return f"<table>{head}{''.join(rows)}</table>"
