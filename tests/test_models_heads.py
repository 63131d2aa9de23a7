"""Heads on feature maps: what they compute, and what padding and batches must not change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_downstream import TASKS, describe, images_for, make, photograph
from torch import Tensor

from msgfm.models.downstream import DownstreamModel
from msgfm.models.heads import RestoredImage, decoder_width
from msgfm.sensors import load_sensor

CLOUDY = "sentinel2@cloudy"


# ---- classification -------------------------------------------------------------------------------------------------


def test_classification_looks_at_the_mean_of_the_last_map() -> None:
    model = make("classification")
    images = images_for(model, height=40, width=70)
    last = model.features(images)[-1]
    assert last.shape == (2, 64, 2, 3)
    pooled = last.mean(dim=(2, 3))
    head = model.head
    wanted = F.linear(F.layer_norm(pooled, (64,), head.norm.weight, head.norm.bias), head.fc.weight, head.fc.bias)
    torch.testing.assert_close(model(images), wanted)


# ---- UPerNet --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["segmentation", "change_detection"])
def test_logits_of_an_image_do_not_depend_on_its_batch(task: str) -> None:
    model = make(task)
    images = images_for(model, batch=3)
    alone = model({key: image[1:2] for key, image in images.items()})
    torch.testing.assert_close(model(images)[1:2], alone, atol=1e-4, rtol=1e-4)


def test_a_batch_with_one_image_left_trains() -> None:
    model = make("segmentation").train()
    model(images_for(model, batch=1)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_every_stage_reaches_the_segmentation() -> None:
    model = make("segmentation")
    images = images_for(model)
    prepared = model.inputs(images)
    maps = [map_.detach().requires_grad_() for map_ in model.trunk(prepared.normalised, prepared.present)]
    model.head(maps, prepared, images).square().sum().backward()
    for map_ in maps:
        assert map_.grad is not None
        assert map_.grad.abs().amax(dim=(1, 2, 3)).gt(0).all()


def test_each_pixel_of_a_map_is_where_it_is_in_the_image() -> None:
    """Something at one place of a large image changes the logits there most."""
    model = make("segmentation", ["rgb"])
    image = photograph(load_sensor("rgb"), batch=1, height=128, width=128)
    changed = image.clone()
    changed[:, :, 96:112, 24:40] += 2
    difference = (model({"rgb": image}) - model({"rgb": changed})).abs().sum(dim=1)[0]
    y, x = divmod(int(F.avg_pool2d(difference[None], 8, stride=1).argmax()), 121)
    assert 80 <= y <= 120
    assert 8 <= x <= 48


def test_change_does_not_depend_on_the_order_of_the_dates() -> None:
    model = make("change_detection")
    images = images_for(model)
    swap = {"before": "after", "after": "before"}
    swapped = {f"{key.split('@')[0]}@{swap[key.split('@')[1]]}": image for key, image in images.items()}
    torch.testing.assert_close(model(images), model(swapped))


def test_without_change_nothing_but_the_decoder_speaks() -> None:
    model = make("change_detection")
    same = []
    for seed in (1, 2):
        dates = {sensor: photograph(load_sensor(sensor), seed=seed) for sensor in ("sentinel1", "sentinel2")}
        same.append(
            model({f"{sensor}@{date}": image for sensor, image in dates.items() for date in ("before", "after")})
        )
    torch.testing.assert_close(same[0], same[1])


def test_small_differences_stay_small() -> None:
    """Noise between two dates is not blown up to the size of a change."""
    model = make("change_detection", ["sentinel2@before", "sentinel2@after"])
    before, other = (photograph(load_sensor("sentinel2"), seed=seed) for seed in (1, 2))

    def answer(share: float) -> Tensor:
        images = {"sentinel2@before": before, "sentinel2@after": before.lerp(other, share)}
        return (model(images) - model({key: before for key in images})).abs().mean()

    assert answer(0.01) < 0.1 * answer(1)


# ---- restoration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transfer", ["stack", "per_sensor"])
def test_untrained_restoration_is_the_input_image(transfer: str) -> None:
    torch.manual_seed(0)
    model = DownstreamModel(describe("restoration", transfer=transfer)).train()
    images = images_for(model, height=40, width=50)
    assert torch.equal(model(images), images[CLOUDY])


def test_untrained_restoration_is_the_mean_where_its_input_has_no_data() -> None:
    model = DownstreamModel(describe("restoration"))
    images = images_for(model)
    card = load_sensor("sentinel2")
    mean = torch.tensor([band.mean for band in card.bands])
    images[CLOUDY][0, 3, 5:9] = torch.nan
    restored = model(images)
    torch.testing.assert_close(restored[0, 3, 5:9], mean[3].expand(4, 32))
    assert torch.equal(restored[0, 3, 9:], images[CLOUDY][0, 3, 9:])
    del images[CLOUDY]
    torch.testing.assert_close(model(images), mean.view(1, -1, 1, 1).expand(2, -1, 32, 32))
    translation = DownstreamModel(describe(TASKS["restoration"][0] | {"over": None}, ["sentinel1"]))
    torch.testing.assert_close(translation(images), mean.view(1, -1, 1, 1).expand(2, -1, 32, 32))


def test_bands_of_the_input_image_are_found_by_name() -> None:
    task: dict[str, Any] = {"kind": "restoration", "target": "sentinel2:B8A,B02,B04", "over": "sentinel2"}
    model = DownstreamModel(describe(task, ["sentinel2:B04,B03,B02"]))
    images = images_for(model)
    restored = model(images)
    far_red = load_sensor("sentinel2").bands[load_sensor("sentinel2").index_of("B8A")]
    torch.testing.assert_close(restored[:, 0], torch.full((2, 32, 32), far_red.mean))
    assert torch.equal(restored[:, 1:], images["sentinel2"][:, [2, 0]])


def test_bands_in_another_unit_are_not_taken_for_the_same() -> None:
    rgb = load_sensor("rgb")
    output = RestoredImage(rgb, "rgb", rgb.with_setting("unit", "%"))
    residual = torch.zeros(1, 3, 4, 4)
    mean = torch.tensor([band.mean for band in rgb.bands]).view(1, 3, 1, 1)
    torch.testing.assert_close(output(residual, {"rgb": torch.full((1, 3, 4, 4), 50.0)}), mean.expand(1, 3, 4, 4))


def test_residual_counts_in_standard_deviations_of_the_target() -> None:
    card = load_sensor("sentinel2").select(["B02", "B12"])
    image, residual = photograph(card), torch.randn(2, 2, 32, 32)
    std = torch.tensor([band.std for band in card.bands]).view(1, 2, 1, 1)
    torch.testing.assert_close(RestoredImage(card, "x", card)(residual, {"x": image}), image + std * residual)


def test_holes_of_heights_are_filled_at_the_height_of_the_rest() -> None:
    card = load_sensor("dsm")
    image = photograph(card)
    image[:, :, :4] = torch.nan
    filled = RestoredImage(card, "dsm", card)(torch.zeros(2, 1, 32, 32), {"dsm": image})
    wanted = image[:, :, 4:].mean(dim=(2, 3))[:, :, None, None].expand(2, 1, 4, 32)
    torch.testing.assert_close(filled[:, :, :4], wanted)


def test_restoration_learns_detail_of_single_pixels_from_its_inputs() -> None:
    """Pan-sharpening in small: what the blurred image lacks stands, pixel by pixel, in another input."""
    card = load_sensor("rgb")
    torch.manual_seed(0)
    model = DownstreamModel(
        describe({"kind": "restoration", "target": "rgb", "over": "rgb@coarse"}, ["rgb@coarse", "rgb@pan:G"])
    )
    sharp = photograph(card).clamp(0, 1)
    coarse = F.interpolate(F.avg_pool2d(sharp, 8), scale_factor=8, mode="nearest")
    images = {"rgb@coarse": coarse, "rgb@pan": sharp[:, 1:2]}
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    error = []
    for _ in range(40):
        loss: Tensor = (model(images) - sharp)[:, 1].abs().mean()
        error.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert error[-1] < 0.35 * error[0]


def test_width_of_dense_heads() -> None:
    assert [decoder_width(dims) for dims in ((8, 16), (48, 96), (128, 256), (768, 768))] == [16, 96, 256, 256]
