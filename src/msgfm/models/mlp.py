"""The perceptron of a transformer block; a mixture has several of them as experts."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


class Mlp(nn.Module):
    """`fc2(gelu(fc1(x)))`."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., dim) to the same shape."""
        return cast(Tensor, self.fc2(_gelu(self.fc1(x))))


def _gelu(x: Tensor) -> Tensor:
    """GELU of (..., T, hidden_dim), on the CPU by torch itself.

    For contiguous tensors torch calls oneDNN, which keeps a program for every shape it has met. An expert's tokens
    differ in number from step to step: hundreds of programs, small blocks all over the heap, which keep what is freed
    around them from being used again or given back. A transposed tensor costs no more time and stays with torch.
    """
    return F.gelu(x.mT).mT
