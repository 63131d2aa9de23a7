"""What a downstream model looks at: images by key, their bands, and how a batch of them is checked and normalised."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from msgfm.config import Config
from msgfm.errors import InputError
from msgfm.models.normalize import Normalize
from msgfm.sensors import Sensor

_NAME = r"^[a-z][a-z0-9_]*$"


class InputImage(Config):
    """One image of a sample: its sensor, its role, and which of the sensor's bands are used.

    In a recipe `sentinel2@cloudy:B04,B03,B02` says the same in short, as in `msgfm data index pairs --sensor`.

    Args:
        sensor: name of the sensor card.
        role: what tells images of one sensor in a sample apart (`cloudy`, `before`, `after`); empty for ordinary ones.
        bands: names, in the order in which the model takes them; null takes all of the card's.
    """

    sensor: str = Field(pattern=_NAME)
    role: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*)?$")
    bands: tuple[str, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, settings: Any) -> Any:
        if not isinstance(settings, str):
            return settings
        match = re.fullmatch(r"([^@:]+)(?:@([^@:]+))?(?::([^@:]+))?", settings.strip())
        if match is None:
            raise ValueError(
                f"{settings!r} is not an image; write SENSOR[@ROLE][:BAND,...], as sentinel2@cloudy:B04,B03"
            )
        sensor, role, bands = match.groups()
        names = tuple(name.strip() for name in bands.split(",")) if bands else None
        return {"sensor": sensor, "role": role or "", "bands": names}

    @model_validator(mode="after")
    def _check(self) -> InputImage:
        if self.bands and len(set(self.bands)) < len(self.bands):
            raise ValueError(f"{self.key}: a band is named twice in {', '.join(self.bands)}")
        return self

    @property
    def key(self) -> str:
        """`sentinel2`, or `sentinel2@cloudy` for an image with a role; as `SensorImage.key`."""
        return f"{self.sensor}@{self.role}" if self.role else self.sensor

    def card(self, sensors: Sequence[Sensor]) -> Sensor:
        """The card of this image's sensor with the bands that are used, in their order.

        Raises:
            InputError: no such sensor or band.
        """
        for sensor in sensors:
            if sensor.name == self.sensor:
                return sensor if self.bands is None else sensor.select(self.bands)
        raise InputError(f"{self.key}: no sensor {self.sensor!r}; there are {', '.join(s.name for s in sensors)}")


class PreparedImages(NamedTuple):
    """A batch as the network takes it.

    normalised: by key (B, C, H', W'), 0 where there is no data; H' and W' are multiples of the network's stride.
    present: by key (B,) bool, whether the image has any data. height, width: before padding.
    """

    normalised: dict[str, Tensor]
    present: dict[str, Tensor]
    height: int
    width: int


class Inputs(nn.Module):
    """Checks, completes, normalises and pads the images of a batch. It has no weights."""

    def __init__(self, inputs: Sequence[InputImage], sensors: Sequence[Sensor], multiple: int) -> None:
        super().__init__()
        self.cards = {image.key: image.card(sensors) for image in inputs}
        self.multiple = multiple
        self.normalize = nn.ModuleDict({key: Normalize(card) for key, card in self.cards.items()})

    def forward(self, images: Mapping[str, Tensor]) -> PreparedImages:
        """Normalises the images of a batch; a key that is not there is an image without data.

        Args:
            images: by key (B, C, H, W) in physical units, NaN where there is no data, as is taken what is infinite; of
                any floating type. Other keys are not looked at.

        Raises:
            InputError: none of the inputs is there, or their shapes differ from the cards' or from each other's.
        """
        given = [key for key in self.cards if key in images]
        if not given:
            raise InputError(
                f"none of the inputs {', '.join(self.cards)} is given, only {', '.join(images) or 'nothing'}"
            )
        for key in given:
            require_bands(key, self.cards[key], images[key])
        images = {key: images[key].float() for key in given}
        batch, _, height, width = images[given[0]].shape
        for key in given:
            of_it, _, rows, cols = images[key].shape
            if (of_it, rows, cols) != (batch, height, width):
                raise InputError(
                    f"{key}: {of_it} images of {rows} x {cols} px, {given[0]}: {batch} of {height} x {width} px; bring "
                    f"them to one grid"
                )
        normalised, present = {}, {}
        for key, card in self.cards.items():
            image = images.get(key)
            if image is None:
                image = images[given[0]].new_full((batch, len(card.bands), height, width), torch.nan)
            present[key] = image.isfinite().flatten(1).any(1)
            normalize = cast(Normalize, self.normalize[key])
            values = cast(Tensor, normalize(image, normalize.centre_of(image))).nan_to_num(nan=0.0)
            normalised[key] = F.pad(values, (0, -width % self.multiple, 0, -height % self.multiple))
        return PreparedImages(normalised, present, height, width)

    def check(self, images: Mapping[str, Tensor], *, allow_missing: bool) -> None:
        """Refuses what is silently wrong: sensors that lack or are unknown, other bands, another unit.

        Of images without any data it warns only: the margins of a scene may have some.

        Raises:
            InputError: names the key, what is wrong and what is expected.
        """
        expected = ", ".join(f"{key} ({', '.join(card.band_names)})" for key, card in self.cards.items())
        if unknown := sorted(set(images) - set(self.cards)):
            raise InputError(f"the model has no input {unknown[0]!r}; it takes {expected}")
        missing = [key for key in self.cards if key not in images]
        if missing and not allow_missing:
            raise InputError(
                f"no image of {', '.join(missing)}; the model takes {expected}. Where it is missing on purpose, say "
                f"allow_missing=True"
            )
        for key, image in images.items():
            card = self.cards[key]
            require_float(key, card.bands[0].unit, image)
            require_bands(key, card, image)
            require_no_infinities(key, card.band_names, image)
            require_unit(key, card, card.band_names, image)
        _warn_of_no_data(images)


def as_images(images: object) -> dict[str, Tensor]:
    """Tensors of what may be arrays, by key.

    Raises:
        InputError: no mapping, or what is in it is neither tensor nor array of numbers.
    """
    if not isinstance(images, Mapping):
        raise InputError(
            f"images come by key, as {{'sentinel2': image}}, with images (B, C, H, W); these are a "
            f"{type(images).__name__}"
        )
    return {key: _as_tensor(key, image) for key, image in images.items()}


def _as_tensor(key: str, image: object) -> Tensor:
    """A tensor of what may be an array.

    Raises:
        InputError: neither, or an array of something else than numbers.
    """
    if isinstance(image, np.ndarray):  # torch takes no strides that go back, and no other byte order
        image = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
    try:
        return torch.as_tensor(image)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{key}: no image: {error}; give an array or tensor (B, C, H, W)") from error


def require_float(key: str, unit: str, image: object) -> None:
    """Raises `InputError` unless the image is a float tensor, which alone can say where there is no data."""
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise InputError(
            f"{key}: image is {kind}; give a float tensor in the card's unit ({unit}), NaN where there is no data"
        )


def require_bands(key: str, card: Sensor, image: Tensor) -> None:
    """Raises `InputError` unless the image is (B, C, H, W) with the card's bands."""
    if image.dim() != 4 or image.shape[1] != len(card.bands):
        raise InputError(
            f"{key}: image of shape {tuple(image.shape)}, expected (B, {len(card.bands)}, H, W) for bands "
            f"{', '.join(card.band_names)}"
        )
    if not image.numel():
        raise InputError(f"{key}: image of shape {tuple(image.shape)} has no pixels; give one image at least")


