"""A model for one task: inputs, a trunk that may be pretrained, and the task's head."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from msgfm.config import Config
from msgfm.errors import InputError
from msgfm.models.baselines.dsen2cr import DSen2CRBackbone, DSen2CRHead, DSen2CRTrunk
from msgfm.models.baselines.rules import NoTrunk, RuleBackbone, make_rule_head
from msgfm.models.baselines.statistics import cards_as_seen
from msgfm.models.baselines.timm_trunk import TimmBackbone, TimmTrunk
from msgfm.models.heads import ClassificationHead, RestorationHead, RestoredImage, UPerNetHead, unpad
from msgfm.models.inputs import InputImage, Inputs, PreparedImages, as_images
from msgfm.models.msgfm import MsGFM
from msgfm.models.patch_embed import PatchEmbedConfig
from msgfm.models.swin import EncoderConfig
from msgfm.models.tasks import ChangeDetection, Classification, Restoration, Task
from msgfm.models.transfer import BandOrigin, TransferReport, transfer_weights, with_pretrained_statistics
from msgfm.models.trunk import SwinTrunk, Transfer
from msgfm.sensors import Sensor

if TYPE_CHECKING:
    import numpy as np

BEFORE, AFTER = "before", "after"


class MsgfmBackbone(Config):
    """Our own encoder, pretrained or not."""

    kind: Literal["msgfm"] = "msgfm"


Backbone = Annotated[MsgfmBackbone | TimmBackbone | DSen2CRBackbone | RuleBackbone, Field(discriminator="kind")]
Trunk = SwinTrunk | TimmTrunk | DSen2CRTrunk | NoTrunk


class DownstreamConfig(Config):
    """Everything that is needed to build the model.

    Args:
        sensors: cards of the inputs and of a predicted image.
        inputs: what the model looks at, in the order in which bands are stacked.
        transfer: how several inputs pass through the encoder (`SwinTrunk`).
        encoder: the encoder, that of the pretrained model where there is one.
        patch_embed: the embedding of one sensor, likewise.
        task: what is predicted, with its classes.
        backbone: what makes feature maps.
    """

    sensors: tuple[Sensor, ...] = Field(min_length=1)
    inputs: tuple[InputImage, ...] = Field(min_length=1)
    transfer: Transfer = "stack"
    encoder: EncoderConfig = EncoderConfig()
    patch_embed: PatchEmbedConfig = PatchEmbedConfig()
    task: Task
    backbone: Backbone = MsgfmBackbone()

    @model_validator(mode="after")
    def _check_inputs(self) -> DownstreamConfig:
        keys = [image.key for image in self.inputs]
        if len(set(keys)) < len(keys):
            raise ValueError(f"inputs {', '.join(keys)}: each once")
        for image in self.inputs:
            image.card(self.sensors)
        if isinstance(self.task, Restoration):
            self.task.target.card(self.sensors)
            if self.task.over is not None and self.task.over not in keys:
                raise ValueError(f"task.over {self.task.over!r} is none of the inputs {', '.join(keys)}")
            if self.task.over is not None:
                self._require_common_band(self.task.target, self.inputs[keys.index(self.task.over)])
        elif len(self.task.classes) < (1 if isinstance(self.task, Classification) and self.task.multilabel else 2):
            raise ValueError(
                f"task.classes: {self.task.kind} with the classes {list(self.task.classes)}; name them all"
            )
        if isinstance(self.task, ChangeDetection):
            _check_dates(self.inputs)
        if self.backbone.kind != "msgfm" and self.transfer != "stack":
            raise ValueError(f"backbone {self.backbone.kind} takes the bands of all inputs at once: transfer stack")
        if isinstance(self.backbone, DSen2CRBackbone) and not isinstance(self.task, Restoration):
            raise ValueError(f"backbone dsen2cr restores images; the task is {self.task.kind}")
        return self

    def _require_common_band(self, target: InputImage, over: InputImage) -> None:
        """An image is added to band by band; without a common one it would be the mean of the card each time."""
        bands, others = ({(b.name, b.unit) for b in one.card(self.sensors).bands} for one in (target, over))
        if not bands & others:
            raise ValueError(
                f"task.over: {over.key} and the target {target.key} have no band in common (by name and unit); a "
                f"target of another sensor is predicted by itself: task.over=null"
            )

    @property
    def dates(self) -> tuple[str, ...]:
        """The roles of the inputs that pass through one trunk one after the other; one empty role for most tasks."""
        return (BEFORE, AFTER) if isinstance(self.task, ChangeDetection) else ("",)

    @property
    def trunk_inputs(self) -> tuple[InputImage, ...]:
        """The inputs of one pass: all of them, or those of one date."""
        if len(self.dates) == 1:
            return self.inputs
        return tuple(image for image in self.inputs if image.role == BEFORE)


def _check_dates(inputs: tuple[InputImage, ...]) -> None:
    dates = {role: [(image.sensor, image.bands) for image in inputs if image.role == role] for role in (BEFORE, AFTER)}
    if not dates[BEFORE] or dates[BEFORE] != dates[AFTER] or len(inputs) != 2 * len(dates[BEFORE]):
        raise ValueError(
            f"change detection takes the same sensors and bands before and after, as sentinel2@before and "
            f"sentinel2@after, not {', '.join(image.key for image in inputs)}"
        )


class DownstreamModel(nn.Module):
    """Trunk and head for one task."""

    def __init__(self, config: DownstreamConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = make_trunk(config)
        statistics = config.backbone.statistics if isinstance(config.backbone, TimmBackbone) else "card"
        self.inputs = Inputs(config.inputs, cards_as_seen(config.sensors, statistics), max(self.trunk.strides))
        self.head = make_head(config, self.trunk)

    @property
    def auxiliary(self) -> Tensor:
        """The balancing loss of the encoder's mixtures in the last forward pass, 0 for a dense encoder."""
        return self.trunk.auxiliary

    def forward(self, images: Mapping[str, Tensor]) -> Tensor:
        """One pass over a batch.

        Args:
            images: by key (B, C, H, W) in physical units, NaN where there is no data; any H and W, one for all. A
                key that is not there, or an image wholly NaN, is a missing sensor.

        Returns:
            Logits (B, classes) of a classification, logits (B, classes, H, W) of segmentation and change detection,
            the image (B, bands of the target, H, W) in physical units of a restoration.
        """
        prepared = self.inputs(images)
        output: Tensor = self.head(self._encode(prepared), prepared, images)
        return output

    def features(self, images: Mapping[str, Tensor]) -> list[Tensor]:
        """The trunk's maps, finest first: (B, C_s, ceil(H / stride_s), ceil(W / stride_s)).

        For change detection the batch holds the images before, then those after.

        Raises:
            InputError: the model is a rule, which has none.
        """
        if not self.trunk.dims:
            raise InputError(f"backbone {self.config.backbone.kind} makes no feature maps")
        prepared = self.inputs(images)
        return unpad(self._encode(prepared), prepared)

    def _encode(self, prepared: PreparedImages) -> list[Tensor]:
        dates = self.config.dates
        if len(dates) == 1:
            return cast("list[Tensor]", self.trunk(prepared.normalised, prepared.present))
        normalised, present = {}, {}
        for image in self.config.trunk_inputs:
            keys = [image.model_copy(update={"role": role}).key for role in dates]
            normalised[image.key] = torch.cat([prepared.normalised[key] for key in keys])
            present[image.key] = torch.cat([prepared.present[key] for key in keys])
        return cast("list[Tensor]", self.trunk(normalised, present))

    @torch.no_grad()
    def predict(self, images: Mapping[str, Tensor | np.ndarray[Any, Any]], *, allow_missing: bool = False) -> Tensor:
        """Predicts from arrays that nobody has checked.

        Args:
            images: as in `forward`, tensors or arrays.
            allow_missing: whether inputs may be left out.

        Returns:
            Probabilities (B, classes) of a classification, of each label by itself if there may be several; the class
            (B, H, W) of every pixel, int64; or the image (B, C, H, W) in physical units.

        Raises:
            InputError: a sensor is missing or unknown, bands, type or unit are not the card's, or values are infinite.

        Warns:
            UserWarning: images have no data in any input.
        """
        device = next(itertools.chain(self.parameters(), self.buffers())).device  # a rule has no parameters
        tensors = {key: image.to(device) for key, image in as_images(images).items()}
        self.inputs.check(tensors, allow_missing=allow_missing)
        modes = [(module, module.training) for module in self.modules()]  # parts may be frozen
        self.eval()
        try:
            output = cast(Tensor, self(tensors))
        finally:
            for module, training in modes:
                module.training = training
        task = self.config.task
        if isinstance(task, Restoration):
            return output
        if isinstance(task, Classification):
            return output.sigmoid() if task.multilabel else output.softmax(dim=1)
        return output.argmax(dim=1)

    def layers(self) -> list[list[nn.Parameter]]:
        """All parameters, one group per layer from embedding to head, for layer-wise decay of the learning rate.

        What a trunk has beyond its encoder, as a ViT's pyramid, starts anew as the head does and is in its group.
        """
        below = self.trunk.layers()
        pretrained = {id(parameter) for group in below for parameter in group}
        return [*below, [parameter for parameter in self.parameters() if id(parameter) not in pretrained]]


