"""Every recipe that comes with msgfm runs through the command line, and the paper's say what its Table 10 says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from small_runs import invoke, read_log, write_data

import msgfm
from msgfm.cli.recipes import find_recipe
from msgfm.config import load_config
from msgfm.data.records import read_manifest
from msgfm.training.pretraining.config import PretrainConfig

FOLDER = Path(__file__).parents[1] / "recipes" / "pretrain"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml"))

# What a small machine changes; all else stays the recipe's.
SMALL = [
    "epochs=1",
    "image_size=64",
    "hardware={accelerator: cpu, devices: 1, precision: 32-true, num_workers: 0}",
    "log.picture_every_steps=null",
]


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_data(tmp_path_factory.mktemp("recipes"), size=64)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_runs_and_its_model_loads(name: str, manifests: dict[str, Path], tmp_path: Path) -> None:
    recipe = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    changes = [*SMALL, f"out={tmp_path / 'run'}"]
    for i, (source, settings) in enumerate(recipe["sources"].items()):
        manifest = list(manifests.values())[i % 3]
        changes.append(f"sources.{source}.manifest={manifest}")
        changes.append(f"sources.{source}.batch_size=2")
        if "sensors" in settings:  # some of what there is, too
            changes.append(f"sources.{source}.sensors=[{min(read_manifest(manifest).sensors)}]")
    # the mixture stays where a smaller encoder has it too: in the second block of its third stage
    changes += ["model.encoder.preset=tiny", "model.encoder.embed_dim=16", "model.encoder.moe.blocks=[1]"]
    changes += ["model.mask_patch_size=16"]
    result = invoke("pretrain", name, *changes)
    assert result.exit_code == 0, result.output
    log = read_log(tmp_path / "run")
    assert log.column("source")[: len(recipe["sources"])] == list(recipe["sources"])
    model = msgfm.from_pretrained(tmp_path / "run")
    assert model.config.encoder.embed_dim == 16
    assert model.config.encoder.moe is not None
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["recipe"]["optim"]["weight_decay"] == 0.05


def test_recipes_lie_where_the_command_finds_them() -> None:
    assert RECIPES == ["demo", "msgfm_base_100ep", "msgfm_base_800ep", "small"]
    for name in RECIPES:
        assert find_recipe("pretrain", name).samefile(FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("name", RECIPES)
def test_header_says_what_a_reader_needs(name: str) -> None:
    header = [line for line in (FOLDER / f"{name}.yaml").read_text().splitlines() if line.startswith("# ")]
    for word in ("What it ", "Command: ", "Hardware: ", "Result: "):
        assert any(line.startswith(f"# {word}") for line in header), word


@pytest.mark.parametrize(("name", "epochs", "milestones"), [("800ep", 800, (700,)), ("100ep", 100, ())])
def test_base_recipes_are_table_10(name: str, epochs: int, milestones: tuple[int, ...]) -> None:
    """Han et al. 2024, Table 10, and sections 3 and 4 for the masks; written out here, not read from anywhere."""
    config = load_config(PretrainConfig, FOLDER / f"msgfm_base_{name}.yaml")
    assert config.image_size == 192
    assert config.epochs == epochs
    assert config.init_from is None

    sources = {source: (config.sources[source].batch_size, config.sources[source].lr) for source in config.sources}
    assert sources == {"rgb": (128, 1e-4), "sen12ms": (32, 0.25e-4), "mdas": (12, 1e-5)}
    assert config.mixture.schedule == "sequential"
    assert config.mixture.cross_sensor_share == 0.5

    optim = config.optim
    assert optim.betas == (0.9, 0.999)
    assert optim.eps == 1e-8
    assert optim.weight_decay == 0.05
    assert optim.warmup_epochs == 10
    assert optim.warmup_lr == 5e-7
    assert optim.milestones == milestones
    assert optim.gamma == 0.1

    encoder = config.model.encoder
    assert encoder.embed_dim == 128
    assert encoder.depths == (2, 2, 18, 2)
    assert encoder.num_heads == (4, 8, 16, 32)
    assert encoder.window_size == 6
    assert encoder.moe is not None
    assert encoder.moe.num_experts == 8
    assert encoder.moe.stage == 2
    assert encoder.moe.blocks == (1, 3, 5, 7, 9, 11, 13, 15, 17)
    assert encoder.moe.top_k == 1
    assert encoder.moe.capacity_factor == 1.25

    assert config.model.auxiliary_weight == 0.01
    assert config.model.mask_patch_size == 32
    assert config.model.mask_ratio == 0.6
    assert config.model.patch_embed.patch_size == 4


def test_base_recipes_on_this_machine_say_what_is_missing(manifests: dict[str, Path], tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("has a GPU")
    paths = zip(("rgb", "sen12ms", "mdas"), manifests.values(), strict=True)
    changes = [f"sources.{source}.manifest={path}" for source, path in paths]
    result = invoke("pretrain", "msgfm_base_100ep", f"out={tmp_path / 'run'}", *changes)
    assert result.exit_code == 2
    assert "hardware" in result.stderr
    assert "hardware.accelerator=cpu" in result.stderr
    assert not (tmp_path / "run").exists()
