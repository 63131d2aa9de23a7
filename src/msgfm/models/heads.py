"""What stands on the feature maps of a trunk: one head for each kind of task.

A head takes the maps (finest first), the prepared images and the images as they were given, and returns what the
model returns. It crops what padding added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgfm.models.inputs import PreparedImages
from msgfm.models.normalize import Normalize
from msgfm.sensors import Sensor


class ClassificationHead(nn.Module):
    """Mean over the last map, layer normalisation, a linear layer."""

    def __init__(self, dims: Sequence[int], classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dims[-1])
        self.fc = nn.Linear(dims[-1], classes)
        nn.init.trunc_normal_(self.fc.weight, std=0.02)
        nn.init.zeros_(self.fc.bias)

    def forward(self, maps: list[Tensor], prepared: PreparedImages, images: Mapping[str, Tensor]) -> Tensor:
        """Logits (B, classes)."""
        pooled = unpad(maps, prepared)[-1].mean(dim=(2, 3))
        return cast(Tensor, self.fc(self.norm(pooled))).float()


class UPerNetHead(nn.Module):
    """UPerNet (Xiao et al. 2018) over all stages, by segmentation-models-pytorch.

    Args:
        dims: channels of the maps.
        classes: outputs per pixel.
        two_dates: the batch holds all images of one date, then those of the other; the decoder then sees the
            absolute difference of their normalised features, which does not depend on the order of the dates.
    """

    def __init__(self, dims: Sequence[int], classes: int, *, two_dates: bool = False) -> None:
        super().__init__()
        width = decoder_width(dims)
        self.two_dates = two_dates
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for dim in dims])
        self.decoder = make_upernet(dims, width)
        self.classifier = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, maps: list[Tensor], prepared: PreparedImages, images: Mapping[str, Tensor]) -> Tensor:
        """Logits (B, classes, H, W)."""
        maps = normalise_channels(self.norms, maps)
        if self.two_dates:
            maps = [(after - before).abs() for before, after in (map_.chunk(2) for map_ in maps)]
        # the decoder skips two maps that are finer than stride 4
        logits = self.classifier(self.decoder([maps[0], maps[0], *maps]))
        logits = F.interpolate(logits.float(), size=_padded_size(prepared), mode="bilinear", align_corners=False)
        return logits[:, :, : prepared.height, : prepared.width]


class RestorationHead(nn.Module):
    """All stages fused at the first one's stride, then to full resolution beside the inputs' own pixels.

    What it adds to the image that is restored is zero before training.

    Args:
        dims: channels of the maps.
        stride: pixels along one side of a token of the first map.
        in_chans: bands of all inputs.
        output: the image that is predicted.
    """

    def __init__(self, dims: Sequence[int], stride: int, in_chans: int, output: RestoredImage) -> None:
        super().__init__()
        width = decoder_width(dims)
        fine = max(16, width // 4)
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for dim in dims])
        self.lateral = nn.ModuleList([nn.Conv2d(dim, width, kernel_size=1) for dim in dims])
        self.fuse = nn.Sequential(nn.Conv2d(width, width, kernel_size=3, padding=1), nn.GELU())
        # as the decoders of pretraining: what lies within a patch is in its token's channels
        self.upsample = nn.Sequential(nn.Conv2d(width, fine * stride**2, kernel_size=1), nn.PixelShuffle(stride))
        self.pixels = nn.Sequential(
            nn.Conv2d(in_chans, fine, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(fine, fine, kernel_size=3, padding=1),
        )
        self.refine = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(2 * fine, fine, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(fine, fine, kernel_size=3, padding=1),
            nn.GELU(),
        )
        self.last = nn.Conv2d(fine, output.bands, kernel_size=3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(cast(Tensor, self.last.bias))
        self.output = output

    def forward(self, maps: list[Tensor], prepared: PreparedImages, images: Mapping[str, Tensor]) -> Tensor:
        """The restored image (B, bands of the target, H, W) in physical units."""
        maps = normalise_channels(self.norms, maps)
        size = maps[0].shape[-2:]
        fused = sum(
            F.interpolate(lateral(map_), size=size, mode="bilinear", align_corners=False)
            for lateral, map_ in zip(self.lateral, maps, strict=True)
        )
        pixels = self.pixels(torch.cat(list(prepared.normalised.values()), dim=1))
        residual = self.last(self.refine(torch.cat([self.upsample(self.fuse(fused)), pixels], dim=1)))
        return cast(Tensor, self.output(residual[:, :, : prepared.height, : prepared.width], images))


class RestoredImage(nn.Module):
    """What a network says in normalised units, added to an input image: the predicted image in physical units.

    Args:
        target: card of the predicted image.
        key: of the input image that is added to; None adds to the mean of the target's card.
        over: that image's card. Its bands are found by name and unit; those that it lacks are added to the mean.
    """

    index: Tensor

    def __init__(self, target: Sensor, key: str | None = None, over: Sensor | None = None) -> None:
        super().__init__()
        self.bands = len(target.bands)
        self.key = key
        self.normalize = Normalize(target)
        names = {(band.name, band.unit): i for i, band in enumerate(over.bands)} if over else {}
        positions = [names.get((band.name, band.unit), -1) for band in target.bands]
        self.register_buffer("index", torch.tensor(positions), persistent=False)

    def base(self, images: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """The image that is added to, (B, bands, H, W) float32: the input where it has data, else the mean.

        The mean of a card that centres images is that of the input's own heights, or 0 without any.
        """
        over = None if self.key is None else images.get(self.key)
        if over is None:
            known = torch.full_like(like, torch.nan, dtype=torch.float32)
        else:
            known = over.float()[:, self.index.clamp_min(0)]
            known = torch.where((self.index >= 0).view(-1, 1, 1), known, torch.nan)
        return torch.where(known.isfinite(), known, self.normalize.mean + self.normalize.centre_of(known))

    def forward(self, residual: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """(B, bands, H, W) in normalised units to the image in physical units, float32."""
        return self.base(images, residual) + residual.float() * self.normalize.std


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that takes its running statistics where a channel has one value only.

    So does the map that UPerNet pools to 1 x 1 when a batch has one image left.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        if self.training and x.numel() == self.num_features:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def make_upernet(dims: Sequence[int], width: int) -> nn.Module:
    """The decoder of UPerNet from maps of `dims` channels to `width` channels at the first map's size.

    Normalised by batches as the original: normalisation by images would make the same of small differences between
    two dates and of large ones. Our heads normalise the maps themselves.
    """
    from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder

    decoder: nn.Module = UPerNetDecoder((0, 0, *dims), encoder_depth=len(dims) + 1, decoder_channels=width)
    decoder.feature_norms = nn.ModuleList([nn.Identity() for _ in dims])
    for parent in list(decoder.modules()):
        for name, module in parent.named_children():
            if isinstance(module, nn.BatchNorm2d):
                setattr(parent, name, BatchNorm(module.num_features))
    return decoder


def decoder_width(dims: Sequence[int]) -> int:
    """Channels of a dense head: twice those of the first map, 256 at most."""
    return min(256, 2 * dims[0])


def normalise_channels(norms: nn.ModuleList, maps: Sequence[Tensor]) -> list[Tensor]:
    """Layer normalisation over the channels of each map (B, C, h, w): only the encoder's last one is normalised."""
    return [norm(map_.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for norm, map_ in zip(norms, maps, strict=True)]


def unpad(maps: Sequence[Tensor], prepared: PreparedImages) -> list[Tensor]:
    """The maps without the tokens that only padding filled."""
    height, width = _padded_size(prepared)
    return [
        map_[:, :, : -(-prepared.height * map_.shape[2] // height), : -(-prepared.width * map_.shape[3] // width)]
        for map_ in maps
    ]


def _padded_size(prepared: PreparedImages) -> tuple[int, int]:
    height, width = next(iter(prepared.normalised.values())).shape[-2:]
    return height, width
