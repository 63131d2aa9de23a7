"""Registration of pairs: shadows, buildings and change are no shift; true shifts are still named."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from msgfm.data.checks import stored_image
from msgfm.data.checks.findings import Finding
from msgfm.data.checks.pairs import estimate_shift, shift_findings
from msgfm.data.synthetic.kinds import KINDS, Place
from msgfm.sensors import load_sensor

RGB, DSM = load_sensor("rgb"), load_sensor("dsm")
# Scenes of seed 5 whose shadows stand beside their houses in such a way that correlation has its peak there.
SHADOWED = (5, 10, 21, 24, 28, 40)


@lru_cache
def aerial(index: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB and heights of a made-up place, registered exactly: 256 px of 0.5 m."""
    rgb, heights = KINDS["rgb_dsm"].pictures(Place(kind="rgb_dsm", index=index, seed=5, size=256))
    return rgb.pixels, heights.pixels


def window(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """204 x 204 pixels of 256 x 256, so far down and to the right of the middle."""
    return image[..., 26 + row : 230 + row, 26 + column : 230 + column]


def findings(first: np.ndarray, second: np.ndarray, cards=(RGB, RGB)) -> list[Finding]:
    pair = zip((first, second), cards, ("first.tif", "second.tif"), strict=True)
    return list(shift_findings([stored_image(array, card, file=file) for array, card, file in pair]))


def test_shadows_beside_houses_are_no_shift() -> None:
    clear = 0
    for index in SHADOWED:
        rgb, heights = aerial(index)
        found = estimate_shift(rgb[1].astype(np.float64), heights[0].astype(np.float64))
        assert found is not None
        assert not found.decisive
        if found.clarity > 14 and found.length > 4:
            clear += 1
            (said,) = findings(rgb, heights, (RGB, DSM))
            assert said.severity == "undecided"
            assert "not everywhere alike: shadows, change, or a shift" in said.seen
    assert clear >= 3, "pairs of which a clear peak alone would have said that they are shifted"


def test_one_house_and_its_shadow_are_no_shift() -> None:
    """In 64 m there may be nothing else, so all of the image says what its shadow says."""
    rgb, heights = KINDS["rgb_dsm"].pictures(Place(kind="rgb_dsm", index=24, seed=5, size=128))
    found = estimate_shift(rgb.pixels[1].astype(np.float64), heights.pixels[0].astype(np.float64))
    assert found is not None
    assert found.decisive
    (said,) = findings(rgb.pixels, heights.pixels, (RGB, DSM))
    assert said.severity == "undecided"


@pytest.mark.parametrize("shift", [(9, -7), (-5, 0), (0, 14)])
def test_a_shifted_picture_is_named_with_its_shift(shift: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for index in SHADOWED[:3]:
        rgb = aerial(index)[0]
        later = np.clip(0.7 * rgb + 30 + rng.normal(0, 6, rgb.shape), 0, 255).astype(np.uint8)
        (said,) = findings(window(rgb, 0, 0), window(later, -shift[0], -shift[1]))
        assert (said.kind, said.severity, said.file) == ("pair-shift", "error", "second.tif")
        assert f"shifted by {shift[0]:+d} rows and {shift[1]:+d} columns against first.tif" in said.seen
        assert findings(window(rgb, 0, 0), window(later, 0, 0)) == []


def test_what_stands_where_it_should_speaks_against_a_shift() -> None:
    """One half of the picture moved and the other not, whichever of both is clearer."""
    for index in SHADOWED[:3]:
        rgb = aerial(index)[0]
        half = window(rgb, 9, -7).copy()
        half[..., 120:, :] = window(rgb, 0, 0)[..., 120:, :]
        found = estimate_shift(window(rgb, 0, 0)[1].astype(np.float64), half[1].astype(np.float64))
        assert found is not None
        assert not found.decisive


def test_parts_that_moved_differently_are_undecided() -> None:
    rgb = aerial(SHADOWED[0])[0]
    turned = window(rgb, 9, -7).copy()
    turned[..., :102, 102:] = window(rgb, -8, 8)[..., :102, 102:]
    turned[..., 102:, :102] = window(rgb, 10, 9)[..., 102:, :102]
    turned[..., 102:, 102:] = window(rgb, -9, -10)[..., 102:, 102:]
    (said,) = findings(window(rgb, 0, 0), turned)
    assert said.severity == "undecided"
