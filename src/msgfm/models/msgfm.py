"""msGFM (Han et al. 2024): masked image modelling within and across sensors on one shared encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from msgfm.config import Config
from msgfm.errors import InputError
from msgfm.models.decoder import Decoder
from msgfm.models.inputs import require_float, require_no_infinities, require_unit
from msgfm.models.masking import masked_l1, masked_mean, upsample_mask
from msgfm.models.moe import MoE, MoEStatistics
from msgfm.models.normalize import Normalize
from msgfm.models.patch_embed import PatchEmbedConfig, make_patch_embed
from msgfm.models.swin import EncoderConfig, SwinEncoder
from msgfm.sensors import Sensor

ABSENT = -1
"""In `targets`: this sample has no image of this sensor."""


class ModelSettings(Config):
    """What a recipe says of the model; the sensors come from its data. Defaults are the paper's.

    Args:
        encoder: the shared Swin encoder.
        patch_embed: the embedding, of one kind for all sensors.
        mask_patch_size: side of the hidden squares in pixels.
        mask_ratio: share of the squares that is hidden.
        auxiliary_weight: lambda, the weight of the mixtures' balancing loss.
        visible_mean_skip: adds the mean of the visible pixels, band by band, to what a sensor's decoder predicts of the
            sensor's own image, so that levels need not pass through the encoder. The paper has none; it helps where
            a sensor has so few images that copying levels is not learnt (docs/decisions.md, 41).
    """

    encoder: EncoderConfig = EncoderConfig()
    patch_embed: PatchEmbedConfig = PatchEmbedConfig()
    mask_patch_size: int = Field(default=32, ge=1)
    mask_ratio: float = Field(default=0.6, ge=0, le=1)
    auxiliary_weight: float = Field(default=0.01, ge=0)
    visible_mean_skip: bool = False

    @model_validator(mode="after")
    def _check_squares(self) -> ModelSettings:
        square, patch, stride = self.mask_patch_size, self.patch_embed.patch_size, self.stride
        if square % patch or (square % stride and stride % square):
            raise ValueError(
                f"mask_patch_size {square} must be a multiple of patch_size {patch}, and divide or be a multiple of "
                f"the {stride} px that one token of the last stage covers"
            )
        return self

    @property
    def stride(self) -> int:
        """Pixels along one side of a token of the last stage."""
        return self.patch_embed.patch_size * self.encoder.downsampling


class MsGFMConfig(ModelSettings):
    """Everything that is needed to build the model.

    Args:
        sensors: the cards, in the order of `targets`.
    """

    sensors: tuple[Sensor, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_names(self) -> MsGFMConfig:
        names = [sensor.name for sensor in self.sensors]
        if len(set(names)) < len(names):
            raise ValueError(f"sensors {names}: each name once")
        return self


class Direction(NamedTuple):
    """The masked image of one sensor predicting a sensor: itself, or its partner."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}->{self.target}"


class PretrainOutput(NamedTuple):
    """One pass of pretraining.

    loss: the objective, L_MIM + lambda * L_aux. reconstruction: L_MIM. auxiliary: L_aux, summed over the mixtures.
    directions: mean masked L1 (normalised units) and number of images of each direction. mixtures: one entry each.
    """

    loss: Tensor
    reconstruction: Tensor
    auxiliary: Tensor
    directions: dict[Direction, tuple[Tensor, int]]
    mixtures: list[MoEStatistics]


