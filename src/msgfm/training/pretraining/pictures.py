"""Figure 3 of the paper: input under its mask, prediction and truth, within a sensor and across."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from msgfm.files import write_atomically
from msgfm.models.masking import upsample_mask
from msgfm.models.msgfm import MsGFM
from msgfm.sensors import Sensor
from msgfm.training.pretraining.reconstruction import Example

Picture = NDArray[np.float32]
_CELL_INCHES = 1.6
_GAP, _TITLE = 0.04, 0.15  # between cells and above each, in sides of a cell


def draw_reconstructions(model: MsGFM, examples: Sequence[Example], path: Path) -> None:
    """Draws one row per image: masked input, own prediction and truth, then each partner's prediction and truth.

    In own predictions the visible pixels are the input's, as training asks for the hidden ones alone. Prediction and
    truth share one stretch.
    """
    rows = [_row(model, example, source) for example in examples for source in example.images]
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(columns * (1 + _GAP) * _CELL_INCHES, len(rows) * (1 + _TITLE) * _CELL_INCHES))
    FigureCanvasAgg(figure)
    # one axes for all cells, in units of a cell's side: an axes per cell takes seconds to draw
    axis = figure.add_axes((0, 0, 1, 1))
    for i, row in enumerate(rows):
        for j, (title, picture) in enumerate(row):
            top, left = i * (1 + _TITLE) + _TITLE, j * (1 + _GAP) + _GAP / 2
            axis.imshow(picture, interpolation="nearest", extent=(left, left + 1, top + 1, top))
            axis.text(left + 0.5, top - 0.04, title, fontsize=7, ha="center", va="bottom")
    axis.set(xlim=(0, columns * (1 + _GAP)), ylim=(len(rows) * (1 + _TITLE), 0), aspect="auto")
    axis.axis("off")
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _row(model: MsGFM, example: Example, source: str) -> list[tuple[str, Picture]]:
    hidden = example.hidden[source]
    hidden_px = upsample_mask(hidden, model.config.mask_patch_size)[0].numpy()
    cells = []
    for target in [source, *(name for name in example.images if name != source)]:
        sensor = model.sensors[target]
        truth = _shown(example.images[target], sensor)
        with torch.no_grad():
            prediction = _shown(predict_physical(model, example, source, target), sensor)
        low, high = _stretch(truth)
        if source == target:
            prediction = np.where(hidden_px[..., None], prediction, truth)
            masked = _colour(truth, low, high)
            masked[hidden_px] = 0.5
            cells.append((f"{source}, masked", masked))
        cells.append((f"{source} → {target}", _colour(prediction, low, high)))
        cells.append((f"{target}, truth", _colour(truth, low, high)))
    return cells


def predict_physical(model: MsGFM, example: Example, source: str, target: str) -> Tensor:
    """The prediction in physical units, (1, C, S, S); heights of a partner are put on its own mean to be shown."""
    device = model.mask_token.device
    images = {source: example.images[source].to(device)}
    prediction = model.reconstruct(images, source, target, example.hidden[source].to(device)).cpu()
    if source != target and model.sensors[target].centre == "image":
        prediction = prediction + example.images[target].nanmean()
    return prediction


def _shown(image: Tensor, sensor: Sensor) -> Picture:
    """The bands to show, (H, W, 1 or 3)."""
    return np.asarray(image[0, list(sensor.display_indices())].permute(1, 2, 0), dtype=np.float32)


def _stretch(truth: Picture) -> tuple[float, float]:
    """The 2nd and 98th percentile of what is there."""
    values = truth[np.isfinite(truth)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (2, 98))
    return float(low), float(max(high, low + 1e-6))


def _colour(picture: Picture, low: float, high: float) -> Picture:
    """0..1 for display, three channels; no data is black."""
    scaled = np.clip((picture - low) / (high - low), 0, 1)
    return np.repeat(np.nan_to_num(scaled), 3 // scaled.shape[2], axis=2)
