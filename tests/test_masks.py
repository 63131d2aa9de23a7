"""Labels of pixels: values, colours, other grids, windows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from msgfm.data.layouts.headers import check_headers
from msgfm.data.layouts.listing import listed
from msgfm.data.masks import UNLABELLED, read_mask
from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage, read_manifest, write_manifest
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import load_sensor


def sample(path: str, size: tuple[int, int], bands: int = 1, window: tuple[int, int, int, int] | None = None) -> Sample:
    image = SensorImage(sensor="rgb", height=size[0], width=size[1], files=())
    coarse = SensorImage(sensor="dsm", height=1, width=1, files=())
    mask = RasterFile(path=path, bands=("m",) * bands, file_bands=tuple(range(1, bands + 1)), window=window)
    return Sample(sample="a", scene="a", split="train", images=(coarse, image), mask=mask)


def test_values_are_as_they_are_stored_negative_ones_too(tmp_path: Path) -> None:
    values = np.array([[-1, 0], [1, 300]], np.int16)
    write_geotiff(tmp_path / "m.tif", values[None], nodata=-1)
    found = read_mask(tmp_path, sample("m.tif", (2, 2)))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, values)


def test_colours_become_values_and_others_are_not_labelled(tmp_path: Path) -> None:
    colours = {0: (255, 0, 0), 5: (255, 255, 0)}
    picture = np.array([[(255, 0, 0), (255, 255, 0)], [(255, 255, 1), (0, 0, 0)]], np.uint8)
    Picture.fromarray(picture).save(tmp_path / "m.png")
    found = read_mask(tmp_path, sample("m.png", (2, 2), bands=3), colours)
    np.testing.assert_array_equal(found, [[0, 5], [UNLABELLED, UNLABELLED]])


@pytest.mark.parametrize(("old", "new"), [((2, 3), (6, 9)), ((4, 4), (7, 7))])
def test_other_grids_take_the_pixel_under_the_centre(
    tmp_path: Path, old: tuple[int, int], new: tuple[int, int]
) -> None:
    values = np.arange(old[0] * old[1], dtype=np.uint8).reshape(old)
    write_geotiff(tmp_path / "m.tif", values[None])
    one = sample("m.tif", new)
    coarse = replace(one.images[0], height=old[0], width=old[1])
    found = read_mask(tmp_path, replace(one, images=(coarse, one.images[1])))
    assert found.shape == new
    for i in range(new[0]):
        for j in range(new[1]):
            row, column = (i + 0.5) * old[0] / new[0], (j + 0.5) * old[1] / new[1]
            assert found[i, j] == values[int(row), int(column)]


def test_a_mask_on_the_grid_of_no_image_is_refused(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "m.tif", np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(InputError, match=r"m\.tif: sample a has a mask of 4 x 4 .* images of 1 x 1 and 8 x 8"):
        read_mask(tmp_path, sample("m.tif", (8, 8)))


def test_a_window_of_a_mask(tmp_path: Path) -> None:
    values = np.arange(48, dtype=np.uint8).reshape(6, 8)
    write_geotiff(tmp_path / "m.tif", values[None])
    np.testing.assert_array_equal(read_mask(tmp_path, sample("m.tif", (2, 3), window=(1, 4, 2, 3))), values[1:3, 4:7])


def test_floats_must_be_whole(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "m.tif", np.array([[[7202.0, np.nan]]]))
    np.testing.assert_array_equal(read_mask(tmp_path, sample("m.tif", (1, 2))), [[7202, UNLABELLED]])
    write_geotiff(tmp_path / "m.tif", np.array([[[0.5, 1.0]]]))
    with pytest.raises(InputError, match=r"m\.tif: a mask holds class numbers, this one 0\.5"):
        read_mask(tmp_path, sample("m.tif", (1, 2)))


def test_a_sample_without_a_mask_says_so() -> None:
    with pytest.raises(InputError, match="sample a has no mask"):
        read_mask(Path(), replace(sample("m.tif", (1, 1)), mask=None))


def test_headers_of_masks_are_looked_at(tmp_path: Path) -> None:
    image = RasterFile(path="image.tif", bands=("R", "G", "B"), file_bands=())
    write_geotiff(tmp_path / "image.tif", np.ones((3, 8, 8), np.uint8))
    write_geotiff(tmp_path / "whole.tif", np.ones((1, 8, 8), np.uint8))
    write_geotiff(tmp_path / "half.tif", np.ones((1, 4, 4), np.uint8))
    write_geotiff(tmp_path / "long.tif", np.ones((1, 8, 4), np.uint8))
    found = [
        listed(name, name, {"rgb": [image]}, mask=RasterFile(path=f"{name}.tif", bands=bands, file_bands=positions))
        for name, bands, positions in (
            ("whole", ("mask",), (1,)),
            ("half", ("mask",), (1,)),
            ("long", ("mask",), (1,)),
            ("gone", ("mask",), (1,)),
            ("whole", ("R", "G", "B"), (1, 2, 3)),
        )
    ]
    good, problems = check_headers(tmp_path, found, {"rgb": load_sensor("rgb")})
    assert [(one.sample, one.images[0].height) for one in good] == [("whole", 8)]
    for name, size in (("half", "4 x 4"), ("long", "8 x 4")):
        assert f"a mask of {size} pixels beside images of 8 x 8" in problems[f"{name}.tif"]
    assert "no file" in problems["gone.tif"]
    assert "has 1 bands, a mask with 3 was expected" in problems["whole.tif"]


def test_manifests_carry_colours_subset_and_a_digest_of_the_samples(tmp_path: Path) -> None:
    manifest = Manifest(
        root=tmp_path,
        layout="pairs",
        sensors={name: load_sensor(name) for name in ("rgb", "dsm")},
        samples=(sample("m.png", (2, 2)),),
        mask_classes={0: "clutter", 5: "car"},
        mask_colours={0: (255, 0, 0), 5: (255, 255, 0)},
        subset="0.1 of train",
    )
    write_manifest(manifest, tmp_path / "m.parquet")
    found = read_manifest(tmp_path / "m.parquet")
    assert found == manifest and found.digest == manifest.digest
    assert replace(manifest, root=tmp_path / "elsewhere", subset="").digest == manifest.digest
    other = replace(manifest.samples[0], labels=("car",))
    assert replace(manifest, samples=(other,)).digest != manifest.digest
