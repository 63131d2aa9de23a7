"""Finding clouds by brightness, and filling them from what is clear."""

import numpy as np
import pytest
import torch

from msgfm.models.baselines.clear import CLOUDY, cloudiness, fill_from_edges, mean_of_clear
from msgfm.sensors import load_sensor

SENTINEL2 = load_sensor("sentinel2")


def spectrum(**values: float) -> torch.Tensor:
    """One image of 32 x 32 pixels, 0.05 in all bands that are not named."""
    image = torch.full((1, 13, 32, 32), 0.05)
    for band, value in values.items():
        image[:, SENTINEL2.index_of(band)] = value
    return image


CLOUD = dict.fromkeys(SENTINEL2.band_names, 0.6) | {"B10": 0.02, "B11": 0.5}
SNOW = CLOUD | {"B11": 0.05}


def test_bright_is_cloud_dark_is_not_and_snow_is_not():
    for values, cloudy in ((CLOUD, True), (SNOW, False), ({}, False), ({"B04": 0.5}, False)):
        score = cloudiness(spectrum(**values), SENTINEL2)
        assert score.shape == (1, 32, 32)
        assert bool((score >= CLOUDY).all()) is cloudy and bool((score >= CLOUDY).any()) is cloudy


def test_only_the_cloud_of_a_partly_cloudy_image_is_found():
    image = spectrum()
    image[:, :, :, 16:] = spectrum(**CLOUD)[:, :, :, 16:]
    found = cloudiness(image, SENTINEL2) >= CLOUDY
    assert found[:, :, 16:].all() and not found[:, :, :10].any()


def test_the_score_of_one_pixel_in_a_uniform_image_is_the_lowest_of_the_tests():
    values = {"B02": 0.3, "B01": 0.24, "B10": 0.0, "B03": 0.25, "B04": 0.25, "B11": 0.2}
    expected = min((0.3 - 0.1) / 0.4, (0.24 - 0.1) / 0.2, (0.24 - 0.15) / 0.05, (0.8 - 0.2) / 0.6, 1)
    np.testing.assert_allclose(cloudiness(spectrum(**values), SENTINEL2).numpy(), expected, rtol=1e-5)


def over_squares(score: np.ndarray, side: int, reduce) -> np.ndarray:
    """What `reduce` makes of the square around each pixel, as far as it lies in the image."""
    half, (height, width) = side // 2, score.shape
    squares = [
        [score[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1] for x in range(width)]
        for y in range(height)
    ]
    return np.array([[reduce(square) for square in row] for row in squares])


def test_the_score_is_that_of_the_paper_pixel_by_pixel():
    rng = np.random.default_rng(0)
    image = (0.05 + 0.5 * rng.random((13, 20, 24))).astype(np.float32)
    image[SENTINEL2.index_of("B10")] = 0.03 * rng.random((20, 24))
    image[:, 12:] = 0.05 + 0.09 * image[:, 12:]  # between clear and cloudy by B01 + B10
    blue, green, red, aerosol, cirrus, swir = (
        image[SENTINEL2.index_of(band)].astype(float) for band in ("B02", "B03", "B04", "B01", "B10", "B11")
    )
    tests = [(blue - 0.1) / 0.4, (red + green + blue - 0.2) / 0.6, (aerosol - 0.1) / 0.2]
    tests += [(aerosol + cirrus - 0.15) / 0.05, ((green - swir) / (green + swir) - 0.8) / -0.2]
    closed = over_squares(over_squares(np.minimum.reduce(tests), 5, np.max), 5, np.min)
    expected = over_squares(closed, 7, np.mean).clip(0, 1)
    assert (expected > 0).mean() > 0.2 and len(np.unique(expected)) > 50
    np.testing.assert_allclose(cloudiness(torch.from_numpy(image)[None], SENTINEL2)[0], expected, atol=1e-5)


def test_bands_that_are_missing_say_nothing():
    with_cirrus = cloudiness(spectrum(**CLOUD), SENTINEL2)
    image = spectrum(**CLOUD)
    image[:, SENTINEL2.index_of("B10")] = torch.nan
    assert torch.equal(cloudiness(image, SENTINEL2), with_cirrus)
    rgb = SENTINEL2.select(("B04", "B03", "B02"))
    assert (cloudiness(torch.full((1, 3, 16, 16), 0.6), rgb) >= CLOUDY).all()
    radar = load_sensor("sentinel1")
    assert not cloudiness(torch.zeros(1, 2, 16, 16), radar).any()


def rings(image: np.ndarray) -> np.ndarray:
    """Fills one band ring after ring, by loops."""
    image = image.copy()
    while np.isnan(image).any():
        after = image.copy()
        for i, j in np.argwhere(np.isnan(image)):
            near = image[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            if np.isfinite(near).any():
                after[i, j] = np.nanmean(near)
        image = after
    return image


def test_filling_from_the_edges_against_loops():
    generator = np.random.default_rng(0)
    image = generator.uniform(size=(2, 1, 20, 17)).astype(np.float32)
    image[0, 0, 4:15, 3:14] = np.nan
    image[1, 0][generator.uniform(size=(20, 17)) < 0.95] = np.nan
    found = fill_from_edges(torch.from_numpy(image)).numpy()
    for band in range(2):
        np.testing.assert_allclose(found[band, 0], rings(image[band, 0]), rtol=1e-4)


def test_a_cloudy_pixel_becomes_the_mean_of_the_dates_on_which_it_is_clear():
    image, first, second = (torch.full((1, 2, 4, 4), value) for value in (9.0, 1.0, 3.0))
    cloudy, none = torch.ones(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)
    cloudy[:, :, 0] = False
    first_cloudy = none.clone()
    first_cloudy[:, 0, 1] = True
    filled = mean_of_clear(image, cloudy, [(first, first_cloudy), (second, none)])
    assert (filled[:, :, :, 0] == 9).all()
    assert (filled[:, :, 1:, 1:] == 2).all()
    assert (filled[:, :, 0, 1] == 3).all()


def test_without_other_dates_the_nearest_clear_pixels_count():
    image = torch.rand(1, 1, 12, 12)
    cloudy = torch.zeros(1, 12, 12, dtype=torch.bool)
    cloudy[:, 3:9, 3:9] = True
    expected = rings(torch.where(cloudy[:, None], torch.nan, image)[0, 0].numpy())
    np.testing.assert_allclose(mean_of_clear(image, cloudy, [])[0, 0].numpy(), expected, rtol=1e-4)


def test_an_image_that_is_cloud_from_edge_to_edge_stays_as_it_is():
    image = torch.rand(2, 3, 8, 8)
    cloudy = torch.zeros(2, 8, 8, dtype=torch.bool)
    cloudy[0] = True
    assert torch.equal(mean_of_clear(image, cloudy, []), image)


@pytest.mark.parametrize("others", [0, 1])
def test_no_data_is_filled_as_clouds_are(others):
    image = torch.rand(1, 1, 8, 8)
    image[:, :, 2:4, 2:4] = torch.nan
    clear = torch.zeros(1, 8, 8, dtype=torch.bool)
    filled = mean_of_clear(image, clear, [(torch.full_like(image, 5), clear)] * others)
    assert filled.isfinite().all()
    assert bool((filled[:, :, 2:4, 2:4] == 5).all()) is bool(others)
