"""What weights of others were trained to see: other means and spreads than those of the sensor cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgfm.models.baselines.first_conv import donors
from msgfm.sensors import Band, Sensor, load_sensor

Statistics = Literal["card", "imagenet", "physical", "seco"]

_IMAGENET = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))  # mean and std of red, green, blue in 0..1
# Red, green, blue as reflectance times 255 lie between these percentiles, which become 0 and 1 before ImageNet's
# normalisation (QUANTILES in datasets/seco_dataset.py of ServiceNow/seasonal-contrast; TorchGeo 0.8 has red's
# and blue's exchanged). What lies beyond them was clipped in training; here it is not.
_SECO = ((0, 129), (2, 103), (3, 88))


def cards_as_seen(sensors: Sequence[Sensor], statistics: Statistics) -> tuple[Sensor, ...]:
    """The cards with the means and spreads that normalisation is to use; bands, units and ranges stay.

    `imagenet` changes the red, green and blue of photographs (unit 1, read as 0..1), `seco` those of any sensor, as
    reflectance times 255; the other bands keep their cards'. `physical` has mean 0 and spread 1 for all.
    """
    return tuple(sensor.model_copy(update={"bands": _bands_as_seen(sensor, statistics)}) for sensor in sensors)


def _bands_as_seen(sensor: Sensor, statistics: Statistics) -> tuple[Band, ...]:
    if statistics == "card":
        return sensor.bands
    if statistics == "physical":
        return tuple(band.model_copy(update={"mean": 0.0, "std": 1.0}) for band in sensor.bands)
    rgb = load_sensor("sentinel2").select(("B04", "B03", "B02")).bands
    found = []
    for band, colour in zip(sensor.bands, donors(sensor.bands, rgb), strict=True):
        if colour is None or (statistics == "imagenet" and band.unit != "1"):
            found.append(band)
            continue
        mean, std = _IMAGENET[colour]
        if statistics == "seco":
            low, high = (value / 255 for value in _SECO[colour])
            mean, std = low + mean * (high - low), std * (high - low)
        found.append(band.model_copy(update={"mean": mean, "std": std}))
    return tuple(found)
