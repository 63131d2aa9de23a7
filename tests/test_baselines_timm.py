"""Encoders of timm as trunks, and weights of timm and TorchGeo from files."""

import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from small_downstream import CARDS, describe, images_for
from small_swins import randomised
from torchgeo.models import ScaleMAE, resnet18

from msgfm.errors import InputError
from msgfm.models.baselines.positions import positions_in_metres
from msgfm.models.downstream import DownstreamModel, build_downstream
from msgfm.sensors import load_sensor

SEGMENTATION = {"kind": "segmentation", "classes": ["a", "b"]}
CLASSIFICATION = {"kind": "classification", "classes": ["a", "b"]}
RGB_OF_S2 = "sentinel2:B04,B03,B02"


def build(inputs: list[str], name: str, task: dict = SEGMENTATION, **backbone) -> DownstreamModel:
    config = describe(task, inputs, backbone={"kind": "timm", "name": name} | backbone)
    model, _ = build_downstream(config, None)
    return model.eval()


def saved(path: Path, state: dict) -> str:
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.mark.parametrize(
    "name",
    ["resnet18", "test_vit", "test_convnext", pytest.param("swin_tiny_patch4_window7_224", marks=pytest.mark.slow)],
)
def test_four_maps_of_falling_resolution_at_any_size(name):
    model = build(["sentinel2", "sentinel1"], name)
    images = images_for(model, 1, 50, 70)
    with torch.no_grad():
        maps = model.features(images)
        assert [m.shape[1] for m in maps] == list(model.trunk.dims)
        assert [m.shape[2:] for m in maps] == [(-(-50 // s), -(-70 // s)) for s in (4, 8, 16, 32)]
        assert model(images).shape == (1, 2, 50, 70)


@pytest.mark.parametrize("name", ["resnet18", "test_vit", "test_convnext"])
def test_stochastic_depth_is_timms_own(name):
    def rates(**settings) -> list[float]:
        modules = build(["rgb"], name, **settings).trunk.encoder.modules()
        return [module.drop_prob for module in modules if isinstance(module, timm.layers.DropPath)]

    found = rates(drop_path_rate=0.3)
    assert max(found) == pytest.approx(0.3) and found == sorted(found)  # the deeper the likelier
    assert rates() == []


def test_stochastic_depth_is_refused_where_the_encoder_has_none():
    with pytest.raises(InputError, match=r"0\.2: vgg11 has no stochastic depth; say drop_path_rate=null"):
        build(["rgb"], "vgg11", drop_path_rate=0.2)


def test_every_parameter_is_in_one_layer_and_new_ones_are_with_the_head():
    model = build(["sentinel2"], "test_vit")
    layers = model.layers()
    own = [id(p) for group in layers for p in group]
    assert sorted(own) == sorted(id(p) for p in model.parameters())
    assert {id(p) for p in model.trunk.pyramid.parameters()} < {id(p) for p in layers[-1]}
    assert model.trunk.encoder.patch_embed.proj.weight in set(layers[0])
    assert len(layers) == 1 + 6 + 1  # embedding, blocks, head


def test_nothing_that_a_classification_does_not_use_is_left_in_a_vit():
    model = build(["sentinel2"], "test_vit", CLASSIFICATION)
    model(images_for(model)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_imagenet_weights_on_photographs_give_the_maps_of_timm(tmp_path):
    reference = randomised(timm.create_model("resnet18", pretrained=False), std=0.05)
    weights = saved(tmp_path / "r18.safetensors", reference.state_dict())
    model = build(["rgb"], "resnet18", weights=weights, statistics="imagenet")
    pixels = torch.randint(0, 256, (2, 3, 64, 64)) / 255
    mean, std = (torch.tensor(reference.pretrained_cfg[key]).view(-1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = reference.forward_intermediates((pixels - mean) / std, intermediates_only=True)[1:]
        for found, wanted in zip(model.features({"rgb": pixels}), expected, strict=True):
            torch.testing.assert_close(found, wanted)


@pytest.mark.slow
def test_a_swin_of_another_image_size_takes_the_files_windows(tmp_path):
    reference = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False)
    weights = saved(tmp_path / "swin.pth", {"model": reference.state_dict()})
    model = build(["rgb"], "swin_tiny_patch4_window7_224", weights=weights)
    key = "layers.2.blocks.1.attn.relative_position_bias_table"
    assert torch.equal(model.trunk.encoder.state_dict()[key], reference.state_dict()[key])


@pytest.mark.parametrize(
    "prefix,wrapper",
    [("", None), ("module.encoder_q.", "state_dict"), ("backbone.", "teacher"), ("module.base_encoder.", "state_dict")],
)
def test_torchgeos_resnet_under_the_names_of_moco_and_dino(tmp_path, prefix, wrapper):
    reference = randomised(resnet18(in_chans=13), std=0.05)
    state = {prefix + name: tensor for name, tensor in reference.state_dict().items()}
    state[f"{prefix}head.mlp.weight"] = torch.zeros(2, 2)
    config = describe(
        SEGMENTATION,
        ["sentinel2"],
        backbone={
            "kind": "timm",
            "name": "resnet18",
            "weights": saved(tmp_path / "moco.pth", {wrapper: state, "epoch": 100} if wrapper else state),
            "statistics": "physical",
        },
    )
    model, report = build_downstream(config, None)
    image = images_for(model)["sentinel2"]
    with torch.no_grad():
        expected = reference.forward_intermediates(image, intermediates_only=True)[-1]
        torch.testing.assert_close(model.eval().features({"sentinel2": image})[-1], expected)
    assert report.describe() == ["120 tensors loaded, 0 new, 3 of the file unused"]  # fc and the projection


def test_of_two_encoders_in_a_file_the_first_counts(tmp_path):
    query, key = (randomised(resnet18(in_chans=2), std=0.05) for _ in range(2))
    state = {f"encoder_q.{name}": tensor for name, tensor in query.state_dict().items()}
    state |= {f"encoder_k.{name}": tensor for name, tensor in key.state_dict().items()}
    model = build(["sentinel1"], "resnet18", weights=saved(tmp_path / "moco.pth", state))
    assert torch.equal(model.trunk.encoder.conv1.weight, query.conv1.weight)


def scale_mae(gsd_m: float) -> ScaleMAE:
    shape = {"img_size": 160, "patch_size": 16, "embed_dim": 64, "depth": 6, "num_heads": 2, "mlp_ratio": 3}
    return randomised(ScaleMAE(gsd_m, **shape), std=0.05)


@pytest.mark.parametrize("gsd_m", [0.5, 10.0])
def test_scale_mae_of_torchgeo(tmp_path, gsd_m):
    reference = scale_mae(gsd_m)
    state = reference.state_dict() | {"mask_token": torch.zeros(1, 1, 32), "decoder_embed.weight": torch.zeros(32, 64)}
    weights = saved(tmp_path / "scale.pth", {"model": state})
    model = build(["rgb"], "test_vit", CLASSIFICATION, weights=weights, gsd_m=gsd_m, statistics="imagenet")
    pixels = torch.rand(1, 3, 160, 160)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        expected = reference.forward_intermediates((pixels - mean) / std, intermediates_only=True)[-1]
        torch.testing.assert_close(model.features({"rgb": pixels})[-1], expected, rtol=1e-4, atol=1e-5)


def test_positions_in_metres_of_an_oblong_image_begin_alike():
    square, oblong = positions_in_metres(4, 4, 16, 2.0), positions_in_metres(4, 9, 16, 2.0)
    torch.testing.assert_close(oblong[:, :4], square)


def test_satmae_for_photographs_and_the_grouped_one(tmp_path):
    reference = randomised(timm.create_model("test_vit", pretrained=False, img_size=96), std=0.05)
    state = reference.state_dict() | {"mask_token": torch.zeros(1, 1, 32), "decoder_pos_embed": torch.zeros(1, 37, 32)}
    weights = saved(tmp_path / "satmae.pth", {"model": state, "epoch": 799})
    model = build(["rgb"], "test_vit", weights=weights)
    assert torch.equal(model.trunk.encoder.blocks[3].attn.qkv.weight, reference.blocks[3].attn.qkv.weight)
    grouped = {"channel_embed": torch.zeros(1, 3, 8), "patch_embed.0.proj.weight": torch.zeros(64, 4, 8, 8)}
    with pytest.raises(InputError, match="groups its bands"):
        build(["rgb"], "test_vit", weights=saved(tmp_path / "grouped.pth", {"model": grouped}))


def test_a_loaded_model_needs_its_weights_file_no_more(tmp_path):
    path = tmp_path / "r18.safetensors"
    saved(path, timm.create_model("resnet18", pretrained=False).state_dict())
    model = build(["rgb"], "resnet18", weights=str(path))
    path.unlink()
    again = DownstreamModel(model.config)
    again.load_state_dict(model.state_dict())


def failing(tmp_path, state: dict, inputs: list[str], name: str = "resnet18", **backbone) -> str:
    with pytest.raises(InputError) as error:
        build(inputs, name, weights=saved(tmp_path / "wrong.pth", state), **backbone)
    return str(error.value)


def test_what_does_not_fit_is_named(tmp_path):
    small, large = (timm.create_model(name, pretrained=False).state_dict() for name in ("resnet18", "resnet50"))
    assert "no conv1.weight" in failing(tmp_path, {"a.weight": torch.zeros(1)}, ["rgb"])
    message = failing(tmp_path, large, ["rgb"])
    assert "wrong.pth" in message and "layer1.0.conv1.weight is (64, 64, 1, 1)" in message and "resnet18" in message
    small["conv1.weight"] = torch.zeros(64, 7, 7, 7)
    assert "trained_on" in failing(tmp_path, small, ["rgb"])
    assert "has 8 bands, the weights take 7" in failing(tmp_path, small, ["rgb"], trained_on="worldview3")
    with pytest.raises(InputError, match=r"no 'resnet18x'; did you mean resnet18"):
        build(["rgb"], "resnet18x")
    with pytest.raises(InputError, match=r"gsd_m is for the ViTs"):
        build(["rgb"], "resnet18", gsd_m=1.0)
    with pytest.raises(InputError, match="cannot read weights"):
        build(["rgb"], "resnet18", weights="nowhere.pth")


def test_a_file_with_objects_in_it_is_not_run(tmp_path):
    torch.save({"model": {}, "config": Path("x")}, tmp_path / "objects.pth")
    with pytest.raises(InputError, match="not run here"):
        build(["rgb"], "resnet18", weights=str(tmp_path / "objects.pth"))


def test_without_timm_the_command_that_brings_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'msgfm\[baselines\]'"):
        build(["rgb"], "resnet18")


def test_seco_normalises_as_its_authors():
    """Reflectance to 8 bits, percentiles to 0..255, then ImageNet's, in their own steps."""
    model = build([RGB_OF_S2], "resnet18", statistics="seco")
    reflectance = torch.rand(1, 3, 32, 32) * 0.3 + 0.02
    low, high = torch.tensor([0, 2, 3.0]).view(-1, 1, 1), torch.tensor([129, 103, 88.0]).view(-1, 1, 1)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    expected = ((reflectance * 255 - low) / (high - low) - mean) / std
    found = model.inputs({"sentinel2": reflectance}).normalised["sentinel2"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_imagenet_statistics_leave_reflectance_to_its_card():
    rgb = load_sensor("rgb")
    card = rgb.model_copy(update={"bands": tuple(b.model_copy(update={"mean": 0.3, "std": 0.1}) for b in rgb.bands)})
    sensors = [card if one.name == "rgb" else one for one in CARDS]
    config = describe(
        SEGMENTATION,
        ["rgb", "sentinel2"],
        sensors=sensors,
        backbone={"kind": "timm", "name": "resnet18", "statistics": "imagenet"},
    )
    cards = DownstreamModel(config).inputs.cards
    assert [band.mean for band in cards["rgb"].bands] == [0.485, 0.456, 0.406]
    assert cards["sentinel2"].bands == load_sensor("sentinel2").bands
