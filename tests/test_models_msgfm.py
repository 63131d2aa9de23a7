"""The whole model: Eq. 1 and 2 over several sensors, what may influence what, and its use after training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from msgfm.errors import InputError
from msgfm.models.masking import upsample_mask
from msgfm.models.msgfm import ABSENT, Direction, MsGFM, MsGFMConfig
from msgfm.models.patch_embed import PatchEmbedConfig
from msgfm.models.swin import EncoderConfig
from msgfm.sensors import load_sensor

SENSORS = ("sentinel1", "sentinel2", "dsm")
ENCODER = EncoderConfig.model_validate(
    {"embed_dim": 8, "depths": (1, 1, 2, 1), "num_heads": (1, 1, 2, 2), "window_size": 4, "moe": {"blocks": [1]}}
)


def make_model(kind: str = "conv", sensors: tuple[str, ...] = SENSORS, **settings) -> MsGFM:
    torch.manual_seed(0)
    cards = tuple(load_sensor(name) for name in sensors)
    config = MsGFMConfig(
        sensors=cards, encoder=ENCODER, patch_embed=PatchEmbedConfig(kind=kind, conv_channels=4), **settings
    )
    model = MsGFM(config)
    with torch.no_grad():
        for parameter in model.parameters():  # so that nothing is hidden by zeros
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def physical(model: MsGFM, sensor: str, batch: int = 2, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    """An image whose values are plausible for the sensor."""
    card = model.sensors[sensor]
    noise = torch.randn(batch, len(card.bands), height, width, generator=torch.Generator().manual_seed(seed))
    mean, std = (torch.tensor([getattr(band, key) for band in card.bands]).view(-1, 1, 1) for key in ("mean", "std"))
    image = mean + std * noise
    return image + 1500 if card.centre == "image" else image


def checkerboard(batch: int = 2) -> Tensor:
    return torch.tensor([[True, False], [False, True]]).repeat(batch, 1, 1)


def targets(*sensors: str | None) -> Tensor:
    return torch.tensor([ABSENT if sensor is None else SENSORS.index(sensor) for sensor in sensors])


def l1_by_hand(model: MsGFM, image: Tensor, hidden: Tensor, source: str, target_image: Tensor, target: str) -> float:
    """The loss of one image in one direction, from the parts of the model."""
    pixels = upsample_mask(hidden, 32)[:, None]
    features = model.encoder(model.embed(source, image, hidden, pixels)).features[-1]
    prediction = model.decoders[target](features)
    card = model.sensors[target]
    mean, std = (torch.tensor([getattr(band, key) for band in card.bands]).view(-1, 1, 1) for key in ("mean", "std"))
    wanted = target_image
    if card.clip:
        for c, band in enumerate(card.bands):
            wanted = wanted.clone()
            wanted[:, c].clamp_(*band.valid_range)
    if card.centre == "image":
        seen = target_image[:, :, ~pixels[0, 0]] if source == target else target_image.flatten(2)
        wanted = wanted - seen.mean(dim=2)[..., None, None]
    error = (prediction - (wanted - mean) / std).abs()
    return error[pixels.expand_as(error)].mean().item()


def test_each_sample_is_compared_with_its_own_target_through_its_targets_decoder():
    model = make_model()
    images = {name: physical(model, name, batch=3, seed=i) for i, name in enumerate(SENSORS)}
    hidden = {
        name: torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(i)) < 0.5 for i, name in enumerate(SENSORS)
    }
    for squares in hidden.values():
        squares[:, 0, 0], squares[:, 0, 1] = True, False  # some hidden, some not
    wanted = {
        "sentinel1": ("sentinel1", "sentinel2", None),
        "sentinel2": ("sentinel1", "sentinel2", "dsm"),
        "dsm": ("dsm", None, "dsm"),
    }
    output = model(images, hidden, {name: targets(*row) for name, row in wanted.items()})
    expected: dict[Direction, list[float]] = {}
    for source, row in wanted.items():
        for n, target in enumerate(row):
            if target is not None:
                one = slice(n, n + 1)
                loss = l1_by_hand(model, images[source][one], hidden[source][one], source, images[target][one], target)
                expected.setdefault(Direction(source, target), []).append(loss)
    assert set(output.directions) == set(expected)
    for direction, losses in expected.items():
        mean, count = output.directions[direction]
        assert count == len(losses)
        assert mean.item() == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    everything = [loss for losses in expected.values() for loss in losses]
    assert output.reconstruction.item() == pytest.approx(sum(everything) / len(everything), rel=1e-4)
    assert len(output.mixtures) == 1
    assert output.loss.item() == pytest.approx(output.reconstruction.item() + 0.01 * output.auxiliary.item(), rel=1e-6)


def test_absent_image_changes_nothing():
    model = make_model()
    images = {"sentinel1": physical(model, "sentinel1"), "sentinel2": physical(model, "sentinel2")}
    hidden = {name: checkerboard() for name in images}
    rows = {"sentinel1": targets("sentinel1", None), "sentinel2": targets("sentinel2", "sentinel2")}
    first = model(images, hidden, rows)
    assert first.directions[Direction("sentinel1", "sentinel1")][1] == 1
    images["sentinel1"][1] = torch.nan
    assert model(images, hidden, rows).loss.item() == first.loss.item()


def test_visible_mean_skip_adds_the_mean_of_the_visible_pixels_within_a_sensor_only():
    plain, skipping = make_model(), make_model(visible_mean_skip=True)
    skipping.load_state_dict(plain.state_dict())
    image, hidden = physical(plain, "sentinel2"), checkerboard()
    image[0, :, :, 40:] = torch.nan
    pixels = upsample_mask(hidden, 32)[:, None].expand_as(image)
    normalised = plain.target("sentinel2", image, None).numpy()
    with torch.no_grad():
        added = skipping.predict("sentinel2", image, hidden, "sentinel2") - plain.predict(
            "sentinel2", image, hidden, "sentinel2"
        )
        across = [model.predict("sentinel2", image, hidden, "sentinel1") for model in (plain, skipping)]
    for n, c in np.ndindex(added.shape[:2]):
        seen = normalised[n, c][~pixels[n, c].numpy()]
        np.testing.assert_allclose(added[n, c], np.nanmean(seen), atol=1e-5)
    assert torch.equal(*across)


def test_visible_mean_skip_of_an_image_without_visible_data_is_zero():
    plain, skipping = make_model(), make_model(visible_mean_skip=True)
    skipping.load_state_dict(plain.state_dict())
    image, hidden = physical(plain, "sentinel1"), torch.ones(2, 2, 2, dtype=torch.bool)
    with torch.no_grad():
        assert torch.equal(*(m.predict("sentinel1", image, hidden, "sentinel1") for m in (plain, skipping)))


def test_training_and_reconstruct_use_the_same_visible_mean():
    model = make_model(visible_mean_skip=True)
    image, hidden = physical(model, "sentinel2"), checkerboard()
    loss = model({"sentinel2": image}, {"sentinel2": hidden}, {"sentinel2": targets("sentinel2", "sentinel2")}).loss
    std = torch.tensor([band.std for band in model.sensors["sentinel2"].bands]).view(-1, 1, 1)
    error = (model.reconstruct({"sentinel2": image}, "sentinel2", "sentinel2", hidden) - image).abs() / std
    pixels = upsample_mask(hidden, 32)[:, None].expand_as(image)
    mixtures = model({"sentinel2": image}, {"sentinel2": hidden}, {"sentinel2": targets("sentinel2", "sentinel2")})
    assert (loss - 0.01 * mixtures.auxiliary).item() == pytest.approx(error[pixels].mean().item(), rel=1e-4)


def test_only_the_decoder_of_the_target_learns():
    model = make_model()
    images = {name: physical(model, name) for name in ("sentinel1", "sentinel2")}
    rows = {"sentinel1": targets("sentinel2", "sentinel2"), "sentinel2": targets(None, None)}
    model(images, {name: checkerboard() for name in images}, rows).loss.backward()
    learned = {
        name for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }
    assert {name.split(".")[1] for name in learned if name.startswith("decoders.")} == {"sentinel2"}
    assert {name.split(".")[1] for name in learned if name.startswith("patch_embed.")} == {"sentinel1"}


@pytest.mark.parametrize("kind", ["conv", "strided"])
@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("value", [0.0, 1e4, torch.nan])
def test_hidden_pixels_cannot_influence_the_prediction(kind, sensor, value):
    model = make_model(kind)
    image, hidden = physical(model, sensor), checkerboard()
    pixels = upsample_mask(hidden, 32)[:, None]

    def features(x: Tensor) -> Tensor:
        return model.encoder(model.embed(sensor, x, hidden, pixels)).features[-1]

    with torch.no_grad():
        original = features(image)
        assert torch.equal(features(torch.where(pixels, value, image)), original)
        assert not torch.allclose(features(torch.where(pixels, image, image + torch.randn_like(image))), original)


@pytest.mark.parametrize("kind", ["conv", "strided"])
def test_hidden_pixels_get_no_gradient_through_the_input(kind):
    model = make_model(kind)
    image = physical(model, "sentinel2").requires_grad_()
    hidden = checkerboard()
    pixels = upsample_mask(hidden, 32)[:, None].expand_as(image)
    model.encoder(model.embed("sentinel2", image, hidden, pixels[:, :1])).features[-1].square().sum().backward()
    assert image.grad[pixels].abs().max() == 0
    assert (image.grad[~pixels] != 0).float().mean() > 0.99


def test_altitude_and_datum_do_not_matter():
    model = make_model()
    image, hidden = physical(model, "dsm"), checkerboard()
    rows = {"dsm": targets("dsm", "dsm")}
    losses = [model({"dsm": image + offset}, {"dsm": hidden}, rows).loss.item() for offset in (0, -1400)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_pixels_without_data_leave_the_loss():
    model = make_model()
    image, hidden = physical(model, "sentinel1"), checkerboard()
    rows = {"sentinel1": targets("sentinel1", "sentinel1")}
    corner = (slice(None), slice(None), slice(0, 16), slice(0, 32))  # inside the hidden square
    spoiled, wild = image.clone(), image.clone()
    spoiled[corner] = torch.nan
    wild[corner] = -30
    loss = {
        name: model({"sentinel1": x}, {"sentinel1": hidden}, rows).reconstruction
        for name, x in (("whole", image), ("spoiled", spoiled), ("wild", wild))
    }
    assert loss["spoiled"].isfinite()
    # by hand: the mean over what is left
    pixels = upsample_mask(hidden, 32)[:, None].expand_as(image)
    with torch.no_grad():
        prediction = model.decoders["sentinel1"](
            model.encoder(model.embed("sentinel1", image, hidden, pixels[:, :1])).features[-1]
        )
        error = (prediction - model.target("sentinel1", image, None)).abs()
    left = pixels & spoiled.isfinite()
    assert loss["spoiled"].item() == pytest.approx(error[left].mean().item(), rel=1e-4)
    assert loss["whole"].item() == pytest.approx(error[pixels].mean().item(), rel=1e-4)
    assert loss["wild"].item() > loss["whole"].item() + 0.1


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("skip", [False, True])
def test_what_is_infinite_is_no_data(sensor: str, skip: bool) -> None:
    """Visible and hidden, in the image that is seen and in the one that is predicted."""
    model = make_model(visible_mean_skip=skip)
    image = physical(model, sensor)
    image[0, 0, 0:9, 20:40] = torch.nan
    rows = {sensor: targets(sensor, sensor)}
    wanted = model({sensor: image}, {sensor: checkerboard()}, rows).loss
    infinite = image.nan_to_num(nan=torch.inf)
    assert torch.equal(model({sensor: infinite}, {sensor: checkerboard()}, rows).loss, wanted)
    with pytest.raises(InputError, match=rf"{sensor}, band {model.sensors[sensor].band_names[0]}: 180 infinite values"):
        model.encode({sensor: infinite})


def test_image_without_any_data_gives_finite_loss_and_gradients():
    model = make_model().train()
    images = {name: torch.full_like(physical(model, name), torch.nan) for name in ("sentinel2", "dsm")}
    rows = {"sentinel2": targets("dsm", "sentinel2"), "dsm": targets("dsm", "dsm")}
    loss = model(images, {name: checkerboard() for name in images}, rows).loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_loss_is_float32_under_autocast():
    model = make_model()
    images = {"sentinel2": physical(model, "sentinel2")}
    arguments = ({"sentinel2": checkerboard()}, {"sentinel2": targets("sentinel2", "sentinel2")})
    plain = model(images, *arguments).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(images, *arguments)
    assert output.loss.dtype == output.reconstruction.dtype == torch.float32
    assert output.loss.item() == pytest.approx(plain.item(), rel=0.02)


@pytest.mark.parametrize("kind", ["conv", "strided"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 64), (33, 97), (16, 200), (7, 5)])
def test_encode_shapes_for_any_size(kind, height, width):
    model = make_model(kind)
    maps = model.encode({"sentinel1": physical(model, "sentinel1", 1, height, width)})["sentinel1"]
    assert [tuple(m.shape) for m in maps] == [
        (1, 8 * 2**s, -(-height // (4 * 2**s)), -(-width // (4 * 2**s))) for s in range(4)
    ]
    assert all(m.isfinite().all() for m in maps)


def test_encode_keeps_each_sensor_apart():
    model = make_model()
    images = {name: physical(model, name) for name in SENSORS}
    together = model.encode(images)
    for name, image in images.items():
        for a, b in zip(together[name], model.encode({name: image})[name], strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["conv", "strided"])
def test_bands_by_name_are_the_subset_of_the_kernel(kind):
    """Bands that are not given are as if their weights were not there."""
    model = make_model(kind)
    names = model.sensors["sentinel2"].band_names
    given = [name for name in reversed(names) if name != "B10"]  # another order than the card's
    image = physical(model, "sentinel2")
    some = image[:, [names.index(name) for name in given]]
    ours = model.encode({"sentinel2": some}, bands={"sentinel2": given})["sentinel2"]
    embedding = model.patch_embed["sentinel2"]
    with torch.no_grad():
        (embedding.conv if kind == "conv" else embedding.proj).weight[:, names.index("B10")] = 0
    expected = model.encode({"sentinel2": image})["sentinel2"]
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda m, x: m.encode({"landsat": x}), "landsat"),
        (lambda m, x: m.encode({"sentinel1": x}), "VV, VH"),
        (lambda m, x: m.encode({"sentinel2": x}, bands={"sentinel2": ["B2"]}), "B2"),
        (lambda m, x: m.encode({"sentinel2": x[0]}), "sentinel2"),
        (lambda m, x: m.reconstruct({"sentinel2": x}, "sentinel1", "sentinel2"), "sentinel1"),
        (lambda m, x: m.reconstruct({"sentinel2": x}, "sentinel2", "planet"), "planet"),
        (lambda m, x: m.reconstruct({"sentinel2": x}, "sentinel2", "dsm", checkerboard(1)), "2 x 2"),
    ],
)
def test_wrong_input_is_named(call, named):
    model = make_model()
    with pytest.raises(InputError, match=named):
        call(model, physical(model, "sentinel2"))


@pytest.mark.parametrize(("source", "target"), [("sentinel1", "sentinel1"), ("sentinel1", "sentinel2"), ("dsm", "dsm")])
def test_reconstruct_gives_the_prediction_of_training_in_physical_units(source, target):
    model = make_model()
    image, hidden = physical(model, source), checkerboard()
    ours = model.reconstruct({source: image}, source, target, hidden)
    pixels = upsample_mask(hidden, 32)[:, None]
    with torch.no_grad():
        prediction = model.decoders[target](model.encoder(model.embed(source, image, hidden, pixels)).features[-1])
    bands = model.sensors[target].bands
    expected = torch.stack([prediction[:, c] * band.std + band.mean for c, band in enumerate(bands)], dim=1)
    if target == "dsm":  # absolute heights: the mean of what was visible comes back
        expected += image[:, :, ~pixels[0, 0]].mean(dim=2)[..., None, None]
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 70)])
def test_reconstruct_of_an_image_with_holes(height, width):
    model = make_model()
    image = physical(model, "sentinel2", 1, height, width)
    image[:, :, :20, :20] = torch.nan
    image[:, 3] = torch.nan
    hidden = torch.zeros(1, -(-height // 32), -(-width // 32), dtype=torch.bool)
    hidden[0, 0, 0] = True
    for squares in (None, hidden):
        prediction = model.reconstruct({"sentinel2": image}, "sentinel2", "sentinel1", squares)
        assert prediction.shape == (1, 2, height, width)
        assert prediction.isfinite().all()


def test_reconstruct_cannot_see_what_is_hidden():
    model = make_model()
    image, hidden = physical(model, "dsm"), checkerboard()
    changed = torch.where(upsample_mask(hidden, 32)[:, None], 9000.0, image)
    first, second = (model.reconstruct({"dsm": x}, "dsm", "dsm", hidden) for x in (image, changed))
    assert torch.equal(first, second)


def test_values_outside_the_range_are_clipped_where_the_card_says_so():
    model = make_model()
    image = physical(model, "sentinel1")
    image[:, 0, 5, 5], image[:, 1, 7, 7] = 40.0, -90.0
    clipped = image.clone()
    clipped[:, 0, 5, 5], clipped[:, 1, 7, 7] = 5.0, -40.0
    clipped[:, 0].clamp_(-30, 5), clipped[:, 1].clamp_(-40, 0)
    for a, b in zip(
        model.encode({"sentinel1": image})["sentinel1"], model.encode({"sentinel1": clipped})["sentinel1"], strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"mask_patch_size": 6}, "6"), ({"sensors": (load_sensor("dsm"), load_sensor("dsm"))}, "each name once")],
)
def test_impossible_model_is_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        MsGFMConfig.model_validate({"sensors": (load_sensor("dsm"),), "encoder": ENCODER} | settings)


@pytest.mark.parametrize("square", [16, 32, 64])
@pytest.mark.parametrize("size", [1, 37, 100])
def test_reconstruct_hides_nothing_unless_told_at_any_size(size: int, square: int) -> None:
    model = make_model(sensors=("sentinel1",), mask_patch_size=square)
    image = {"sentinel1": physical(model, "sentinel1", 1, size, size)}
    squares = -(-size // square)
    nothing = torch.zeros(1, squares, squares, dtype=torch.bool)
    predicted = model.reconstruct(image, "sentinel1", "sentinel1")
    assert predicted.shape == (1, 2, size, size)
    assert torch.equal(predicted, model.reconstruct(image, "sentinel1", "sentinel1", nothing))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.randint(0, 9999, (1, 13, 32, 32)), "image is torch.int64; give a float tensor.*reflectance"),
        (np.zeros((1, 13, 32, 32)), "image is ndarray"),
        (torch.rand(1, 13, 32, 32) * 3000 + 100, r"band B01: values around .*expected .*reflectance.*\* 0\.0001"),
    ],
)
def test_encode_refuses_what_is_not_in_physical_units(image: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_model(sensors=("sentinel2",)).encode({"sentinel2": image})
