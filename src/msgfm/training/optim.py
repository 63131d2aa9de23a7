"""AdamW with decay groups, and the learning rate of every step."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn
from torch.optim import AdamW

from msgfm.config import Config

_NO_DECAY = ("bias", "mask_token", "relative_position_bias_table")


Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimConfig(Config):
    """AdamW and its schedule. Defaults are Table 10's; epochs count rounds over the mixture.

    Args:
        betas: exponential decay rates of the moments.
        eps: added to the root of the second moment.
        weight_decay: of weight matrices; biases, norms, mask token and position biases have none.
        warmup_epochs: the learning rate grows linearly from `warmup_lr` to the source's.
        warmup_lr: where it starts.
        milestones: epochs at which it is multiplied by `gamma`.
        gamma: see `milestones`.
        clip_grad_norm: largest norm of the gradient; null does not clip. SimMIM's 5.
    """

    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_epochs: float = Field(default=10, ge=0)
    warmup_lr: float = Field(default=5e-7, ge=0)
    milestones: tuple[float, ...] = ()
    gamma: float = Field(default=0.1, gt=0)
    clip_grad_norm: float | None = Field(default=5.0, gt=0)


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
