"""The pretrained part of a downstream model: embeddings and encoder, from normalised images to feature maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import torch
from torch import Tensor, nn

from msgfm.models.patch_embed import PatchEmbedConfig, make_patch_embed
from msgfm.models.swin import EncoderConfig, SwinEncoder, SwinStage

Transfer = Literal["stack", "per_sensor"]
STACKED = "stacked"
"""The one embedding of `transfer: stack`."""


class SwinTrunk(nn.Module):
    """Embeddings and the shared encoder, in one of the two ways of transfer (paper, C.2).

    Args:
        bands: number of bands of each input, by key, in the order in which they are stacked.
        transfer: `stack` embeds all inputs' bands at once; `per_sensor` sends each input through an embedding of
            its own and the encoder, and concatenates the feature maps.
        encoder: shape of the encoder.
        patch_embed: the embedding of one sensor; a stacked one has its `conv_channels` once for each input.

    Attributes:
        dims: channels of each feature map.
        strides: pixels along one side of a token of each map.
        auxiliary: the balancing loss of the mixtures in the last forward pass, 0 for a dense encoder.
    """

    def __init__(
        self, bands: Mapping[str, int], transfer: Transfer, encoder: EncoderConfig, patch_embed: PatchEmbedConfig
    ) -> None:
        super().__init__()
        self.transfer = transfer
        self.patch_embed_config = patch_embed
        self.keys = tuple(bands)
        counts = {STACKED: sum(bands.values())} if transfer == "stack" else dict(bands)
        settings = stacked(patch_embed, len(bands)) if transfer == "stack" else patch_embed
        self.patch_embed = nn.ModuleDict(
            {
                key: make_patch_embed(settings, in_chans=count, embed_dim=encoder.embed_dim)
                for key, count in counts.items()
            }
        )
        self.encoder = SwinEncoder(encoder)
        self.dims = tuple(dim * len(counts) for dim in encoder.stage_dims)
        self.strides = tuple(patch_embed.patch_size * 2**stage for stage in range(len(encoder.depths)))
        self.auxiliary = torch.zeros(())

    def forward(self, images: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        """Feature maps of a batch.

        Args:
            images: by key (B, C, H, W) normalised, 0 where there is no data; sides are multiples of the last stride.
            present: by key (B,) bool. A missing sensor is zeros in a stack; of `per_sensor` its features are zeros.

        Returns:
            One map per stage, (B, dims[s], H / strides[s], W / strides[s]).
        """
        if self.transfer == "stack":
            tokens = self.patch_embed[STACKED](torch.cat([images[key] for key in self.keys], dim=1))
            return self._encode(tokens)
        rows = [present[key].nonzero().squeeze(1) for key in self.keys]
        if not sum(map(len, rows)):  # an encoder needs something to encode; all of it is then left out below
            rows = [torch.arange(len(present[key]), device=present[key].device) for key in self.keys]
        tokens = torch.cat([self.patch_embed[key](images[key][row]) for key, row in zip(self.keys, rows, strict=True)])
        joined = []
        for stage in self._encode(tokens):
            parts = stage.split([len(row) for row in rows])
            whole = [_spread(part, row, present[key]) for part, row, key in zip(parts, rows, self.keys, strict=True)]
            joined.append(torch.cat(whole, dim=1))
        return joined

    def _encode(self, tokens: Tensor) -> list[Tensor]:
        """Maps (B, C_s, h, w); keeps the auxiliary loss."""
        encoded = self.encoder(tokens)
        losses = [mixture.auxiliary for mixture in encoded.mixtures]
        self.auxiliary = torch.stack(losses).sum() if losses else tokens.new_zeros(())
        return [feature.permute(0, 3, 1, 2) for feature in encoded.features]

    def layers(self) -> list[list[nn.Parameter]]:
        """Parameters from the embedding to the last block, one group per layer, each parameter once."""
        groups = [list(self.patch_embed.parameters())]
        for stage in cast("list[SwinStage]", self.encoder.layers):
            merging = list(stage.downsample.parameters())
            for block in stage.blocks:
                groups.append([*merging, *block.parameters()])
                merging = []
        groups[-1] += self.encoder.norm.parameters()
        return groups


def stacked(patch_embed: PatchEmbedConfig, inputs: int) -> PatchEmbedConfig:
    """The settings of an embedding over the bands of several inputs."""
    return patch_embed.model_copy(update={"conv_channels": patch_embed.conv_channels * inputs})


def _spread(part: Tensor, rows: Tensor, present: Tensor) -> Tensor:
    """The maps of some of a batch's images at their places in the batch, zeros elsewhere."""
    whole = part.new_zeros(len(present), *part.shape[1:]).index_copy(0, rows, part)
    return whole * present.view(-1, 1, 1, 1)