def make_trunk(config: DownstreamConfig) -> Trunk:
    """What makes feature maps of the inputs of one pass."""
    bands = {image.key: image.card(config.sensors).bands for image in config.trunk_inputs}
    counts = {key: len(names) for key, names in bands.items()}
    if isinstance(config.backbone, TimmBackbone):
        return TimmTrunk(config.backbone, bands, dense=not isinstance(config.task, Classification))
    if isinstance(config.backbone, DSen2CRBackbone):
        return DSen2CRTrunk(config.backbone, counts)
    if isinstance(config.backbone, RuleBackbone):
        return NoTrunk()
    return SwinTrunk(counts, config.transfer, config.encoder, config.patch_embed)


def make_head(config: DownstreamConfig, trunk: Trunk) -> nn.Module:
    """The task's head."""
    task = config.task
    if isinstance(config.backbone, RuleBackbone):
        return make_rule_head(config.backbone, task, config.inputs, config.sensors)
    if isinstance(task, Classification):
        return ClassificationHead(trunk.dims, len(task.classes))
    if isinstance(task, Restoration):
        cards = {image.key: image.card(config.sensors) for image in config.inputs}
        output = RestoredImage(
            task.target.card(config.sensors), task.over, None if task.over is None else cards[task.over]
        )
        if isinstance(config.backbone, DSen2CRBackbone):
            return DSen2CRHead(config.backbone.features, output)
        in_chans = sum(len(card.bands) for card in cards.values())
        return RestorationHead(trunk.dims, trunk.strides[0], in_chans, output)
    return UPerNetHead(trunk.dims, len(task.classes), two_dates=isinstance(task, ChangeDetection))


