"""Rules of pan-sharpening look at whole images, however large these are, and at the pixels that were resampled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from finetuned_runs import write_seed
from small_runs import run
from small_tasks import write_finetune_recipe
from task_data import image, save

from msgfm.data.reader import resample
from msgfm.data.records import Sample
from msgfm.models.baselines.sharpening import gram_schmidt_adaptive, native_grid
from msgfm.training.comparison.runs import load_runs

SIDES = {"a": ((20, 24), (80, 96)), "b": ((21, 24), (86, 98)), "c": ((20, 24), (81, 95))}
"""Of the bands and of the panchromatic image: multiples of 4, and not."""


def random_image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 1000, shape)


@pytest.mark.parametrize(
    ("native", "fine"),
    [((13, 40), (50, 163)), ((14, 41), (54, 161)), *SIDES.values()],
    ids=lambda sides: f"{sides[0]} x {sides[1]}",
)
def test_sides_need_not_be_multiples_of_the_ratio(native: tuple[int, int], fine: tuple[int, int]) -> None:
    """163 px to 650 px as in SpaceNet 2; 40 of 163 as `data.wald` leaves them."""
    bands = random_image(3, *native).astype(np.float32)
    found = native_grid(torch.from_numpy(resample(bands, fine)), 4)
    np.testing.assert_allclose(found.numpy(), bands, rtol=1e-5)


@pytest.fixture(scope="module")
def sharpened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a rule whose recipe has windows of 16 px (64 px at full resolution)."""
    folder = tmp_path_factory.mktemp("whole")
    samples = []
    for seed, (name, (coarse, fine)) in enumerate(SIDES.items()):
        bands, pan = random_image(8, *coarse, seed=seed), random_image(1, *fine, seed=seed + 9)
        images = (
            image(folder / "data", "worldview3", name, bands.astype(np.uint16)),
            image(folder / "data", "worldview3_pan", name, pan.astype(np.uint16)),
        )
        samples.append(Sample(sample=name, scene=name, split="test", images=images))
    samples.append(Sample(sample="t", scene="t", split="train", images=images))
    manifest = save(folder / "data", samples)
    recipe = write_finetune_recipe(
        folder / "r.yaml",
        manifest,
        "restoration",
        task={"kind": "restoration", "target": "worldview3", "over": "worldview3"},
        inputs=["worldview3", "worldview3_pan"],
        data={"manifest": str(manifest), "image_size": 16, "wald": 4, "val": None},
        encoder=None,
        batch_size=2,
        backbone={"kind": "rule", "rule": "gram_schmidt_adaptive"},
    )
    run("finetune", recipe)
    return folder / "run" / "seed_0"


def test_predictions_are_the_rule_on_whole_images(sharpened: Path) -> None:
    for seed, (name, (coarse, fine)) in enumerate(SIDES.items()):
        bands, pan = (random_image(8, *coarse, seed=seed), random_image(1, *fine, seed=seed + 9))
        expected = gram_schmidt_adaptive(torch.from_numpy(bands).float(), torch.from_numpy(pan[0]).float())
        (file,) = (sharpened / "predictions" / "test_full_resolution").glob(f"*_{name}.npz")
        np.testing.assert_allclose(np.load(file)["predicted"], expected, rtol=1e-3, atol=0.1)


def test_windows_are_another_score_under_another_name(sharpened: Path) -> None:
    run("evaluate", sharpened, "--split", "windows", "data.test=test", "data.window_size=16")
    run("evaluate", sharpened, "--split", "whole", "data.test=test")
    found = json.loads((sharpened / "metrics.json").read_text())
    assert found["whole"] == found["test"]
    assert found["windows"]["metrics"]["mae"] != found["test"]["metrics"]["mae"]
    assert found["whole_full_resolution"] == found["test_full_resolution"]


def test_beside_models_that_saw_windows_it_is_said(tmp_path: Path) -> None:
    for name, size in (("rule", "image"), ("ours", 96)):
        write_seed(tmp_path / name, 0, {"mae": 0.1}, recipe={"data": {"window_size": size, "image_size": 64}})
    _, notes = load_runs([tmp_path / "rule", tmp_path / "ours"], "test")
    assert "models saw images in different squares: rule whole images; ours 96 px" in notes
