"""AdamW whose learning rate falls from layer to layer, and along a cosine from step to step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn
from torch.optim import AdamW

from msgfm.training.finetuning.config import FinetuneOptimConfig
from msgfm.training.optim import decays


def make_optimizer(model: nn.Module, layers: Sequence[Sequence[nn.Parameter]], config: FinetuneOptimConfig) -> AdamW:
    """AdamW with up to two groups of parameters a layer, with and without weight decay; frozen ones are left out.

    Each group has `scale`, what its learning rate is multiplied by: 1 for the last layer, and `layer_decay` times the
    one above for each further one (Clark et al. 2020, ELECTRA; Bao et al. 2022, BEiT).

    Args:
        model: whose parameters' names tell which of them decay.
        layers: its parameters, from the embedding to the head.
        config: rates and decay.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = []
    for depth, layer in enumerate(layers):
        scale = config.layer_decay ** (len(layers) - 1 - depth)
        trained = [parameter for parameter in layer if parameter.requires_grad]
        decaying = [p for p in trained if decays(names[id(p)], p)]
        others = [p for p in trained if not decays(names[id(p)], p)]
        for params, decay in ((decaying, config.weight_decay), (others, 0.0)):
            if params:
                groups.append({"params": params, "weight_decay": decay, "scale": scale})
    return AdamW(groups, lr=0.0, betas=config.betas, eps=config.eps, fused=True)


def learning_rate(config: FinetuneOptimConfig, step: int, warmup_steps: float, total_steps: int) -> float:
    """The rate of the head at a step, counted from 0: linear from 0 to `lr`, then a cosine to `min_lr` at the last.

    Args:
        config: the rates.
        step: whose rate is asked for.
        warmup_steps: length of the linear part.
        total_steps: steps of the run.
    """
    if step < warmup_steps:
        return config.lr * (step + 1) / math.ceil(warmup_steps)
    left = (total_steps - 1 - step) / max(total_steps - 1 - warmup_steps, 1)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 - math.cos(math.pi * min(max(left, 0.0), 1.0)))
