"""Window attention: cutting a token map into windows, and attention with relative position bias inside them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def partition_windows(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Cuts (B, h, w, heads, d) into windows: (B, windows, heads, n, d), n = window height * window width."""
    b, h, w, heads, d = x.shape
    wh, ww = size
    x = x.view(b, h // wh, wh, w // ww, ww, heads, d).permute(0, 1, 3, 5, 2, 4, 6)  # B h/wh w/ww heads wh ww d
    return x.reshape(b, -1, heads, wh * ww, d)


def merge_windows(windows: Tensor, size: tuple[int, int], h: int, w: int) -> Tensor:
    """Undoes `partition_windows` and joins the heads: (B, windows, heads, n, d) to (B, h, w, heads * d)."""
    b, _, heads, _, d = windows.shape
    wh, ww = size
    x = windows.view(b, h // wh, w // ww, heads, wh, ww, d).permute(0, 1, 4, 2, 5, 3, 6)  # B h/wh wh w/ww ww heads d
    return x.reshape(b, h, w, heads * d)


# Kept tensors are made outside inference mode, also when it is on: training could not use them.
@lru_cache(maxsize=64)
@torch.inference_mode(False)
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
@torch.inference_mode(False)
def shifted_window_mask(h: int, w: int, size: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """What keeps tokens apart that the cyclic shift brought into one window: (windows, 1, n, n), 0 or -100."""
    region = torch.zeros(1, h, w, 1, 1)
    label = 0
    for ys in _bands(h, size[0], shift[0]):
        for xs in _bands(w, size[1], shift[1]):
            region[:, ys, xs] = label
            label += 1
    labels = partition_windows(region, size)[0]  # windows 1 n 1
    return torch.where(labels == labels.transpose(-1, -2), 0.0, -100.0)


def _bands(length: int, window: int, shift: int) -> list[slice]:
    if not shift:
        return [slice(0, length)]
    return [slice(0, length - window), slice(length - window, length - shift), slice(length - shift, length)]


def biased_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """`softmax(q k^T / sqrt(d) + bias) v` inside every window.

    Args:
        q: queries, (B, windows, heads, n, d).
        k: keys, likewise.
        v: values, likewise.
        bias: (1 or windows, heads, n, n).
    """
    return (plain_attention if q.device.type == "cpu" else fused_attention)(q, k, v, bias)


def fused_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """`biased_attention` with torch's fused kernels."""
    mask = bias.to(q.dtype).expand(q.shape[0], q.shape[1], -1, -1, -1).flatten(0, 1)
    attended = F.scaled_dot_product_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), attn_mask=mask)
    return attended.view(q.shape)


def plain_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """`biased_attention` step by step: on the CPU torch has no fused kernel for a bias that needs a gradient.

    What it does instead takes a seventh (192 px, third stage) to two fifths (first stage) longer in bfloat16.
    """
    logits = torch.add(bias, q @ k.transpose(-1, -2), alpha=1 / math.sqrt(q.shape[-1]))
    return logits.softmax(dim=-1) @ v


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
        _, h, w, c = x.shape
        size = (min(self.window_size, h), min(self.window_size, w))
        # a side that fits into one window has nothing to shift
        shift = tuple(self.window_size // 2 if self.shifted and side > self.window_size else 0 for side in (h, w))
        padding = (-h % size[0], -w % size[1])
        # each of these copies the whole map, even where there is nothing to do
        if any(padding):
            x = F.pad(x, (0, 0, 0, padding[1], 0, padding[0]))
        if any(shift):
            x = x.roll((-shift[0], -shift[1]), dims=(1, 2))
        full_h, full_w = x.shape[1:3]
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, c // self.num_heads)).unbind(3)  # each: B h w heads d
        q, k, v = (partition_windows(part, size) for part in qkv)
        attended = biased_attention(q, k, v, self._bias(size, shift, full_h, full_w))
        x = cast(Tensor, self.proj(merge_windows(attended, size, full_h, full_w)))
        if any(shift):
            x = x.roll(shift, dims=(1, 2))
        return x[:, :h, :w] if any(padding) else x

    def _bias(self, size: tuple[int, int], shift: tuple[int, ...], h: int, w: int) -> Tensor:
        """What is added to the attention logits: (1 or windows of one image, heads, n, n)."""
        table = self.relative_position_bias_table
        n = size[0] * size[1]
        index = relative_position_index(self.window_size, size).to(table.device).view(-1)
        bias = table.index_select(0, index).view(1, n, n, -1).permute(0, 3, 1, 2)  # 1 heads n n
        if any(shift):
            bias = bias + shifted_window_mask(h, w, size, (shift[0], shift[1])).to(table.device)
        return bias
