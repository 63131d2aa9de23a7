"""Positions in metres of Scale-MAE (Reed et al., "Scale-MAE", ICCV 2023), for a ViT of timm."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from msgfm.errors import InputError


def positions_in_metres(height: int, width: int, dim: int, gsd_m: float) -> Tensor:
    """Sines and cosines of the place of each token, counted in tokens times the size of a pixel (Eq. 2 of the paper).

    The first half of the channels tells the column and the second the row; in each, sines stand before cosines.

    Args:
        height: tokens along the height.
        width: tokens along the width.
        dim: channels, a multiple of 4.
        gsd_m: metres per pixel, against the paper's reference of 1 m.

    Returns:
        (height, width, dim).
    """
    frequency = 1 / 10000 ** (torch.arange(dim // 4) / (dim / 4))
    column = torch.arange(width)[:, None] * gsd_m * frequency
    row = torch.arange(height)[:, None] * gsd_m * frequency
    columns = torch.cat([column.sin(), column.cos()], dim=1).expand(height, -1, -1)
    rows = torch.cat([row.sin(), row.cos()], dim=1)[:, None].expand(-1, width, -1)
    return torch.cat([columns, rows], dim=2)


def use_positions_in_metres(encoder: Any, gsd_m: float) -> None:
    """Switches a ViT of timm over: its learnt positions become zeros, these are added to the embedded patches.

    Raises:
        InputError: the encoder is no plain ViT.
    """
    if not isinstance(getattr(encoder, "pos_embed", None), nn.Parameter):
        raise InputError("backbone.gsd_m is for the ViTs of Scale-MAE; this encoder learns no positions")
    encoder.pos_embed.requires_grad_(requires_grad=False).zero_()
    encoder.patch_embed.register_forward_hook(partial(_add_positions, gsd_m))


def _add_positions(gsd_m: float, module: nn.Module, inputs: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
    """tokens: (B, h, w, C)."""
    _, height, width, dim = tokens.shape
    return tokens + positions_in_metres(height, width, dim, gsd_m).to(tokens)
