"""Sparsely gated mixture of experts (Shazeer et al. 2017; V-MoE, Riquelme et al. 2021; conventions of Tutel).

The mathematics is in pure functions: `route` decides which token goes to which expert, `apply_experts` computes,
`load_importance_loss` and `gshard_loss` keep the experts balanced. Letters in shapes: T tokens, D width,
E experts, H hidden width, k choices per token.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from msgfm.config import Config
from msgfm.models.mlp import Mlp


class MoEConfig(Config):
    """Which blocks are mixtures, and how their router works. Defaults are the paper's (Table 10).

    Args:
        stage: the encoder stage that holds the mixtures, counted from 0.
        blocks: positions of the mixture blocks within that stage, counted from 0.
        num_experts: E.
        top_k: experts per token.
        capacity_factor: an expert takes at most `top_k * int(capacity_factor * ceil(T / E))` tokens of a batch.
        eval_capacity_factor: the same in evaluation mode. None drops no token, so that the features of an image do
            not depend on the others in its batch.
        gate_noise: the router's logits get normal noise of standard deviation `gate_noise / E` in training.
        batch_prioritized_routing: tokens with the highest gate probability are placed first (V-MoE, section 4).
        auxiliary_loss: `load_importance` (V-MoE, appendix A) or `gshard` (Lepikhin et al. 2020).
    """

    stage: int = Field(default=2, ge=0)
    blocks: tuple[int, ...] = (1, 3, 5, 7, 9, 11, 13, 15, 17)
    num_experts: int = Field(default=8, ge=2)
    top_k: int = Field(default=1, ge=1)
    capacity_factor: float = Field(default=1.25, gt=0)
    eval_capacity_factor: float | None = Field(default=None, gt=0)
    gate_noise: float = Field(default=1.0, ge=0)
    batch_prioritized_routing: bool = True
    auxiliary_loss: Literal["load_importance", "gshard"] = "load_importance"


class Routing(NamedTuple):
    """Assignments (token, expert) that fit into the experts' capacity, sorted by expert.

    token: (A,) row of the token. gate: (A,) its gate probability for that expert. kept: (E,) assignments per expert.
    wanted: (E,) the same before the capacity cut.
    """

    token: Tensor
    gate: Tensor
    kept: Tensor
    wanted: Tensor


class MoEStatistics(NamedTuple):
    """What a mixture reports of one pass: its auxiliary loss, tokens wanted per expert (E,), tokens dropped."""

    auxiliary: Tensor
    load: Tensor
    dropped: Tensor


def expert_capacity(tokens: int, num_experts: int, top_k: int, capacity_factor: float) -> int:
    """Most assignments one expert takes (Tutel's rounding)."""
    return top_k * int(capacity_factor * math.ceil(tokens / num_experts))


def route(scores: Tensor, top_k: int, capacity: int | None, prioritized: bool) -> Routing:
    """Places tokens in the experts' queues and cuts the queues at their capacity.

    All first choices are placed before any second choice. Within a choice the tokens come in order of their highest
    gate probability (`prioritized`), else in order of position.

    Args:
        scores: (T, E) gate probabilities, float32.
        top_k: experts per token; for k > 1 the k probabilities are scaled to sum to one.
        capacity: most assignments per expert; None keeps all.
        prioritized: batch prioritised routing.
    """
    tokens, num_experts = scores.shape
    gate, expert = scores.topk(top_k, dim=1)  # T k
    if top_k > 1:
        gate = gate / gate.sum(dim=1, keepdim=True).clamp_min(torch.finfo(gate.dtype).eps)
    if prioritized:
        order = scores.detach().amax(dim=1).argsort(descending=True, stable=True)
    else:
        order = torch.arange(tokens, device=scores.device)
    queue = expert[order].T.reshape(-1)  # k T -> kT: first choices first
    by_expert, place = queue.sort(stable=True)
    wanted = torch.bincount(queue, minlength=num_experts)
    token, choice = order[place % tokens], place // tokens
    if capacity is not None:
        rank = torch.arange(len(queue), device=scores.device) - (wanted.cumsum(0) - wanted)[by_expert]
        fits = rank < capacity
        token, choice, by_expert = token[fits], choice[fits], by_expert[fits]
    kept = wanted if capacity is None else wanted.clamp(max=capacity)
    return Routing(token, gate[token, choice], kept, wanted)


def apply_experts(experts: nn.ModuleList, tokens: Tensor, kept: Tensor) -> Tensor:
    """Applies expert e to its `kept[e]` rows.

    Each expert has weights of its own: stacked ones would have their gradients copied together once a step, which
    costs more than a tenth of it.

    Args:
        experts: E modules.
        tokens: (A, D) sorted by expert.
        kept: (E,) rows per expert.

    Returns:
        (A, D) in the same order.
    """
    parts = tokens.split(kept.tolist())
    return torch.cat([expert(part) for expert, part in zip(experts, parts, strict=True)])


class MoE(nn.Module):
    """A router and its experts, in place of a block's perceptron.

    Tokens beyond an expert's capacity come out as zeros: the block's residual carries them on unchanged.
    """

    def __init__(self, dim: int, hidden_dim: int, config: MoEConfig) -> None:
        super().__init__()
        if config.top_k > config.num_experts:
            raise ValueError(f"top_k {config.top_k} is more than num_experts {config.num_experts}")
        self.config = config
        self.router = nn.Linear(dim, config.num_experts, bias=False)
        self.experts = nn.ModuleList(Mlp(dim, hidden_dim) for _ in range(config.num_experts))

    def capacity(self, tokens: int) -> int | None:
        """Most assignments per expert in the present mode (training or evaluation)."""
        factor = self.config.capacity_factor if self.training else self.config.eval_capacity_factor
        return None if factor is None else expert_capacity(tokens, self.config.num_experts, self.config.top_k, factor)

    def forward(self, x: Tensor) -> tuple[Tensor, MoEStatistics]:
        """Maps (..., D) to (..., D): the sum over a token's experts of gate probability times expert output."""
        tokens = x.reshape(-1, x.shape[-1])  # T D
        config = self.config
        # the router decides by small differences of logits: always in float32
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(tokens.float(), self.router.weight.float())
            noise_std = config.gate_noise / config.num_experts if self.training else 0.0
            noisy = logits + noise_std * torch.randn_like(logits) if noise_std else logits
            scores = noisy.softmax(dim=1)
            routing = route(scores, config.top_k, self.capacity(len(tokens)), config.batch_prioritized_routing)
            if config.auxiliary_loss == "gshard":
                auxiliary = gshard_loss(scores)
            else:
                auxiliary = load_importance_loss(logits, noisy, config.top_k, config.gate_noise / config.num_experts)
        outputs = apply_experts(self.experts, tokens[routing.token], routing.kept)
        combined = torch.zeros(tokens.shape, dtype=routing.gate.dtype, device=x.device)
        combined = combined.index_add(0, routing.token, outputs * routing.gate[:, None])
        dropped = routing.wanted.sum() - routing.kept.sum()
        return combined.view(x.shape), MoEStatistics(auxiliary, routing.wanted, dropped)


def gshard_loss(scores: Tensor) -> Tensor:
    """E times the sum over experts of (mean gate probability) x (share of first choices); 1 when balanced.

    Lepikhin et al. 2020, Algorithm 1, as Tutel computes it. scores: (T, E).
    """
    num_experts = scores.shape[1]
    share = F.one_hot(scores.argmax(dim=1), num_experts).float().mean(dim=0)
    return (scores.mean(dim=0) * share).sum() * num_experts


def load_importance_loss(logits: Tensor, noisy_logits: Tensor, top_k: int, noise_std: float) -> Tensor:
    """Mean of the squared coefficients of variation of importance and load (Riquelme et al. 2021, A.2).

    Importance of an expert: the sum of its noise-free gate probabilities. Load: the sum over tokens of the
    probability that the expert is among the token's first k if its noise were drawn again. Without noise the load is
    not differentiable and only importance counts.

    Args:
        logits: (T, E) without noise.
        noisy_logits: (T, E), from which the first k were chosen.
        top_k: k.
        noise_std: standard deviation of the noise.
    """
    importance = _squared_variation(logits.softmax(dim=1).sum(dim=0))
    if noise_std == 0:
        return importance
    threshold = noisy_logits.topk(top_k, dim=1).values[:, -1:]
    load = torch.special.ndtr((logits - threshold) / noise_std).sum(dim=0)
    return (importance + _squared_variation(load)) / 2


def _squared_variation(x: Tensor) -> Tensor:
    return x.var() / (x.mean() ** 2 + 1e-10)
