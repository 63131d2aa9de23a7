"""One light decoder per sensor (SimMIM): from the last features straight to pixels."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class Decoder(nn.Module):
    """D_i of Eq. 1 and 2: a 1 x 1 convolution to stride**2 * C_i channels, then pixel shuffle."""

    def __init__(self, in_chans: int, out_chans: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, stride**2 * out_chans, kernel_size=1)
        self.shuffle = nn.PixelShuffle(stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, h, w, in_chans) to (B, out_chans, h * stride, w * stride)."""
        return cast(Tensor, self.shuffle(self.proj(features.permute(0, 3, 1, 2))))
