"""AdamW with decay groups, and the learning rate of every step."""

from __future__ import annotations

from torch import nn
from torch.optim import AdamW

from msgfm.training.config import OptimConfig

_NO_DECAY = ("bias", "mask_token", "relative_position_bias_table")


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: to weight matrices, not to norms, biases, mask token and position biases."""
    return parameter.ndim > 1 and not name.endswith(_NO_DECAY)


def make_optimizer(model: nn.Module, config: OptimConfig) -> AdamW:
    """AdamW over two groups of parameters, with and without decay; its learning rate is set before every step."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for n, p in named if decays(n, p)], "weight_decay": config.weight_decay},
        {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=0.0, betas=config.betas, eps=config.eps, fused=True)


def learning_rate(config: OptimConfig, base_lr: float, epoch: float) -> float:
    """Linear warm-up from `warmup_lr` to `base_lr`, then `gamma` at every milestone passed.

    Args:
        config: the schedule.
        base_lr: the source's learning rate.
        epoch: rounds done, divided by the rounds of an epoch.
    """
    if epoch < config.warmup_epochs:
        return config.warmup_lr + (base_lr - config.warmup_lr) * epoch / config.warmup_epochs
    passed = sum(epoch >= milestone for milestone in config.milestones)
    return base_lr * float(config.gamma**passed)
