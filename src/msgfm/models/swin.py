"""The Swin encoder (Liu et al. 2021) whose blocks may be mixtures of experts.

Equal to timm's Swin when there is no mixture; SimMIM's encoder without its embedding, which belongs to the sensors
here. Tokens are channels last: (B, h, w, C). Any h and w: maps are padded to whole windows, and a map smaller than
a window is one smaller window with the same relative positions.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from msgfm.config import Config
from msgfm.models.mlp import Mlp
from msgfm.models.moe import MoE, MoEConfig, MoEStatistics
from msgfm.models.window import WindowAttention

PRESETS: dict[str, dict[str, Any]] = {
    "base": {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32], "window_size": 6, "moe": {}},
    "small": {
        "embed_dim": 48,
        "depths": [2, 2, 2, 2],
        "num_heads": [2, 4, 8, 16],
        "window_size": 6,
        "moe": {"blocks": [1]},
    },
    "tiny": {
        "embed_dim": 32,
        "depths": [2, 2, 2, 2],
        "num_heads": [1, 2, 4, 8],
        "window_size": 6,
        "moe": {"blocks": [1], "num_experts": 4},
    },
}


class EncoderConfig(Config):
    """Shape of the encoder; a `preset` (base, small, tiny) fills in what is not given. The default is the paper's.

    In a recipe `encoder: small` says the same as `encoder: {preset: small}`.

    Args:
        embed_dim: channels of the first stage; each further stage doubles them.
        depths: blocks per stage.
        num_heads: attention heads per stage.
        window_size: side of an attention window, in tokens.
        mlp_ratio: hidden over outer width of the perceptrons and experts.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0 at the first.
        moe: the mixture of experts; null is a dense encoder.
    """

    shorthands: ClassVar[tuple[str, ...]] = ("preset",)

    embed_dim: int = Field(default=128, ge=1)
    depths: tuple[int, ...] = (2, 2, 18, 2)
    num_heads: tuple[int, ...] = (4, 8, 16, 32)
    window_size: int = Field(default=6, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)
    drop_path_rate: float = Field(default=0.0, ge=0, lt=1)
    moe: MoEConfig | None = MoEConfig()

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, settings: Any) -> Any:
        if isinstance(settings, str):
            settings = {"preset": settings}
        if not isinstance(settings, dict) or "preset" not in settings:
            return settings
        name = settings["preset"]
        if not isinstance(name, str) or name not in PRESETS:
            raise ValueError(f"no encoder preset {name!r}; there are {', '.join(PRESETS)}")
        filled = PRESETS[name] | {key: value for key, value in settings.items() if key != "preset"}
        if isinstance(filled.get("moe"), dict):
            filled["moe"] = PRESETS[name]["moe"] | filled["moe"]
        return filled

    @model_validator(mode="after")
    def _check(self) -> EncoderConfig:
        if len(self.depths) != len(self.num_heads):
            raise ValueError(f"depths {self.depths} and num_heads {self.num_heads} must have one entry per stage")
        for width, heads in zip(self.stage_dims, self.num_heads, strict=True):
            if width % heads:
                raise ValueError(f"{heads} heads do not divide a stage of {width} channels")
        if self.moe and (
            self.moe.stage >= len(self.depths) or max(self.moe.blocks, default=0) >= self.depths[self.moe.stage]
        ):
            raise ValueError(f"moe: stage {self.moe.stage} of depths {self.depths} has no block {self.moe.blocks}")
        return self

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.depths)))

    @property
    def downsampling(self) -> int:
        """Tokens of the first stage along one side of a token of the last."""
        return int(2 ** (len(self.depths) - 1))


class EncoderOutput(NamedTuple):
    """features: one map per stage, (B, h, w, C), the last one normalised. mixtures: what each mixture reports."""

    features: list[Tensor]
    mixtures: list[MoEStatistics]


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: drops the branch of whole samples, scales the others to keep the mean. x: (B, ...)."""
    if rate == 0 or not training:
        return x
    kept = x.new_empty(x.shape[0], *[1] * (x.dim() - 1)).bernoulli_(1 - rate)
    return x * (kept / (1 - rate))


