"""Reports as one HTML file each, which needs no other: the page around them, and pictures within it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from msgfm.files import write_atomically

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; } th, td { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child, td:nth-child(2) { text-align: left; } img { max-width: 100%; }
pre { background: #f6f6f6; padding: 1em; overflow: auto; } .worse { color: #b00; }
"""


def write_page(path: Path, title: str, parts: Sequence[str], style: str = "") -> None:
    """Writes a page of HTML parts; `title` is plain text, `style` CSS beyond the common one."""
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}{style}</style><body>{''.join(parts)}</body></html>"
    )
    with write_atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def embed(png: bytes, described: str = "") -> str:
    """An `img` that holds the picture itself; `described` is what a reader without pictures gets."""
    return f"<img alt='{html.escape(described)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of that size in inches, with one set of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=110)
    return target.getvalue()
