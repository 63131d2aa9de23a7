"""Decibels, stretches and colours of previews."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_preview_looks import facts

from msgfm.scenes.preview.looks import look_of
from msgfm.scenes.preview.pictures import Values, decibels, paint, stretches


def values(channels: np.ndarray, *names: str, alike: tuple[str, ...] = ("same",), photograph: bool = False) -> Values:
    look = look_of(facts(*names))
    return Values(
        look=look,
        channels=np.asarray(channels, np.float32),
        labels=look.labels,
        unit="",
        alike=alike,
        photograph=photograph,
    )


def test_radar_becomes_decibels_from_power_and_from_amplitude_and_stays_them():
    assert decibels(np.array([1.0, 100.0, 0.01], np.float32), "float32").tolist() == pytest.approx([0, 20, -20])
    assert decibels(np.array([1.0, 10.0, 1000.0], np.float32), "uint16").tolist() == pytest.approx([0, 20, 60])
    already = np.array([-20.0, 3.0], np.float32)
    assert decibels(already, "float32") is already
    assert np.isnan(decibels(np.array([0.0, 1.0], np.float32), "float32")[0])  # nothing came back


def test_images_of_the_same_bands_share_the_stretch_without_the_clouds():
    ramp = np.linspace(0, 1, 101, dtype=np.float32)
    ground = np.stack([1000 * ramp, 900 * ramp, 800 * ramp])[:, None]
    clear, cloudy = values(ground, "R", "G", "B"), values(ground + 5000, "R", "G", "B")
    other = values(ground + 5000, "R", "G", "B", alike=("another",))
    seen = stretches([cloudy, clear, other])
    assert seen[0] == seen[1]
    assert seen[1][0] == pytest.approx((20, 980), abs=1)
    assert seen[2][0] == pytest.approx((5020, 5980), abs=1)


def test_a_photograph_keeps_its_white_and_other_channels_have_their_own():
    ramp = np.linspace(0, 100, 101, dtype=np.float32)
    picture = np.stack([ramp, 2 * ramp, ramp])[:, None]
    (bytes_,) = stretches([values(picture, "R", "G", "B", photograph=True)])
    (reflectance,) = stretches([values(picture, "R", "G", "B")])
    assert len(set(bytes_)) == 1
    assert reflectance[1][1] == pytest.approx(2 * reflectance[0][1])


def test_no_data_is_not_seen_and_the_ends_are_black_and_white():
    channels = np.array([[[0, 50, 100, np.nan]]] * 3, np.float32).reshape(3, 1, 4)
    image = values(channels, "R", "G", "B")
    painted = paint(image, ((0, 100),) * 3, facts("R", "G", "B"), {})
    assert painted.picture[3, 0].tolist() == [255, 255, 255, 0]
    assert painted.picture[:3, 0, :3].tolist() == [[0, 128, 255]] * 3
    assert painted.channels[0] == ("R", 0, 100)


def test_an_image_without_names_shares_the_stretch_of_a_named_one_with_its_bands_at_the_same_places():
    ground = np.random.default_rng(0).uniform(0, 1000, (3, 40, 40)).astype(np.float32)
    place = ("colour", (4, 3, 2), 13, ("number",))
    clear = replace(values(ground, "B04", "B03", "B02", alike=("B04",)), place=place)
    cloudy = replace(values(ground + 5000, "band 4", "band 3", "band 2", alike=("band 4",)), place=place, named=False)
    first, second = stretches([clear, cloudy])
    assert first == second
    fewer = replace(cloudy, place=("colour", (4, 3, 2), 4, ("number",)))
    other = replace(clear, alike=("another sensor's",))
    assert stretches([clear, fewer])[1] == stretches([fewer])[0]
    assert stretches([clear, other, cloudy])[2] == stretches([cloudy])[0]  # it could be either's


def test_classes_have_the_files_colours_its_names_and_their_share():
    of_file = facts("", dtype="uint8", palette={0: (10, 20, 30), 4: (200, 100, 0)})
    look = look_of(of_file)
    numbers = np.array([[[0, 4, 4, np.nan]]], np.float32)
    image = Values(look=look, channels=numbers, labels=look.labels, unit="", alike=())
    painted = paint(image, stretches([image])[0], of_file, {4: "water"})
    assert [(entry.number, entry.name, entry.colour) for entry in painted.classes] == [
        (0, "", (10, 20, 30)),
        (4, "water", (200, 100, 0)),
    ]
    assert [entry.share for entry in painted.classes] == pytest.approx([1 / 3, 2 / 3])
    assert painted.picture[:, 0].T.tolist() == [[10, 20, 30, 255], [200, 100, 0, 255], [200, 100, 0, 255], [0, 0, 0, 0]]


def test_a_class_has_one_colour_in_whatever_image_it_stands():
    of_file = facts("", dtype="uint8")
    look = look_of(of_file, "classes")

    def colours(*numbers: int) -> dict[int, tuple[int, int, int]]:
        channels = np.array([[numbers]], np.float32)
        image = Values(look=look, channels=channels, labels=look.labels, unit="", alike=())
        return {entry.number: entry.colour for entry in paint(image, (), of_file, {}).classes}

    both, one = colours(-1, 0, 1, 7), colours(1, 7)
    assert both[1] == one[1] and both[7] == one[7]
    assert len(set(both.values())) == 4


def test_values_of_one_band_are_grey_or_in_colours_with_a_ramp():
    channels = np.array([[[0.0, 1.0]]], np.float32)
    for dtype, grey in (("uint16", True), ("float32", False)):
        of_file = facts("entropy", dtype=dtype)
        look = look_of(of_file)
        image = Values(look=look, channels=channels, labels=look.labels, unit="", alike=())
        painted = paint(image, ((0, 1),), of_file, {})
        assert all(red == green == blue for red, green, blue in painted.ramp) == grey
        assert painted.picture[:3, 0, 1].tolist() == list(painted.ramp[-1])
