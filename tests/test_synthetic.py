from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msgfm.data.layouts import LayoutOptions, index_layout
from msgfm.data.synthetic import write_world
from msgfm.data.synthetic_fields import overlap, power_law_field
from msgfm.data.synthetic_render import (
    LOOKS,
    S2_BANDS,
    render_dsm,
    render_rgb,
    render_sentinel1,
    render_sentinel2,
    sun,
)
from msgfm.data.synthetic_world import Cover, Scene, make_scene
from msgfm.errors import InputError
from msgfm.geo.raster import raster_info, read_bands

RED, NIR = S2_BANDS.index("B04"), S2_BANDS.index("B08")


def chance(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def sentinel_scenes() -> list[Scene]:
    return [make_scene(chance(1, i), size=96, gsd_m=10.0) for i in range(24)]


@pytest.fixture(scope="module")
def aerial_scenes() -> list[Scene]:
    return [make_scene(chance(2, i), size=96, gsd_m=1.0) for i in range(16)]


@pytest.fixture(scope="module")
def sentinel1(sentinel_scenes: list[Scene]) -> np.ndarray:
    return np.stack([render_sentinel1(scene, chance(3, i)) for i, scene in enumerate(sentinel_scenes)])


@pytest.fixture(scope="module")
def sentinel2(sentinel_scenes: list[Scene]) -> np.ndarray:
    return np.stack([render_sentinel2(scene, chance(4, i)) for i, scene in enumerate(sentinel_scenes)])


def flat_scene(cover: Cover, *, size: int = 128, gsd_m: float = 10.0) -> Scene:
    """Level ground of one cover with nothing on it."""
    zero = np.zeros((size, size), np.float32)
    return Scene(
        setting="test",
        gsd_m=gsd_m,
        street_azimuth=0.0,
        terrain_m=zero + 100,
        cover=np.full((size, size), cover, np.uint8),
        tint=zero,
        furrow=zero,
        vegetation=zero,
        moisture=zero + 0.5,
        road=zero,
        building=zero,
        building_m=zero,
        canopy=zero,
        tree_m=zero,
        roof=zero,
        species=zero,
    )


def pixels(root: Path) -> dict[str, np.ndarray]:
    return {str(path.relative_to(root)): read_bands(path).filled() for path in sorted(root.rglob("*.tif"))}


def test_the_same_seed_writes_the_same_pixels_however_many_scenes(tmp_path: Path) -> None:
    write_world(tmp_path / "few", scenes=2, seed=5, size=48)
    write_world(tmp_path / "more", scenes=3, seed=5, size=48)
    write_world(tmp_path / "other", scenes=2, seed=6, size=48)
    few, more, other = (pixels(tmp_path / name) for name in ("few", "more", "other"))
    assert len(few) == 2 * 5
    assert len(more) == 3 * 5
    for name, image in few.items():
        np.testing.assert_array_equal(image, more[name])
    shared = [name for name in few if "sen12ms" in name or "rgb_dsm" in name]
    assert not any(np.array_equal(few[name], other[name]) for name in shared)


def test_layouts_read_what_was_written(tmp_path: Path) -> None:
    world = tmp_path / "world"
    write_world(world, scenes=5, seed=1, size=32)
    satellite = index_layout("sen12ms", world / "sen12ms").manifest.samples
    assert [sample.sensors for sample in satellite] == [("sentinel1", "sentinel2")] * 5
    assert len({sample.scene for sample in satellite}) == 5
    options = LayoutOptions(sensors=("rgb=rgb", "dsm=dsm"))
    aerial = index_layout("pairs", world / "rgb_dsm", options).manifest.samples
    assert [set(sample.sensors) for sample in aerial] == [{"rgb", "dsm"}] * 5
    photographs = index_layout("image-folder", world / "rgb").manifest.samples
    assert [sample.sensors for sample in photographs] == [("rgb",)] * 5


def test_files_have_the_types_and_grids_of_their_sensors(tmp_path: Path) -> None:
    write_world(tmp_path / "world", scenes=1, seed=1, size=40)
    season = tmp_path / "world" / "sen12ms"
    s1 = raster_info(season / "ROIs1158_spring_s1" / "s1_1" / "ROIs1158_spring_s1_1_p30.tif")
    s2 = raster_info(season / "ROIs1158_spring_s2" / "s2_1" / "ROIs1158_spring_s2_1_p30.tif")
    rgb = raster_info(tmp_path / "world" / "rgb_dsm" / "rgb" / "place00000.tif")
    dsm = raster_info(tmp_path / "world" / "rgb_dsm" / "dsm" / "place00000.tif")
    shapes = [(info.count, info.height, info.width, info.dtype) for info in (s1, s2, rgb, dsm)]
    assert shapes == [(2, 40, 40, "float32"), (13, 40, 40, "uint16"), (3, 40, 40, "uint8"), (1, 40, 40, "float32")]
    assert s1.transform == s2.transform
    assert rgb.transform == dsm.transform
    assert s1.transform.a == -s1.transform.e == 10
    assert rgb.transform.a == 1
    assert s1.crs == s2.crs
    assert s1.crs.to_epsg() == 32632
    assert s2.descriptions == S2_BANDS


@pytest.mark.parametrize("wrong", [{"scenes": 0}, {"size": 16}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        write_world(tmp_path / "world", **({"scenes": 1, "seed": 0, "size": 64} | wrong))
    assert not list(tmp_path.iterdir())


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="choose another folder"):
        write_world(tmp_path, scenes=1, seed=0, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_run_that_fails_leaves_no_half_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise InputError("disk full")

    monkeypatch.setattr("msgfm.data.synthetic.write_photograph", fail)
    with pytest.raises(InputError, match="disk full"):
        write_world(tmp_path / "world", scenes=2, seed=0, size=32)
    assert not list(tmp_path.iterdir())


def test_images_stay_in_range(sentinel1: np.ndarray, sentinel2: np.ndarray, aerial_scenes: list[Scene]) -> None:
    assert sentinel1.dtype == np.float32
    assert sentinel2.dtype == np.uint16
    assert np.isfinite(sentinel1).all()
    assert sentinel1.min() > -40
    assert sentinel1.max() < 25
    assert sentinel2.min() > 0
    assert sentinel2.max() < 10000
    for i, scene in enumerate(aerial_scenes[:4]):
        assert render_rgb(scene, chance(i)).shape == (3, 96, 96)
        assert np.isfinite(render_dsm(scene, chance(i))).all()


def test_cross_polarisation_is_weaker(sentinel1: np.ndarray) -> None:
    assert (sentinel1[:, 0].mean((1, 2)) > sentinel1[:, 1].mean((1, 2)) + 3).all()


def test_water_is_dark_in_near_infrared_and_radar_and_plants_are_bright(
    sentinel_scenes: list[Scene], sentinel1: np.ndarray, sentinel2: np.ndarray
) -> None:
    cover = np.stack([scene.cover for scene in sentinel_scenes])
    clear = np.stack([scene.road + scene.canopy + scene.building for scene in sentinel_scenes]) == 0
    water, woods = (cover == Cover.WATER) & clear, cover == Cover.FOREST
    assert water.mean() > 0.03
    assert woods.mean() > 0.1
    assert np.median(sentinel2[:, NIR][water]) < 0.4 * np.median(sentinel2[:, NIR][~water])
    assert np.median(sentinel1[:, 0][water]) < np.median(sentinel1[:, 0][~water]) - 4
    red, near_infrared = sentinel2[:, RED].astype(float), sentinel2[:, NIR].astype(float)
    index = (near_infrared - red) / (near_infrared + red)
    assert np.median(index[woods]) > 0.4
    assert np.median(index[water]) < 0


def test_speckle_has_the_looks_of_ground_range_products() -> None:
    scene = flat_scene(Cover.WATER, size=256)
    power = 10 ** (render_sentinel1(scene, chance(1)).astype(float) / 10)
    clean = 10 ** (render_sentinel1(scene, chance(1), speckle=False).astype(float) / 10)
    for band in range(2):
        assert np.ptp(clean[band]) < 1e-6 * clean[band].mean()
        assert power[band].mean() / clean[band].mean() == pytest.approx(1, abs=0.02)
        assert power[band].mean() ** 2 / power[band].var() == pytest.approx(LOOKS, rel=0.1)
    ratio = power / clean
    assert np.corrcoef(ratio[0].ravel(), ratio[1].ravel())[0, 1] == pytest.approx(0, abs=0.05)
    # gamma: the third central moment of unit mean is 2 / L ** 2
    assert ((ratio - 1) ** 3).mean() == pytest.approx(2 / LOOKS**2, rel=0.3)


def test_walls_that_face_the_beam_return_more() -> None:
    bare = flat_scene(Cover.TOWN)
    town = replace(bare, building=bare.building + 0.5, building_m=bare.building_m + 10, roof=bare.roof + 0.5)
    oblique = replace(town, street_azimuth=np.pi / 4)
    levels = [render_sentinel1(scene, chance(2), speckle=False).mean((1, 2)) for scene in (bare, oblique, town)]
    assert (levels[1] > levels[0] + 0.5).all()
    assert (levels[2] > levels[1] + 2).all()


def test_one_slope_is_brighter_and_the_other_darker_than_level_ground() -> None:
    scene = flat_scene(Cover.BARE)
    ramp = np.arange(128, dtype=np.float32)[None, :] * 10 * 0.2  # rises to the east by 20 %
    up, down = (replace(scene, terrain_m=100 + sign * np.broadcast_to(ramp, (128, 128))) for sign in (1, -1))
    for seed in range(6):  # both flight directions occur
        level, *tilted = (
            float(render_sentinel1(ground, chance(seed), speckle=False)[0].mean()) for ground in (scene, up, down)
        )
        assert min(tilted) + 1 < level < max(tilted) - 1


def test_coarse_bands_are_smoother_than_the_ten_metre_ones(sentinel2: np.ndarray) -> None:
    def roughness(band: str) -> float:
        image = sentinel2[:, S2_BANDS.index(band)].astype(float)
        return float(np.abs(np.diff(image, axis=2)).mean() / image.std())

    assert roughness("B01") < roughness("B05") < roughness("B04")


def test_surface_is_never_below_the_ground(aerial_scenes: list[Scene]) -> None:
    for scene in aerial_scenes:
        above = render_dsm(scene, chance(1))[0] - scene.terrain_m
        assert above.min() > -0.4  # the noise of the measurement
        assert (scene.surface_m >= scene.terrain_m).all()
        assert len(np.unique(scene.terrain_m[scene.cover == Cover.WATER])) <= 2  # lake and river are each level
    towns = [scene for scene in aerial_scenes if scene.setting == "town"]
    assert towns
    assert all(scene.building_m.max() > 3 for scene in towns)


def test_shadow_lies_behind_a_tower() -> None:
    scene = flat_scene(Cover.GRASS, size=64, gsd_m=1.0)
    tower = np.zeros((64, 64), np.float32)
    tower[28:36, 28:36] = 12
    image = render_rgb(replace(scene, building=(tower > 0).astype(np.float32), building_m=tower), chance(3))
    azimuth, _ = sun(chance(3))
    row, column = -np.cos(azimuth), np.sin(azimuth)  # a step towards the sun
    before, behind = ((round(31.5 + sign * 9 * row), round(31.5 + sign * 9 * column)) for sign in (1, -1))
    lit, dark = (image[:, r - 1 : r + 2, c - 1 : c + 2].mean() for r, c in (before, behind))
    assert dark < 0.75 * lit


def test_a_road_narrower_than_a_pixel_keeps_its_area() -> None:
    distance = np.linspace(-40, 40, 8001, dtype=np.float32)
    for half_m, gsd_m in ((3.0, 10.0), (4.0, 1.0), (6.0, 10.0)):
        area = overlap(distance, half_m, gsd_m).sum() * (distance[1] - distance[0])
        assert area == pytest.approx(2 * half_m, rel=0.01)


def test_random_fields_have_the_slope_that_was_asked_for() -> None:
    fields = np.stack([power_law_field(chance(i), 128, 2.0) for i in range(40)])
    assert np.allclose(fields.mean((1, 2)), 0, atol=1e-4)
    window = np.hanning(128)[:, None] * np.hanning(128)
    power = (np.abs(np.fft.fft2(fields * window)) ** 2).mean(0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    rings = [power[(radius > low) & (radius <= 1.3 * low)].mean() for low in (0.04, 0.16)]
    assert np.log(rings[0] / rings[1]) / np.log(4) == pytest.approx(4, abs=0.3)  # power falls as amplitude squared


def test_one_sensor_can_be_predicted_from_the_other(
    sentinel_scenes: list[Scene], sentinel1: np.ndarray, sentinel2: np.ndarray
) -> None:
    optical = np.log(sentinel2.astype(float)).transpose(0, 2, 3, 1)
    features = np.concatenate([optical, optical**2, np.ones_like(optical[..., :1])], axis=-1)
    for band in range(2):
        train, test = slice(0, 16), slice(16, None)
        target = sentinel1[:, band].astype(float)
        weights, *_ = np.linalg.lstsq(features[train].reshape(-1, 27), target[train].ravel(), rcond=None)
        error = target[test] - features[test] @ weights
        explained = 1 - (error**2).mean() / ((target[test] - target[train].mean()) ** 2).mean()
        assert explained > 0.3  # speckle alone is 4.8 of the 16 to 20 dB squared


def band_statistics(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each image's bands: two of (images, bands)."""
    flat = [image.reshape(len(image), -1).astype(np.float64) for image in images]
    return np.array([np.nanmean(image, axis=1) for image in flat]), np.array(
        [np.nanstd(image, axis=1) for image in flat]
    )


def read(path: Path) -> np.ndarray:
    return np.asarray(read_bands(path).astype(np.float64).filled(np.nan))


def test_sentinel2_statistics_are_near_real_ones(real_data: Path, sentinel2: np.ndarray) -> None:
    real = [
        *real_data.glob("SEN12MS-CR/ROIs*_s2/*/*.tif"),
        real_data / "TerraMesh/S2L1C/38D_378R_2_3.tif",
        *real_data.glob("Sen1Floods11/**/S2Hand/*.tif"),
    ]
    assert len(real) == 3
    means, spreads = band_statistics([read(path) for path in real])
    mean, spread = band_statistics(list(sentinel2))
    # Three real places only: the average synthetic image lies within what they span, give or take half.
    assert (mean.mean(0) > 0.5 * means.min(0)).all()
    assert (mean.mean(0) < 1.5 * means.max(0)).all()
    assert (spread.mean(0) > 0.5 * spreads.min(0)).all()
    assert (spread.mean(0) < 2 * spreads.max(0)).all()


def test_sentinel1_statistics_are_near_real_ones(real_data: Path, sentinel1: np.ndarray) -> None:
    patches = [*real_data.glob("SEN12MS-CR/ROIs*_s1/*/*.tif"), *real_data.glob("Sen1Floods11*/**/S1Hand/*.tif")]
    images = [read(path) for path in patches]
    for folder in real_data.glob("BigEarthNet-v1/BigEarthNet-S1-v1.0/*"):
        images.append(np.concatenate([read(next(folder.glob(f"*_{band}.tif"))) for band in ("VV", "VH")]))
    assert len(images) >= 15
    means, spreads = band_statistics(images)
    mean, spread = band_statistics(list(sentinel1))
    np.testing.assert_allclose(mean.mean(0), np.median(means, axis=0), atol=2.5)  # dB
    assert (np.abs(mean - np.median(means, axis=0)) < 9).all()
    assert (spread.mean(0) > spreads.min(0)).all()
    assert (spread.mean(0) < spreads.max(0)).all()


def test_photographs_and_heights_are_near_real_ones(real_data: Path, aerial_scenes: list[Scene]) -> None:
    means, spreads = band_statistics([read(path) for path in sorted(real_data.glob("UCMerced_LandUse/**/*.jpg"))[::8]])
    mean, spread = band_statistics([render_rgb(scene, chance(7, i)) for i, scene in enumerate(aerial_scenes)])
    np.testing.assert_allclose(mean.mean(0), means.mean(0), atol=25)  # of 255
    np.testing.assert_allclose(spread.mean(0), spreads.mean(0), rtol=0.5)
    _, real_heights = band_statistics([read(path) for path in real_data.glob("RGB-DSM/tuniu_river_uav/dsm/*.tif")])
    _, heights = band_statistics([render_dsm(scene, chance(8, i)) for i, scene in enumerate(aerial_scenes)])
    assert real_heights.min() * 0.5 < heights.mean() < real_heights.max() * 1.5  # metres
