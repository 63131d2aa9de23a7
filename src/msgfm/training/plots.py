"""Plots that reports of several kinds show: bars of groups, a matrix of confusions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from msgfm.display import COLOURS
from msgfm.training.report_html import new_figure, to_png

_MOST_WRITTEN = 12  # classes up to which the numbers of a confusion matrix can be read


def draw_bars(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    spreads: Mapping[str, Sequence[float]],
    measure: str,
) -> bytes:
    """A PNG of bars: a group for each class or range, in it one bar for each run.

    Args:
        groups: names along the axis.
        series: by name of the run, a value for each group; NaN leaves its bar out.
        spreads: standard deviations of the same shape, of the series that have any; NaN leaves one out.
        measure: name of the axis.
    """
    width = 0.8 / len(series)
    longest = max(map(len, groups))
    slanted = longest * len(groups) > 70
    figure, axis = new_figure(max(6.0, min(0.35 * len(groups) * (1 + len(series) / 2), 20)), 4 if slanted else 3)
    for i, (name, values) in enumerate(series.items()):
        places = [place + (i - (len(series) - 1) / 2) * width for place in range(len(groups))]
        errors = [0.0 if math.isnan(spread) else spread for spread in spreads.get(name, ())]
        axis.bar(places, values, width, yerr=errors or None, label=name, color=COLOURS[i % len(COLOURS)], capsize=2)
    axis.set_xticks(range(len(groups)), groups, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    axis.tick_params(labelsize=8)
    axis.set_xlim(-0.5, len(groups) - 0.5)  # also where the last has no bar
    axis.set_ylabel(measure)
    if len(series) > 1:
        axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return to_png(figure)


def draw_confusion(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes:
    """A PNG of a confusion matrix: rows are the truth, and what a row holds is shown as shares of it."""
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    side = max(3.5, min(0.45 * len(classes) + 1.5, 14))
    figure, axis = new_figure(side + 1, side)
    image = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=7)
    axis.set_yticks(range(len(classes)), classes, fontsize=7)
    axis.set(xlabel="predicted", ylabel="true")
    if len(classes) <= _MOST_WRITTEN:
        _write_shares(axis, shares)
    figure.colorbar(image, shrink=0.7, label="share of the true class")
    return to_png(figure)


def _write_shares(axis: Axes, shares: Sequence[Sequence[float]]) -> None:
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            axis.text(j, i, f"{share:.2f}", ha="center", va="center", fontsize=7, color="white" if share > 0.5 else "k")
