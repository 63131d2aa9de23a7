"""What a fine-tuning recipe may say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from msgfm.config import Config
from msgfm.data.tasks import DataConfig
from msgfm.models.downstream import Backbone, MsgfmBackbone
from msgfm.models.inputs import InputImage
from msgfm.models.patch_embed import PatchEmbedConfig
from msgfm.models.swin import EncoderConfig
from msgfm.models.tasks import Task
from msgfm.training.hardware import HardwareConfig
from msgfm.training.logs import LogConfig
from msgfm.training.optim import Beta

Method = Literal["finetune", "linear_probe", "knn"]
"""How a model is made for the task: all of it trained; the head alone; nothing, by the nearest training images."""

_OF_OUR_ENCODER = ("init", "encoder", "patch_embed", "window_size")

_LOSSES = {
    "class_weights": ("classification", "segmentation", "change_detection"),
    "dice": ("segmentation", "change_detection"),
    "focal": ("segmentation", "change_detection"),
    "spectral_angle": ("restoration",),
}


class LossConfig(Config):
    """What is made small. Each task has its own; a setting of another task is refused.

    Cross entropy (classification, segmentation, change detection), binary cross entropy (several labels an image), L1
    in the card's standard deviations (restoration), and what is added to it:

    Args:
        class_weights: weight of a class in the (binary) cross entropy, by name; classes not named weigh 1.
        dice: weight of the Dice loss.
        focal: weight of the focal loss.
        spectral_angle: weight of the mean angle, in radians, between predicted and true spectra.
        auxiliary_weight: lambda, the weight of the mixtures' balancing loss.
    """

    class_weights: dict[str, Annotated[float, Field(gt=0)]] | None = Field(default=None, min_length=1)
    dice: float = Field(default=0.0, ge=0)
    focal: float = Field(default=0.0, ge=0)
    spectral_angle: float = Field(default=0.0, ge=0)
    auxiliary_weight: float = Field(default=0.01, ge=0)


class FinetuneOptimConfig(Config):
    """AdamW; the learning rate warms up linearly and falls along a cosine, step by step.

    Args:
        lr: largest learning rate, that of the head.
        layer_decay: what the rate is multiplied by from each layer to the one below it, down to the embedding; 1 is
            one rate for all.
        betas: exponential decay rates of the moments.
        eps: added to the root of the second moment.
        weight_decay: of weight matrices; biases, norms and position biases have none.
        warmup_epochs: the rate grows from 0 for so long.
        min_lr: where the cosine ends, at the last step.
        clip_grad_norm: largest norm of the gradient; null does not clip.
    """

    lr: float = Field(default=1e-3, gt=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_epochs: float = Field(default=5, ge=0)
    min_lr: float = Field(default=0.0, ge=0)
    clip_grad_norm: float | None = Field(default=5.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> FinetuneOptimConfig:
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr {self.min_lr:g} is above lr {self.lr:g}")
        return self


class FinetuneConfig(Config):
    """Fine-tuning on one task, once for each seed.

    Args:
        out: the runs' folder; each seed has its own in it, `seed_N`.
        data: samples, splits, crops.
        inputs: the images that the model sees, as `sentinel2`, `sentinel2@cloudy` or `sentinel2:B04,B08`.
        task: what it predicts.
        init: folder of a pretrained model, whose encoder is taken, or a file of Swin weights (SimMIM, GFM, ImageNet);
            null starts at random.
        transfer: `stack` joins the bands of all inputs in one embedding; `per_sensor` embeds and encodes each sensor by
            itself and joins the feature maps (paper, App. C.2, methods 2 and 1).
        encoder: shape of the encoder where `init` is null; null is then the paper's.
        patch_embed: the embedding where `init` is null; null is then the paper's.
        drop_path_rate: stochastic depth, of our encoder or timm's; null keeps the encoder's.
        window_size: attention window in tokens; null keeps the encoder's; position biases are interpolated.
        backbone: what takes the place of our encoder, for comparison; settings of ours are refused beside it.
        method: `finetune` trains all, `linear_probe` the head on a frozen encoder, `knn` nothing: labels are those of
            the nearest training images (cosine of the last features), classification only.
        neighbours: k, of `knn`.
        epochs: passes over the training samples.
        batch_size: samples per batch and device.
        seeds: of weights, order, crops and noise; each is a run of its own.
        val_every_epochs: how often the validation split is scored.
        early_stopping: ends a run when so many validations in a row have brought nothing better; null trains on.
        metric: of the validation split, picks the best weights; null is the task's own (docs/finetuning.md).
        keep_predictions: of how many images of a split predictions are written, those first in order; null is all.
        skip_bad: how many unreadable training samples a run may replace before it ends; in evaluation none may be.
        paper: metrics of the test split that the paper reports, to stand beside ours.
    """

    out: Path
    data: DataConfig
    inputs: tuple[InputImage, ...] = Field(min_length=1)
    task: Task
    init: Path | None = None
    transfer: Literal["stack", "per_sensor"] = "stack"
    encoder: EncoderConfig | None = None
    patch_embed: PatchEmbedConfig | None = None
    drop_path_rate: float | None = Field(default=None, ge=0, lt=1)
    window_size: int | None = Field(default=None, ge=1)
    backbone: Backbone = MsgfmBackbone()
    method: Method = "finetune"
    neighbours: int = Field(default=20, ge=1)
    loss: LossConfig = LossConfig()
    optim: FinetuneOptimConfig = FinetuneOptimConfig()
    epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=16, ge=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(default=(0, 1, 2), min_length=1)
    val_every_epochs: int = Field(default=1, ge=1)
    early_stopping: int | None = Field(default=None, ge=1)
    metric: str | None = None
    keep_predictions: int | None = Field(default=None, ge=0)
    skip_bad: int = Field(default=0, ge=0)
    hardware: HardwareConfig = HardwareConfig()
    log: LogConfig = LogConfig()
    paper: dict[str, float] = Field(default={})

    @model_validator(mode="after")
    def _check(self) -> FinetuneConfig:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)}: each seed once")
        _require_once([image.key for image in self.inputs])
        given = [name for name in ("encoder", "patch_embed") if getattr(self, name) is not None]
        if self.init is not None and given:
            many = len(given) > 1
            raise ValueError(
                f"{' and '.join(given)} {'are those' if many else 'is that'} of init, {self.init}; leave "
                f"{'them' if many else 'it'} out, or init=null"
            )
        _require_used(self)
        if self.method == "knn" and self.task.kind != "classification":
            raise ValueError(f"method knn is for classification; the task is {self.task.kind}")
        for name, kinds in _LOSSES.items():
            if getattr(self.loss, name) and self.task.kind not in kinds:
                raise ValueError(f"loss.{name} is for {', '.join(kinds)}; the task is {self.task.kind}")
        return self


def _require_used(config: FinetuneConfig) -> None:
    """Refuses what another backbone would not look at, all at once: recipes have several of these."""
    kind = config.backbone.kind
    unused = [] if kind == "msgfm" else [name for name in _OF_OUR_ENCODER if getattr(config, name) is not None]
    if kind not in ("msgfm", "timm") and config.drop_path_rate:
        unused.append("drop_path_rate")
    if unused:
        remedy = " ".join(f"{name}=null" for name in unused)
        own = " (the file of its own weights is backbone.weights)" if kind == "timm" and "init" in unused else ""
        raise ValueError(f"{' and '.join(unused)} would do nothing with backbone {kind}; say {remedy}{own}")


def _require_once(keys: Sequence[str]) -> None:
    if len(set(keys)) < len(keys):
        raise ValueError(f"inputs {', '.join(keys)}: each image once")
