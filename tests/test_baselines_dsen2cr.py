"""DSen2-CR as a model for restoration, against its equations in plain functions."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from small_downstream import describe, images_for
from small_swins import randomised

from msgfm.models.baselines.dsen2cr import DSen2CRBackbone, DSen2CRTrunk
from msgfm.models.downstream import DownstreamModel

INPUTS = ["sentinel2@cloudy", "sentinel1"]


def small() -> DownstreamModel:
    config = describe("restoration", INPUTS, backbone={"kind": "dsen2cr", "features": 6, "blocks": 3})
    return randomised(DownstreamModel(config))


def test_it_is_the_papers_network():
    model = small()
    images = images_for(model, 2, 20, 13)
    state, cards = model.state_dict(), model.inputs.cards

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    def standard(key: str) -> torch.Tensor:
        mean, std = (
            torch.tensor([getattr(b, name) for b in cards[key].bands]).view(-1, 1, 1) for name in ("mean", "std")
        )
        low, high = torch.tensor([b.valid_range for b in cards[key].bands]).T[:, :, None, None]
        values = images[key].clamp(low, high) if cards[key].clip else images[key]
        return (values - mean) / std

    x = conv("trunk.first", torch.cat([standard(key) for key in INPUTS], dim=1)).relu()
    for block in range(3):
        x = x + 0.1 * conv(f"trunk.blocks.{block}.conv2", conv(f"trunk.blocks.{block}.conv1", x).relu())
    std = torch.tensor([b.std for b in cards["sentinel2@cloudy"].bands]).view(-1, 1, 1)
    expected = images["sentinel2@cloudy"] + std * conv("head.last", x)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


def test_its_size_is_the_papers():
    """256 features, 16 blocks of two convolutions; 15 bands in, 13 out."""
    with torch.device("meta"):
        trunk = DSen2CRTrunk(DSen2CRBackbone(), {"sentinel2": 13, "sentinel1": 2})
    last = 256 * 13 * 9 + 13
    assert sum(p.numel() for p in trunk.parameters()) + last == 15 * 256 * 9 + 256 + 32 * (256 * 256 * 9 + 256) + last


def test_it_learns_and_every_parameter_is_in_one_layer():
    model = small()
    images = images_for(model)
    model(images).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    layers = model.layers()
    assert len(layers) == 1 + 3 + 1
    assert sorted(id(p) for group in layers for p in group) == sorted(id(p) for p in model.parameters())


def test_a_missing_radar_image_is_zeros():
    model = small()
    images = images_for(model)
    radar = images.pop("sentinel1")
    assert torch.equal(model(images), model(images | {"sentinel1": torch.full_like(radar, torch.nan)}))


def test_it_is_for_restoration():
    with pytest.raises(ValidationError, match="dsen2cr restores images; the task is classification"):
        describe("classification", backbone={"kind": "dsen2cr"})
    with pytest.raises(ValidationError, match="transfer stack"):
        describe("restoration", backbone={"kind": "dsen2cr"}, transfer="per_sensor")
