"""DSen2-CR, the network for cloud removal from radar and a cloudy image.

Meraner, Ebel, Zhu, Schmitt, "Cloud removal in Sentinel-2 imagery using a deep residual neural network and SAR-optical
data fusion", ISPRS Journal 166, 2020, Fig. 4. Here bands are normalised by their cards, not by the paper's constants,
and the loss is the recipe's (L1); the paper's cloud-adaptive one needs masks of clouds and shadows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from msgfm.config import Config
from msgfm.models.heads import RestoredImage
from msgfm.models.inputs import PreparedImages


class DSen2CRBackbone(Config):
    """DSen2-CR in the place of encoder and head, for restoration; the defaults are the paper's.

    Args:
        features: channels of all layers but the last.
        blocks: residual blocks.
        residual_scale: what a block adds is multiplied by this.
    """

    kind: Literal["dsen2cr"] = "dsen2cr"
    features: int = Field(default=256, ge=1)
    blocks: int = Field(default=16, ge=1)
    residual_scale: float = Field(default=0.1, gt=0)


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, scaled and added to the input; no batch normalisation."""

    def __init__(self, features: int, scale: float) -> None:
        super().__init__()
        self.conv1 = _conv(features, features)
        self.conv2 = _conv(features, features)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, H, W) to the same."""
        return x + self.scale * cast(Tensor, self.conv2(self.conv1(x).relu()))


class DSen2CRTrunk(nn.Module):
    """All but the last layer, at full resolution; all inputs are concatenated.

    Attributes:
        dims: channels of the one map.
        strides: 1.
        auxiliary: 0; there are no mixtures.
    """

    def __init__(self, backbone: DSen2CRBackbone, bands: Mapping[str, int]) -> None:
        super().__init__()
        self.keys = tuple(bands)
        self.first = _conv(sum(bands.values()), backbone.features)
        self.blocks = nn.ModuleList(
            [ResidualBlock(backbone.features, backbone.residual_scale) for _ in range(backbone.blocks)]
        )
        self.dims, self.strides = (backbone.features,), (1,)
        self.auxiliary = torch.zeros(())

    def forward(self, images: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        """One map (B, features, H, W) of normalised images (B, C, H, W), zeros where there is no data."""
        features = self.first(torch.cat([images[key] for key in self.keys], dim=1)).relu()
        for block in self.blocks:
            features = block(features)
        return [features]

    def layers(self) -> list[list[nn.Parameter]]:
        """Parameters of the first layer, then of each block."""
        return [list(module.parameters()) for module in (self.first, *self.blocks)]


class DSen2CRHead(nn.Module):
    """The last layer; the long skip adds the cloudy image to what it says.

    Args:
        features: channels of the map.
        output: the image that is predicted.
    """

    def __init__(self, features: int, output: RestoredImage) -> None:
        super().__init__()
        self.last = _conv(features, output.bands)
        self.output = output

    def forward(self, maps: list[Tensor], prepared: PreparedImages, images: Mapping[str, Tensor]) -> Tensor:
        """The restored image (B, bands of the target, H, W) in physical units."""
        return cast(Tensor, self.output(self.last(maps[0]), images))


def _conv(in_chans: int, out_chans: int) -> nn.Conv2d:
    """3 x 3, He's uniform start, as the authors' code."""
    conv = nn.Conv2d(in_chans, out_chans, kernel_size=3, padding=1)
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(cast(Tensor, conv.bias))
    return conv
