from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_scenes import SUMMER, chance, flat_scene, some_scene

from msgfm.data.synthetic.atmosphere import air
from msgfm.data.synthetic.clouds import CLOUD, SHADOW, Clouds, draw_clouds, passed
from msgfm.data.synthetic.conditions import draw_conditions
from msgfm.data.synthetic.cover import SETTINGS, Cover
from msgfm.data.synthetic.high_resolution import PAN_RATIO, render_dsm, render_photograph, render_worldview3
from msgfm.data.synthetic.illumination import in_shadow, sunlight
from msgfm.data.synthetic.mixing import abundances
from msgfm.data.synthetic.radar import LOOKS, multilook_speckle, render_sentinel1
from msgfm.data.synthetic.scene import Scene
from msgfm.data.synthetic.sentinel2 import BANDS, render_sentinel2
from msgfm.data.synthetic.spectra import ENDMEMBERS, SENTINEL2_WINDOWS, band_spectra, pan_weights
from msgfm.geo.raster import read_bands
from msgfm.sensors import load_sensor

RED, NIR = BANDS.index("B04"), BANDS.index("B08")
PLACES = [(setting, i) for i in range(4) for setting in SETTINGS]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [
        some_scene(1, i, setting=setting, conditions=draw_conditions(chance(2, i)))
        for i, (setting, _) in enumerate(PLACES)
    ]


@pytest.fixture(scope="module")
def sentinel1(scenes: list[Scene]) -> np.ndarray:
    return np.stack(
        [render_sentinel1(scene, draw_conditions(chance(2, i)), chance(3, i)) for i, scene in enumerate(scenes)]
    )


@pytest.fixture(scope="module")
def sentinel2(scenes: list[Scene]) -> np.ndarray:
    return np.stack(
        [render_sentinel2(scene, draw_conditions(chance(2, i)), chance(4, i)) for i, scene in enumerate(scenes)]
    )


def test_speckle_is_unbiased_and_has_the_looks_that_it_claims() -> None:
    speckle = multilook_speckle(chance(1), (2, 512, 512)).astype(np.float64)
    for band in speckle:
        assert band.mean() == pytest.approx(1, abs=0.01)
        assert band.var() == pytest.approx(1 / LOOKS, rel=0.05)
        assert ((band - 1) ** 3).mean() == pytest.approx(2 / LOOKS**2, rel=0.3)  # of a gamma variate
    assert np.corrcoef(speckle[0].ravel(), speckle[1].ravel())[0, 1] == pytest.approx(0, abs=0.02)
    scene = flat_scene(Cover.BARE, size=256)
    power, clean = (10 ** (render_sentinel1(scene, SUMMER, chance(2), speckle=on) / 10) for on in (True, False))
    np.testing.assert_allclose(power.mean((1, 2)), clean.mean((1, 2)), rtol=0.02)
    assert np.ptp(clean[0]) < 1e-5 * clean[0].mean()


@pytest.mark.parametrize("radar_azimuth", [80.0, 280.0])
def test_slopes_that_face_the_radar_are_brighter(radar_azimuth: float) -> None:
    conditions = replace(SUMMER, radar_azimuth=np.radians(radar_azimuth))
    scene = flat_scene(Cover.BARE)
    ramp = np.broadcast_to(np.arange(128, dtype=np.float32) * 10 * 0.2, (128, 128))  # rises to the east
    level, east, west = (
        render_sentinel1(replace(scene, terrain_m=100 + sign * ramp), conditions, chance(1), speckle=False).mean((1, 2))
        for sign in (0, 1, -1)
    )
    # The radar that looks east sees the slope that rises to the east face to face.
    facing, averted = (east, west) if radar_azimuth < 180 else (west, east)
    assert (facing > level + 1).all()
    assert (averted < level - 1).all()


def test_walls_that_face_the_beam_return_more() -> None:
    bare = flat_scene(Cover.TOWN)
    town = replace(bare, building=bare.building + 0.5, building_m=bare.building_m + 10, roof=bare.roof + 0.5)
    look = np.radians(80.0)  # from north; the streets' azimuth counts from east
    square = replace(town, street_azimuth=look - np.pi / 2)
    oblique = replace(town, street_azimuth=look - np.pi / 4)
    levels = [
        render_sentinel1(scene, SUMMER, chance(2), speckle=False).mean((1, 2)) for scene in (bare, oblique, square)
    ]
    assert (levels[1] > levels[0]).all()
    assert (levels[2] > levels[1] + 2).all()