class SwinBlock(nn.Module):
    """Window attention, then a perceptron or a mixture of experts, each with its residual."""

    def __init__(
        self, dim: int, num_heads: int, shifted: bool, rate: float, config: EncoderConfig, mixture: bool
    ) -> None:
        super().__init__()
        hidden_dim = int(dim * config.mlp_ratio)
        self.drop_path_rate = rate
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, config.window_size, shifted)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MoE(dim, hidden_dim, config.moe) if mixture and config.moe else Mlp(dim, hidden_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, MoEStatistics | None]:
        """Maps (B, h, w, C) to the same shape, and says what a mixture reports."""
        x = x + drop_path(self.attn(self.norm1(x)), self.drop_path_rate, self.training)
        y, statistics = self.mlp(self.norm2(x)) if isinstance(self.mlp, MoE) else (self.mlp(self.norm2(x)), None)
        return x + drop_path(y, self.drop_path_rate, self.training), statistics


class PatchMerging(nn.Module):
    """Joins 2 x 2 tokens and halves the channels that result: (B, h, w, C) to (B, h/2, w/2, 2C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, h, w, C) to (B, h/2, w/2, 2C)."""
        b, h, w, c = x.shape
        x = x.view(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 4, 2, 5).flatten(3)  # B h/2 w/2 4C, column first
        return cast(Tensor, self.reduction(self.norm(x)))


class SwinStage(nn.Module):
    """Patch merging (not in the first stage), then blocks with plain and shifted windows in turn."""

    def __init__(self, stage: int, rates: list[float], config: EncoderConfig) -> None:
        super().__init__()
        dim = config.stage_dims[stage]
        mixtures = config.moe.blocks if config.moe and config.moe.stage == stage else ()
        self.downsample = PatchMerging(dim // 2) if stage else nn.Identity()
        self.blocks = nn.ModuleList(
            SwinBlock(dim, config.num_heads[stage], i % 2 == 1, rates[i], config, i in mixtures)
            for i in range(config.depths[stage])
        )


class SwinEncoder(nn.Module):
    """The shared encoder `En` of Eq. 1 and 2: tokens of any sensor in, one feature map per stage out."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.grad_checkpointing = False
        rates = torch.linspace(0, config.drop_path_rate, sum(config.depths), device="cpu").split(list(config.depths))
        self.layers = nn.ModuleList(SwinStage(i, rate.tolist(), config) for i, rate in enumerate(rates))
        self.norm = nn.LayerNorm(config.stage_dims[-1])
        self.apply(_init_weights)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Computes blocks again in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    def forward(self, tokens: Tensor) -> EncoderOutput:
        """Encodes (B, h, w, embed_dim); h and w must be multiples of `config.downsampling`.

        Raises:
            ValueError: the token grid cannot be halved once per stage.
        """
        _, h, w, _ = tokens.shape
        if h % self.config.downsampling or w % self.config.downsampling:
            raise ValueError(f"token grid {h} x {w} is not a multiple of {self.config.downsampling}; pad the image")
        x, features, mixtures = tokens, [], []
        for stage in cast("list[SwinStage]", self.layers):
            x = stage.downsample(x)
            for block in stage.blocks:
                recompute = self.grad_checkpointing and torch.is_grad_enabled()
                x, statistics = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
                if statistics is not None:
                    mixtures.append(statistics)
            features.append(x)
        features[-1] = self.norm(x)
        return EncoderOutput(features, mixtures)


def _init_weights(module: nn.Module) -> None:
    """As Swin and SimMIM: linear weights normal (0.02, truncated), biases zero; norms are ones and zeros already."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
