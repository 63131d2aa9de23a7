"""Sensor cards: the loader and its errors, and the numbers on the built-in cards against their sources."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio

from msgfm.errors import InputError
from msgfm.sensors import Band, Sensor, builtin_sensors, load_sensor

BUILTIN = (
    *("dsm", "irrg", "landsat8", "rgb", "rgbir", "sentinel1", "sentinel2", "sentinel2_l2a"),
    *("worldview3", "worldview3_pan"),
)

# Constants as the sources print them, in their units and their order.
SSL4EO_S2C_MEAN = (
    1605.57504906, 1390.78157673, 1314.8729939, 1363.52445545, 1549.44374991, 2091.74883118, 2371.7172463,
    2299.90463006, 2560.29504086, 830.06605044, 22.10351321, 2177.07172323, 1524.06546312,
)  # fmt: skip
SSL4EO_S2C_STD = (
    786.78685367, 850.34818441, 875.06484736, 1138.84957046, 1122.17775652, 1161.59187054, 1274.39184232,
    1248.42891965, 1345.52684884, 577.31607053, 51.15431158, 1336.09932639, 1136.53823676,
)  # fmt: skip
SSL4EO_S2A_MEAN = (
    752.40087073, 884.29673756, 1144.16202635, 1297.47289228, 1624.90992062, 2194.6423161, 2422.21248945,
    2517.76053101, 2581.64687018, 2645.51888987, 2368.51236873, 1805.06846033,
)  # fmt: skip
SSL4EO_S2A_STD = (
    1108.02887453, 1155.15170768, 1183.6292542, 1368.11351514, 1370.265037, 1355.55390699, 1416.51487101,
    1474.78900051, 1439.3086061, 1582.28010962, 1455.52084939, 1343.48379601,
)  # fmt: skip
SENTINEL2A_NM_AND_M = {  # ESA, Sentinel-2 MSI technical guide
    "B01": (442.7, 60), "B02": (492.4, 10), "B03": (559.8, 10), "B04": (664.6, 10), "B05": (704.1, 20),
    "B06": (740.5, 20), "B07": (782.8, 20), "B08": (832.8, 10), "B8A": (864.7, 20), "B09": (945.1, 60),
    "B10": (1373.5, 60), "B11": (1613.7, 20), "B12": (2202.4, 20),
}  # fmt: skip
WORLDVIEW3_NM_RANGE = {  # band edges of Maxar's data sheet; the card has effective centres, which lie inside
    "COASTAL": (400, 450), "BLUE": (450, 510), "GREEN": (510, 580), "YELLOW": (585, 625), "RED": (630, 690),
    "REDEDGE": (705, 745), "NIR1": (770, 895), "NIR2": (860, 1040), "PAN": (450, 800),
}  # fmt: skip
LANDSAT8_UM_RANGE = {  # USGS, "What are the band designations for the Landsat satellites?"
    "B1": (0.43, 0.45), "B2": (0.45, 0.51), "B3": (0.53, 0.59), "B4": (0.64, 0.67), "B5": (0.85, 0.88),
    "B6": (1.57, 1.65), "B7": (2.11, 2.29), "B8": (0.50, 0.68), "B9": (1.36, 1.38), "B10": (10.6, 11.19),
    "B11": (11.50, 12.51),
}  # fmt: skip

OWN_CARD = """
name: my_sar
unit: dB
gsd_m: 3
valid_range: [-30, 10]
mean: -9
std: 4
clip: true
bands:
  - {name: HH, polarisation: HH}
  - {name: HV, polarisation: HV, mean: -16, valid_range: [-40, 0]}
