"""Patch embeddings: a sensor's image to tokens of the encoder's width."""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from msgfm.config import Config


class PatchEmbedConfig(Config):
    """How images become tokens.

    Args:
        kind: `conv` is the paper's (section 3.1): a convolution at full resolution, then patches, then a projection.
            `strided` is SimMIM's single strided convolution, which public Swin weights need.
        patch_size: P, the side of a patch in pixels.
        conv_channels: C_e, the same for all sensors (`conv` only).
    """

    kind: Literal["conv", "strided"] = "conv"
    patch_size: int = Field(default=4, ge=1)
    conv_channels: int = Field(default=32, ge=1)


class StridedPatchEmbed(nn.Module):
    """One convolution with kernel and stride P, then layer normalisation (SimMIM, Swin)."""

    def __init__(self, in_chans: int, embed_dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_i, H, W) to (B, H/P, W/P, embed_dim)."""
        return cast(Tensor, self.norm(self.proj(image).permute(0, 2, 3, 1)))


class ConvPatchEmbed(nn.Module):
    """The paper's embedding (section 3.1): f_i, a 3 x 3 convolution to C_e channels, then patches, then a projection.

    The cut into patches and the linear projection are one convolution with kernel and stride P. Nothing lies between
    the two convolutions, so both are done as one: a fifth of the arithmetic, and no image of C_e channels.
    """

    def __init__(self, in_chans: int, embed_dim: int, patch_size: int, conv_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, conv_channels, kernel_size=3, padding=1)
        self.proj = nn.Conv2d(conv_channels, embed_dim, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_i, H, W) to (B, H/P, W/P, embed_dim)."""
        weight, bias = self.as_one()
        tokens = F.conv2d(image, weight, bias, stride=self.proj.stride, padding=self.conv.padding)
        return cast(Tensor, self.norm(tokens.permute(0, 2, 3, 1)))

    def as_one(self) -> tuple[Tensor, Tensor]:
        """Kernel (embed_dim, C_i, P + 2, P + 2) and bias of the convolution that is one after the other."""
        assert self.conv.bias is not None and self.proj.bias is not None
        with torch.autocast(self.proj.weight.device.type, enabled=False):
            weight = F.conv_transpose2d(self.proj.weight, self.conv.weight)
            return weight, self.proj.bias + self.proj.weight.sum((2, 3)) @ self.conv.bias


def make_patch_embed(config: PatchEmbedConfig, *, in_chans: int, embed_dim: int) -> StridedPatchEmbed | ConvPatchEmbed:
    """The embedding that `config` names, for one sensor."""
    if config.kind == "strided":
        return StridedPatchEmbed(in_chans, embed_dim, config.patch_size)
    return ConvPatchEmbed(in_chans, embed_dim, config.patch_size, config.conv_channels)
