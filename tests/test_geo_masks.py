"""What a file says has no data: found in the values where that is the same as GDAL's mask."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from msgfm.geo.raster import read_bands

UNSIGNED, SIGNED, FLOAT = ("uint8", "uint16"), ("int16", "int32"), ("float32", "float64")
MARKED = [(dtype, mark) for dtype in (*UNSIGNED, *SIGNED, *FLOAT) for mark in (None, 0, 7)]
MARKED += [(dtype, -9999) for dtype in (*SIGNED, *FLOAT)] + [(dtype, float("nan")) for dtype in FLOAT]


@pytest.mark.parametrize(("dtype", "nodata"), MARKED)
@pytest.mark.parametrize("window", [None, (2, 1, 3, 4)])
def test_masks_are_gdals(
    tmp_path: Path, dtype: str, nodata: float | None, window: tuple[int, int, int, int] | None
) -> None:
    values = np.random.default_rng(0).integers(0, 9, (3, 6, 7)).astype(dtype)
    if nodata is not None:
        values[:, ::3, ::2] = nodata
    path = tmp_path / "image.tif"
    profile = {"driver": "GTiff", "count": 3, "height": 6, "width": 7, "dtype": dtype, "nodata": nodata}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
    with rasterio.open(path) as file:
        part = None if window is None else rasterio.windows.Window(window[1], window[0], window[3], window[2])
        expected = file.read([3, 1], window=part, masked=True)
    found = read_bands(path, [3, 1], window)
    np.testing.assert_array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(expected))
    np.testing.assert_array_equal(np.ma.getdata(found), np.ma.getdata(expected))


def test_alpha_band_masks_the_others(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    profile = {"driver": "GTiff", "count": 2, "height": 2, "width": 2, "dtype": "uint8", "alpha": "yes"}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.array([[[5, 6], [7, 8]], [[255, 0], [255, 255]]], np.uint8))
    assert np.ma.getmaskarray(read_bands(path, [1], None)).tolist() == [[[False, True], [False, False]]]
