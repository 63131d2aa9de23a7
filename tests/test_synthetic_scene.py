from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from synthetic_scenes import SUMMER, chance, flat_scene, some_scene

from msgfm.data.synthetic.change import before_and_after, building_change
from msgfm.data.synthetic.conditions import SEASONS, draw_conditions, sun_position
from msgfm.data.synthetic.cover import SETTINGS, Cover, crops, leaves_out
from msgfm.data.synthetic.fields import approximate_normals, fractal_field, fractal_fields, overlap, parcels, slopes
from msgfm.data.synthetic.labels import building_mask, land_cover_labels, urban_labels


@pytest.mark.parametrize("exponent", [1.2, 2.0])
def test_random_fields_have_the_slope_that_was_asked_for(exponent: float) -> None:
    made = fractal_fields(chance(1), 30, 256, exponent)
    assert np.allclose(made.mean((1, 2)), 0, atol=1e-3)
    assert np.allclose(made.std((1, 2)), 1, atol=1e-3)
    window = np.hanning(256)[:, None] * np.hanning(256)
    power = (np.abs(np.fft.fft2(made * window)) ** 2).mean(0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    # Two octaves apart, since the spectrum of value noise has a lump in each.
    rings = [power[(radius > low) & (radius <= 2 * low)].mean() for low in (0.014, 0.056)]
    assert np.log2(rings[0] / rings[1]) / 2 == pytest.approx(2 * exponent, abs=0.5)  # power is amplitude squared


def test_approximate_normals_have_the_moments_of_normals() -> None:
    numbers = approximate_normals(chance(2), (401, 501)).astype(np.float64)
    assert numbers.mean() == pytest.approx(0, abs=0.01)
    assert numbers.var() == pytest.approx(1, abs=0.01)
    assert (numbers**3).mean() == pytest.approx(0, abs=0.03)
    assert (numbers**4).mean() == pytest.approx(2.7, abs=0.05)
    assert np.corrcoef(numbers[:, 1:].ravel(), numbers[:, :-1].ravel())[0, 1] == pytest.approx(0, abs=0.01)


def test_a_road_narrower_than_a_pixel_keeps_its_area() -> None:
    distance = np.linspace(-40, 40, 8001, dtype=np.float32)
    for half_m, gsd_m in ((3.0, 10.0), (4.0, 1.0), (6.0, 10.0)):
        area = overlap(distance, half_m, gsd_m).sum() * (distance[1] - distance[0])
        assert area == pytest.approx(2 * half_m, rel=0.01)


def test_slopes_are_those_of_a_plane() -> None:
    y, x = np.mgrid[:20, :20].astype(np.float32)
    east, north = slopes(0.3 * 10 * x + 0.1 * 10 * y, 10.0)
    np.testing.assert_allclose(east, 0.3, atol=1e-4)
    np.testing.assert_allclose(north, -0.1, atol=1e-4)


def test_parcels_are_rectangles_of_the_size_that_was_asked_for() -> None:
    v, u = np.mgrid[:400, :400].astype(np.float32)
    number, border, count = parcels(chance(3), u, v, 50.0, 25.0)
    assert number.min() >= 0
    assert number.max() < count
    areas = np.bincount(number.ravel())
    inside = np.setdiff1d(
        np.unique(number[1:-1, 1:-1]), np.concatenate([number[0], number[-1], number[:, 0], number[:, -1]])
    )
    assert np.median(areas[inside]) == pytest.approx(50 * 25, rel=0.35)
    for parcel in inside[:20]:
        rows, columns = np.nonzero(number == parcel)
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    changes = number[:, 1:] != number[:, :-1]
    assert (border[:, 1:][changes] <= 1.5).all()


def test_sun_is_highest_in_summer_and_stands_in_the_south_east_in_the_morning() -> None:
    solstices = [sun_position(day, np.radians(45)) for day in (172, 355)]
    # 23.45 degrees of declination; at the hour angle of -22.5 degrees (spherical astronomy, worked by hand)
    assert np.degrees(solstices[0][1]) == pytest.approx(61.8, abs=0.3)
    assert np.degrees(solstices[1][1]) == pytest.approx(18.8, abs=0.3)
    assert all(90 < np.degrees(azimuth) < 180 for azimuth, _ in solstices)


def test_photographs_are_taken_in_high_sun() -> None:
    flights = [draw_conditions(chance(i), survey=True) for i in range(60)]
    assert min(flight.sun_elevation for flight in flights) > np.radians(42)
    assert min(flight.sun_azimuth for flight in flights) < np.pi < max(flight.sun_azimuth for flight in flights)


def test_every_season_draws_its_days() -> None:
    days = {season: [draw_conditions(chance(i), season).day for i in range(50)] for season in SEASONS}
    assert max(days["spring"]) < min(days["summer"]) + 10 < max(days["summer"]) < max(days["fall"])
    assert all(day < 60 or day > 345 for day in days["winter"])


def test_leaves_and_crops_follow_the_year() -> None:
    assert leaves_out(20) < 0.1
    assert leaves_out(190) > 0.95
    cereals, maize = (np.array([tint], np.float32) for tint in (-0.5, 0.5))
    may, august = 145, 215
    assert crops(cereals, may)[0] > crops(cereals, august)[0] + 1
    assert crops(maize, august)[0] > crops(maize, may)[0] + 1
    assert crops(cereals, august)[1] > 0.3  # straw is left
    assert crops(cereals, may)[1] == 0


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("gsd_m", [10.0, 0.5])
def test_scenes_are_consistent(setting: str, gsd_m: float) -> None:
    scene = some_scene(4, setting=setting, gsd_m=gsd_m)
    for name in ("moisture", "litter", "road", "building", "canopy", "species", "roof"):
        values = getattr(scene, name)
        assert values.dtype == np.float32, name
        assert values.shape == (96, 96)
        assert 0 <= values.min() <= values.max() <= 1, name
    assert all(np.isfinite(getattr(scene, field.name)).all() for field in fields(scene) if field.name != "setting")
    assert (scene.surface_m >= scene.terrain_m).all()
    assert (scene.moisture[scene.cover == Cover.WATER] == 1).all()
    assert not scene.building[scene.cover == Cover.WATER].any()
    assert (scene.building_m[scene.building < 0.3] == 0).all()


def test_settings_show_what_they_are_named_for() -> None:
    share = {
        setting: np.mean(
            [[some_scene(5, i, setting=setting).cover == cover for cover in Cover] for i in range(6)], (0, 2, 3)
        )
        for setting in SETTINGS
    }
    for setting, cover in (
        ("forest", Cover.FOREST),
        ("town", Cover.TOWN),
        ("lake", Cover.WATER),
        ("barren", Cover.BARE),
    ):
        assert share[setting][cover] == max(shares[cover] for shares in share.values()), setting
    assert share["farmland"][Cover.CROP] > 0.3


def test_the_date_changes_leaves_and_moisture_but_not_the_place() -> None:
    summer, winter = (some_scene(6, conditions=draw_conditions(chance(0), season)) for season in ("summer", "winter"))
    for name in ("terrain_m", "cover", "road", "building", "canopy", "roof", "tint"):
        np.testing.assert_array_equal(getattr(summer, name), getattr(winter, name))
    assert summer.leaves > winter.leaves + 0.5
    assert summer.leaf_area.mean() > winter.leaf_area.mean()


def test_the_change_label_is_where_buildings_differ() -> None:
    first = some_scene(7, setting="town", gsd_m=0.5, size=256)
    second = some_scene(7, setting="town", gsd_m=0.5, size=256, conditions=draw_conditions(chance(1), "winter"))
    before, after = before_and_after(chance(8), first, second, built=0.5, torn_down=0.1)
    label = building_change(before, after)
    np.testing.assert_array_equal(label > 0, building_mask(before) != building_mask(after))
    changed, standing = label.any(), ((building_mask(before) > 0) & (building_mask(after) > 0)).any()
    assert changed
    assert standing
    # houses come and go whole
    for number in np.unique(first.roof[first.building > 0.5]):
        for date in (before, after):
            house = (first.roof == number) & (first.building > 0.5)
            assert date.building[house].all() or not date.building[house].any()
    assert (building_mask(before) > 0).sum() < (building_mask(after) > 0).sum()
    nothing = building_change(*before_and_after(chance(8), first, second, built=0, torn_down=0))
    assert not nothing.any()


def test_labels_say_what_is_on_top() -> None:
    scene = flat_scene(Cover.GRASS, size=32)
    half, zero = np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32)
    half[:, 16:] = 1
    house = replace(scene, building=half, road=zero + 1)
    assert (urban_labels(house)[:, :16] == 1).all()
    assert (urban_labels(house)[:, 16:] == 2).all()
    assert (urban_labels(replace(house, canopy=zero + 1)) == 4).all()
    assert (urban_labels(scene) == 3).all()
    codes = land_cover_labels(replace(scene, building=half))[0]
    assert (codes[:, :16] == 10).all()  # IGBP grasslands
    assert (codes[:, 16:] == 13).all()  # urban


def test_a_smooth_field_is_smoother() -> None:
    def roughness(field: np.ndarray) -> float:
        return float(np.abs(np.diff(field)).mean())

    rough, smooth = fractal_field(chance(9), 64, 0.9), fractal_field(chance(9), 64, 2.5)
    assert roughness(smooth) < 0.4 * roughness(rough)
    assert SUMMER.sun_elevation > 0
