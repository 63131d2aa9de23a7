"""Inputs of a model for a task: how they are written, checked and normalised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_downstream import CARDS, photograph
from torch import Tensor

from msgfm.config import Config, config_from_dict, config_to_dict
from msgfm.errors import InputError
from msgfm.models.inputs import InputImage, Inputs, as_images
from msgfm.sensors import load_sensor


class Holder(Config):
    image: InputImage


def written(text: object) -> InputImage:
    return config_from_dict(Holder, {"image": text}, "recipe").image


def inputs(*texts: str, multiple: int = 32) -> Inputs:
    return Inputs([written(text) for text in texts], CARDS, multiple)


def by_hand(image: Tensor, name: str, *bands: str) -> Tensor:
    card = load_sensor(name).select(bands) if bands else load_sensor(name)
    mean, std = (torch.tensor([getattr(band, key) for band in card.bands]).view(-1, 1, 1) for key in ("mean", "std"))
    return (image - mean) / std


# ---- how they are written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sensor", "role", "bands", "key"),
    [
        ("sentinel2", "sentinel2", "", None, "sentinel2"),
        ("sentinel2@cloudy", "sentinel2", "cloudy", None, "sentinel2@cloudy"),
        ("sentinel2:B04, B03", "sentinel2", "", ("B04", "B03"), "sentinel2"),
        ("sentinel2@before:B8A", "sentinel2", "before", ("B8A",), "sentinel2@before"),
    ],
)
def test_short_and_long_forms_are_equal(text: str, sensor: str, role: str, bands: tuple, key: str) -> None:
    image = written(text)
    assert image == written({"sensor": sensor, "role": role, "bands": bands})
    assert image.key == key
    assert written(config_to_dict(image)) == image


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sentinel2@", r"write SENSOR\[@ROLE\]\[:BAND,...\]"),
        ("sentinel2:", "is not an image"),
        ("@cloudy", "is not an image"),
        ("Sentinel2", "image.sensor"),
        ("sentinel2@Cloudy day", "image.role"),
        ("sentinel2:B04,B04", "a band is named twice"),
        ({"sensor": "sentinel2", "rolle": "x"}, "did you mean 'role'"),
    ],
)
def test_what_is_no_image_is_told(text: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        written(text)


def test_card_of_an_input_has_its_bands_in_its_order() -> None:
    assert written("sentinel2@cloudy:B04,B03").card(CARDS).band_names == ("B04", "B03")
    assert written("sentinel1@after").card(CARDS) == load_sensor("sentinel1")
    with pytest.raises(InputError, match="no sensor 'landsat8'; there are sentinel1, sentinel2"):
        written("landsat8").card(CARDS)
    with pytest.raises(InputError, match=r"no band 'B4'.*did you mean B0?4"):
        written("sentinel2:B4").card(CARDS)


# ---- how they are normalised ----------------------------------------------------------------------------------------


def test_each_input_is_normalised_by_its_own_card() -> None:
    module = inputs("sentinel2@cloudy:B04,B03", "rgb")
    cloudy, photo = photograph(module.cards["sentinel2@cloudy"]), photograph(module.cards["rgb"])
    prepared = module({"sentinel2@cloudy": cloudy, "rgb": photo})
    assert list(prepared.normalised) == ["sentinel2@cloudy", "rgb"]
    torch.testing.assert_close(prepared.normalised["sentinel2@cloudy"], by_hand(cloudy, "sentinel2", "B04", "B03"))
    torch.testing.assert_close(prepared.normalised["rgb"], by_hand(photo, "rgb"))
    assert list(module.parameters()) == []
    assert module.state_dict() == {}


def test_no_data_and_padding_are_zero() -> None:
    module = inputs("rgb")
    image = photograph(module.cards["rgb"], height=33, width=20)
    image[:, 1, 3, 4] = torch.nan
    prepared = module({"rgb": image})
    normalised = prepared.normalised["rgb"]
    assert normalised.shape == (2, 3, 64, 32)
    assert (prepared.height, prepared.width) == (33, 20)
    assert normalised[:, :, 33:].abs().max() == normalised[:, :, :, 20:].abs().max() == 0
    assert (normalised[:, 1, 3, 4] == 0).all()
    torch.testing.assert_close(normalised[:, 2, :33, :20], by_hand(image, "rgb")[:, 2])


@pytest.mark.parametrize("name", ["rgb", "sentinel1", "dsm"])  # as it is, clipped, centred
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, 1e300])
def test_what_is_infinite_is_no_data(name: str, value: float) -> None:
    module = inputs(name)
    image = photograph(module.cards[name]).double()
    image[0, 0, 3, 4] = torch.nan
    expected = module({name: image})
    image[0, 0, 3, 4] = value
    assert torch.equal(module({name: image}).normalised[name], expected.normalised[name])
    image[1] = value
    assert not module({name: image}).normalised[name][1].any()
    assert module({name: image}).present[name].tolist() == [True, False]


def test_altitude_does_not_matter_where_the_card_centres() -> None:
    module = inputs("dsm")
    image = photograph(module.cards["dsm"], height=30, width=30)
    image[:, :, 5:9, 5:9] = torch.nan
    low, high = (module({"dsm": image + metres}).normalised["dsm"] for metres in (0, 1000))
    torch.testing.assert_close(low, high, atol=1e-4, rtol=0)
    torch.testing.assert_close(low.sum(dim=(1, 2, 3)), torch.zeros(2), atol=1e-2, rtol=0)


def test_image_without_data_is_as_good_as_none() -> None:
    module = inputs("rgb", "sentinel1")
    photo, radar = photograph(module.cards["rgb"]), photograph(module.cards["sentinel1"])
    blank = torch.full_like(photo, torch.nan)
    absent, empty = module({"sentinel1": radar}), module({"sentinel1": radar, "rgb": blank})
    for prepared in (absent, empty):
        assert prepared.normalised["rgb"].shape == photo.shape
        assert not prepared.normalised["rgb"].any()
        assert prepared.present["rgb"].tolist() == [False, False]
        assert prepared.present["sentinel1"].tolist() == [True, True]
    blank[1, 2, 0, 0] = 0.5
    assert module({"sentinel1": radar, "rgb": blank}).present["rgb"].tolist() == [False, True]


def test_images_that_do_not_go_together_are_named() -> None:
    module = inputs("rgb", "sentinel1")
    photo, radar = photograph(module.cards["rgb"]), photograph(module.cards["sentinel1"])
    with pytest.raises(InputError, match=r"none of the inputs rgb, sentinel1 is given, only sentinel2"):
        module({"sentinel2": photo})
    with pytest.raises(InputError, match=r"sentinel1: 2 images of 16 x 32 px, rgb: 2 of 32 x 32 px"):
        module({"rgb": photo, "sentinel1": radar[:, :, :16]})
    with pytest.raises(InputError, match=r"sentinel1: 1 images of 32 x 32 px, rgb: 2 of"):
        module({"rgb": photo, "sentinel1": radar[:1]})
    with pytest.raises(
        InputError, match=r"rgb: image of shape \(3, 32, 32\), expected \(B, 3, H, W\) for bands R, G, B"
    ):
        module({"rgb": photo[0]})


@pytest.mark.parametrize("odd", ["rows from below", "big-endian", "not contiguous"])
def test_arrays_are_taken_however_they_lie_in_memory(odd: str) -> None:
    plain = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    array = {
        "rows from below": plain[:, :, ::-1].copy()[:, :, ::-1],
        "big-endian": plain.astype(">f4"),
        "not contiguous": plain.repeat(2, axis=3)[..., ::2],
    }[odd]
    assert torch.equal(as_images({"rgb": array})["rgb"], torch.from_numpy(plain))


# ---- what is silently wrong -----------------------------------------------------------------------------------------


def test_a_unit_is_wrong_where_nearly_all_of_a_band_is_out_of_range() -> None:
    """Clouds and snow are out of range, too, and may cover most of an image."""
    module = inputs("rgb")
    image = photograph(module.cards["rgb"], height=32).clamp(0, 1)
    image[:, 1, :26] = 7
    module.check({"rgb": image}, allow_missing=False)
    image[:, 1, :30] = 7
    with pytest.raises(InputError, match=r"rgb, band G: values around 7, expected 0\.\.1"):
        module.check({"rgb": image}, allow_missing=False)


def test_what_is_clipped_may_be_out_of_range() -> None:
    module = inputs("sentinel1")
    assert module.cards["sentinel1"].clip
    low, _ = module.cards["sentinel1"].bands[0].valid_range
    module.check({"sentinel1": torch.full((1, 2, 8, 8), low - 5)}, allow_missing=False)
