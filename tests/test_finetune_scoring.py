"""What errors of a restored image are scaled by, and which metrics it has: both follow from the data alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_pairs import plain_ergas, plain_psnr, plain_q
from small_downstream import pretrained
from small_runs import refused, run
from small_tasks import write_finetune_recipe
from task_data import image, load, save

from msgfm.data.records import Sample, read_manifest, write_manifest
from msgfm.geo.raster import read_bands
from msgfm.models.pretrained import save_pretrained
from msgfm.models.tasks import Restoration
from msgfm.sensors import load_sensor

INPUTS = ["worldview3", "worldview3_pan"]
TASK = {"kind": "restoration", "target": "worldview3@pansharpened", "over": "worldview3"}


def write_distributed(root: Path, coarse: int = 12, fine: int = 48) -> Path:
    """Places with the pan-sharpened image that comes with the data, as in SpaceNet 2."""
    rng = np.random.default_rng(0)
    samples = []
    for split in ("train", "test"):
        images = tuple(
            image(root, key, split, rng.integers(100, 1500, (bands, side, side)).astype(np.uint16))
            for key, bands, side in (
                ("worldview3", 8, coarse),
                ("worldview3_pan", 1, fine),
                ("worldview3@pansharpened", 8, fine),
            )
        )
        samples.append(Sample(sample=split, scene=split, split=split, images=images))
    return save(root, samples)


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from an encoder that was pretrained with another range of the same sensor."""
    folder = tmp_path_factory.mktemp("scored")
    card = load_sensor("worldview3").with_setting("valid_range", (0.0, 65535.0))
    save_pretrained(pretrained(card), folder / "pretrained")
    manifest = write_distributed(folder / "data")
    recipe = write_finetune_recipe(
        folder / "r.yaml",
        manifest,
        "restoration",
        task=TASK,
        inputs=INPUTS,
        data={"manifest": str(manifest), "image_size": 32, "val": None},
        init=str(folder / "pretrained"),
        encoder=None,
        epochs=1,
    )
    run("finetune", recipe)
    return folder / "run" / "seed_0"


def test_scores_are_those_of_the_datas_card(finetuned: Path) -> None:
    assert (
        json.loads((finetuned / "config.json").read_text())["model"]["sensors"][0]["bands"][0]["valid_range"][1] > 9e3
    )
    found = json.loads((finetuned / "metrics.json").read_text())["test"]["metrics"]
    (file,) = (finetuned / "predictions" / "test").glob("*.npz")
    low, high = load_sensor("worldview3").bands[0].valid_range
    stored = read_bands(finetuned.parents[1] / "data" / "worldview3_pansharpened" / "test.tif", list(range(1, 9)))
    prediction, target = (
        (np.clip(values.astype(np.float64), low, high) - low) / (high - low)
        for values in (np.load(file)["predicted"], np.ma.getdata(stored))
    )
    assert found["psnr"] == pytest.approx(plain_psnr(prediction, target), rel=1e-5)
    assert found["ergas"] == pytest.approx(plain_ergas(prediction, target, 0.25), rel=1e-5)
    assert found["q"] == pytest.approx(plain_q(prediction, target), rel=1e-5)


def test_scores_of_another_range_are_not_compared(finetuned: Path, tmp_path: Path) -> None:
    """The same prediction, and a card whose range is 32 times as wide: 30 dB more."""
    manifest = finetuned.parents[1] / "data" / "manifest.parquet"
    listed = read_manifest(manifest)
    wide = listed.sensors["worldview3"].with_setting("valid_range", (0.0, 65535.0))
    other = manifest.with_name("wide.parquet")
    write_manifest(replace(listed, sensors=listed.sensors | {"worldview3": wide}), other)
    found = []
    for name, path in (("own", manifest), ("wide", other)):
        folder = shutil.copytree(finetuned, tmp_path / name / "seed_0")
        run("evaluate", folder, "--split", "again", f"data.manifest={path}", "data.test=test")
        found.append(json.loads((folder / "metrics.json").read_text())["again"]["metrics"]["psnr"])
    assert found[1] - found[0] == pytest.approx(20 * np.log10(65535 / 2047), abs=0.1)
    message = refused("compare", tmp_path / "own", tmp_path / "wide", "--split", "again")
    assert "read differently" in message and "valid range" in message


@pytest.mark.parametrize(
    ("coarse", "fine", "expected"),
    [(12, 48, 1 / 4), (13, 50, 1 / 4), (40, 163, 1 / 4), (20, 41, 1 / 2), (20, 30, 2 / 3), (12, 12, None)],
)
def test_the_ratio_is_that_of_target_and_image_that_is_sharpened(
    tmp_path: Path, coarse: int, fine: int, expected: float | None
) -> None:
    task = Restoration.model_validate(TASK)
    data = load(write_distributed(tmp_path, coarse, fine), task, " ".join(INPUTS), image_size=32, val=None)
    assert data.ratio == expected
