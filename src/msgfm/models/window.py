"""Window attention: cutting a token map into windows, and attention with relative position bias inside them."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def partition_windows(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Cuts (B, h, w, C) into windows: (B * number of windows, window height * window width, C)."""
    b, h, w, c = x.shape
    wh, ww = size
    x = x.view(b, h // wh, wh, w // ww, ww, c).transpose(2, 3)  # B h/wh w/ww wh ww C
    return x.reshape(-1, wh * ww, c)


def merge_windows(windows: Tensor, size: tuple[int, int], h: int, w: int) -> Tensor:
    """Undoes `partition_windows`: back to (B, h, w, C)."""
    wh, ww = size
    x = windows.view(-1, h // wh, w // ww, wh, ww, windows.shape[-1]).transpose(2, 3)  # B h/wh wh w/ww ww C
    return x.reshape(-1, h, w, windows.shape[-1])


@lru_cache(maxsize=64)
def relative_position_index(window_size: int, size: tuple[int, int]) -> Tensor:
    """Rows of the bias table for each pair of tokens of a window of `size`, (n, n), n = size[0] * size[1].

    The table holds offsets -(window_size - 1)..(window_size - 1) along both axes, rows first. A window smaller than
    window_size uses the middle of it: the same offsets mean the same rows.
    """
    rows, cols = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    rows, cols = rows.flatten(), cols.flatten()
    dy = rows[:, None] - rows[None, :] + window_size - 1
    dx = cols[:, None] - cols[None, :] + window_size - 1
    return dy * (2 * window_size - 1) + dx


@lru_cache(maxsize=64)
def shifted_window_mask(h: int, w: int, size: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """What keeps tokens apart that the cyclic shift brought into one window: (windows, n, n), 0 or -100."""
    region = torch.zeros(1, h, w, 1)
    label = 0
    for ys in _bands(h, size[0], shift[0]):
        for xs in _bands(w, size[1], shift[1]):
            region[:, ys, xs] = label
            label += 1
    labels = partition_windows(region, size).squeeze(-1)  # windows n
    return torch.where(labels[:, None, :] == labels[:, :, None], 0.0, -100.0)


def _bands(length: int, window: int, shift: int) -> list[slice]:
    if not shift:
        return [slice(0, length)]
    return [slice(0, length - window), slice(length - window, length - shift), slice(length - shift, length)]


class WindowAttention(nn.Module):
    """Multi-head self-attention inside (shifted) windows with a learned bias per relative position."""

    def __init__(self, dim: int, num_heads: int, window_size: int, shifted: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.shifted = shifted
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, h, w, C) to the same shape."""
        b, h, w, c = x.shape
        size = (min(self.window_size, h), min(self.window_size, w))
        # a map that fits into one window has nothing to shift
        shift = tuple(s // 2 if self.shifted and side > self.window_size else 0 for s, side in zip(size, (h, w)))
        x = F.pad(x, (0, 0, 0, -w % size[1], 0, -h % size[0]))
        full_h, full_w = x.shape[1:3]
        if any(shift):
            x = x.roll((-shift[0], -shift[1]), dims=(1, 2))
        windows = self._attend(partition_windows(x, size), self._bias(size, shift, full_h, full_w))
        x = merge_windows(windows, size, full_h, full_w)
        if any(shift):
            x = x.roll(shift, dims=(1, 2))
        return x[:, :h, :w]

    def _bias(self, size: tuple[int, int], shift: tuple[int, ...], h: int, w: int) -> Tensor:
        """What is added to the attention logits: (1 or windows of one image, heads, n, n)."""
        table = self.relative_position_bias_table
        n = size[0] * size[1]
        index = relative_position_index(self.window_size, size).to(table.device).view(-1)
        bias = table.index_select(0, index).view(1, n, n, -1).permute(0, 3, 1, 2)  # 1 heads n n
        if any(shift):
            bias = bias + shifted_window_mask(h, w, size, (shift[0], shift[1])).to(table.device)[:, None]
        return bias

    def _attend(self, windows: Tensor, bias: Tensor) -> Tensor:
        count, n, c = windows.shape
        qkv = self.qkv(windows).view(count, n, 3, self.num_heads, c // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each: windows heads n d
        if len(bias) > 1:
            bias = bias.repeat(count // len(bias), 1, 1, 1)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return cast(Tensor, self.proj(attended.transpose(1, 2).reshape(count, n, c)))
