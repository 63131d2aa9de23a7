"""`report.html`: one file with the curves, the scores and the pictures of a run."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from msgfm.files import write_atomically
from msgfm.training.logs import read_log
from msgfm.training.pretraining.reconstruction import Score

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; } th, td { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child, td:nth-child(2) { text-align: left; } img { max-width: 100%; }
pre { background: #f6f6f6; padding: 1em; overflow: auto; } .worse { color: #b00; }
"""


def write_report(run: Path, scores: Sequence[Score], facts: Mapping[str, Any]) -> None:
    """Writes `report.html` into the run's folder; it needs no other file to be read."""
    pictures = sorted((run / "pictures").glob("reconstruction_*.png"))
    chosen = [pictures[0], pictures[-1]] if len(pictures) > 1 else pictures
    parts = [
        f"<h1>Pretraining run {html.escape(run.name)}</h1>",
        f"<p>{facts['steps']} steps, {facts['parameters'] / 1e6:.1f} M parameters, finished {facts['finished']}, "
        f"commit {html.escape(str(facts['commit']))}.</p>",
        "<h2>Loss</h2><p>Masked L1 of each direction in normalised units, running mean.</p>",
        _embed(draw_curves(read_log(run / "log.csv"))),
        "<h2>Held-out scores</h2>" + _score_rows(scores),
        "<h2>Reconstructions</h2><p>Masked input, own prediction and truth; then each partner's.</p>",
        *[
            f"<h3>after step {int(path.stem.rsplit('_', 1)[1])}</h3>{_embed(path.read_bytes())}"
            for path in reversed(chosen)
        ],
        f"<h2>Facts</h2><pre>{html.escape(json.dumps(facts, indent=1))}</pre>",
    ]
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(run.name)}</title>"
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )
    with write_atomically(run / "report.html") as temporary:
        temporary.write_text(page)


def draw_curves(rows: Sequence[Mapping[str, str]]) -> bytes:
    """A PNG of each direction's loss over the steps, smoothed over a fiftieth of the run; own solid, across dashed."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
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
    target_file = io.BytesIO()
    figure.savefig(target_file, format="png", dpi=110)
    return target_file.getvalue()


def _embed(png: bytes) -> str:
    return f"<img alt='' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"


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
