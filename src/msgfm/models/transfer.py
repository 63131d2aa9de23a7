"""From a pretrained model to a trunk: kernels by band name, and for new bands those of the most alike ones.

A band that pretraining did not see starts from one of the same nature: in the same part of the spectrum the nearest
in wavelength, for radar the same polarisation, for heights and the like the same unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from msgfm.errors import InputError
from msgfm.models.msgfm import MsGFM
from msgfm.models.patch_embed import ConvPatchEmbed, PatchEmbedConfig, StridedPatchEmbed, make_patch_embed
from msgfm.models.swin import EncoderConfig
from msgfm.models.trunk import STACKED, SwinTrunk
from msgfm.models.weights import load_strictly, resize_window_bias
from msgfm.sensors import Band, Sensor

Embedding = ConvPatchEmbed | StridedPatchEmbed
How = Literal["name", "wavelength", "polarisation", "unit", "random"]
THERMAL_NM = 3000.0
"""Beyond it sensors see heat, below it the sun's light."""


@dataclass(frozen=True, kw_only=True)
class BandOrigin:
    """Where the kernels of one input band come from.

    Args:
        key: of the input image.
        band: its band.
        sensor: the pretrained sensor; empty if there is none.
        donor: its band; empty if the kernels start at random.
        how: by `name`, or by what the donor was found to be alike.
        share: how many new bands of this input share the donor; each starts from as large a part of its kernels.
    """

    key: str
    band: str
    sensor: str
    donor: str
    how: How
    share: int = 1

    def __str__(self) -> str:
        if self.how == "random":
            return f"{self.key} {self.band}: random"
        part = f", 1/{self.share} of it" if self.share > 1 else ""
        return f"{self.key} {self.band}: {self.sensor} {self.donor} (by {self.how}{part})"


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """What came from the pretrained model.

    Args:
        bands: the origin of each input band's kernels, in the order of the inputs.
        pretrained: whether there was a pretrained model at all.
        window: attention window before and after, where the position bias was interpolated.
        statistics: sensors whose mean, std, clipping or centring are the pretrained model's and not the given card's.
        notes: of a baseline, instead of all these: what its weights are.
    """

    bands: tuple[BandOrigin, ...]
    pretrained: bool
    window: tuple[int, int] | None = None
    statistics: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def describe(self) -> list[str]:
        """One line for everything that is not simply the pretrained sensor's own."""
        if self.notes:
            return list(self.notes)
        if not self.pretrained:
            return ["random initialisation"]
        lines = [str(origin) for origin in self.bands if origin.how != "name"]
        if self.window:
            lines.append(f"position bias interpolated from windows of {self.window[0]} to {self.window[1]} tokens")
        lines += [f"{name} is normalised as in pretraining, not by the card given" for name in self.statistics]
        return lines


def transfer_weights(trunk: SwinTrunk, cards: Mapping[str, Sensor], pretrained: MsGFM) -> TransferReport:
    """Starts a trunk's embeddings and encoder from a pretrained model.

    Args:
        trunk: is changed in place.
        cards: the card of each of the trunk's inputs, with the bands used, by key.
        pretrained: where kernels and encoder come from.

    Raises:
        InputError: encoder or embedding are of another shape.
    """
    encoder = trunk.encoder.config
    require_same_shape(encoder, trunk.patch_embed_config, pretrained)
    embeddings, origins = [], []
    for key, card in cards.items():
        embedding, of_it = transferred_embedding(key, card, pretrained)
        embeddings.append(embedding)
        origins += of_it
    if trunk.transfer == "stack":
        join_embeddings(cast(Embedding, trunk.patch_embed[STACKED]), embeddings)
    else:
        for key, embedding in zip(cards, embeddings, strict=True):
            trunk.patch_embed[key].load_state_dict(embedding.state_dict())
    old = pretrained.config.encoder.window_size
    state = {
        name: resize_window_bias(name, tensor, encoder.window_size)
        for name, tensor in pretrained.encoder.state_dict().items()
    }
    load_strictly(trunk.encoder, state, "the pretrained model")
    window = None if old == encoder.window_size else (old, encoder.window_size)
    return TransferReport(bands=tuple(origins), pretrained=True, window=window)


