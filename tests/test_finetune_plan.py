"""What a run of one seed does, as it follows from recipe, data and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from small_tasks import ENCODER
from task_data import batch, load, write_masked
from torch import Tensor, nn

from msgfm.config import config_from_dict
from msgfm.models.tasks import Segmentation
from msgfm.training.finetuning.build import build_model
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.finetuning.losses import Losses
from msgfm.training.finetuning.plan import Plan, make_plan
from msgfm.training.finetuning.schedule import make_optimizer
from msgfm.training.finetuning.step import State, train_step


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masked(tmp_path_factory.mktemp("masked"))


def plans(manifest: Path, *seeds: int, **changes: Any) -> list[Plan]:
    """Of data that are read once for all seeds: three images of 12 x 20 pixels, crops of 7."""
    data = load(manifest, Segmentation(), "rgb", image_size=7)
    recipe = {
        "out": "runs/x",
        "data": {"manifest": str(manifest), "image_size": 7},
        "inputs": ["rgb"],
        "task": {"kind": "segmentation"},
        "encoder": ENCODER,
    }
    config = config_from_dict(FinetuneConfig, recipe | changes, "recipe")
    model = build_model(config, data, None, 0)[0].config
    return [make_plan(config, data, model, seed, 1) for seed in seeds]


def test_each_seed_has_its_own_crops(manifest: Path) -> None:
    one, other, again = (batch(plan.data.train).target for plan in plans(manifest, 1, 2, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_validation_comes_every_so_many_epochs_and_at_the_end(manifest: Path) -> None:
    (plan,) = plans(manifest, 0, epochs=5, val_every_epochs=2, batch_size=5)
    assert plan.steps_per_epoch == 3  # 15 crops make up three images
    assert [step for step in range(1, plan.total_steps + 1) if plan.validates_after(step)] == [6, 12, 15]


class Noisy(nn.Module):
    """A model that is asked for noise once a batch, as stochastic depth is."""

    def __init__(self) -> None:
        super().__init__()
        self.parameter = nn.Parameter(torch.ones(()))
        self.drawn: list[float] = []

    def forward(self, images: dict[str, Tensor], target: Tensor) -> Losses:
        self.drawn.append(float(torch.rand(())))
        loss = self.parameter * 2
        return Losses(loss, loss.detach(), torch.zeros(()))


def test_noise_follows_from_seed_step_and_batch_alone(manifest: Path) -> None:
    hardware = {"accelerator": "cpu", "precision": "32-true", "accumulate": 2}
    found = {}
    for plan in plans(manifest, 0, 1, hardware=hardware):
        fabric, model = Fabric(accelerator="cpu", devices=1), Noisy()
        optimizer = make_optimizer(model, [list(model.parameters())], plan.config.optim)
        wrapped, wrapped_optimizer = fabric.setup(model, optimizer)
        for step in (0, 1, 0):
            model.drawn.clear()
            torch.rand(step + 3)  # what was drawn before leaves no trace
            feed = iter([batch(plan.data.train, 0, [0])] * 2)
            train_step(fabric, plan, State(step=step), wrapped, wrapped_optimizer, feed)
            assert found.setdefault((plan.seed, step), tuple(model.drawn)) == tuple(model.drawn)
    assert len({number for drawn in found.values() for number in drawn}) == 2 * 2 * 2
