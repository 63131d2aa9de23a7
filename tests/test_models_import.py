"""Encoders of SimMIM, GFM, official Swin and timm in ours."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from typing import Any

import pytest
import timm
import torch
from small_swins import OWN, PLAIN_RGB, configure, randomised, same_weights
from timm.layers import resize_rel_pos_bias_table_simple
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor

from msgfm.errors import InputError
from msgfm.models.msgfm import MsGFM
from msgfm.models.pretrained import from_pretrained, import_simmim, load_model_config, save_pretrained


def timm_swin(window: int = 7, image: int = 224, **settings: Any) -> SwinTransformer:
    small = {"embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 1, 2, 2)}
    return randomised(
        timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=image, window_size=window, drop_path_rate=0.0, **(small | settings)
        )
    )


@pytest.fixture(scope="module")
def swin() -> SwinTransformer:
    torch.manual_seed(0)
    return timm_swin()


def official_names(state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """timm's state dict with the names of the official Swin, where patch merging ends a stage."""
    renamed = {}
    for name, tensor in state.items():
        name = re.sub(r"layers\.(\d)\.downsample", lambda match: f"layers.{int(match[1]) - 1}.downsample", name)
        renamed[prefix + name.replace("head.fc.", "head.")] = tensor
    for stage in range(4):
        block = f"{prefix}layers.{stage}.blocks.1."
        renamed[block + "attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
        renamed[block + "attn_mask"] = torch.zeros(4, 49, 49)
    return renamed


def features_of(swin: SwinTransformer, image: Tensor) -> list[Tensor]:
    x, features = swin.patch_embed(image), []
    for layer in swin.layers:
        x = layer(x)
        features.append(x)
    features[-1] = swin.norm(x)
    return [feature.permute(0, 3, 1, 2) for feature in features]


def assert_equal_features(ours: MsGFM, swin: SwinTransformer, size: int = 224) -> None:
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for one, other in zip(ours.eval().encode({"rgb": image})["rgb"], features_of(swin, image), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "published",
    [
        pytest.param(lambda state: state, id="timm"),
        pytest.param(official_names, id="official"),
        pytest.param(lambda state: {"model": official_names(state), "epoch": 3, "config": None}, id="official-file"),
        pytest.param(lambda state: {"model": official_names(state, "encoder.")}, id="simmim-file"),
        pytest.param(lambda state: {"state_dict": official_names(state, "module.encoder.")}, id="distributed"),
    ],
)
def test_swin_weights_give_swins_features(swin, published):
    ours, report = import_simmim(published(swin.state_dict()), configure())
    assert_equal_features(ours, swin)
    assert set(report.new) == {"mask_token", "decoders.rgb.proj.weight", "decoders.rgb.proj.bias"}
    assert set(report.loaded) | set(report.new) == set(ours.state_dict())
    assert report.interpolated == ()
    assert {name.rpartition("head.")[2] for name in report.unused} <= {"weight", "bias", "fc.weight", "fc.bias"}
    assert len(report.unused) == 2
    assert all("head." in name for name in report.unused), "what both sides compute anew is not worth a word"


def test_simmim_golden(load_golden):
    """Names as SimMIM saves them, encoder and decoder: the whole way gives its reconstruction."""
    golden = load_golden("simmim_swin_tiny_a")
    published = {key.removeprefix("weight."): t for key, t in golden.items() if key.startswith("weight.")}
    config = configure(embed_dim=16, depths=[2, 2, 4, 2], num_heads=[1, 2, 4, 8], window_size=6)
    ours, report = import_simmim({"model": published}, config)
    assert report.new == report.unused == report.interpolated == ()
    hidden = golden["input.mask"].bool()[:, ::8, ::8]  # 32 px squares of 4 px tokens
    with torch.no_grad():
        prediction = ours.predict("rgb", golden["input.image"], hidden, "rgb")
    torch.testing.assert_close(prediction, golden["output.reconstruction"], rtol=0, atol=1e-4)


def test_another_window_is_interpolated_and_reported(swin):
    config = configure(window_size=6)
    ours, report = import_simmim(swin.state_dict(), config)
    tables = {name for name in ours.state_dict() if name.endswith("relative_position_bias_table")}
    assert len(tables) == 8
    assert set(report.interpolated) == tables
    assert tables <= set(report.loaded)
    reference = timm_swin(window=6, image=192)
    state = {
        name: resize_rel_pos_bias_table_simple(tensor, (6, 6), reference.state_dict()[name].shape)
        if name.endswith("bias_table")
        else tensor
        for name, tensor in swin.state_dict().items()
    }
    reference.load_state_dict(state)
    assert_equal_features(ours, reference, size=192)


def test_experts_are_new(swin):
    moe = {"stage": 2, "blocks": [1], "num_experts": 2}
    torch.manual_seed(5)
    ours, report = import_simmim(swin.state_dict(), configure(moe=moe))
    mixture = "encoder.layers.2.blocks.1.mlp."
    experts = {name for name in ours.state_dict() if name.startswith(mixture)}
    assert len(experts) == 1 + 2 * 4  # router; two layers of weight and bias each
    assert set(report.new) == experts | {"mask_token", "decoders.rgb.proj.weight", "decoders.rgb.proj.bias"}
    perceptron = {f"layers.2.blocks.1.mlp.{layer}.{kind}" for layer in ("fc1", "fc2") for kind in ("weight", "bias")}
    assert set(report.unused) == perceptron | {"head.fc.weight", "head.fc.bias"}
    torch.manual_seed(5)
    fresh = MsGFM(configure(moe=moe)).state_dict()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, fresh[name]) == (name in report.new), name