def require_no_infinities(key: str, bands: Sequence[str], image: Tensor) -> None:
    """Raises `InputError` where a band of the image (B, C, H, W) has infinite values, as float32 or as it is."""
    infinite = image.float().isinf()
    if not infinite.any():
        return
    counts = infinite.sum(dim=(0, 2, 3)).tolist()
    band, count = next((band, count) for band, count in zip(bands, counts, strict=True) if count)
    raise InputError(f"{key}, band {band}: {count} infinite values; give NaN where there is no data")


def require_unit(key: str, card: Sensor, bands: Sequence[str], image: Tensor) -> None:
    """Refuses an image of which a band lies almost wholly outside the card's range: its unit is another.

    Args:
        key: what the image is called in the error.
        card: one that clips is used to values outside its range; its images pass.
        bands: of the image, by name.
        image: (B, C, H, W).
    """
    if card.clip:
        return
    for band, values in zip((card.bands[i] for i in card.indices_of(bands)), image.unbind(1), strict=True):
        low, high = band.valid_range
        values = values[values.isfinite()]
        if len(values) and ((values < low) | (values > high)).float().mean() > 0.9:
            raise InputError(
                f"{key}, band {band.name}: values around {float(values.median()):.4g}, expected "
                f"{low:g}..{high:g} {band.unit}; stored numbers become physical ones by (stored + {band.offset:g}) * "
                f"{band.scale:g}"
            )


def _warn_of_no_data(images: Mapping[str, Tensor]) -> None:
    """A class map does not tell that it was predicted where nothing was seen."""
    present = [image.isfinite().flatten(1).any(1) for image in images.values()]
    if len({len(one) for one in present}) > 1:  # which `forward` refuses
        return
    if present and (empty := int((~torch.stack(present).any(0)).sum())):
        warnings.warn(
            f"{empty} of {len(present[0])} images have no data (NaN) in any input; what is predicted of them means "
            f"nothing",
            stacklevel=5,  # the caller of `predict`, which torch decorates
        )
