"""Windows that look like another unit, as of glint, or hold infinite values, do not end a run on a whole scene."""

import numpy as np
import pytest
import torch
from scene_commands import invoke, read
from scene_data import backscatter, reflectance, write
from small_downstream import pretrained

from msgfm.errors import InputError
from msgfm.models.pretrained import save_pretrained
from msgfm.scenes.windows_table import read_windows
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").band_names


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "pretrained"
    save_pretrained(pretrained("sentinel1", "sentinel2"), folder)
    return folder


def test_what_is_too_bright_is_no_other_unit_in_a_scene(model, tmp_path):
    stored = reflectance(96, 128, count=13)
    stored[:, 32:64, 32:64] = 45_000  # as of sun on water: a window of it alone is refused
    scene = write(tmp_path / "s2.tif", stored, names=S2, nodata=0)
    window = torch.full((1, 13, 32, 32), 4.5)
    with pytest.raises(InputError, match="expected"):
        pretrained("sentinel1", "sentinel2").encode({"sentinel2": window})
    invoke(
        *("translate", model, scene, "--from", "sentinel2", "--to", "sentinel1"),
        *("--window", 32, "--overlap", 0, "--out", tmp_path / "s1_like.tif"),
    )
    assert np.isfinite(read(tmp_path / "s1_like.tif")).all()
    invoke("embed", model, "--sentinel2", scene, "--window", 32, "--out", tmp_path / "features.parquet")
    vectors = np.concatenate([windows.values for windows in read_windows(tmp_path / "features.parquet")])
    assert vectors.shape[0] == 12
    assert np.isfinite(vectors).all()


def test_what_is_infinite_is_no_data_in_a_scene(model, tmp_path):
    stored = backscatter(64, 64)
    stored[:, 40, 50] = -np.inf  # the decibels of nothing
    scene = write(tmp_path / "s1.tif", stored, names=["VV", "VH"])
    invoke(
        *("translate", model, scene, "--from", "sentinel1", "--to", "sentinel2"),
        *("--window", 32, "--overlap", 8, "--out", tmp_path / "s2_like.tif"),
    )
    result = read(tmp_path / "s2_like.tif")
    assert (result[:, 40, 50] == 0).all()
    assert (result != 0).any(0).sum() == 64 * 64 - 1


def test_checked_images_give_what_others_give():
    made = pretrained("sentinel1", "sentinel2").eval()
    image = {"sentinel1": torch.from_numpy(backscatter(32, 32))[None]}
    for one, other in zip(made.encode(image)["sentinel1"], made.encode(image, checked=True)["sentinel1"], strict=True):
        assert torch.equal(one, other)
