"""Swins of SimMIM, GFM and timm as pretrained models, read from their files alone."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from small_downstream import ENCODER, describe, pretrained
from small_swins import PLAIN_RGB, configure, randomised

from msgfm.errors import InputError
from msgfm.models.baselines.simmim import config_of_swin, load_swin
from msgfm.models.downstream import build_downstream
from msgfm.models.msgfm import MsGFM
from msgfm.sensors import load_sensor


def small_timm_swin(**changes):  # of 128 px: where a window is larger than a map, timm keeps a smaller one
    settings = {"img_size": 128, "embed_dim": 16, "depths": (1, 2, 1, 1), "num_heads": (1, 2, 4, 4), "window_size": 4}
    return randomised(timm.models.swin_transformer.SwinTransformer(**settings | changes, num_classes=0))


def test_names_and_shapes_tell_the_configuration():
    config = config_of_swin(small_timm_swin(mlp_ratio=3.0).state_dict())
    encoder = config.encoder
    assert (encoder.embed_dim, encoder.depths, encoder.num_heads) == (16, (1, 2, 1, 1), (1, 2, 4, 4))
    assert (encoder.window_size, encoder.mlp_ratio, encoder.moe) == (4, 3.0, None)
    assert config.sensors == (load_sensor("rgb"),) and config.patch_embed.kind == "strided"


def test_a_swin_of_timm_gives_timms_features(tmp_path):
    reference = small_timm_swin()
    save_file(reference.state_dict(), tmp_path / "swin.safetensors")
    model = load_swin(tmp_path / "swin.safetensors")
    image = torch.rand(2, 3, 128, 128)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        expected = reference.forward_features((image - mean) / std).permute(0, 3, 1, 2)
        torch.testing.assert_close(model.encode({"rgb": image})["rgb"][-1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.encoder."])
def test_simmims_names_and_wrapper(tmp_path, prefix):
    source: MsGFM = randomised(MsGFM(configure(PLAIN_RGB)))
    state = {f"{prefix}{name.removeprefix('encoder.')}": tensor for name, tensor in source.state_dict().items()
             if name.startswith("encoder.") and ".downsample." not in name}  # fmt: skip
    for name, tensor in source.state_dict().items():  # SimMIM merges at the end of a stage
        if ".downsample." in name:
            stage = int(name.split(".")[2])
            state[f"{prefix}layers.{stage - 1}.downsample.{name.split('.downsample.')[1]}"] = tensor
    for name in ("proj.weight", "proj.bias", "norm.weight", "norm.bias"):
        state[f"{prefix}patch_embed.{name}"] = source.state_dict()[f"patch_embed.rgb.{name}"]
    torch.save({"model": state, "epoch": 799}, tmp_path / "simmim.pth")
    model = load_swin(tmp_path / "simmim.pth")
    theirs, ours = source.encoder.state_dict(), model.encoder.state_dict()
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_it_starts_a_model_for_a_task(tmp_path):
    source = pretrained("rgb", kind="strided")
    state = {name.removeprefix("encoder."): tensor for name, tensor in source.encoder.state_dict().items()}
    state |= {f"patch_embed.{name}": tensor for name, tensor in source.patch_embed["rgb"].state_dict().items()}
    torch.save(state, tmp_path / "swin.pth")
    swin = load_swin(tmp_path / "swin.pth")
    config = describe("classification", ["rgb"], encoder=ENCODER, patch_embed={"kind": "strided"})
    model, report = build_downstream(config, swin)
    expected, _ = build_downstream(config, source)
    image = {"rgb": torch.rand(1, 3, 32, 32)}
    with torch.no_grad():
        for found, wanted in zip(model.eval().features(image), expected.eval().features(image), strict=True):
            torch.testing.assert_close(found, wanted)
    assert report.pretrained


def test_other_weights_are_refused(tmp_path):
    for state, words in (
        (timm.create_model("test_vit", pretrained=False).state_dict(), "no Swin encoder in these weights"),
        ({"a": torch.zeros(1)}, "no Swin encoder in these weights; their names start with a"),
    ):
        save_file(state, tmp_path / "other.safetensors")
        with pytest.raises(InputError, match=words):
            load_swin(tmp_path / "other.safetensors")
    state = small_timm_swin().state_dict()
    del state["layers.1.blocks.1.mlp.fc1.bias"]
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(InputError, match=r"lacks 1 tensors of its encoder, as encoder.layers.1.blocks.1.mlp.fc1.bias"):
        load_swin(tmp_path / "cut.safetensors")
    for name, content in (("text.pth", b"nothing"), ("table.parquet", b"PAR1\x15\x04"), ("empty.pt", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} is no file of weights; give one of PyTorch, or") as caught:
            load_swin(tmp_path / name)
        assert "torch.load" not in str(caught.value)
    torch.save({"model": state, "config": small_timm_swin()}, tmp_path / "objects.pth")
    with pytest.raises(InputError, match=r"objects\.pth holds Python objects beside its weights"):
        load_swin(tmp_path / "objects.pth")
