"""What decays, and the learning rate of every epoch."""

from __future__ import annotations

import pytest
import torch

from msgfm.models.msgfm import MsGFM, MsGFMConfig
from msgfm.sensors import load_sensor
from msgfm.training.optim import OptimConfig, learning_rate, make_optimizer

# Kinds of parameters of the whole model, by the end of their name; every name must have one.
DECAYED = (
    *("conv.weight", "proj.weight"),  # embeddings, attention, decoders
    *("qkv.weight", "fc1.weight", "fc2.weight", "reduction.weight", "router.weight"),
)
NOT_DECAYED = ("bias", "norm.weight", "norm1.weight", "norm2.weight", "mask_token", "relative_position_bias_table")


@pytest.fixture(scope="module")
def model() -> MsGFM:
    encoder = {"preset": "tiny", "embed_dim": 8, "depths": [2, 2], "num_heads": [1, 1], "moe": {"stage": 1}}
    sensors = (load_sensor("sentinel1"), load_sensor("dsm"))
    return MsGFM(MsGFMConfig.model_validate({"sensors": sensors, "encoder": encoder, "mask_patch_size": 8}))


def test_weight_matrices_decay_and_nothing_else(model):
    optimizer = make_optimizer(model, OptimConfig(weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    names = dict(model.named_parameters())
    assert len(decay) == len(names) == sum(len(group["params"]) for group in optimizer.param_groups)
    seen = set()
    for name, parameter in names.items():
        kinds = [kind for kind in (*DECAYED, *NOT_DECAYED) if name.endswith(kind)]
        assert kinds, f"a new kind of parameter: {name}"
        expected = 0.0 if any(kind in NOT_DECAYED for kind in kinds) else 0.3
        assert decay[id(parameter)] == expected, name
        seen.update(kinds)
    assert seen == {*DECAYED, *NOT_DECAYED}
    experts = [name for name in names if ".experts." in name]
    assert {decay[id(names[name])] for name in experts if name.endswith("bias")} == {0.0}
    assert {decay[id(names[name])] for name in experts if name.endswith("weight")} == {0.3}


def test_settings_reach_the_optimizer(model):
    optimizer = make_optimizer(model, OptimConfig(betas=(0.8, 0.9), eps=1e-6))
    for group in optimizer.param_groups:
        assert (group["betas"], group["eps"]) == ((0.8, 0.9), 1e-6)
        assert group["lr"] == 0.0, "a step whose learning rate was forgotten changes nothing"


def test_frozen_parameters_are_left_out():
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    optimizer = make_optimizer(layer, OptimConfig())
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 0]


def test_one_step_is_adamw_as_published():
    """Loshchilov and Hutter 2019, Algorithm 2, by hand for the first step."""
    layer = torch.nn.Linear(3, 2)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    optimizer = make_optimizer(layer, OptimConfig(betas=(0.9, 0.99), eps=1e-8, weight_decay=0.05))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    layer(torch.tensor([[1.0, -2.0, 0.5]])).pow(2).sum().backward()
    optimizer.step()
    # at the first step the bias-corrected moments are g and g**2
    for parameter, before, decay in ((layer.weight, weight, 0.05), (layer.bias, bias, 0.0)):
        expected = before * (1 - 0.1 * decay) - 0.1 * parameter.grad / (parameter.grad.abs() + 1e-8)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-5, atol=1e-6)


# Table 10 at 800 epochs, computed by hand: 10 epochs of warm-up from 5e-7, a tenth from epoch 700 on.
TABLE_10 = [
    # epoch  rgb 1e-4  sen12ms 0.25e-4  mdas 1e-5
    (0, 5e-7, 5e-7, 5e-7),
    (1, 1.045e-5, 2.95e-6, 1.45e-6),
    (5, 5.025e-5, 1.275e-5, 5.25e-6),
    (9.5, 9.5025e-5, 2.3775e-5, 9.525e-6),
    (10, 1e-4, 2.5e-5, 1e-5),
    (400, 1e-4, 2.5e-5, 1e-5),
    (699.99, 1e-4, 2.5e-5, 1e-5),
    (700, 1e-5, 2.5e-6, 1e-6),
    (799.9, 1e-5, 2.5e-6, 1e-6),
]


@pytest.mark.parametrize("row", TABLE_10, ids=lambda row: f"epoch {row[0]}")
def test_learning_rate_of_every_source(row):
    epoch, *expected = row
    config = OptimConfig(milestones=(700,))
    for base, rate in zip((1e-4, 0.25e-4, 1e-5), expected, strict=True):
        assert learning_rate(config, base, epoch) == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize(("epoch", "factor"), [(0, 1), (2.9, 1), (3, 0.5), (4, 0.25), (4.5, 0.25), (9, 0.125)])
def test_several_milestones_and_no_warm_up(epoch, factor):
    config = OptimConfig(warmup_epochs=0, milestones=(4, 3, 9), gamma=0.5)
    assert learning_rate(config, 8.0, epoch) == 8 * factor
