"""Files are written with rasterio or Pillow directly; what the reader must give is worked out by hand or with torch."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image as Picture
from torch.nn.functional import interpolate

from msgfm.data.reader import read_sample, read_sensor_image, resample
from msgfm.data.records import RasterFile, Sample, SensorImage
from msgfm.errors import InputError
from msgfm.geo.raster import raster_info, read_bands, write_geotiff
from msgfm.sensors import Sensor, load_sensor

TWO_BANDS = Sensor.model_validate(
    {
        "name": "two",
        "unit": "reflectance",
        "valid_range": [-1, 5],
        "bands": [{"name": "B1", "scale": 0.5, "offset": -2, "nodata": 0}, {"name": "B2"}, {"name": "B3"}],
    }
)


def write(path: Path, array: np.ndarray, **profile: object) -> Path:
    count, height, width = array.shape
    shape = {"count": count, "height": height, "width": width, "dtype": array.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as target:
            target.write(array)
    return path


def image(*files: RasterFile, sensor: str = "two", size: tuple[int, int] = (2, 2)) -> SensorImage:
    return SensorImage(sensor=sensor, height=size[0], width=size[1], files=files)


def one(path: str, *bands: str, **more: object) -> RasterFile:
    return RasterFile(path=path, bands=bands, file_bands=tuple(range(1, len(bands) + 1)), **more)


def test_physical_units_and_every_kind_of_no_data(tmp_path: Path) -> None:
    write(tmp_path / "1.tif", np.array([[[0, 2], [3, 4]]], np.uint16))  # 0 is the card's no-data number
    write(tmp_path / "2.tif", np.array([[[1, 4], [np.nan, np.inf]]], np.float32), nodata=4)
    read = read_sensor_image(tmp_path, image(one("2.tif", "B2"), one("1.tif", "B1")), TWO_BANDS)
    nan = np.nan
    expected = [[[nan, 0], [0.5, 1]], [[1, nan], [nan, nan]], [[nan, nan], [nan, nan]]]
    np.testing.assert_array_equal(read, np.array(expected, np.float32))
    assert read.dtype == np.float32


def test_file_bands_and_window(tmp_path: Path) -> None:
    stored = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5) / 100
    write(tmp_path / "a.tif", stored)
    file = RasterFile(path="a.tif", bands=("B3", "B2"), file_bands=(1, 3), window=(1, 2, 2, 3))
    read = read_sensor_image(tmp_path, image(file, size=(2, 3)), TWO_BANDS)
    np.testing.assert_array_equal(read[2], stored[0, 1:3, 2:5])
    np.testing.assert_array_equal(read[1], stored[2, 1:3, 2:5])
    assert np.isnan(read[0]).all()


def test_alpha_says_where_there_is_no_data(tmp_path: Path) -> None:
    pixels = np.full((2, 2, 4), 255, np.uint8)
    pixels[0, 1, 3] = 0
    Picture.fromarray(pixels).save(tmp_path / "a.png")
    read = read_sensor_image(tmp_path, image(one("a.png", "R", "G", "B"), sensor="rgb"), load_sensor("rgb"))
    np.testing.assert_allclose(read, np.broadcast_to([[1, np.nan], [1, 1]], (3, 2, 2)), rtol=1e-6)
    assert raster_info(tmp_path / "a.png").image_bands == 3


@pytest.mark.parametrize("size", [(12, 12), (7, 9), (6, 3), (20, 4)])
def test_resampling_without_holes_is_torchs_bilinear(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=(2, 6, 6)).astype(np.float32)
    expected = interpolate(torch.from_numpy(image)[None], size, mode="bilinear", antialias=True)[0].numpy()
    np.testing.assert_allclose(resample(image, size), expected, atol=1e-5)


def test_resampling_fills_no_hole_and_poisons_no_neighbour() -> None:
    image = np.full((1, 4, 4), 3.0, np.float32)
    image[0, 1:3, 1:3] = np.nan
    finer = resample(image, (12, 12))
    np.testing.assert_array_equal(np.isnan(finer), np.isnan(image).repeat(3, 1).repeat(3, 2))
    np.testing.assert_allclose(finer[np.isfinite(finer)], 3, rtol=1e-6)
    half = np.full((1, 4, 4), 7.0, np.float32)
    half[0, :, :2] = np.nan
    half[0, 0, 2] = np.nan
    coarser = resample(half, (2, 2))[0]
    assert np.isnan(coarser[:, 0]).all(), "three quarters or more of these pixels had no data"
    np.testing.assert_allclose(coarser[:, 1], 7, rtol=1e-6)


def test_sensors_of_a_sample_come_on_the_finest_grid(tmp_path: Path) -> None:
    write(tmp_path / "fine.tif", np.full((1, 6, 6), 1, np.float32))
    write(tmp_path / "coarse.tif", np.full((1, 2, 2), 2, np.float32))
    images = (image(one("coarse.tif", "B2")), image(one("fine.tif", "height"), sensor="dsm", size=(6, 6)))
    sample = Sample(sample="a", scene="a", split="train", images=images)
    read = read_sample(tmp_path, sample, {"two": TWO_BANDS, "dsm": load_sensor("dsm")})
    assert {name: array.shape for name, array in read.items()} == {"two": (3, 6, 6), "dsm": (1, 6, 6)}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"bad.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    if suffix == "tif":
        write(path, noise.transpose(2, 0, 1))
    else:
        Picture.fromarray(noise).save(path)
    shot = image(one(path.name, "R", "G", "B"), sensor="rgb", size=(200, 200))
    assert np.isfinite(read_sensor_image(tmp_path, shot, load_sensor("rgb"))).all()
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=f"cannot read {path}: truncated"):
        read_sensor_image(tmp_path, shot, load_sensor("rgb"))


def test_a_file_that_is_gone_or_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no image")
    for name, reason in (("text.tif", "cannot read"), ("gone.tif", "no file")):
        with pytest.raises(InputError, match=f"{reason} {tmp_path / name}"):
            read_sensor_image(tmp_path, image(one(name, "B2")), TWO_BANDS)


def test_no_data_alone_a_changed_shape_and_a_missing_band_are_errors(tmp_path: Path) -> None:
    write(tmp_path / "nan.tif", np.full((1, 2, 2), np.nan, np.float32))
    write(tmp_path / "big.tif", np.ones((1, 3, 3), np.float32))
    for file, message in (
        (one("nan.tif", "B2"), r"nan\.tif: every value is no data"),
        (one("big.tif", "B2"), r"big\.tif: 3 x 3 pixels, the manifest says 2 x 2"),
        (one("big.tif", "B2", "B3"), r"big\.tif has 1 bands, so there is no band 2"),
        (one("big.tif", "B2", window=(2, 2, 2, 2)), r"big\.tif has 3 x 3 pixels; the window .* leaves it"),
    ):
        with pytest.raises(InputError, match=message):
            read_sensor_image(tmp_path, image(file), TWO_BANDS)


DECIBEL = np.array([-12.0, -15, -9, -20], np.float32)


@pytest.mark.parametrize(
    ("card", "band", "stored", "message"),
    [
        ("sentinel1", "VH", 10 ** (DECIBEL / 10), r"median 0\.0473.*linear power"),
        ("sentinel1", "VV", 10 ** (DECIBEL / 10), r"no pixel is negative.*-30\.\.5 dB.*10\*log10"),
        ("sentinel1", "VV", np.array([200, 300, 400, 500], np.float32), "linear power or amplitude"),
        ("sentinel1", "VV", np.array([-12, -15, -9999, -9], np.float32), r"25\.00%.*--set sentinel1\.VV\.nodata=-9999"),
        ("sentinel2", "B04", np.array([0.1, 0.2, 0.3, 0.05], np.float32), r"--set sentinel2\.scale=1.*scaled already"),
        ("dsm", "height", np.array([90, 95, 92, -32767], np.float32), r"--set dsm\.height\.nodata=-32767"),
        ("rgb", "R", np.array([9000, 12000, 20000, 100], np.uint16), r"75% of the pixels.*0\.\.1.*another scale"),
        ("two", "B2", np.array([1200, 1300, 900, 2000], np.uint16), r"--set two\.scale=0\.0001"),
        ("sentinel1", "VV", np.array([-12, 1e30, -15, -9], np.float32), r"the value 1e\+30 far outside"),
    ],
)
def test_values_in_another_unit_are_an_error(
    tmp_path: Path, card: str, band: str, stored: np.ndarray, message: str
) -> None:
    sensor = TWO_BANDS if card == "two" else load_sensor(card)
    write(tmp_path / "a.tif", stored.reshape(1, 2, 2))
    with pytest.raises(InputError, match=rf"a\.tif, band {band} of sensor {card}.*{message}"):
        read_sensor_image(tmp_path, image(one("a.tif", band), sensor=card), sensor)


@pytest.mark.parametrize(
    ("card", "band", "stored"),
    [
        ("sentinel1", "VV", DECIBEL),
        ("sentinel2", "B04", np.array([3, 9, 5, 20000], np.uint16)),
        ("sentinel2", "B12", np.array([3.2, 9.1, 50, 120], np.float32)),  # resampled DN over water
        ("dsm", "height", np.array([-9999, 2500, 2600, -9999], np.int16)),
        ("rgb", "R", np.zeros(4, np.uint8)),
    ],
)
def test_values_in_the_cards_unit_pass(tmp_path: Path, card: str, band: str, stored: np.ndarray) -> None:
    write(tmp_path / "a.tif", stored.reshape(1, 2, 2))
    read_sensor_image(tmp_path, image(one("a.tif", band), sensor=card), load_sensor(card))


def test_geotiff_round_trip_keeps_values_coordinates_and_names(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    place = rasterio.Affine(10, 0, 500000, 0, -10, 4600000)
    path = tmp_path / "folder" / "a.tif"
    write_geotiff(path, array, crs="EPSG:32631", transform=place, descriptions=("VV", "VH"), nodata=np.nan)
    np.testing.assert_array_equal(read_bands(path).data, array)
    info = raster_info(path)
    assert (info.count, info.height, info.width, info.dtype) == (2, 5, 7, "float32")
    assert (info.descriptions, info.transform) == (("VV", "VH"), place)
    assert info.crs is not None and info.crs.to_epsg() == 32631
    assert info.nodata is not None and np.isnan(info.nodata)
    assert [child.name for child in path.parent.iterdir()] == ["a.tif"]


def test_files_without_coordinates_give_no_warning(tmp_path: Path) -> None:
    Picture.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with warnings.catch_warnings(record=True) as seen:
        raster_info(tmp_path / "a.png")
    assert not seen