class MsGFM(nn.Module):
    """Patch embeddings f_i, the shared encoder En and decoders D_i, one of each per sensor i."""

    def __init__(self, config: MsGFMConfig) -> None:
        super().__init__()
        self.config = config
        self.sensors = {sensor.name: sensor for sensor in config.sensors}
        dim, last = config.encoder.embed_dim, config.encoder.stage_dims[-1]
        bands = {name: len(sensor.bands) for name, sensor in self.sensors.items()}
        self.normalize = nn.ModuleDict({name: Normalize(sensor) for name, sensor in self.sensors.items()})
        self.patch_embed = nn.ModuleDict(
            {name: make_patch_embed(config.patch_embed, in_chans=count, embed_dim=dim) for name, count in bands.items()}
        )
        self.mask_token = nn.Parameter(torch.empty(dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.encoder = SwinEncoder(config.encoder)
        self.decoders = nn.ModuleDict({name: Decoder(last, count, config.stride) for name, count in bands.items()})

    def forward(
        self, images: Mapping[str, Tensor], hidden: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> PretrainOutput:
        """One pass over a batch of one source, Eq. 1 and 2.

        Args:
            images: per sensor (B, C, H, W) in physical units, NaN where there is no data, as is taken what is infinite;
                one H, W for all.
            hidden: per sensor (B, H / mask_patch_size, W / mask_patch_size) bool, True where hidden.
            targets: per sensor (B,) the position in `config.sensors` of what its masked image predicts, or `ABSENT`.
        """
        rows = {i: (targets[i] != ABSENT).nonzero().squeeze(1) for i in images}
        hidden_px = {i: upsample_mask(hidden[i], self.config.mask_patch_size)[:, None] for i in images}
        tokens = [self.embed(i, images[i][rows[i]], hidden[i][rows[i]], hidden_px[i][rows[i]]) for i in images]
        encoded = self.encoder(torch.cat(tokens))
        features = dict(zip(images, encoded.features[-1].split([len(r) for r in rows.values()]), strict=True))

        losses: dict[Direction, Tensor] = {}
        for i in images:
            for position, j in enumerate(self.sensors):
                predicts_j = (targets[i][rows[i]] == position).nonzero().squeeze(1)
                if len(predicts_j) == 0:
                    continue
                chosen = rows[i][predicts_j]
                prediction = self.decode(features[i][predicts_j], i, j, images[i][chosen], hidden_px[i][chosen])
                target = self.target(j, images[j][chosen], hidden_px[i][chosen] if i == j else None)
                losses[Direction(i, j)] = masked_l1(prediction, target, hidden_px[i][chosen])
        reconstruction = torch.cat(list(losses.values())).mean()
        auxiliary = sum((mixture.auxiliary for mixture in encoded.mixtures), start=reconstruction.new_zeros(()))
        return PretrainOutput(
            loss=reconstruction + self.config.auxiliary_weight * auxiliary,
            reconstruction=reconstruction,
            auxiliary=auxiliary,
            directions={direction: (loss.detach().mean(), len(loss)) for direction, loss in losses.items()},
            mixtures=encoded.mixtures,
        )

    def embed(self, sensor: str, image: Tensor, hidden: Tensor, hidden_px: Tensor) -> Tensor:
        """Tokens (B, h, w, embed_dim) of a masked image; the mask token stands where a token is hidden.

        Hidden pixels are blanked before the convolution, whose window would otherwise carry the seam's pixels of a
        hidden square into its visible neighbours.
        """
        normalised = self.target(sensor, image, hidden_px)
        blanked = torch.where(hidden_px, 0, normalised.nan_to_num(nan=0.0))
        tokens = self.patch_embed[sensor](blanked)
        hidden_tokens = upsample_mask(hidden, self.config.mask_patch_size // self.config.patch_embed.patch_size)
        return torch.where(hidden_tokens[..., None], self.mask_token.to(tokens.dtype), tokens)

    def decode(self, features: Tensor, source: str, target: str, image: Tensor, hidden_px: Tensor) -> Tensor:
        """D_target of the features of `source`'s masked `image`: (B, C of target, H, W) in normalised units."""
        prediction = cast(Tensor, self.decoders[target](features))
        if self.config.visible_mean_skip and source == target:
            prediction = prediction + masked_mean(self.target(source, image, hidden_px), ~hidden_px)
        return prediction

    def target(self, sensor: str, image: Tensor, hidden_px: Tensor | None) -> Tensor:
        """The normalised image (B, C, H, W); heights are centred on the visible pixels where some are hidden."""
        normalize = cast(Normalize, self.normalize[sensor])
        centre = normalize.centre_of(image, None if hidden_px is None else ~hidden_px)
        return cast(Tensor, normalize(image, centre))

    def encode(
        self,
        images: Mapping[str, Tensor],
        bands: Mapping[str, Sequence[str]] | None = None,
        *,
        checked: bool = False,
    ) -> dict[str, list[Tensor]]:
        """Feature maps of the encoder's stages for each sensor's image, nothing hidden.

        Args:
            images: per sensor (B, C, H, W) in physical units, NaN where there is no data. Any H and W.
            bands: per sensor, the names of the bands given, where they are not all of the card's in its order.
            checked: whether units were looked at before, as of a whole scene, of which one window may well be odd; they
                are not then, and what is infinite is no data.

        Returns:
            Per sensor one map per stage, (B, C_s, ceil(H / (P 2^s)), ceil(W / (P 2^s))); P is the patch size.

        Raises:
            InputError: a sensor that the model does not know, a wrong number of bands, another unit, infinite values.
        """
        maps = {}
        for name, image in images.items():
            image = self._all_bands(name, image, bands, checked)
            height, width = image.shape[-2:]
            padded = self._pad(image, self.config.stride)
            normalised = self.target(name, padded, None).nan_to_num(nan=0.0)
            features = self.encoder(self.patch_embed[name](normalised)).features
            maps[name] = [
                feature.permute(0, 3, 1, 2)[:, :, : -(-height // step), : -(-width // step)]
                for stage, feature in enumerate(features)
                for step in [self.config.patch_embed.patch_size * 2**stage]
            ]
        return maps

    @torch.no_grad()
    def reconstruct(
        self,
        images: Mapping[str, Tensor],
        source: str,
        target: str,
        hidden: Tensor | None = None,
        bands: Mapping[str, Sequence[str]] | None = None,
        *,
        checked: bool = False,
    ) -> Tensor:
        """Predicts the image of `target` from the (masked) image of `source`.

        Args:
            images: must hold `source`, as in `encode`.
            source: sensor that is looked at.
            target: sensor that is predicted; may be `source`.
            hidden: (B, h, w) bool squares of `mask_patch_size` pixels to hide, covering the image; None hides none.
            bands: as in `encode`.
            checked: likewise.

        Returns:
            (B, C of target, H, W) in the target's physical units. Heights of a card with `centre: image` are above
            the mean of the visible pixels for another sensor's, and absolute when `source` is `target`.
        """
        if source not in images:
            raise InputError(f"no image of source {source!r}; given are {', '.join(images)}")
        self._require(target)
        image = self._all_bands(source, images[source], bands, checked)
        height, width = image.shape[-2:]
        square = self.config.mask_patch_size
        padded = self._pad(image, max(self.config.stride, square))
        rows, cols = padded.shape[-2] // square, padded.shape[-1] // square
        if hidden is None:
            shape = (len(image), -(-height // square), -(-width // square))
            hidden = torch.zeros(shape, dtype=torch.bool, device=image.device)
        if hidden.shape != (len(image), -(-height // square), -(-width // square)):
            raise InputError(
                f"hidden is {tuple(hidden.shape)}; an image of {height} x {width} px has "
                f"{-(-height // square)} x {-(-width // square)} squares of {square} px"
            )
        hidden = F.pad(hidden, (0, cols - hidden.shape[2], 0, rows - hidden.shape[1]))
        prediction = self.predict(source, padded, hidden, target)
        hidden_px = upsample_mask(hidden, square)[:, None]
        normalize = cast(Normalize, self.normalize[target])
        centre = normalize.centre_of(padded, ~hidden_px) if source == target else prediction.new_zeros(())
        return normalize.invert(prediction, centre)[:, :, :height, :width]

    def predict(self, source: str, image: Tensor, hidden: Tensor, target: str) -> Tensor:
        """D_target(En(f_source(masked image))) of Eq. 1 and 2, in normalised units.

        Args:
            source: sensor of the image.
            image: (B, C, H, W) in physical units; H and W multiples of `config.stride` and `mask_patch_size`.
            hidden: (B, H / mask_patch_size, W / mask_patch_size) bool.
            target: sensor to predict.

        Returns:
            (B, C of target, H, W).
        """
        hidden_px = upsample_mask(hidden, self.config.mask_patch_size)[:, None]
        features = self.encoder(self.embed(source, image, hidden, hidden_px)).features[-1]
        return self.decode(features, source, target, image, hidden_px)

    def _require(self, name: str) -> Sensor:
        if name not in self.sensors:
            raise InputError(f"the model has no sensor {name!r}; it was trained with {', '.join(self.sensors)}")
        return self.sensors[name]

    def _all_bands(self, name: str, image: Tensor, bands: Mapping[str, Sequence[str]] | None, checked: bool) -> Tensor:
        """The image with every band of the card, in its order; bands not given are NaN."""
        sensor = self._require(name)
        require_float(name, sensor.bands[0].unit, image)
        given = sensor.band_names if bands is None or name not in bands else tuple(bands[name])
        if image.dim() != 4 or image.shape[1] != len(given):
            raise InputError(
                f"{name}: image of shape {tuple(image.shape)}, expected (B, {len(given)}, H, W) for bands "
                f"{', '.join(given)}; name the bands given with bands={{{name!r}: [...]}}"
            )
        if not checked:
            require_no_infinities(name, given, image)
            require_unit(name, sensor, given, image)
        if given == sensor.band_names:
            return image.float()
        full = image.new_full((len(image), len(sensor.bands), *image.shape[2:]), torch.nan, dtype=torch.float32)
        full[:, list(sensor.indices_of(given))] = image.float()
        return full

    @staticmethod
    def _pad(image: Tensor, multiple: int) -> Tensor:
        """Adds rows and columns without data, so that the sides are multiples."""
        height, width = image.shape[-2:]
        return F.pad(image, (0, -width % multiple, 0, -height % multiple), value=torch.nan)

    @property
    def expert_parameters(self) -> int:
        """Parameters of the experts that one token does not pass through."""
        counts = [
            sum(p.numel() for p in module.experts.parameters()) * (1 - module.config.top_k / module.config.num_experts)
            for module in self.encoder.modules()
            if isinstance(module, MoE)
        ]
        return int(sum(counts))
