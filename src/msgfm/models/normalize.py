"""Normalisation by the sensor card. It is part of the model, so training and use cannot disagree."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from msgfm.models.masking import masked_mean
from msgfm.sensors import Sensor


def without_infinities(image: Tensor) -> Tensor:
    """The image with NaN, no data, for every value that is not finite."""
    return image + 0 * image  # 0 x infinity is NaN; `isfinite` and `where` go over the image five times


class Normalize(nn.Module):
    """Physical units to zero mean and unit variance, and back, with the numbers of one sensor card.

    Its buffers are made from the card and are not part of the weights: the card itself travels in `config.json`.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, sensor: Sensor) -> None:
        super().__init__()
        sensor.require_statistics()
        self.clip = sensor.clip
        self.centred = sensor.centre == "image"
        columns = {
            "mean": [band.mean for band in sensor.bands],
            "std": [band.std for band in sensor.bands],
            "low": [band.valid_range[0] for band in sensor.bands],
            "high": [band.valid_range[1] for band in sensor.bands],
        }
        for name, values in columns.items():
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def centre_of(self, image: Tensor, where: Tensor | None = None) -> Tensor:
        """Each image's own mean, (B, C, 1, 1), over its data (and `where`); zeros if the card does not centre.

        Args:
            image: (B, C, H, W) physical units, NaN where there is no data.
            where: (B, 1, H, W) bool; during pretraining the visible pixels, so that hidden ones tell nothing.
        """
        if not self.centred:
            return image.new_zeros(image.shape[0], image.shape[1], 1, 1)
        return masked_mean(image, image.isfinite() if where is None else where)

    def forward(self, image: Tensor, centre: Tensor) -> Tensor:
        """Normalised image (B, C, H, W), float32; no data stays NaN, and what is infinite is no data."""
        image = image.float()
        if self.clip:
            # clamp passes NaN through, but would make data of what is infinite
            image = without_infinities(image).clamp(self.low, self.high)
        return without_infinities((image - centre - self.mean) / self.std)

    def invert(self, image: Tensor, centre: Tensor) -> Tensor:
        """Back to physical units."""
        return image.float() * self.std + self.mean + centre
