"""Pretraining recipes: the paper's numbers, and settings that cannot go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from msgfm.config import config_from_dict, load_config
from msgfm.errors import InputError
from msgfm.training.pretraining.config import PretrainConfig

RECIPES = Path(__file__).parents[1] / "recipes" / "pretrain"
SOURCE = {"manifest": "m.parquet", "lr": 1e-3, "batch_size": 2}


def make(**changes: Any) -> PretrainConfig:
    tree: dict[str, Any] = {"out": "runs/x", "sources": {"rgb": SOURCE}, "epochs": 3}
    return config_from_dict(PretrainConfig, tree | changes, "recipe")


def source(**changes: Any) -> PretrainConfig:
    return make(sources={"rgb": SOURCE | changes})


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_that_comes_with_msgfm_is_valid(path):
    load_config(PretrainConfig, path)


@pytest.mark.parametrize(("name", "epochs", "milestones"), [("800ep", 800, (700,)), ("100ep", 100, ())])
def test_the_papers_recipes_are_table_10(name, epochs, milestones):
    config = load_config(PretrainConfig, RECIPES / f"msgfm_base_{name}.yaml")
    assert config.epochs == epochs
    assert config.image_size == 192
    assert {name: (source.batch_size, source.lr) for name, source in config.sources.items()} == {
        "rgb": (128, 1e-4),
        "sen12ms": (32, 0.25e-4),
        "mdas": (12, 1e-5),
    }
    optim = config.optim
    assert (optim.betas, optim.eps, optim.weight_decay) == ((0.9, 0.999), 1e-8, 0.05)
    assert (optim.warmup_epochs, optim.warmup_lr, optim.milestones, optim.gamma) == (10, 5e-7, milestones, 0.1)
    assert (config.mixture.schedule, config.mixture.cross_sensor_share) == ("sequential", 0.5)
    model = config.model
    assert (model.mask_patch_size, model.mask_ratio, model.auxiliary_weight) == (32, 0.6, 0.01)
    assert (model.patch_embed.kind, model.patch_embed.patch_size) == ("conv", 4)
    encoder = model.encoder
    assert (encoder.embed_dim, encoder.depths, encoder.num_heads) == (128, (2, 2, 18, 2), (4, 8, 16, 32))
    assert encoder.window_size == 6
    assert encoder.moe is not None
    assert (encoder.moe.stage, encoder.moe.blocks) == (2, (1, 3, 5, 7, 9, 11, 13, 15, 17))
    assert (encoder.moe.num_experts, encoder.moe.top_k, encoder.moe.capacity_factor) == (8, 1, 1.25)
    # what the recipe does not say is the paper's too
    assert make(model={}).model == model
    assert make(optim={"milestones": milestones}).optim == optim


def test_a_manifest_or_several():
    assert source().sources["rgb"].manifest == (Path("m.parquet"),)
    assert source(manifest=["a", "b"]).sources["rgb"].manifest == (Path("a"), Path("b"))
    assert source(manifest=Path("a")).sources["rgb"].manifest == (Path("a"),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 100}, "image_size 100 must be a multiple of mask_patch_size 32 and of the 32 px"),
        ({"image_size": 96, "model": {"mask_patch_size": 64}}, "multiple of mask_patch_size 64"),
        ({"image_size": 48, "model": {"mask_patch_size": 16}}, "and of the 32 px"),
        ({"model": {"mask_patch_size": 10}}, "model: mask_patch_size 10 must be a multiple of patch_size 4"),
        ({"model": {"encoder": {"num_heads": [3, 3, 3, 3]}}}, "model.encoder: 3 heads do not divide"),
        ({"model": {"encoder": {"preset": "tiny", "moe": {"blocks": [9]}}}}, "model.encoder: .*has no block"),
        ({"sources": {}}, "sources: .*at least 1"),
        ({"sources": {"a": {"lr": 1}}}, "sources.a.manifest: missing"),
        ({"sources": {"a": SOURCE | {"batch_size": None}}}, "sources a have no batch_size"),
        ({"sources": {"a": SOURCE | {"batch_size": 0}}}, "sources.a.batch_size: .*(got 0)"),
        ({"sources": {"a": SOURCE | {"lr": 0}}}, "sources.a.lr: .*greater than 0"),
        ({"sources": {"a": SOURCE | {"lr": "fast"}}}, "sources.a.lr: .*valid number.*'fast'"),
        ({"sources": {"a": SOURCE | {"manifest": []}}}, "sources.a.manifest: .*at least 1"),
        ({"sources": {"a": SOURCE | {"sensors": []}}}, "sources.a.sensors: .*at least 1"),
        ({"epochs": 0}, "epochs: .*greater than or equal to 1"),
        ({"epochs": 1.5}, "epochs: .*integer"),
        ({"seed": 2**64}, "seed: .*less than"),
        ({"seed": -1}, "seed: .*greater than or equal to 0"),
        ({"mixture": {"cross_sensor_share": 50}}, "mixture.cross_sensor_share: .*less than or equal to 1"),
        ({"mixture": {"schedule": "random"}}, "mixture.schedule: .*'sequential' or 'joint'"),
        ({"optim": {"betas": [0.9, 1]}}, "optim.betas.1: .*less than 1"),
        ({"optim": {"betas": [0.9]}}, "optim.betas"),
        ({"optim": {"clip_grad_norm": 0}}, "optim.clip_grad_norm: .*greater than 0"),
        ({"hardware": {"precision": "16"}}, "hardware.precision: .*'bf16-mixed' or '32-true'"),
        ({"hardware": {"accumulate": 0}}, "hardware.accumulate"),
        ({"log": {"keep_checkpoints": 0}}, "log.keep_checkpoints"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_with_its_place(changes, message):
    with pytest.raises(InputError, match=message):
        make(**changes)


def test_a_shared_batch_size_stands_in_for_those_not_given():
    config = make(sources={"a": SOURCE | {"batch_size": None}}, mixture={"batch_size": 8})
    assert config.sources["a"].batch_size is None
