"""The first convolution of an encoder for other bands than it was trained on."""

import torch

from msgfm.models.baselines.first_conv import adapt_first_conv, bands_of_weights, donors
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").bands
RGB = bands_of_weights(3, None)


def names(bands, have) -> list[str]:
    return ["" if i is None else have[i].name for i in donors(bands, have)]


def test_red_green_blue_go_where_the_sensor_has_them():
    assert dict(zip((b.name for b in S2), names(S2, RGB), strict=True)) == {
        **{band.name: "" for band in S2},
        **{"B04": "B04", "B03": "B03", "B02": "B02"},
    }
    assert names(load_sensor("rgb").bands, RGB) == ["B04", "B03", "B02"]
    worldview = load_sensor("worldview3")
    found = dict(zip(worldview.band_names, names(worldview.bands, RGB), strict=True))
    assert {band: donor for band, donor in found.items() if donor} == {"RED": "B04", "GREEN": "B03", "BLUE": "B02"}


def test_radar_goes_by_polarisation_and_never_to_light():
    radar = load_sensor("sentinel1").bands
    assert names(radar, bands_of_weights(2, None)) == ["VV", "VH"]
    assert names(radar[::-1], bands_of_weights(2, None)) == ["VH", "VV"]
    assert names(radar, S2) == ["", ""]


def test_the_same_bands_in_another_order_are_the_same_convolution():
    kernel, image = torch.randn(4, 13, 3, 3), torch.rand(1, 13, 16, 16)
    order = torch.randperm(13).tolist()
    adapted, _ = adapt_first_conv(kernel, S2, [tuple(S2[i] for i in order)])
    expected = torch.conv2d(image, kernel)
    torch.testing.assert_close(torch.conv2d(image[:, order], adapted), expected, rtol=1e-4, atol=1e-4)


def test_two_equal_dates_give_what_one_gave():
    kernel, image = torch.randn(4, 13, 3, 3), torch.rand(1, 13, 16, 16)
    adapted, used = adapt_first_conv(kernel, S2, [S2, S2])
    found = torch.conv2d(torch.cat([image, image], dim=1), adapted)
    torch.testing.assert_close(found, torch.conv2d(image, kernel), rtol=1e-4, atol=1e-4)
    assert used == [band.name for band in S2] * 2


def test_a_grey_image_gives_the_same_whatever_number_of_bands_it_has():
    """Bands without a kernel of their own share the mean, so that they weigh together as those they stand for."""
    kernel, grey = torch.randn(4, 3, 3, 3), torch.rand(1, 1, 16, 16)
    expected = torch.conv2d(grey.expand(-1, 3, -1, -1), kernel)
    for bands in (load_sensor("sentinel1").bands, load_sensor("dsm").bands):
        adapted, _ = adapt_first_conv(kernel, RGB, [bands])
        found = torch.conv2d(grey.expand(-1, len(bands), -1, -1), adapted)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_bands_beyond_red_green_blue_weigh_as_one_together():
    kernel = torch.randn(4, 3, 3, 3)
    adapted, _ = adapt_first_conv(kernel, RGB, [S2])
    others = [i for i, band in enumerate(S2) if band.name not in ("B02", "B03", "B04")]
    torch.testing.assert_close(adapted[:, others].sum(1), kernel.mean(1), rtol=1e-4, atol=1e-4)