def require_same_shape(encoder: EncoderConfig, patch_embed: PatchEmbedConfig, pretrained: MsGFM) -> None:
    """Raises `InputError` unless the pretrained weights fit; window, drop path and routing may differ."""
    own, given = encoder, pretrained.config.encoder
    pairs = {key: (getattr(own, key), getattr(given, key)) for key in ("embed_dim", "depths", "num_heads", "mlp_ratio")}
    for key in ("stage", "blocks", "num_experts"):
        pairs[f"moe.{key}"] = (getattr(own.moe, key, None), getattr(given.moe, key, None))
    for key in ("kind", "patch_size", *(["conv_channels"] if patch_embed.kind == "conv" else [])):
        pairs[f"patch_embed.{key}"] = (getattr(patch_embed, key), getattr(pretrained.config.patch_embed, key))
    for key, (asked, there) in pairs.items():
        if asked != there:
            raise InputError(f"the pretrained encoder has {key} {there}, asked for is {asked}; leave it as pretrained")


def transferred_embedding(key: str, card: Sensor, pretrained: MsGFM) -> tuple[Embedding, list[BandOrigin]]:
    """The embedding of one input, and where its kernels come from; what nothing is alike to stays random.

    A sensor that pretraining saw keeps its own embedding. Another one takes that of the pretrained sensor which is
    alike to most of its bands and nearest to them: one only, since a projection belongs to its sensor's features.
    """
    config = pretrained.config
    embedding = make_patch_embed(config.patch_embed, in_chans=len(card.bands), embed_dim=config.encoder.embed_dim)
    source = pretrained.sensors.get(card.name) or most_alike(card, config.sensors)
    origins = band_origins(key, card, source)
    if source is None or all(origin.how == "random" for origin in origins):
        return embedding, origins
    theirs = cast(Embedding, pretrained.patch_embed[source.name])
    with torch.no_grad():
        first = "conv.weight" if isinstance(embedding, ConvPatchEmbed) else "proj.weight"  # what sees the bands
        state = theirs.state_dict()
        kernels = embedding.state_dict()[first].clone()
        for position, origin in enumerate(origins):
            if origin.how != "random":
                kernels[:, position] = state[first][:, source.index_of(origin.donor)] / origin.share
        embedding.load_state_dict(state | {first: kernels})
    return embedding, origins


def join_embeddings(joined: Embedding, parts: Sequence[Embedding]) -> None:
    """Makes `joined`, over the bands of all parts, give the sum of what the parts give before their layer norms.

    With a convolution before the patches, `joined` has each part's channels beside the others': kernels that would
    mix inputs start at zero. The parameters of the layer norms are averaged.
    """
    with torch.no_grad():
        if isinstance(joined, ConvPatchEmbed):
            joined.conv.weight.zero_()
            row = col = 0
            for part in cast("list[ConvPatchEmbed]", parts):
                rows, cols = part.conv.weight.shape[:2]
                joined.conv.weight[row : row + rows, col : col + cols] = part.conv.weight
                row, col = row + rows, col + cols
            _bias(joined.conv).copy_(torch.cat([_bias(part.conv) for part in cast("list[ConvPatchEmbed]", parts)]))
        joined.proj.weight.copy_(torch.cat([part.proj.weight for part in parts], dim=1))
        _bias(joined.proj).copy_(torch.stack([_bias(part.proj) for part in parts]).sum(0))
        joined.norm.weight.copy_(torch.stack([part.norm.weight for part in parts]).mean(0))
        joined.norm.bias.copy_(torch.stack([part.norm.bias for part in parts]).mean(0))


def _bias(convolution: nn.Conv2d) -> Tensor:
    return cast(Tensor, convolution.bias)


