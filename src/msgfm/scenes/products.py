"""What a model makes of windows: channels that are blended, and what is stored of complete rows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msgfm.display import class_colour, class_colours
from msgfm.errors import InputError
from msgfm.geo.grid import Grid
from msgfm.geo.spec import RasterClass, RasterSpec, StoredBand
from msgfm.models.downstream import DownstreamModel
from msgfm.models.tasks import Restoration
from msgfm.scenes.engine import Image, Images, Piece, Read
from msgfm.scenes.parts import Array, Arrays

MAIN = "result"
OBSERVED, SYNTHESISED = 0, 1
_MIRRORED: tuple[tuple[int, ...], ...] = ((-1,), (-2,), (-2, -1))
_FAR = 1e6
"""Standard deviations by which a pixel was changed of which nothing was observed."""


@dataclass(frozen=True, kw_only=True)
class ProductOptions:
    """What is wanted beside the result itself.

    Args:
        probabilities: of class maps, a layer with the probability of each class.
        entropy: of class maps, a layer with the entropy of the probabilities, 0-1.
        uncertainty: of restored images, a layer with the standard deviation of what is predicted of the window and of
            its mirror images, per band.
        synthesised: of restored images that are laid over an input, a layer that tells pixels that the model left as
            they were observed from those that it changed.
        changed_above: of the latter, by how much at least, in standard deviations of a band (of its card).
    """

    probabilities: bool = False
    entropy: bool = False
    uncertainty: bool = False
    synthesised: bool = False
    changed_above: float = 0.25


class Product(ABC):
    """A model and what is made of it.

    channels: of `predict`. layers: what each raster of the result holds; `MAIN` is the result itself.
    """

    channels: int
    layers: dict[str, RasterSpec]

    def reads(self, read: Read) -> Read:
        """How the scene is read for `predict`."""
        return read

    @abstractmethod
    def predict(self, images: Images) -> Image:
        """Windows (B, C, h, w) by key to channels (B, K, h, w), which are then blended."""

    @abstractmethod
    def encode(self, piece: Piece) -> Arrays:
        """Complete rows as they are stored, by layer."""


class ClassMap(Product):
    """Of segmentation and change detection: the class of each pixel; its probabilities and their entropy."""

    def __init__(self, model: DownstreamModel, device: torch.device, grid: Grid, options: ProductOptions) -> None:
        task = model.config.task
        assert not isinstance(task, Restoration)
        self.model, self.device, self.channels = model, device, len(task.classes)
        colours = class_colours(dict(enumerate(task.classes)))
        classes = tuple(
            RasterClass(value=value, name=name, colour=colours[value]) for value, name in enumerate(task.classes)
        )
        self.layers = {MAIN: _class_layer(grid, "class", classes)}
        if options.probabilities:
            self.layers["probabilities"] = float_layer(grid, [StoredBand(name=name) for name in task.classes])
        if options.entropy:
            self.layers["entropy"] = float_layer(grid, [StoredBand(name="entropy")])

    def predict(self, images: Images) -> Image:
        """Probabilities (B, classes, h, w)."""
        with torch.inference_mode():
            return as_array(self.model(to_tensors(images, self.device)).softmax(1))

    def encode(self, piece: Piece) -> Arrays:
        """The likeliest class, the largest number of the type where there is no data; the others are NaN there."""
        arrays: dict[str, Array] = {MAIN: _encode_classes(likeliest(piece.values)[None], piece, self.layers[MAIN])}
        if "probabilities" in self.layers:
            arrays["probabilities"] = np.where(piece.valid, piece.values, np.float32(np.nan))
        if "entropy" in self.layers:
            known = piece.values.clip(1e-12, 1)
            entropy = -(known * np.log(known)).sum(0, keepdims=True) / np.float32(math.log(self.channels))
            arrays["entropy"] = np.where(piece.valid, entropy, np.float32(np.nan)).astype(np.float32)
        return arrays


class RestoredImage(Product):
    """Of restoration and translation: an image of the target's bands, stored as the input's files store theirs.

    Args:
        run: from images by key, tensors (B, C, h, w), to the image (B, bands, h, w) in physical units.
        device: that it runs on.
        spec: what is stored of it.
        std: (bands,) of the target's card, what changes are measured in.
        over: key of the input that the result is laid over, and for each band of the target its position there; None
            for a target of another sensor, of which everything is synthesised.
        options: what is wanted beside it.
    """

    def __init__(
        self,
        run: Callable[[Mapping[str, Tensor]], Tensor],
        device: torch.device,
        *,
        spec: RasterSpec,
        std: Tensor,
        over: tuple[str, tuple[int | None, ...]] | None,
        options: ProductOptions,
    ) -> None:
        if options.synthesised and over is None:
            raise InputError(
                "--synthesised tells what was changed of an input; this model makes a new image, which is synthesised "
                "everywhere"
            )
        self.run, self.device, self.options = run, device, options
        self.std, self.over, self.bands = std.to(device), over, len(spec.bands)
        self.layers = {MAIN: spec}
        self.channels = self.bands
        if options.uncertainty:
            self.layers["uncertainty"] = float_layer(spec.grid, [replace(b, scale=1.0, offset=0.0) for b in spec.bands])
            self.channels += self.bands
        if options.synthesised:
            classes = (
                RasterClass(value=OBSERVED, name="observed", colour=class_colour(OBSERVED)),
                RasterClass(value=SYNTHESISED, name="synthesised", colour=class_colour(SYNTHESISED)),
            )
            self.layers["synthesised"] = _class_layer(spec.grid, "origin", classes)
            self.channels += 1

    def predict(self, images: Images) -> Image:
        """The image, the deviation of its mirrored predictions, and by how much it was changed."""
        tensors = to_tensors(images, self.device)
        with torch.inference_mode():
            restored = self.run(tensors).float()
            channels = [restored]
            if self.options.uncertainty:
                channels.append(self._deviation(tensors, restored))
            if self.options.synthesised:
                channels.append(self._change(tensors, restored))
            return as_array(torch.cat(channels, dim=1))

    def _deviation(self, images: Mapping[str, Tensor], restored: Tensor) -> Tensor:
        versions = [restored]
        for dims in _MIRRORED:
            mirrored = self.run({key: image.flip(dims) for key, image in images.items()}).float()
            versions.append(mirrored.flip(dims))
        return torch.stack(versions).std(0, correction=0)

    def _change(self, images: Mapping[str, Tensor], restored: Tensor) -> Tensor:
        """(B, 1, h, w): the largest difference of a band to what was observed, in standard deviations."""
        assert self.over is not None
        key, positions = self.over
        shared = [(band, position) for band, position in enumerate(positions) if position is not None]
        if not shared:  # the input is left out, or has none of these bands
            return torch.full_like(restored[:, :1], _FAR)
        ours, theirs = [band for band, _ in shared], [position for _, position in shared]
        difference = (restored[:, ours] - images[key][:, theirs]).abs() / self.std[ours].view(-1, 1, 1)
        return difference.nan_to_num(nan=_FAR).amax(1, keepdim=True)

    def encode(self, piece: Piece) -> Arrays:
        """Stored numbers; of the other layers NaN, or 255, where there is no data."""
        known = np.where(piece.valid, piece.values, np.float32(np.nan))
        arrays: dict[str, Array] = {MAIN: self.layers[MAIN].encode(known[: self.bands])}
        if self.options.uncertainty:
            arrays["uncertainty"] = known[self.bands : 2 * self.bands]
        if self.options.synthesised:
            changed = np.where(piece.values[-1:] > self.options.changed_above, SYNTHESISED, OBSERVED)
            arrays["synthesised"] = _encode_classes(changed, piece, self.layers["synthesised"])
        return arrays


def _class_layer(grid: Grid, name: str, classes: tuple[RasterClass, ...]) -> RasterSpec:
    """The smallest type that holds the classes and one number more, its largest, for no data."""
    dtype = "uint8" if len(classes) <= np.iinfo(np.uint8).max else "uint16"
    nodata = float(np.iinfo(dtype).max)
    return RasterSpec(grid=grid, dtype=dtype, bands=(StoredBand(name=name),), nodata=nodata, classes=classes)


def likeliest(values: Image) -> NDArray[np.uint16]:
    """(h, w) the number of the largest of the channels (K, h, w), the first of equals.

    As `argmax`, which takes nine times as long along the first axis.
    """
    numbers, largest = np.zeros(values.shape[1:], np.uint16), values[0].copy()
    for number, channel in enumerate(values[1:], 1):
        np.maximum(numbers, (channel > largest) * np.uint16(number), out=numbers)  # which is larger than those before
        np.maximum(largest, channel, out=largest)
    return numbers


def _encode_classes(numbers: NDArray[np.integer[Any]], piece: Piece, spec: RasterSpec) -> Array:
    """(1, h, w) numbers of classes as a layer stores them."""
    assert spec.nodata is not None
    stored: Array = np.where(piece.valid, numbers, int(spec.nodata)).astype(spec.dtype)
    return stored


def float_layer(grid: Grid, bands: Sequence[StoredBand]) -> RasterSpec:
    """Measurements, NaN where there is no data."""
    return RasterSpec(grid=grid, dtype="float32", bands=tuple(bands), nodata=math.nan)


def to_tensors(images: Images, device: torch.device) -> dict[str, Tensor]:
    """Arrays as tensors on a device."""
    return {key: torch.from_numpy(image).to(device) for key, image in images.items()}


def as_array(values: Tensor) -> Image:
    """A tensor as a float32 array."""
    array: Image = values.float().cpu().numpy()
    return array