def test_soil_is_brighter_to_the_radar_when_wet_and_darker_to_the_eye() -> None:
    soil = flat_scene(Cover.BARE)
    dry, wet = (replace(soil, moisture=soil.moisture * 0 + moisture) for moisture in (0.1, 0.9))
    assert (
        render_sentinel1(wet, SUMMER, chance(1), speckle=False).mean((1, 2))
        > render_sentinel1(dry, SUMMER, chance(1), speckle=False).mean((1, 2)) + 1
    ).all()
    bright, dark = (render_sentinel2(scene, SUMMER, chance(1)).mean((1, 2)) for scene in (dry, wet))
    assert dark[RED] < 0.85 * bright[RED]
    assert dark[BANDS.index("B12")] / bright[BANDS.index("B12")] < dark[RED] / bright[RED]


def test_water_is_dark_in_near_infrared_and_radar_and_plants_are_bright(
    scenes: list[Scene], sentinel1: np.ndarray, sentinel2: np.ndarray
) -> None:
    cover = np.stack([scene.cover for scene in scenes])
    clear = np.stack([scene.road + scene.canopy + scene.building for scene in scenes]) == 0
    summer = np.array([scene.leaves > 0.9 for scene in scenes])[:, None, None]
    water, woods = (cover == Cover.WATER) & clear, (cover == Cover.FOREST) & summer
    assert water.mean() > 0.03
    assert woods.mean() > 0.03
    assert np.median(sentinel2[:, NIR][water]) < 0.4 * np.median(sentinel2[:, NIR][~water])
    assert np.median(sentinel1[:, 0][water]) < np.median(sentinel1[:, 0][~water]) - 4
    red, near_infrared = sentinel2[:, RED].astype(float), sentinel2[:, NIR].astype(float)
    index = (near_infrared - red) / (near_infrared + red)
    assert np.median(index[woods]) > 0.4
    assert np.median(index[water]) < 0


def test_shares_of_endmembers_cover_the_pixel(scenes: list[Scene]) -> None:
    for scene in scenes:
        weights = abundances(scene)
        assert weights.shape[0] == len(ENDMEMBERS)
        assert weights.min() >= -1e-6
        assert weights.sum(0).mean() == pytest.approx(1, abs=0.15)
    flat = abundances(flat_scene(Cover.BARE))
    np.testing.assert_allclose(flat.sum(0), 1, rtol=1e-5)


def test_a_clear_pixel_of_one_material_is_its_spectrum_seen_through_the_air() -> None:
    windows = tuple(SENTINEL2_WINDOWS.values())
    scene = flat_scene(Cover.BARE)
    road = replace(scene, road=scene.road + 1)
    sky = air(windows, SUMMER)
    asphalt = band_spectra(windows)[:, ENDMEMBERS.index("asphalt")]
    expected = sky.molecules + SUMMER.haze * sky.aerosol + sky.transmission * asphalt
    seen = render_sentinel2(road, SUMMER, chance(1)).mean((1, 2)) / 10_000
    np.testing.assert_allclose(seen, expected, rtol=0.01, atol=1e-4)


def test_air_is_blue_and_closed_where_water_absorbs() -> None:
    sky = air(tuple(SENTINEL2_WINDOWS.values()), SUMMER)
    visible = sky.molecules[[BANDS.index(band) for band in ("B01", "B02", "B03", "B04", "B08")]]
    assert (np.diff(visible) < 0).all()
    assert sky.transmission[BANDS.index("B10")] < 0.01
    assert sky.transmission[BANDS.index("B09")] < 0.6 * sky.transmission[BANDS.index("B8A")]


def test_the_offset_only_shifts(scenes: list[Scene]) -> None:
    plain, shifted = (render_sentinel2(scenes[0], SUMMER, chance(5), offset=offset) for offset in (0, 1000))
    np.testing.assert_array_equal(shifted, plain + 1000)


def test_coarse_bands_are_smoother_than_the_ten_metre_ones(sentinel2: np.ndarray) -> None:
    def roughness(band: str) -> float:
        image = sentinel2[:, BANDS.index(band)].astype(float)
        return float(np.abs(np.diff(image, axis=2)).mean() / image.std())

    assert roughness("B01") < roughness("B05") < roughness("B04")


