import numpy as np
import pytest

from msgfm.display import class_colour, class_colours, colour, stretch_of


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


def hues(*names: str) -> list[str]:
    """What colour each class has, as a person would say."""
    told = []
    for red, green, blue in class_colours(dict(enumerate(names))).values():
        strongest = max((blue, "blue"), (green, "green"), (red, "red"))[1]
        told.append("white" if min(red, green, blue) > 230 else strongest)
    return told


def test_classes_whose_names_are_known_have_their_usual_colours():
    assert hues("land", "water") == ["red", "blue"]
    assert hues("Water", "Trees", "Built-up", "Snow and ice") == ["blue", "green", "red", "blue"]
    assert hues("Tree cover", "Permanent water bodies", "Grassland", "cloud") == ["green", "blue", "green", "white"]
    same = [class_colours({0: name})[0] for name in ("forest", "Broad-leaved forest", "trees", "TREE_COVER")]
    assert len(set(same)) == 1
    land, water, change = class_colours({0: "land", 1: "water", 2: "change"}).values()
    assert class_colours({5: "no water"})[5] == class_colours({5: "non-water"})[5] == land
    # what is so called as a whole is so; as parts of a name these words say nothing
    for name in ("wetland", "bare land", "land cover change", "without water"):
        assert class_colours({0: name})[0] not in (land, water, change)


def test_other_classes_have_colours_by_number_unless_they_look_like_a_usual_one():
    assert class_colours({3: "", 9: "something"}) == {3: class_colour(3), 9: class_colour(9)}
    names = ["a", "b", "c", "water", "d", "e", "crops", "f"]  # the colour of number 5 is nearly that of water
    found = class_colours(dict(enumerate(names)))
    assert list(found) == list(range(8))
    assert found[1] == class_colour(1) and found[5] != class_colour(5)
    apart = np.abs(np.array(list(found.values()))[:, None] - np.array(list(found.values()))).max(axis=2)
    assert (apart + 255 * np.eye(8)).min() >= 25


def test_no_colour_is_given_twice():
    usual = "cloud shadow, cloud, snow, flood, wetland, water, burnt, road, urban, crops, forest, grass, shrub, bare"
    names = [*usual.split(", "), "land", "change", "no change", "sea", "trees", "buildings", *map(str, range(200))]
    found = np.array(list(class_colours(dict(enumerate(names))).values()))
    assert len(np.unique(found, axis=0)) == len(names)
    known = found[:17]
    assert (np.abs(known[:, None] - known).max(axis=2) + 255 * np.eye(17)).min() >= 30