def build_downstream(config: DownstreamConfig, pretrained: MsGFM | None) -> tuple[DownstreamModel, TransferReport]:
    """Builds a model, its trunk from a pretrained one, and says what came from where.

    Args:
        config: the model. Sensors that pretraining saw are normalised as they were there.
        pretrained: None starts at random.

    Raises:
        InputError: encoder or embedding have another shape than the pretrained ones, or another backbone's weights do
            not fit.
    """
    if config.backbone.kind != "msgfm":
        return _build_baseline(config, pretrained)
    changed: tuple[str, ...] = ()
    if pretrained is not None:
        sensors, changed = with_pretrained_statistics(config.sensors, pretrained)
        config = config.model_copy(update={"sensors": sensors})
    model = DownstreamModel(config)
    cards = {image.key: image.card(config.sensors) for image in config.trunk_inputs}
    if pretrained is not None:
        report = transfer_weights(cast(SwinTrunk, model.trunk), cards, pretrained)
        return model, replace(report, statistics=changed)
    bands = tuple(
        BandOrigin(key=key, band=band, sensor="", donor="", how="random")
        for key, card in cards.items()
        for band in card.band_names
    )
    return model, TransferReport(bands=bands, pretrained=False)


def _build_baseline(config: DownstreamConfig, pretrained: MsGFM | None) -> tuple[DownstreamModel, TransferReport]:
    """A model without our encoder; weights of timm's come from the file that its backbone names."""
    if pretrained is not None:
        raise InputError(
            f"init is for our own encoder; with backbone {config.backbone.kind} leave it out (weights of another "
            f"encoder: backbone.weights=FILE)"
        )
    model = DownstreamModel(config)
    backbone, trunk = config.backbone, model.trunk
    if isinstance(trunk, TimmTrunk) and isinstance(backbone, TimmBackbone) and backbone.weights is not None:
        notes = trunk.load_weights(backbone.weights).describe()
    else:
        notes = ["nothing is trained"] if isinstance(trunk, NoTrunk) else ["random initialisation"]
    return model, TransferReport(bands=(), pretrained=False, notes=tuple(notes))
