"""Rules in the place of a model: what takes a whole image is not run in windows."""

from __future__ import annotations

import pytest
import torch
from scene_commands import invoke, read, refused
from scene_data import at, reflectance, write
from small_downstream import describe

from msgfm.models.baselines.sharpening import gram_schmidt_adaptive, sharpen
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import save_pretrained
from msgfm.sensors import load_sensor

BANDS = ("B02", "B03", "B04")


@pytest.fixture
def scene(tmp_path):
    """Four times as fine panchromatic pixels; the coarse ones are interpolated as the reader does it."""
    pan = load_sensor("sentinel2").select(["B08"]).model_copy(update={"name": "pan"})
    band = pan.bands[0].model_copy(update={"name": "PAN", "wavelength_nm": 590.0, "gsd_m": 2.5})
    pan = pan.model_copy(update={"bands": (band,)})
    write(tmp_path / "pan.tif", reflectance(48, 64, seed=5), transform=at(2.5), names=["PAN"])
    write(tmp_path / "ms.tif", reflectance(12, 16, seed=6, count=3), names=BANDS)
    return pan


def save(folder, pan, rule):
    cards = (load_sensor("sentinel2"), pan)
    over = f"sentinel2:{','.join(BANDS)}"
    task = {"kind": "restoration", "target": over, "over": "sentinel2"}
    model = DownstreamModel(
        describe(task, [over, "pan"], sensors=cards, backbone={"kind": "rule", "rule": rule, "ratio": 4})
    )
    save_pretrained(model, folder)
    return folder


@pytest.mark.parametrize("rule", ["bicubic", "brovey", "gram_schmidt_adaptive"])
def test_what_takes_a_whole_image_is_refused_in_windows(scene, tmp_path, rule):
    folder = save(tmp_path / "model", scene, rule)
    arguments = ["predict", folder, "--sentinel2", tmp_path / "ms.tif", "--pan", tmp_path / "pan.tif"]
    told = refused(*arguments, "--out", tmp_path / "x.tif", "--window", 32)
    assert f"the rule {rule} takes its measures from the whole image" in told
    assert "--window 64" in told
    assert not (tmp_path / "x.tif").exists()
    invoke(*arguments, "--out", tmp_path / "x.tif", "--window", 64)


def test_in_one_window_it_is_what_the_rule_says(scene, tmp_path):
    folder = save(tmp_path / "model", scene, "gram_schmidt_adaptive")
    arguments = ["predict", folder, "--sentinel2", tmp_path / "ms.tif", "--pan", tmp_path / "pan.tif"]
    invoke(*arguments, "--out", tmp_path / "x.tif", "--window", 64)
    coarse = torch.from_numpy(read(tmp_path / "ms.tif").astype("float32")) * 1e-4
    pan = torch.from_numpy(read(tmp_path / "pan.tif")[0].astype("float32")) * 1e-4
    fine = torch.nn.functional.interpolate(coarse[None], scale_factor=4, mode="bilinear")[0]
    expected = sharpen(fine, pan, 4, gram_schmidt_adaptive)
    found = torch.from_numpy(read(tmp_path / "x.tif").astype("float32")) * 1e-4
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_what_looks_at_single_pixels_is_not(scene, tmp_path):
    folder = save(tmp_path / "model", scene, "copy")
    arguments = ["predict", folder, "--sentinel2", tmp_path / "ms.tif", "--pan", tmp_path / "pan.tif"]
    invoke(*arguments, "--out", tmp_path / "x.tif", "--window", 32)