def test_the_embedding_of_another_kind_is_not_taken(swin):
    torch.manual_seed(5)
    ours, report = import_simmim(swin.state_dict(), configure(kind="conv"))
    own = {name for name in ours.state_dict() if name.startswith("patch_embed.")}
    assert own <= set(report.new)
    assert {name for name in swin.state_dict() if name.startswith("patch_embed.")} <= set(report.unused)


def test_the_embedding_goes_to_the_sensor_named(swin):
    two = (PLAIN_RGB, PLAIN_RGB.model_copy(update={"name": "photo"}))
    ours, report = import_simmim(swin.state_dict(), configure(*two), sensor="photo")
    assert torch.equal(ours.patch_embed["photo"].proj.weight, swin.patch_embed.proj.weight)
    assert not torch.equal(ours.patch_embed["rgb"].proj.weight, swin.patch_embed.proj.weight)
    assert "patch_embed.rgb.proj.weight" in report.new
    ours, report = import_simmim(swin.state_dict(), configure(OWN))  # of two bands, and another name
    assert "patch_embed.own.proj.weight" in report.new
    assert "patch_embed.proj.weight" in report.unused


def test_an_embedding_of_other_bands_is_not_taken(swin):
    two_bands = OWN.model_copy(update={"name": "rgb"})
    _, report = import_simmim(swin.state_dict(), configure(two_bands))
    assert "patch_embed.rgb.proj.weight" in report.new
    assert "patch_embed.proj.weight" in report.unused


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"embed_dim": 16}, r"layers\.0\.blocks\.0\.norm1\.weight has shape \(8,\)"),
        ({"num_heads": [2, 2, 2, 2]}, r"relative_position_bias_table has shape \(169, 1\)"),
        ({"mlp_ratio": 2}, r"layers\.0\.blocks\.0\.mlp\.fc1\.weight has shape \(32, 8\)"),
    ],
)
def test_an_encoder_of_another_shape_is_refused_and_the_tensor_named(swin, settings, name):
    with pytest.raises(InputError, match=f"{name}.*choose embed_dim, depths"):
        import_simmim(swin.state_dict(), configure(**settings))


def test_a_table_of_oblong_windows_is_refused(swin):
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    with pytest.raises(InputError, match=rf"{re.escape(name)} has shape \(65, 1\)"):
        import_simmim(swin.state_dict() | {name: torch.zeros(65, 1)}, configure())


@pytest.mark.parametrize("state", [{}, {"conv1.weight": torch.zeros(3)}, {"model": {"fc.weight": torch.zeros(1)}}])
def test_what_is_no_swin_is_refused(state):
    with pytest.raises(InputError, match="no Swin encoder in this checkpoint"):
        import_simmim(state, configure())


def test_half_precision_becomes_float32(swin):
    half = {name: tensor.half() for name, tensor in swin.state_dict().items()}
    ours, _ = import_simmim(half, configure(window_size=6))
    assert {tensor.dtype for tensor in ours.state_dict().values()} == {torch.float32}


def test_what_was_imported_can_be_saved(swin, tmp_path):
    ours, _ = import_simmim(swin.state_dict(), configure())
    save_pretrained(ours, tmp_path)
    assert same_weights(from_pretrained(tmp_path), ours)
    assert load_model_config(tmp_path) == ours.config
    shutil.rmtree(tmp_path)
    assert_equal_features(ours, swin)
