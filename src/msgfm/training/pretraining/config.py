"""What a pretraining recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from msgfm.config import Config
from msgfm.data.opening import Location
from msgfm.models.msgfm import ModelSettings
from msgfm.training.hardware import HardwareConfig
from msgfm.training.logs import LogConfig
from msgfm.training.optim import OptimConfig

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


class PretrainConfig(Config):
    """A pretraining run.

    Args:
        out: the run's folder.
        sources: the mixture, by name.
        epochs: passes over the mixture: rounds until every source has been seen whole.
        image_size: side of the random crop in pixels.
        seed: of weights, order, crops, masks, partners and noise.
        init_from: Swin weights to start the encoder from (SimMIM, GFM, timm), safetensors or PyTorch; null is from
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
