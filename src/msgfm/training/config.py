"""What a pretraining recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from msgfm.config import Config
from msgfm.data.shards.storage import as_location
from msgfm.models.msgfm import ModelSettings

Location = Annotated[Path | str, BeforeValidator(as_location)]
ROLES = ("", "before", "after")
"""Of the images that are trained on unless a source says otherwise; what is not cloudy, and on its native grid."""


class SourceConfig(Config):
    """One data set of the mixture.

    Args:
        manifest: Parquet file made by `msgfm data index`, folder or `s3://bucket/prefix` of shards made of it by
            `msgfm data shard`, or a list of them.
        batch_size: samples per optimiser step and device; null shares `mixture.batch_size` out in proportion to the
            number of samples, so that all sources end together (paper, App. B.1).
        lr: learning rate of this source's steps (paper, Table 10).
        split: which split of the manifest is trained on; `all` is every sample.
        sensors: names of the sensors to use; null is all of the manifest.
        roles: which images to use of samples that have several of one sensor; images of different roles (two dates)
            become samples of their own. Cloudy ones are left out unless `cloudy` is named.
        jitter: how much brightness (in the card's standard deviations) and contrast (as a share) change at random; not
            in the paper, for small sources, whose few places a model would learn by heart.
    """

    manifest: tuple[Location, ...] = Field(min_length=1)
    lr: float = Field(gt=0)
    batch_size: int | None = Field(default=None, ge=1)
    split: str = "train"
    sensors: tuple[str, ...] | None = Field(default=None, min_length=1)
    roles: tuple[str, ...] = Field(default=ROLES, min_length=1)
    jitter: float = Field(default=0.0, ge=0, lt=1)

    @field_validator("manifest", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return [value] if isinstance(value, (str, Path)) else value


class MixtureConfig(Config):
    """How the sources are visited.

    Args:
        schedule: `sequential` takes one optimiser step per source in turn, each with its own learning rate (the
            paper's); `joint` takes one step a round over all sources, their losses weighted by batch size, with the
            largest of their learning rates.
        batch_size: samples per round and device, for sources that give no batch size of their own.
        cross_sensor_share: probability that a masked image of a paired sample predicts its partner (paper: 0.5).
        shuffle_block: null shuffles all samples of a source in every epoch. A number keeps so many neighbours of the
            manifest together: blocks are shuffled, and samples within `shuffle_window` blocks. For shards on S3 that
            are larger than `hardware.cache_gb`: each chunk is then fetched about once an epoch. Best a chunk's number
            of samples.
        shuffle_window: see `shuffle_block`; the cache must hold the chunks of two such windows of every source.
    """

    schedule: Literal["sequential", "joint"] = "sequential"
    batch_size: int | None = Field(default=None, ge=1)
    cross_sensor_share: float = Field(default=0.5, ge=0, le=1)
    shuffle_block: int | None = Field(default=None, ge=1)
    shuffle_window: int = Field(default=16, ge=1)


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


class HardwareConfig(Config):
    """Where and how it runs.

    Args:
        accelerator: `auto`, `cpu`, `gpu` or another of Lightning's.
        devices: devices per node; `auto` is all of them (1 on a CPU).
        num_nodes: nodes.
        precision: `bf16-mixed` (router, normalisation and loss stay float32) or `32-true`.
        accumulate: batches of a source per optimiser step.
        num_workers: processes that read data, per device.
        grad_checkpointing: computes activations again in the backward pass to save memory.
        cache: folder where chunks of shards on S3 are kept; null is `~/.cache/msgfm/shards`.
        cache_gb: gigabytes (10^9 bytes) that it may hold; the chunks not used for longest are removed.
    """

    accelerator: str = "auto"
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    num_nodes: int = Field(default=1, ge=1)
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    accumulate: int = Field(default=1, ge=1)
    num_workers: int = Field(default=2, ge=0)
    grad_checkpointing: bool = False
    cache: Path | None = None
    cache_gb: float = Field(default=50, gt=0)


class LogConfig(Config):
    """What is written while it runs; steps are optimiser steps.

    Args:
        every_steps: progress lines and TensorBoard points; `log.csv` has every step.
        picture_every_steps: reconstructions as in Figure 3; null draws them at the end alone.
        checkpoint_every_steps: checkpoints to resume from; one more is written at the end.
        keep_checkpoints: how many of the last are kept.
        tensorboard: whether event files are written.
        wandb_project: project on Weights & Biases (extra `wandb`); null does not log there.
    """

    every_steps: int = Field(default=20, ge=1)
    picture_every_steps: int | None = Field(default=1000, ge=1)
    checkpoint_every_steps: int = Field(default=1000, ge=1)
    keep_checkpoints: int = Field(default=3, ge=1)
    tensorboard: bool = True
    wandb_project: str | None = None


class PretrainConfig(Config):
    """A pretraining run.

    Args:
        out: the run's folder.
        sources: the mixture, by name.
        epochs: passes over the mixture: rounds until every source has been seen whole.
        image_size: side of the random crop in pixels.
        seed: of weights, order, crops, masks, partners and noise.
        init_from: Swin weights to start the encoder from (SimMIM, GFM, timm), as a safetensors file; null is from
            scratch, which the paper found better.
        skip_bad: how many unreadable samples a run may replace before it ends; they are listed at the end.
    """

    out: Path
    sources: dict[str, SourceConfig] = Field(min_length=1)
    epochs: int = Field(ge=1)
    image_size: int = Field(default=192, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    init_from: Path | None = None
    skip_bad: int = Field(default=0, ge=0)
    model: ModelSettings = ModelSettings()
    mixture: MixtureConfig = MixtureConfig()
    optim: OptimConfig = OptimConfig()
    hardware: HardwareConfig = HardwareConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _check(self) -> PretrainConfig:
        square, stride = self.model.mask_patch_size, self.model.stride
        if self.image_size % square or self.image_size % stride:
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of mask_patch_size {square} and of the {stride} px "
                f"that one token of the last stage covers"
            )
        without = [name for name, source in self.sources.items() if source.batch_size is None]
        if without and self.mixture.batch_size is None:
            raise ValueError(
                f"sources {', '.join(without)} have no batch_size; give one, or mixture.batch_size for all"
            )
        return self
