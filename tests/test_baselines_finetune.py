"""Baselines through `msgfm finetune`, from a recipe to scores."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from small_runs import refused, run
from small_tasks import CLASSES, COUNTS, write_finetune_recipe, write_task_data

from msgfm import from_pretrained
from msgfm.geo.raster import read_bands


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task_data(tmp_path_factory.mktemp("tasks"))


def finetuned(folder: Path, manifest: Path, kind: str, **changes: Any) -> tuple[dict[str, float], str]:
    """Metrics of the test split, and what was printed."""
    recipe = write_finetune_recipe(folder / "r.yaml", manifest, kind, **{"encoder": None, **changes})
    output = run("finetune", recipe)
    return json.loads((folder / "run" / "seed_0" / "metrics.json").read_text())["test"]["metrics"], output


def stored(manifest: Path, folder: str) -> list[np.ndarray]:
    """Of the test split, rgb as 0..1 or masks."""
    bands = [1] if folder == "mask" else [1, 2, 3]
    images = [np.ma.getdata(read_bands(path, bands)) for path in sorted((manifest.parent / folder).glob("test_*.tif"))]
    return images if folder == "mask" else [image.astype(np.float64) / 255 for image in images]


def test_a_copy_has_the_error_of_the_cloudy_images(manifest, tmp_path):
    metrics, output = finetuned(tmp_path, manifest, "restoration", backbone={"kind": "rule", "rule": "copy"})
    pairs = zip(stored(manifest, "cloudy"), stored(manifest, "rgb"), strict=True)
    assert metrics["mae"] == pytest.approx(np.mean([np.abs(cloudy - clear).mean() for cloudy, clear in pairs]))
    assert "nothing is trained" in output


def test_the_class_prior_counts_the_training_labels(manifest, tmp_path):
    rule = {"kind": "rule", "rule": "class_prior"}
    metrics, _ = finetuned(tmp_path, manifest, "classification", backbone=rule)
    labels = Counter(i % 3 for i in range(COUNTS["train"]))
    shares = [labels[i] / COUNTS["train"] for i in range(len(CLASSES))]
    config = json.loads((tmp_path / "run" / "seed_0" / "config.json").read_text())
    assert config["model"]["backbone"]["prior"] == pytest.approx(shares)
    commonest = int(np.argmax(shares))
    assert metrics["accuracy"] == np.mean([i % 3 == commonest for i in range(COUNTS["test"])])
    assert from_pretrained(tmp_path / "run" / "seed_0").config.backbone.prior == pytest.approx(shares)


def test_the_class_prior_of_pixels_predicts_the_commonest_class_everywhere(manifest, tmp_path):
    metrics, _ = finetuned(tmp_path, manifest, "segmentation", backbone={"kind": "rule", "rule": "class_prior"})
    masks = np.stack(stored(manifest, "mask"))
    assert metrics["accuracy"] == pytest.approx((masks == 0).sum() / (masks != 9).sum())


@pytest.mark.slow
def test_dsen2cr_learns_more_than_a_copy(manifest, tmp_path):
    copy, _ = finetuned(tmp_path, manifest, "restoration", backbone={"kind": "rule", "rule": "copy"})
    (tmp_path / "net").mkdir()
    backbone = {"kind": "dsen2cr", "features": 12, "blocks": 2}
    network, output = finetuned(tmp_path / "net", manifest, "restoration", backbone=backbone, epochs=10)
    assert network["mae"] < copy["mae"]
    assert "random initialisation" in output


@pytest.mark.parametrize("method", ["finetune", "knn"])
def test_an_encoder_of_timm_with_weights_from_a_file(manifest, tmp_path, method):
    weights = tmp_path / "vit.pth"
    torch.save(timm.create_model("test_vit", pretrained=False).state_dict(), weights)
    backbone = {"kind": "timm", "name": "test_vit", "weights": str(weights), "statistics": "imagenet"}
    changes = {"backbone": backbone, "method": method, "drop_path_rate": 0.2}
    metrics, output = finetuned(tmp_path, manifest, "classification", **changes)
    assert 0 <= metrics["accuracy"] <= 1
    if method == "finetune":
        assert from_pretrained(tmp_path / "run" / "seed_0").config.backbone.drop_path_rate == 0.2
    assert "tensors loaded" in output and "sentinel1 VV, sentinel1 VH: the file's mean kernel" in output


def test_a_swin_from_a_file_is_where_our_encoder_starts(manifest, tmp_path):
    shape = {"img_size": 128, "embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 4}
    swin = timm.models.swin_transformer.SwinTransformer(**shape, num_classes=0)
    torch.save({"model": swin.state_dict()}, tmp_path / "swin.pth")
    finetuned(tmp_path, manifest, "classification", init=str(tmp_path / "swin.pth"), method="linear_probe")
    model = from_pretrained(tmp_path / "run" / "seed_0")
    for name, tensor in swin.layers.state_dict().items():
        torch.testing.assert_close(model.trunk.encoder.layers.state_dict()[name], tensor)  # frozen
    facts = json.loads((tmp_path / "run" / "seed_0" / "run.json").read_text())
    assert len(facts["init"]["sha256"]) == 64


def test_what_cannot_be_is_told_before_anything_is_written(manifest, tmp_path):
    for kind, changes, words in (
        ("classification", {"backbone": {"kind": "rule", "rule": "copy"}}, "copy is for restoration"),
        ("classification", {"backbone": {"kind": "dsen2cr"}}, "dsen2cr restores images"),
        ("restoration", {"backbone": {"kind": "rule", "rule": "mean_of_clear"}}, "rgb@cloudy is not in"),
        ("classification", {"backbone": {"kind": "timm", "name": "resnet18", "weights": "none.pth"}}, "none.pth"),
        ("classification", {"init": str(manifest)}, "task.parquet"),
        ("classification", {"backbone": {"kind": "tim", "name": "resnet18"}}, "backbone"),
    ):
        recipe = write_finetune_recipe(tmp_path / "r.yaml", manifest, kind, **{"encoder": None, **changes})
        assert words in refused("finetune", recipe)
        assert not (tmp_path / "run").exists()
