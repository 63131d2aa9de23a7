"""`examples/split_scene.py`: the parts of a scene are registered alike."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage
from msgfm.sensors import load_sensor

split = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "split_scene.py"))["split"]
SENSORS = {name: load_sensor(name) for name in ("worldview3", "worldview3_pan")}


def listed(sensor: str, height: int, width: int) -> SensorImage:
    bands = SENSORS[sensor].band_names
    file = RasterFile(path=f"{sensor}.tif", bands=bands, file_bands=tuple(range(1, len(bands) + 1)))
    return SensorImage(sensor=sensor, height=height, width=width, files=(file,))


@pytest.mark.parametrize(
    ("coarse", "fine", "ratio", "covered"),
    [
        pytest.param((20, 50), (41, 100), 2, 49, id="2 N + 1, but the last column is not there"),
        pytest.param((20, 50), (41, 101), 2, 50, id="2 N + 1"),
        pytest.param((20, 50), (40, 100), 2, 50, id="2 N"),
        pytest.param((20, 50), (80, 200), 4, 50, id="4 N"),
    ],
)
def test_every_part_has_the_same_margin(
    coarse: tuple[int, int], fine: tuple[int, int], ratio: int, covered: int
) -> None:
    images = (listed("worldview3", *coarse), listed("worldview3_pan", *fine))
    whole = Sample(sample="a", scene="a", split="train", images=images)
    parts = split(Manifest(root=Path("."), layout="pairs", sensors=SENSORS, samples=(whole,))).samples
    assert [part.split for part in parts] == ["train", "val", "test"]
    ends = 0
    for part in parts:
        bands, pan = part.images
        (_, column, height, width), (_, pan_column, pan_height, pan_width) = (
            image.files[0].window for image in part.images
        )
        assert (bands.height, bands.width, pan.height, pan.width) == (height, width, pan_height, pan_width)
        assert column == ends
        assert pan_column == ratio * column
        assert pan_width - ratio * width == pan_height - ratio * height == fine[0] - ratio * coarse[0]
        assert pan_column + pan_width <= fine[1]
        ends = column + width
    assert ends == covered
