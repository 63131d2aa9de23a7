"""Figure 3 of the paper: input under its mask, prediction and truth, within a sensor and across."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from msgfm.display import Picture, colour, stretch_of
from msgfm.models.masking import upsample_mask
from msgfm.models.msgfm import MsGFM
from msgfm.sensors import Sensor
from msgfm.training.drawing import draw_cells
from msgfm.training.pretraining.reconstruction import Example


def draw_reconstructions(model: MsGFM, examples: Sequence[Example], path: Path) -> None:
    """Draws one row per image: masked input, own prediction and truth, then each partner's prediction and truth.

    In own predictions the visible pixels are the input's, as training asks for the hidden ones alone. Prediction and
    truth share one stretch.
    """
    rows = [_row(model, example, source) for example in examples for source in example.images]
    draw_cells(rows, path)


def _row(model: MsGFM, example: Example, source: str) -> list[tuple[str, Picture]]:
    hidden = example.hidden[source]
    hidden_px = upsample_mask(hidden, model.config.mask_patch_size)[0].numpy()
    cells = []
    for target in [source, *(name for name in example.images if name != source)]:
        sensor = model.sensors[target]
        truth = _shown(example.images[target], sensor)
        with torch.no_grad():
            prediction = _shown(predict_physical(model, example, source, target), sensor)
        low, high = stretch_of(truth)
        if source == target:
            prediction = np.where(hidden_px[..., None], prediction, truth)
            masked = colour(truth, low, high)
            masked[hidden_px] = 0.5
            cells.append((f"{source}, masked", masked))
        cells.append((f"{source} → {target}", colour(prediction, low, high)))
        cells.append((f"{target}, truth", colour(truth, low, high)))
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
