"""Encoders of timm by name, with weights from a file: ImageNet, and those that TorchGeo publishes.

SeCo, MoCo, DINO and others of TorchGeo are timm's ResNets and ViTs under other names; SatMAE and Scale-MAE are timm's
ViT with a decoder beside it, Scale-MAE with positions in metres. Which file fits which name: docs/baselines.md.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from msgfm.config import Config
from msgfm.errors import InputError
from msgfm.models.baselines.checkpoints import LoadReport, find_prefix
from msgfm.models.baselines.first_conv import adapt_first_conv, bands_of_weights
from msgfm.models.baselines.positions import use_positions_in_metres
from msgfm.models.baselines.statistics import Statistics
from msgfm.models.inputs import InputImage
from msgfm.models.weights import read_checkpoint
from msgfm.sensors import Band

# What makes the models of a module of timm take images of any size.
_ANY_SIZE: dict[str, dict[str, Any]] = {
    "timm.models.vision_transformer": {"dynamic_img_size": True},
    "timm.models.swin_transformer": {"strict_img_size": False},
    "timm.models.swin_transformer_v2": {"strict_img_size": False},
}
_LEVELS = 4


class TimmBackbone(Config):
    """An encoder of timm in the place of ours; the bands of all inputs are stacked.

    Args:
        name: as timm has it: `swin_base_patch4_window7_224`, `resnet50`, `vit_large_patch16_224`.
        weights: local file, safetensors or PyTorch; null starts at random.
        trained_on: sensor and bands that the weights take, as an input is written; null tells it from their number.
        statistics: `card` normalises by the sensor cards. What the weights were trained with may be another:
            `imagenet` (photographs by ImageNet's mean and std), `physical` (the numbers themselves, as SSL4EO-S12's
            reflectance) or `seco` (SeCo's percentiles of red, green, blue). docs/baselines.md has one for each file.
        gsd_m: metres per pixel of the positions of Scale-MAE; null takes the positions that were learnt.
        drop_path_rate: stochastic depth; refused where the encoder has none.
    """

    kind: Literal["timm"] = "timm"
    name: str = Field(min_length=1)
    weights: Path | None = None
    trained_on: InputImage | None = None
    statistics: Statistics = "card"
    gsd_m: float | None = Field(default=None, gt=0)
    drop_path_rate: float = Field(default=0.0, ge=0, lt=1)


class TimmTrunk(nn.Module):
    """Four maps of an encoder of timm, as `SwinTrunk` gives them of ours.

    Those of CNNs and Swin are their last four levels. A plain ViT has one level: the maps after every quarter of its
    blocks are brought to 4, 2, 1 and 1/2 of its resolution by transposed convolutions and pooling, as BEiT's and MAE's
    segmentation does; where only the last map is looked at, they are left as they are.

    Args:
        backbone: which encoder.
        images: bands of each input, by key, in the order in which they are stacked.
        dense: whether the head needs four resolutions.

    Attributes:
        dims: channels of each map.
        strides: pixels along one side of a token of each map.
        auxiliary: 0; there are no mixtures.
    """

    def __init__(self, backbone: TimmBackbone, images: Mapping[str, tuple[Band, ...]], *, dense: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.bands = dict(images)
        self.encoder, self.levels = _make_encoder(backbone, sum(map(len, images.values())))
        facts: list[dict[str, Any]] = [self.encoder.feature_info[level] for level in self.levels]
        self.dims = tuple(fact["num_chs"] for fact in facts)
        self.strides = tuple(fact["reduction"] for fact in facts)
        self.pyramid = nn.ModuleList([nn.Identity() for _ in facts])
        if dense and len(set(self.strides)) == 1:
            self.pyramid, self.strides = _make_pyramid(backbone.name, self.dims[0], self.strides[0])
        if backbone.gsd_m is not None:
            use_positions_in_metres(self.encoder, backbone.gsd_m)
        self.auxiliary = torch.zeros(())

    def forward(self, images: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        """Maps (B, dims[s], H / strides[s], W / strides[s]) of normalised images (B, C, H, W), zeros where missing."""
        stacked = torch.cat([images[key] for key in self.bands], dim=1)
        maps = self.encoder.forward_intermediates(
            stacked, indices=self.levels, intermediates_only=True, output_fmt="NCHW"
        )
        return [scale(map_) for scale, map_ in zip(self.pyramid, maps, strict=True)]

    def layers(self) -> list[list[nn.Parameter]]:
        """Parameters of the encoder from stem to last block, in the groups that timm's layer-wise decay has."""
        timm = _import_timm()
        matcher = self.encoder.group_matcher(coarse=False)
        group_of: dict[str, int] = timm.models.group_parameters(self.encoder, matcher, reverse=True)
        groups: dict[int, list[nn.Parameter]] = {}
        for name, parameter in self.encoder.named_parameters():
            groups.setdefault(group_of[name], []).append(parameter)
        return [groups[position] for position in sorted(groups)]

    def load_weights(self, path: Path) -> LoadReport:
        """Fills the encoder from a file; heads, decoders and projections of the file are left out.

        Raises:
            InputError: not readable, of another kind of encoder, or of another shape.
        """
        source, own = read_checkpoint(path), self.encoder.state_dict()
        anchor = f"{self.encoder.pretrained_cfg['first_conv']}.weight"
        if any("channel_embed" in name for name in source):
            raise InputError(
                f"{path} groups its bands (SatMAE for Sentinel-2), and timm has no such encoder; take SatMAE for RGB"
            )
        try:
            prefix = find_prefix(source, anchor, own)
            kept = {name.removeprefix(prefix): name for name in source if _of_encoder(name, prefix)}
            state = {name: source[full] for name, full in kept.items()}
            have = bands_of_weights(state[anchor].shape[1], self.backbone.trained_on)
        except InputError as error:
            raise InputError(f"{path}, {self.backbone.name}: {error}") from error
        state[anchor], used = adapt_first_conv(state[anchor], have, list(self.bands.values()))
        fitted = self._convert(state)
        loaded = {name: tensor for name, tensor in fitted.items() if name in own}
        if wrong := [name for name, tensor in loaded.items() if tensor.shape != own[name].shape]:
            raise InputError(
                f"{path}: {wrong[0]} is {tuple(loaded[wrong[0]].shape)}, that of {self.backbone.name} is "
                f"{tuple(own[wrong[0]].shape)}; give the name of the encoder that the weights are of"
            )
        if self.backbone.gsd_m is not None:
            loaded.pop("pos_embed", None)
        self.encoder.load_state_dict(own | loaded)
        names = [f"{key} {band.name}" for key, bands in self.bands.items() for band in bands]
        left_out = [name for name in source if name not in kept.values()]
        return LoadReport(
            loaded=tuple(loaded),
            new=tuple(name for name in own if name not in loaded),
            unused=(*left_out, *(prefix + name for name in fitted if name not in loaded)),
            bands=dict(zip(names, used, strict=True)),
        )

    def _convert(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """What timm does to published files of this family: names of the authors', positions of another size."""
        convert = getattr(sys.modules[type(self.encoder).__module__], "checkpoint_filter_fn", None)
        return cast("dict[str, Tensor]", convert(state, self.encoder)) if convert else state


def _make_encoder(backbone: TimmBackbone, in_chans: int) -> tuple[Any, list[int]]:
    """The encoder without its head, and which of its intermediate maps are looked at."""
    timm = _import_timm()
    if not timm.is_model(backbone.name):
        near = difflib.get_close_matches(backbone.name, timm.list_models(), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise InputError(f"backbone.name: timm {timm.__version__} has no {backbone.name!r}{hint}")
    settings = dict(_ANY_SIZE.get(timm.model_entrypoint(backbone.name).__module__, {}))
    if backbone.drop_path_rate:
        settings["drop_path_rate"] = backbone.drop_path_rate
    try:
        encoder = timm.create_model(backbone.name, pretrained=False, in_chans=in_chans, num_classes=0, **settings)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise InputError(
            f"drop_path_rate {backbone.drop_path_rate:g}: {backbone.name} has no stochastic depth; say "
            f"drop_path_rate=null"
        ) from error
    if not hasattr(encoder, "forward_intermediates") or len(encoder.feature_info) < _LEVELS:
        raise InputError(
            f"backbone.name: {backbone.name} gives no maps of four levels; ResNets, ConvNeXts, Swins, ViTs do"
        )
    count = len(encoder.feature_info)
    levels = list(range(count - _LEVELS, count))
    if len({encoder.feature_info[level]["reduction"] for level in levels}) == 1:
        levels = [count * quarter // _LEVELS - 1 for quarter in range(1, _LEVELS + 1)]
    encoder.prune_intermediate_layers(levels, prune_norm=True, prune_head=True)
    return encoder, levels


def _make_pyramid(name: str, dim: int, stride: int) -> tuple[nn.ModuleList, tuple[int, ...]]:
    """Four resolutions of the maps of a plain ViT, and their strides."""
    if stride % 4:
        raise InputError(f"backbone.name: {name} has patches of {stride} px; its pyramid needs a multiple of 4")

    def double() -> nn.Module:
        return nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2)

    pyramid = nn.ModuleList(
        [
            nn.Sequential(double(), nn.GroupNorm(1, dim), nn.GELU(), double()),
            double(),
            nn.Identity(),
            nn.MaxPool2d(kernel_size=2),
        ]
    )
    return pyramid, (stride // 4, stride // 2, stride, stride * 2)


def _of_encoder(name: str, prefix: str) -> bool:
    """Whether a name of a file is the encoder's own, and not of what masked autoencoders put behind it."""
    rest = name.removeprefix(prefix)
    return name.startswith(prefix) and not rest.startswith("decoder_") and rest != "mask_token"


def _import_timm() -> ModuleType:
    """Timm, which the extra `baselines` brings."""
    try:
        import timm
        import timm.models
    except ModuleNotFoundError as error:
        raise InputError("a backbone of kind timm needs timm: pip install 'msgfm[baselines]'") from error
    return timm
