"""From a pretrained model to one for a task: the same numbers for known sensors, alike kernels for others."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from small_downstream import CARDS, ENCODER, MIXTURE, describe, images_for, make, photograph, pretrained
from small_swins import same_weights
from torch import Tensor, nn

from msgfm.errors import InputError
from msgfm.models.downstream import DownstreamModel, build_downstream
from msgfm.models.msgfm import MsGFM
from msgfm.models.patch_embed import ConvPatchEmbed
from msgfm.models.transfer import BandOrigin, TransferReport, band_origins, most_alike
from msgfm.models.trunk import STACKED
from msgfm.models.weights import resize_window_bias
from msgfm.sensors import Sensor, load_sensor

CLASSES = {"kind": "classification", "classes": ["a", "b"]}
KINDS = pytest.mark.parametrize("kind", ["conv", "strided"])


def transferred(source: MsGFM, inputs: list[Any], **settings: Any) -> tuple[DownstreamModel, TransferReport]:
    torch.manual_seed(2)
    config = describe(
        CLASSES,
        inputs,
        **{"encoder": source.config.encoder, "patch_embed": source.config.patch_embed} | settings,
    )
    model, report = build_downstream(config, source)
    return model.eval(), report


def before_norm(embedding: nn.Module, image: Tensor) -> Tensor:
    """What an embedding gives before its layer norm."""
    seen: list[Tensor] = []
    handle = embedding.get_submodule("norm").register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    embedding(image)
    handle.remove()
    return seen[0]


def origins(card: Sensor, *sources: Sensor) -> dict[str, BandOrigin]:
    return {origin.band: origin for origin in band_origins("x", card, most_alike(card, sources))}


def a_card(name: str, **bands: dict[str, Any]) -> Sensor:
    shared = {"unit": "1", "valid_range": [0, 1], "mean": 0.5, "std": 0.2}
    return Sensor.model_validate({"name": name, **shared, "bands": [{"name": key} | b for key, b in bands.items()]})


# ---- known sensors --------------------------------------------------------------------------------------------------


@KINDS
def test_stacked_embedding_is_the_sum_of_the_sensors_embeddings(kind: str) -> None:
    source = pretrained("sentinel1", "sentinel2", "dsm", kind=kind)
    model, report = transferred(source, ["dsm", "sentinel2", "sentinel1"])
    images = images_for(model)
    normalised = model.inputs(images).normalised
    stacked = before_norm(model.trunk.patch_embed[STACKED], torch.cat(list(normalised.values()), dim=1))
    wanted = sum(before_norm(source.patch_embed[key], image) for key, image in normalised.items())
    torch.testing.assert_close(stacked, wanted)
    assert report.describe() == []
    assert {origin.how for origin in report.bands} == {"name"}


@KINDS
def test_norm_of_a_stacked_embedding_lies_between_those_of_the_sensors(kind: str) -> None:
    source = pretrained("sentinel1", "dsm", kind=kind)
    model, _ = transferred(source, ["dsm", "sentinel1"])
    one, other = (source.patch_embed[name].get_submodule("norm") for name in ("sentinel1", "dsm"))
    norm = model.trunk.patch_embed[STACKED].get_submodule("norm")
    for name in ("weight", "bias"):
        torch.testing.assert_close(getattr(norm, name), (getattr(one, name) + getattr(other, name)) / 2)


def test_stacked_embedding_can_learn_to_mix_inputs() -> None:
    model, _ = transferred(pretrained("sentinel1", "sentinel2"), ["sentinel1", "sentinel2"])
    convolution = cast(ConvPatchEmbed, model.trunk.patch_embed[STACKED]).conv
    assert convolution.weight.shape == (2 * 4, 2 + 13, 3, 3)
    assert not convolution.weight[:4, 2:].any()
    assert not convolution.weight[4:, :2].any()
    model(images_for(model)).square().sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.weight.grad[:4, 2:].abs().amax(dim=(2, 3)).gt(0).all()


@KINDS
@pytest.mark.parametrize("transfer", ["stack", "per_sensor"])
def test_one_sensor_gives_the_maps_of_the_pretrained_model(kind: str, transfer: str) -> None:
    source = pretrained("sentinel1", "sentinel2", kind=kind, moe=MIXTURE["moe"])
    model, _ = transferred(source, ["sentinel2"], transfer=transfer)
    image = photograph(load_sensor("sentinel2"), height=50, width=37)
    for ours, theirs in zip(
        model.features({"sentinel2": image}), source.encode({"sentinel2": image})["sentinel2"], strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_maps_of_sensors_are_concatenated() -> None:
    source = pretrained("sentinel1", "sentinel2", "dsm", moe=MIXTURE["moe"])
    model, _ = transferred(source, ["dsm", "sentinel1"], transfer="per_sensor")
    images = images_for(model, height=40)
    encoded = source.encode(images)
    for stage, ours in enumerate(model.features(images)):
        torch.testing.assert_close(ours, torch.cat([encoded["dsm"][stage], encoded["sentinel1"][stage]], dim=1))


def test_images_with_a_role_start_from_their_sensor() -> None:
    source = pretrained("sentinel2")
    model, report = transferred(source, ["sentinel2@cloudy", "sentinel2@before"], transfer="per_sensor")
    for key in ("sentinel2@cloudy", "sentinel2@before"):
        assert same_weights(model.trunk.patch_embed[key], source.patch_embed["sentinel2"])
    assert [str(report.bands[0]), str(report.bands[13])] == [
        "sentinel2@cloudy B01: sentinel2 B01 (by name)",
        "sentinel2@before B01: sentinel2 B01 (by name)",
    ]


@KINDS
def test_some_bands_are_found_by_name(kind: str) -> None:
    source = pretrained("sentinel2", kind=kind)
    model, _ = transferred(source, ["sentinel2:B12,B02"])
    some = photograph(load_sensor("sentinel2"))
    indices = load_sensor("sentinel2").indices_of(["B12", "B02"])
    rest_unknown = torch.full_like(some, torch.nan)
    rest_unknown[:, indices] = some[:, indices]
    ours = model.features({"sentinel2": some[:, indices]})[-1]
    torch.testing.assert_close(ours, source.encode({"sentinel2": rest_unknown})["sentinel2"][-1])


def test_known_sensors_are_normalised_as_in_pretraining() -> None:
    source = pretrained("sentinel1", "rgb")
    rgb = load_sensor("rgb")
    other = rgb.with_setting("std", 0.5).with_setting("R.mean", 0.1)
    model, report = transferred(source, ["rgb"], sensors=[other, *(card for card in CARDS if card.name != "rgb")])
    assert report.statistics == ("rgb",)
    assert report.describe() == ["rgb is normalised as in pretraining, not by the card given"]
    image = photograph(rgb)
    torch.testing.assert_close(model.features({"rgb": image})[0], source.encode({"rgb": image})["rgb"][0])
    in_percent = [rgb.with_setting("unit", "%"), *CARDS[:3]]
    with pytest.raises(InputError, match="sensor rgb, band R: in %, the pretrained model had it in 1"):
        transferred(source, ["rgb"], sensors=in_percent)


def test_known_sensors_are_clipped_as_in_pretraining() -> None:
    clipped = load_sensor("sentinel1").with_setting("valid_range", [-18.0, -6.0])
    assert clipped.clip
    source = pretrained(clipped, "rgb")
    image = photograph(clipped)
    assert ((image < -18) | (image > -6)).any()
    wanted = source.encode({"sentinel1": image})["sentinel1"][0]
    for given in (load_sensor("sentinel1"), clipped.with_setting("clip", False)):
        model, report = transferred(source, ["sentinel1"], sensors=[given, *CARDS[1:]])
        assert report.statistics == ("sentinel1",)
        torch.testing.assert_close(model.features({"sentinel1": image})[0], wanted)


def test_known_sensors_are_centred_as_in_pretraining() -> None:
    dsm = load_sensor("dsm")
    assert dsm.centre == "image"
    source = pretrained(dsm)
    image = photograph(dsm)
    wanted = source.encode({"dsm": image})["dsm"][0]
    model, report = transferred(source, ["dsm"], sensors=[dsm.with_setting("centre", "none")])
    assert report.statistics == ("dsm",)
    torch.testing.assert_close(model.features({"dsm": image})[0], wanted)


# ---- bands and sensors that pretraining did not see -----------------------------------------------------------------


def test_new_optical_bands_start_from_the_nearest_wavelength() -> None:
    found = origins(load_sensor("worldview3"), load_sensor("sentinel1"), load_sensor("sentinel2"))
    assert {band: origin.donor for band, origin in found.items()} == {
        "COASTAL": "B01",
        "BLUE": "B02",
        "GREEN": "B03",
        "YELLOW": "B03",
        "RED": "B04",
        "REDEDGE": "B06",
        "NIR1": "B08",
        "NIR2": "B09",
    }
    assert {band: origin.share for band, origin in found.items() if origin.share > 1} == {"GREEN": 2, "YELLOW": 2}
    assert {origin.how for origin in found.values()} == {"wavelength"}


@KINDS
def test_new_bands_share_the_kernels_of_their_donor(kind: str) -> None:
    source = pretrained("sentinel2", kind=kind)
    model, report = transferred(source, ["worldview3"], transfer="per_sensor")
    name = "conv" if kind == "conv" else "proj"
    ours = model.trunk.patch_embed["worldview3"].get_submodule(name)
    theirs = source.patch_embed["sentinel2"].get_submodule(name)
    donor = load_sensor("sentinel2").index_of("B03")
    green, yellow, nir = (load_sensor("worldview3").index_of(band) for band in ("GREEN", "YELLOW", "NIR1"))
    torch.testing.assert_close(ours.weight[:, green] + ours.weight[:, yellow], theirs.weight[:, donor])
    torch.testing.assert_close(ours.weight[:, green], ours.weight[:, yellow])
    torch.testing.assert_close(ours.weight[:, nir], theirs.weight[:, load_sensor("sentinel2").index_of("B08")])
    torch.testing.assert_close(ours.bias, theirs.bias)
    assert "worldview3 GREEN: sentinel2 B03 (by wavelength, 1/2 of it)" in report.describe()


def test_new_bands_of_a_known_sensor_start_from_that_sensor() -> None:
    known = load_sensor("sentinel2").select(["B02", "B03", "B11"])
    source = pretrained(known, "rgb")
    model, report = transferred(source, ["sentinel2:B02,B04,B12"])
    assert [(origin.donor, origin.how) for origin in report.bands] == [
        ("B02", "name"),
        ("B03", "wavelength"),  # rgb has a nearer one, but another projection
        ("B11", "wavelength"),
    ]
    kernels = cast(ConvPatchEmbed, model.trunk.patch_embed[STACKED]).conv.weight
    torch.testing.assert_close(kernels, cast(ConvPatchEmbed, source.patch_embed["sentinel2"]).conv.weight)


def test_radar_starts_from_the_same_polarisation() -> None:
    radar = a_card("palsar", HH={"polarisation": "HH"}, HV={"polarisation": "HV"}, VV={"polarisation": "VV"})
    found = origins(radar, load_sensor("sentinel2"), load_sensor("sentinel1"))
    assert {band: (o.sensor, o.donor, o.how, o.share) for band, o in found.items()} == {
        "HH": ("sentinel1", "VV", "polarisation", 2),
        "HV": ("sentinel1", "VH", "polarisation", 1),
        "VV": ("sentinel1", "VV", "polarisation", 2),
    }


def test_heights_start_from_heights() -> None:
    canopy = a_card("canopy", top={"unit": "m"})
    found = origins(canopy, load_sensor("sentinel1"), load_sensor("dsm"))
    assert (found["top"].sensor, found["top"].donor, found["top"].how) == ("dsm", "height", "unit")


def test_heat_is_not_light() -> None:
    landsat = load_sensor("landsat8").select(["B4", "B10"])
    found = origins(landsat, load_sensor("sentinel2"))
    assert (found["B4"].donor, found["B4"].how) == ("B04", "wavelength")
    assert (found["B10"].donor, found["B10"].how) == ("", "random")
    assert str(found["B10"]) == "x B10: random"


def test_most_alike_sensor_has_most_of_the_bands_and_the_nearest() -> None:
    photo = a_card("photo", R={"wavelength_nm": 651}, G={"wavelength_nm": 549}, B={"wavelength_nm": 451})
    with_heat = a_card("heat", R={"wavelength_nm": 700}, T={"wavelength_nm": 11_000})
    heat_alone = a_card("thermal", T={"wavelength_nm": 11_000})
    rgb, sentinel2 = load_sensor("rgb"), load_sensor("sentinel2")
    assert most_alike(photo, [sentinel2, rgb]) == rgb
    assert most_alike(photo, [with_heat, sentinel2]) == sentinel2
    assert (
        most_alike(a_card("both", R={"wavelength_nm": 650}, T={"wavelength_nm": 10_900}), [rgb, with_heat]) == with_heat
    )
    assert most_alike(heat_alone, [rgb, sentinel2]) is None


def test_sensor_to_which_nothing_is_alike_starts_at_random() -> None:
    source = pretrained("sentinel1", "dsm")
    model, report = transferred(source, ["rgb", "sentinel1"])
    assert report.describe() == ["rgb R: random", "rgb G: random", "rgb B: random"]
    joined = cast(ConvPatchEmbed, model.trunk.patch_embed[STACKED])
    assert joined.conv.weight[:4, :3].std() > 0
    torch.testing.assert_close(
        joined.conv.weight[4:, 3:], cast(ConvPatchEmbed, source.patch_embed["sentinel1"]).conv.weight
    )
    torch.testing.assert_close(
        joined.proj.weight[:, 4:], cast(ConvPatchEmbed, source.patch_embed["sentinel1"]).proj.weight
    )


# ---- the encoder ----------------------------------------------------------------------------------------------------


def test_position_bias_is_interpolated_to_another_window() -> None:
    source = pretrained("rgb")
    model, report = transferred(source, ["rgb"], encoder=ENCODER | {"window_size": 6})
    assert report.window == (4, 6)
    assert report.describe() == ["position bias interpolated from windows of 4 to 6 tokens"]
    ours, theirs = model.trunk.encoder.state_dict(), source.encoder.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], resize_window_bias(name, tensor, 6))
    tables = [name for name in ours if name.endswith("bias_table")]
    assert {len(ours[name]) for name in tables} == {11**2}


def test_drop_path_and_routing_may_differ() -> None:
    source = pretrained("rgb", moe=MIXTURE["moe"])
    changed = {**MIXTURE, "drop_path_rate": 0.2, "moe": {**MIXTURE["moe"], "capacity_factor": 2.0, "gate_noise": 0.0}}
    model, _ = transferred(source, ["rgb"], encoder=changed)
    assert same_weights(model.trunk.encoder, source.encoder)
    assert model.trunk.encoder.config.drop_path_rate == 0.2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": ENCODER | {"embed_dim": 16}}, "has embed_dim 8, asked for is 16"),
        ({"encoder": ENCODER | {"depths": [1, 1, 1, 1]}}, r"has depths \(1, 1, 2, 1\), asked for is \(1, 1, 1, 1\)"),
        ({"encoder": MIXTURE}, "has moe.stage None, asked for is 2"),
        ({"patch_embed": {"conv_channels": 8}}, "has patch_embed.conv_channels 4, asked for is 8"),
        ({"patch_embed": {"kind": "strided"}}, "has patch_embed.kind conv, asked for is strided"),
    ],
)
def test_another_shape_than_pretrained_is_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        transferred(pretrained("rgb"), ["rgb"], **settings)


def test_heads_do_not_depend_on_what_is_transferred() -> None:
    """Pretrained and random models of one seed differ in their trunks alone."""
    source = pretrained("sentinel1", "sentinel2")
    config = describe(CLASSES, ["sentinel1", "sentinel2"])
    torch.manual_seed(5)
    from_source, _ = build_downstream(config, source)
    torch.manual_seed(5)
    at_random, report = build_downstream(config, None)
    assert same_weights(from_source.head, at_random.head)
    assert not same_weights(from_source.trunk.encoder, at_random.trunk.encoder)
    assert report.describe() == ["random initialisation"]
    assert {origin.how for origin in report.bands} == {"random"}
    assert len(report.bands) == 15


def test_both_dates_of_a_change_share_one_embedding() -> None:
    source = pretrained("sentinel2")
    config = describe("change_detection", ["sentinel2@before", "sentinel2@after"])
    model, report = build_downstream(config, source)
    image = photograph(load_sensor("sentinel2"))
    maps = model.eval().features({"sentinel2@before": image, "sentinel2@after": image.flip(2)})
    wanted = source.encode({"sentinel2": torch.cat([image, image.flip(2)])})["sentinel2"]
    for ours, theirs in zip(maps, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert len(report.bands) == 13
    assert make("change_detection").trunk.patch_embed.keys() == {STACKED}