"""


def physical(band: Band, stored: float) -> float:
    return (stored + band.offset) * band.scale


def write(folder: Path, text: str) -> Path:
    path = folder / "card.yaml"
    path.write_text(text)
    return path


def test_every_builtin_card_loads_under_its_file_name_and_survives_json():
    assert builtin_sensors() == BUILTIN
    for name in BUILTIN:
        sensor = load_sensor(name)
        assert sensor.name == name
        again = Sensor.model_validate(json.loads(json.dumps(sensor.model_dump(mode="json"))))
        assert again == sensor
        assert "std" in sensor.description  # says where its statistics come from, or that there are none


def test_means_lie_in_the_valid_range_and_clipping_leaves_two_standard_deviations():
    for band in (band for name in BUILTIN for band in load_sensor(name).bands if band.mean is not None):
        low, high = band.valid_range
        assert low <= band.mean <= high, band.name
    for band in load_sensor("sentinel1").bands:
        low, high = band.valid_range
        assert low < band.mean - 2 * band.std < band.mean + 2 * band.std < high


def test_sentinel2_bands_wavelengths_and_statistics_are_those_of_esa_and_ssl4eo_s12():
    sensor = load_sensor("sentinel2")
    assert {band.name: (band.wavelength_nm, band.gsd_m) for band in sensor.bands} == SENTINEL2A_NM_AND_M
    assert sensor.band_names == tuple(SENTINEL2A_NM_AND_M)  # their order too
    assert [band.mean * 10000 for band in sensor.bands] == pytest.approx(SSL4EO_S2C_MEAN, abs=0.01)
    assert [band.std * 10000 for band in sensor.bands] == pytest.approx(SSL4EO_S2C_STD, abs=0.01)
    assert [sensor.band_names[i] for i in sensor.display_indices()] == ["B04", "B03", "B02"]
    for band in sensor.bands:
        assert (band.nodata, band.unit) == (0, "reflectance")
        assert physical(band, 10000) == pytest.approx(1)
        assert physical(band.model_copy(update={"offset": -1000}), 1000) == 0  # baseline 04.00, as the card says
        assert band.valid_range == pytest.approx(((0 - 1000) / 10000, 32767 / 10000))


def test_level_2a_is_level_1c_without_b10_and_with_statistics_of_its_own():
    ours, level1 = load_sensor("sentinel2_l2a"), load_sensor("sentinel2")
    assert ours.band_names == tuple(name for name in level1.band_names if name != "B10")
    for band, mean, std in zip(ours.bands, SSL4EO_S2A_MEAN, SSL4EO_S2A_STD, strict=True):
        other = level1.bands[level1.index_of(band.name)]
        assert band.model_dump(exclude={"mean", "std"}) == other.model_dump(exclude={"mean", "std"})
        assert (band.mean, band.std) == (pytest.approx(mean / 1e4, abs=1e-6), pytest.approx(std / 1e4, abs=1e-6))


def test_settings_change_all_bands_one_band_or_the_card():
    card = load_sensor("sentinel2")
    assert {band.offset for band in card.with_setting("offset", -1000).bands} == {-1000}
    one = card.with_setting("B10.nodata", 65535)
    assert [band.name for band in one.bands if band.nodata == 65535] == ["B10"]
    assert card.with_setting("centre", "image").centre == "image"
    for path, value, message in [
        ("B99.offset", 1, "no band 'B99'"),
        ("ofset", 1, "ofset"),
        ("scale", 0, "scale is 0"),
        ("scale", "much", "scale"),
    ]:
        with pytest.raises(InputError, match=message):
            card.with_setting(path, value)


def test_sentinel1_is_clipped_decibel():
    sensor = load_sensor("sentinel1")
    assert sensor.clip
    assert [(band.polarisation, band.unit, band.gsd_m) for band in sensor.bands] == [("VV", "dB", 10), ("VH", "dB", 10)]
    assert [band.mean for band in sensor.bands] == pytest.approx([-12.54847273, -20.19237134], abs=1e-3)
    assert [band.std for band in sensor.bands] == pytest.approx([5.25697717, 5.91150917], abs=1e-3)
    assert sensor.display_indices() == (0,)


def test_rgb_runs_from_0_to_1_with_imagenet_statistics():
    sensor = load_sensor("rgb")
    for band, mean, std in zip(sensor.bands, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True):
        assert (band.mean, band.std) == (mean, std)
        assert physical(band, 255) == pytest.approx(1, abs=1e-12)
        assert band.nodata is None
    assert sensor.band_names == ("R", "G", "B")


def test_dsm_is_centred_and_holds_the_heights_of_the_earth():
    sensor = load_sensor("dsm")
    (height,) = sensor.bands
    assert sensor.centre == "image"
    assert (height.unit, height.mean, height.nodata) == ("m", 0, -9999)
    assert height.valid_range[0] <= -430 and height.valid_range[1] >= 8849
    assert not height.valid_range[0] <= height.nodata <= height.valid_range[1]


def test_worldview3_centres_lie_in_the_published_bands_and_units_are_digital_numbers():
    sensors = [load_sensor("worldview3"), load_sensor("worldview3_pan")]
    bands = [band for sensor in sensors for band in sensor.bands]
    assert tuple(band.name for band in bands) == tuple(WORLDVIEW3_NM_RANGE)
    for band in bands:
        low, high = WORLDVIEW3_NM_RANGE[band.name]
        assert low < band.wavelength_nm < high
        assert band.gsd_m == (0.31 if band.name == "PAN" else 1.24)
        assert physical(band, 2047) == 2047 == band.valid_range[1]
    for sensor in sensors:
        sensor.require_statistics()


def test_landsat8_scales_as_the_mtl_file_says():
    sensor = load_sensor("landsat8")
    assert sensor.band_names == tuple(LANDSAT8_UM_RANGE)
    for band in sensor.bands:
        low, high = LANDSAT8_UM_RANGE[band.name]
        assert low * 1000 < band.wavelength_nm < high * 1000
        thermal = band.name in ("B10", "B11")
        multiply, add = (3.3420e-04, 0.1) if thermal else (2.0e-05, -0.1)
        for stored in (1, 10000, 65535):
            assert physical(band, stored) == pytest.approx(multiply * stored + add, abs=1e-6)
        assert band.valid_range == pytest.approx((add, multiply * 65535 + add), abs=1e-3)
        assert band.unit == ("W/(m2 sr um)" if thermal else "reflectance")
    with pytest.raises(InputError, match=r"no mean and std for B1, .*msgfm data stats"):
        sensor.require_statistics()


@pytest.mark.parametrize(("name", "odd"), [("sentinel2", ()), ("landsat8", ("B8", "B9")), ("worldview3", ())])
def test_wavelengths_ascend_but_for_the_bands_that_are_numbered_otherwise(name: str, odd: tuple[str, ...]):
    wavelengths = [band.wavelength_nm for band in load_sensor(name).bands if band.name not in odd]
    assert wavelengths == sorted(wavelengths)


def test_rgb_wavelengths_descend():
    red, green, blue = load_sensor("rgb").bands
    assert red.wavelength_nm > green.wavelength_nm > blue.wavelength_nm


def test_positions_follow_the_names():
    sensor = load_sensor("sentinel2")
    assert sensor.index_of("B8A") == 8
    assert sensor.indices_of(["B12", "B01"]) == (12, 0)
    with pytest.raises(InputError, match=r"sentinel2 has no band 'B8a'.*did you mean B8A\?"):
        sensor.index_of("B8a")


def test_select_takes_bands_in_the_order_given_and_drops_a_display_it_cannot_show():
    sensor = load_sensor("sentinel2")
    level_2a = sensor.select([name for name in sensor.band_names if name != "B10"])
    assert len(level_2a.bands) == 12
    assert "B10" not in level_2a.band_names
    assert level_2a.display == ("B04", "B03", "B02")
    assert level_2a.bands[10] == sensor.bands[11]  # B11 keeps its numbers
    pair = sensor.select(["B11", "B04"])
    assert pair.band_names == ("B11", "B04")
    assert pair.display == ()
    assert pair.display_indices() == (0,)
    with pytest.raises(InputError, match="B13"):
        sensor.select(["B13"])


def test_a_users_own_file_loads_and_a_bands_own_value_wins_over_the_sensors(tmp_path: Path):
    sensor = load_sensor(write(tmp_path, OWN_CARD))
    hh, hv = sensor.bands
    assert sensor.clip
    assert (hh.unit, hh.gsd_m, hh.valid_range, hh.mean, hh.std) == ("dB", 3, (-30, 10), -9, 4)
    assert (hv.unit, hv.gsd_m, hv.valid_range, hv.mean, hv.std) == ("dB", 3, (-40, 0), -16, 4)
    assert load_sensor(str(tmp_path / "card.yaml")) == sensor


def test_an_unknown_name_names_the_nearest_and_all():
    with pytest.raises(InputError, match=r"'sentinel_2': did you mean 'sentinel2'\?.*rgb, rgbir, sentinel1"):
        load_sensor("sentinel_2")
    with pytest.raises(InputError, match="built in are dsm, irrg, landsat8"):
        load_sensor("xxxxxxxx")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load_sensor(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gsd_m: 3", "gsd: 3", r"unknown key 'gsd'; did you mean 'gsd_m'\?"),
        (
            "polarisation: HV",
            "wavelength: 3",
            r"bands\.1\.wavelength: unknown key.*mean 'wavelength_nm'\?",
        ),
        ("name: HV", "name: HH", "'HH'.*more than once"),
        ("[-40, 0]", "[0, -40]", "HV: valid_range 0.0..-40.0 is empty"),
        ("[-40, 0]", "[-40, -40]", "HV: valid_range -40.0..-40.0 is empty"),
        ("valid_range: [-30, 10]\n", "", r"bands\.0\.valid_range: missing"),
        ("std: 4\n", "", "HH: give both mean and std"),
        ("std: 4", "std: 0", r"bands\.0\.std: .*greater than 0 \(got 0\)"),
        ("std: 4", "std: .nan", r"std: .*finite"),
        ("unit: dB", "unit: dB\nunit: m", r"card\.yaml is not YAML: unit stands more than once"),
        ("unit: dB", "scale: 0\nunit: dB", "HH: scale is 0"),
        ("clip: true", "display: [HH, HV]", "display takes one band or three, not 2"),
        ("clip: true", "display: [VV]", "no band 'VV'"),
        ("clip: true", "centre: pixel", r"centre: .*'none' or 'image' \(got 'pixel'\)"),
        ("name: my_sar", "name: My SAR", r"name: .*pattern.*'My SAR'"),
        ("HV, polarisation: HV", "HV, polarisation: RH", r"bands\.1\.polarisation: .*'HH'.*\(got 'RH'\)"),
        ("bands:", "bands: [", r"card\.yaml"),
        (OWN_CARD, "", r"card\.yaml"),
        (OWN_CARD, "just words", r"card\.yaml"),
        (OWN_CARD, "name: x\nbands: []", "bands: .*at least 1"),
    ],
)
def test_a_wrong_card_is_refused_with_its_file_and_the_offending_value(
    tmp_path: Path, old: str, new: str, message: str
):
    assert old in OWN_CARD
    path = write(tmp_path, OWN_CARD.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        load_sensor(path)
    assert str(path) in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.real_data
def test_real_images_lie_where_the_cards_say(real_data: Path):
    """Mean of each band within three standard deviations of the card's, and nothing much outside `valid_range`."""
    images = {
        "sentinel1": [*real_data.glob("SEN12MS-CR/*_s1/*/*.tif"), *real_data.glob("TerraMesh/S1RTC/*.tif")],
        "sentinel2": [*real_data.glob("SEN12MS-CR/*_s2*/*/*.tif")],
        "rgb": [*real_data.glob("LEVIR-CD-256/A/*.png"), *real_data.glob("TerraMesh/S2RGB/*.tif")],
    }
    for name, paths in images.items():
        sensor = load_sensor(name)
        assert len(paths) >= 3
        for path in paths:
            with rasterio.open(path) as file:
                stored = file.read().astype(np.float64)
            for band, values in zip(sensor.bands, stored, strict=True):
                values = physical(band, values)
                low, high = band.valid_range
                assert abs(values.mean() - band.mean) < 3 * band.std, (path, band.name)
                assert ((values < low) | (values > high)).mean() < 0.01, (path, band.name)
                assert band.nodata is None or not (stored == band.nodata).any(), (path, band.name)