def test_clouds_are_white_shadows_dark_and_the_rest_is_the_clean_twin() -> None:
    scene = flat_scene(Cover.GRASS)
    depth = np.zeros((128, 128), np.float32)
    depth[40:60, 40:60] = 20
    clouds = Clouds(depth=depth, towards_sun=np.roll(depth, (-30, 20), (0, 1)))
    clean, cloudy = (render_sentinel2(scene, SUMMER, chance(6), clouds=layer).astype(float) for layer in (None, clouds))
    mask = clouds.mask()
    middle = np.zeros_like(mask, bool)
    middle[45:55, 45:55] = True
    assert (cloudy[1:4, middle] > 2 * clean[1:4, middle]).all()
    shade = np.roll(middle, (-30, 20), (0, 1))
    assert (mask[shade] == SHADOW).all()
    assert (mask[middle] == CLOUD).all()
    assert (cloudy[NIR, shade] < 0.65 * clean[NIR, shade]).all()
    far = np.s_[:, 90:, :]  # beyond the reach of 60 m pixels
    np.testing.assert_array_equal(cloudy[far], clean[far])


def shadowed(clouds: Clouds, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth of the clouds, and of what stands before the sun so many rows south and columns east of them."""
    size = len(clouds.depth)
    here = clouds.depth[max(0, -rows) : size - max(0, rows), max(0, -columns) : size - max(0, columns)]
    there = clouds.towards_sun[max(0, rows) : size + min(0, rows), max(0, columns) : size + min(0, columns)]
    return here, there


def test_cloud_shadows_lie_opposite_the_sun() -> None:
    for azimuth in (120.0, 200.0):
        conditions = replace(SUMMER, sun_azimuth=np.radians(azimuth))
        clouds = draw_clouds(chance(7), conditions, 128, 10.0, cover=0.3)
        # away from the sun, in whole pixels: of all such shifts exactly one lays the clouds on their shadow
        shifts = {
            (round(np.cos(np.radians(azimuth)) * away), round(-np.sin(np.radians(azimuth)) * away))
            for away in np.arange(0, 64, 0.25)
        }
        ((rows, columns),) = [shift for shift in shifts if np.array_equal(*shadowed(clouds, *shift))]
        assert abs(rows) + abs(columns) > 10
    assert passed(np.float32(0)) == 1
    assert passed(np.float32(50)) < 0.25


def test_a_slope_towards_the_sun_is_lit_more() -> None:
    y, x = np.mgrid[:32, :32].astype(np.float32)
    south_east = 0.2 * (y - x)  # rises to the south-west; falls to the north-east
    conditions = replace(SUMMER, sun_azimuth=np.radians(45.0))
    assert sunlight(-south_east, 1.0, conditions).mean() < 1 < sunlight(south_east, 1.0, conditions).mean()
    np.testing.assert_allclose(sunlight(np.zeros((8, 8), np.float32), 1.0, conditions), 1, rtol=1e-6)


def test_shadow_lies_behind_a_tower_and_is_as_long_as_the_sun_is_low() -> None:
    scene = flat_scene(Cover.GRASS, size=96, gsd_m=1.0)
    tower = np.zeros((96, 96), np.float32)
    tower[45:51, 45:51] = 12
    scene = replace(scene, building=(tower > 0).astype(np.float32), building_m=tower)
    for azimuth, elevation in ((135.0, 40.0), (180.0, 25.0)):
        conditions = replace(SUMMER, sun_azimuth=np.radians(azimuth), sun_elevation=np.radians(elevation))
        rows, columns = np.nonzero(in_shadow(scene, conditions))
        along = -(rows - 47.5) * np.cos(np.radians(azimuth)) + (columns - 47.5) * np.sin(np.radians(azimuth))
        assert along.max() < 4  # none towards the sun
        assert -along.min() == pytest.approx(12 / np.tan(np.radians(elevation)) + 3, abs=2.5)
        image = render_photograph(scene, conditions, chance(3))
        step = np.array([np.cos(np.radians(azimuth)), -np.sin(np.radians(azimuth))]) * 9  # away from the sun
        dark, lit = (
            image[:, round(47.5 + s * step[0]) - 1 :, round(47.5 + s * step[1]) - 1 :][:, :3, :3].mean()
            for s in (1, -1)
        )
        assert dark < 0.75 * lit


def test_pan_is_the_weighted_sum_of_the_bands() -> None:
    scene = some_scene(8, setting="town", gsd_m=0.31)
    bands, pan = render_worldview3(scene, SUMMER, chance(1), noise=False)
    assert bands.shape == (8, 24, 24)
    blocks = pan[0].reshape(24, PAN_RATIO, 24, PAN_RATIO).mean((1, 3))
    weights = np.array(list(pan_weights().values()))
    assert weights.sum() == pytest.approx(1)
    unsaturated = pan[0].reshape(24, PAN_RATIO, 24, PAN_RATIO).max((1, 3)) < 2047
    assert unsaturated.mean() > 0.9
    np.testing.assert_allclose(blocks[unsaturated], np.tensordot(weights, bands, 1)[unsaturated], atol=1.0)  # rounding
    assert pan.std() > bands.mean(0).std()


def test_surface_models_are_terrain_and_what_stands_on_it() -> None:
    for i, setting in enumerate(SETTINGS):
        scene = some_scene(9, i, setting=setting, gsd_m=0.5)
        dsm = render_dsm(scene, chance(1))[0]
        assert (dsm - scene.terrain_m).min() > -0.6  # noise, and the blur of a slope
        assert np.abs(dsm - scene.surface_m).mean() < 1
        assert dsm.mean() == pytest.approx(scene.surface_m.mean(), abs=0.1)


def test_one_sensor_can_be_predicted_from_the_other(sentinel1: np.ndarray, sentinel2: np.ndarray) -> None:
    optical = np.log(sentinel2.astype(float)).transpose(0, 2, 3, 1)
    features = np.concatenate([optical, optical**2, np.ones_like(optical[..., :1])], axis=-1)
    train, test = slice(0, 18), slice(18, None)
    target = sentinel1[:, 1].astype(float)
    weights, *_ = np.linalg.lstsq(features[train].reshape(-1, 27), target[train].ravel(), rcond=None)
    error = target[test] - features[test] @ weights
    assert 1 - (error**2).mean() / ((target[test] - target[train].mean()) ** 2).mean() > 0.3


def test_images_fit_their_sensor_cards(sentinel1: np.ndarray, sentinel2: np.ndarray) -> None:
    assert sentinel1.dtype == np.float32
    assert sentinel2.dtype == np.uint16
    for name, stored in (("sentinel1", sentinel1), ("sentinel2", sentinel2)):
        for i, band in enumerate(load_sensor(name).bands):
            physical = (stored[:, i].astype(float) + band.offset) * band.scale
            low, high = band.valid_range
            assert ((physical > low) & (physical < high)).mean() > 0.99
            if name == "sentinel1" or band.name != "B10":  # a few thousandths
                assert abs(physical.mean() - band.mean) < 0.7 * band.std, band.name


def read(path: Path) -> np.ndarray:
    return np.asarray(read_bands(path).astype(np.float64).filled(np.nan))


def spreads(images: list[np.ndarray]) -> np.ndarray:
    return np.median([np.nanstd(image, axis=(1, 2)) for image in images], axis=0)


def levels(images: list[np.ndarray]) -> np.ndarray:
    return np.median([np.nanmean(image, axis=(1, 2)) for image in images], axis=0)


def assert_within(made: np.ndarray, real: np.ndarray) -> None:
    """The typical synthetic image lies within what the real places span, give or take a quarter."""
    assert (made > 0.75 * real.min(0)).all()
    assert (made < 1.25 * real.max(0)).all()


@pytest.mark.real_data
def test_sentinel_statistics_are_near_real_ones(real_data: Path, sentinel1: np.ndarray, sentinel2: np.ndarray) -> None:
    optical = [
        read(path)
        for path in (
            *real_data.glob("SEN12MS-CR/ROIs*_s2/*/*.tif"),
            real_data / "TerraMesh/S2L1C/38D_378R_2_3.tif",
            *real_data.glob("Sen1Floods11/**/S2Hand/*.tif"),
        )
    ]
    np.testing.assert_allclose(levels(list(sentinel2))[:10], levels(optical)[:10], rtol=0.6)
    assert_within(
        spreads(list(sentinel2))[1:10], np.array([np.nanstd(image, axis=(1, 2)) for image in optical])[:, 1:10]
    )
    radar = [read(path) for path in real_data.glob("SEN12MS-CR/ROIs*_s1/*/*.tif")]
    radar += [read(path) for path in real_data.glob("Sen1Floods11*/**/S1Hand/*.tif")]
    np.testing.assert_allclose(levels(list(sentinel1)), levels(radar), atol=2)  # dB
    assert_within(spreads(list(sentinel1)), np.array([np.nanstd(image, axis=(1, 2)) for image in radar]))


@pytest.mark.real_data
def test_photographs_are_near_real_ones(real_data: Path) -> None:
    real = [read(path) for path in sorted(real_data.glob("UCMerced_LandUse/**/*.jpg"))[::16]]
    made = [
        render_photograph(some_scene(10, i, setting=setting, gsd_m=0.5), draw_conditions(chance(i)), chance(11, i))
        for i, (setting, _) in enumerate(PLACES)
    ]
    np.testing.assert_allclose(levels(made), levels(real), atol=30)  # of 255
    np.testing.assert_allclose(spreads(made), spreads(real), rtol=0.5)
