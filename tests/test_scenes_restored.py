"""Restored images, by a model that is known: what was changed of an input, and how much mirrored windows differ."""

import numpy as np
import pytest
import torch

from msgfm.errors import InputError
from msgfm.geo.grid import Grid
from msgfm.geo.spec import RasterSpec, StoredBand
from msgfm.geo.tiling import Area
from msgfm.scenes.engine import Piece
from msgfm.scenes.products import OBSERVED, SYNTHESISED, ProductOptions, RestoredImage

SIZE = 8
GRID = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, height=SIZE, width=SIZE)
BANDS = tuple(StoredBand(name=name) for name in ("a", "b"))
STD = torch.tensor([0.1, 0.2])
RIGHT = np.arange(SIZE) >= SIZE // 2


def brighten_right(images):
    """Adds 0.04 to band b in the right half: 0.2 of its standard deviation, 0.4 of that of a."""
    image = next(iter(images.values())).clone()
    image[:, 1, :, SIZE // 2 :] += 0.04
    return image


def product(over=("x", (0, 1)), **options):
    spec = RasterSpec(grid=GRID, dtype="float32", bands=BANDS, nodata=float("nan"))
    options = ProductOptions(synthesised=True, **options)
    return RestoredImage(brighten_right, torch.device("cpu"), spec=spec, std=STD, over=over, options=options)


def images(key="x"):
    return {key: np.random.default_rng(0).random((1, 2, SIZE, SIZE), np.float32)}


@pytest.mark.parametrize(("above", "changed"), [(0.1, RIGHT), (0.25, RIGHT & False)])
def test_what_was_changed_by_more_than_a_share_of_its_bands_deviation_is_synthesised(above, changed):
    restored = product(changed_above=above)
    values = restored.predict(images())[0]
    np.testing.assert_allclose(values[-1], np.broadcast_to(np.where(RIGHT, 0.2, 0), (SIZE, SIZE)), atol=1e-5)
    whole = Area(top=0, bottom=SIZE, left=0, right=SIZE)
    valid = np.ones((SIZE, SIZE), bool)
    valid[0] = False
    origin = restored.encode(Piece(area=whole, values=values, valid=valid))["synthesised"][0]
    assert (origin[0] == 255).all()
    assert (origin[1:] == np.where(changed, SYNTHESISED, OBSERVED)).all()


def test_a_target_whose_bands_lie_elsewhere_in_the_input_is_held_against_these():
    given = images()
    swapped = {"x": given["x"][:, ::-1].copy()}
    swapped["x"][:, 0] += 0.02  # of what is band b there
    values = product(over=("x", (1, 0))).predict(swapped)[0]
    ours = np.stack([given["x"][0, 1] + 0.02, given["x"][0, 0] + 0.04 * RIGHT])
    theirs = np.stack([given["x"][0, 0], given["x"][0, 1] + 0.02])
    expected = (np.abs(ours - theirs) / STD.numpy()[:, None, None]).max(0)
    np.testing.assert_allclose(values[-1], expected, rtol=1e-4)


@pytest.mark.parametrize("over", [("x", (None, None)), ("left out", (None, None))])
def test_where_nothing_was_observed_everything_is_synthesised(over):
    assert (product(over=over).predict(images())[0, -1] > 1e5).all()
    hidden = images()
    hidden["x"][..., :3] = np.nan
    assert (product().predict(hidden)[0, -1, :, :3] > 1e5).all()


def test_uncertainty_is_the_deviation_over_the_window_and_its_mirror_images():
    given = images()
    deviation = product(uncertainty=True).predict(given)[0, 2:4]
    np.testing.assert_allclose(deviation[0], 0, atol=1e-6)
    # two of the four brighten the right half, two the left one: 0.04 here and 0 there
    np.testing.assert_allclose(deviation[1], 0.02, atol=1e-6)


def test_a_new_image_has_nothing_that_was_changed():
    with pytest.raises(InputError, match="synthesised everywhere"):
        product(over=None)