@pytest.mark.real_data
def test_real_heights_spread_about_as_the_card_says(real_data: Path):
    """Half of the images spread between a tenth of the card's std and twice it, once their own mean is gone."""
    (height,) = load_sensor("dsm").bands
    spreads = []
    for path in [*real_data.glob("RGB-DSM/*/dsm/*.tif"), *sorted(real_data.glob("HLS-Water12/images/*.tif"))[:20]]:
        with rasterio.open(path) as file:
            heights = file.read(9 if file.count == 12 else 1).astype(np.float64)
        heights = heights[np.isfinite(heights) & (heights != height.nodata)]
        assert height.valid_range[0] <= heights.min() and heights.max() <= height.valid_range[1], path
        spreads.append(heights.std())
    first, third = np.percentile(spreads, [25, 75])
    assert 0.1 * height.std < first < third < 2 * height.std


@pytest.mark.real_data
def test_real_landsat_gives_temperatures_and_reflectances_that_occur(real_data: Path):
    """Temperature follows from the card's radiance with K1 and K2 of the MTL files."""
    sensor = load_sensor("landsat8")
    for name, k1, k2 in (("B10", 774.8853, 1321.0789), ("B11", 480.8883, 1201.1442)):
        with rasterio.open(real_data / f"Landsat8/l8_north/l8_{name}.tif") as file:
            radiance = physical(sensor.bands[sensor.index_of(name)], file.read(1).astype(np.float64))
        kelvin = k2 / np.log(k1 / radiance + 1)
        assert 230 < kelvin.min() < kelvin.max() < 320
    for name in ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9"):
        with rasterio.open(real_data / f"Landsat8/l8_north/l8_{name}.tif") as file:
            reflectance = physical(sensor.bands[sensor.index_of(name)], file.read(1).astype(np.float64))
        assert 0 < reflectance.min() < reflectance.max() < 1
        assert not math.isclose(reflectance.std(), 0)


def test_the_example_and_the_table_of_offsets_in_the_documentation_hold(tmp_path: Path):
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    sensor = load_sensor(write(tmp_path, text.split("```yaml\n")[1].split("```")[0]))
    assert sensor.name == "planetscope"
    assert physical(sensor.bands[0], 2500) == pytest.approx(0.25)
    assert [band.valid_range[1] for band in sensor.bands] == [1.5, 1.5, 1.5, 2]
    sensor.require_statistics()
    for card, stored, truth in (
        ("`scale: 0.0001`, `offset: -1000`", 1800, (1800 - 1000) / 10000),
        ("`scale: 0.00002`, `offset: -5000`", 12345, 12345 * 2.0e-05 - 0.1),
        ("`scale: 0.00341802`, `offset: 43592.49`", 44947, 302.6),  # the example of the USGS, rounded as there
    ):
        assert card in text
        scale, offset = (float(part.split(": ")[1].strip("`")) for part in card.split(", "))
        assert (stored + offset) * scale == pytest.approx(truth, abs=0.05 if truth > 1 else 1e-9)
