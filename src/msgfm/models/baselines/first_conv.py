"""The first convolution of an encoder that was trained on other bands: kernels go by wavelength and polarisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from msgfm.errors import InputError
from msgfm.models.inputs import InputImage
from msgfm.sensors import Band, load_sensor

# Bands further apart than this show different things.
_WITHIN_NM = 60.0

# What files of so many bands were trained on: ImageNet and SeCo, SSL4EO-S12 radar, Level-2A and Level-1C. The three of
# photographs are looked for where Sentinel-2 has them, for blue is 490 nm on satellites and aerosols are at 443 nm.
_TRAINED_ON = {2: "sentinel1", 3: "sentinel2:B04,B03,B02", 12: "sentinel2_l2a", 13: "sentinel2"}


def bands_of_weights(count: int, trained_on: InputImage | None) -> tuple[Band, ...]:
    """The bands that a first convolution of `count` channels takes.

    Raises:
        InputError: nothing was said, and it cannot be told from the number; or what was said has another number.
    """
    if trained_on is None and count not in _TRAINED_ON:
        raise InputError(
            f"the weights take {count} bands; say which with backbone.trained_on, as in trained_on: "
            f"landsat8:B1,B2,B3 (known without: {', '.join(f'{n} ({name})' for n, name in _TRAINED_ON.items())})"
        )
    image = trained_on or InputImage.model_validate(_TRAINED_ON[count])
    bands = image.card([load_sensor(image.sensor)]).bands
    if len(bands) != count:
        raise InputError(f"backbone.trained_on: {image.key} has {len(bands)} bands, the weights take {count}")
    return bands


def donors(wanted: Sequence[Band], have: Sequence[Band]) -> list[int | None]:
    """For each band wanted the position of the one in `have` that is alike, used once; None where there is none.

    Alike are bands of one polarisation, and bands at most 60 nm apart, the nearest pairs first.
    """
    pairs = sorted(
        (distance, i, j)
        for i, band in enumerate(wanted)
        for j, other in enumerate(have)
        if (distance := _distance(band, other)) <= _WITHIN_NM
    )
    found: dict[int, int] = {}
    for _, i, j in pairs:
        if i not in found and j not in found.values():
            found[i] = j
    return [found.get(i) for i in range(len(wanted))]


def adapt_first_conv(
    kernel: Tensor, have: Sequence[Band], images: Sequence[Sequence[Band]]
) -> tuple[Tensor, list[str]]:
    """Makes the kernel of a first convolution fit other bands.

    In every image a band takes the kernel of the band that is alike, divided by the number of images that use it (two
    dates of one sensor together then give what one gave). Bands without one share the mean kernel, scaled so that
    together they weigh as much as the file's bands that were not used, and at least as one.

    Args:
        kernel: (O, C, k, k), of C bands.
        have: those bands.
        images: bands of each image of the new, stacked input.

    Returns:
        The kernel (O, bands of all images, k, k), and for each band the name of its donor, empty for the mean.
    """
    chosen = [donor for bands in images for donor in donors(bands, have)]
    used = [donor for donor in chosen if donor is not None]
    alone = len(chosen) - len(used)
    mean = kernel.mean(dim=1) * max(1, len(have) - len(set(used))) / max(1, alone)
    kernels = [mean if donor is None else kernel[:, donor] / used.count(donor) for donor in chosen]
    return torch.stack(kernels, dim=1), ["" if donor is None else have[donor].name for donor in chosen]


def _distance(band: Band, other: Band) -> float:
    """Between two bands in nm; 0 of one polarisation; infinite where they cannot be compared."""
    if band.polarisation or other.polarisation:
        return 0.0 if band.polarisation == other.polarisation else float("inf")
    if band.wavelength_nm is None or other.wavelength_nm is None:
        return float("inf")
    return abs(band.wavelength_nm - other.wavelength_nm)
