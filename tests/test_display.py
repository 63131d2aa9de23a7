import numpy as np
import pytest

from msgfm.display import class_colour, colour, stretch_of


def test_two_percent_at_either_end_are_cut_off_and_no_data_does_not_count():
    values = np.arange(101, dtype=np.float32)
    with_gaps = np.append(values, np.full(500, np.nan, np.float32))
    assert stretch_of(with_gaps) == (2.0, 98.0)


def test_an_image_of_one_value_or_of_none_still_has_a_stretch():
    low, high = stretch_of(np.full((4, 4), 7, np.float32))
    assert low == 7 and high > low
    assert stretch_of(np.full((4, 4), np.nan, np.float32)) == (0.0, 1.0)


def test_channels_may_be_stretched_each_on_its_own():
    picture = np.array([[[5, 50, 500]]], np.float32)
    shown = colour(picture, np.array([0, 0, 0], np.float32), np.array([10, 100, 1000], np.float32))
    assert shown[0, 0] == pytest.approx([0.5, 0.5, 0.5])


def test_colours_of_forty_classes_can_be_told_apart():
    colours = np.array([class_colour(position) for position in range(40)], float)
    apart = np.abs(colours[:, None] - colours[None]).max(axis=2) + 255 * np.eye(40)
    assert apart.min() >= 8  # of 255, in at least one channel
    saturation = colours.max(axis=1) - colours.min(axis=1)
    assert saturation.min() > 60  # none is grey or black, which is no data