def band_origins(key: str, card: Sensor, source: Sensor | None) -> list[BandOrigin]:
    """For each band of an input the band of the pretrained sensor `source` that it starts from."""
    found: list[tuple[str, How]] = []
    for band in card.bands:
        if source is None:
            found.append(("", "random"))
        elif source.name == card.name and band.name in source.band_names:
            found.append((band.name, "name"))
        else:
            distances = {donor.name: band_distance(band, donor) for donor in source.bands}
            alike = {name: value for name, value in distances.items() if value is not None}
            found.append((min(alike, key=alike.__getitem__), _nature(band)) if alike else ("", "random"))
    shares = Counter(donor for donor, how in found if how not in ("name", "random"))
    return [
        BandOrigin(
            key=key,
            band=band.name,
            sensor=source.name if source and donor else "",
            donor=donor,
            how=how,
            share=shares[donor] if how not in ("name", "random") else 1,
        )
        for band, (donor, how) in zip(card.bands, found, strict=True)
    ]


def most_alike(card: Sensor, pretrained: Sequence[Sensor]) -> Sensor | None:
    """The sensor with bands alike to most of the card's, of several the one whose bands are nearest on average."""
    ranked: list[tuple[int, float, int, Sensor]] = []
    for sensor in pretrained:
        nearest = [
            min(
                (distance for donor in sensor.bands if (distance := band_distance(band, donor)) is not None),
                default=None,
            )
            for band in card.bands
        ]
        alike = [value for value in nearest if value is not None]
        if alike:
            ranked.append((-len(alike), sum(alike) / len(alike), len(ranked), sensor))
    return min(ranked)[-1] if ranked else None


def band_distance(band: Band, donor: Band) -> float | None:
    """How far two bands are apart: nanometres between them, or 0 to 2 for radar; None if they are not alike at all."""
    if band.wavelength_nm and donor.wavelength_nm:
        same_light = (band.wavelength_nm < THERMAL_NM) == (donor.wavelength_nm < THERMAL_NM)
        return abs(band.wavelength_nm - donor.wavelength_nm) if same_light else None
    if band.polarisation and donor.polarisation:
        if band.polarisation == donor.polarisation:
            return 0.0
        crossed = [len(set(polarisation)) == 2 for polarisation in (band.polarisation, donor.polarisation)]
        return 1.0 if crossed[0] == crossed[1] else 2.0
    plain = not (band.wavelength_nm or donor.wavelength_nm or band.polarisation or donor.polarisation)
    return 0.0 if plain and band.unit == donor.unit else None


def _nature(band: Band) -> How:
    return "wavelength" if band.wavelength_nm else "polarisation" if band.polarisation else "unit"


def with_pretrained_statistics(
    sensors: Sequence[Sensor], pretrained: MsGFM
) -> tuple[tuple[Sensor, ...], tuple[str, ...]]:
    """The cards with the normalisation that the pretrained kernels are used to, and the names of those it changed.

    Of sensors that pretraining saw: mean, std and valid range of each band that it knew, clipping and centring.

    Raises:
        InputError: a band is in another unit than in pretraining.
    """
    cards = [_as_pretrained(card, pretrained.sensors.get(card.name)) for card in sensors]
    return tuple(cards), tuple(card.name for card, given in zip(cards, sensors, strict=True) if card != given)


def _as_pretrained(card: Sensor, known: Sensor | None) -> Sensor:
    if known is None:
        return card
    theirs = {band.name: band for band in known.bands}
    bands = []
    for band in card.bands:
        seen = theirs.get(band.name, band)
        if seen.unit != band.unit:
            raise InputError(
                f"sensor {card.name}, band {band.name}: in {band.unit}, the pretrained model had it in {seen.unit}; "
                f"use the model's card, or give the sensor another name"
            )
        changes = {key: getattr(seen, key) for key in ("mean", "std", "valid_range")}
        bands.append(band.model_copy(update=changes))
    return card.model_copy(update={"bands": tuple(bands), "clip": known.clip, "centre": known.centre})
