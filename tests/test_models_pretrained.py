"""Weights in and out: folders of our own, and encoders of SimMIM, GFM, official Swin and timm."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.layers import resize_rel_pos_bias_table_simple
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

import msgfm
from msgfm.errors import InputError
from msgfm.models.msgfm import MsGFM, MsGFMConfig
from msgfm.models.pretrained import (
    from_pretrained,
    import_simmim,
    load_model_config,
    push_to_hub,
    resize_window_bias,
    save_pretrained,
)
from msgfm.sensors import Sensor, load_sensor

OWN = Sensor.model_validate(
    {
        "name": "own",
        "description": "a card of a user's own",
        "centre": "image",
        "clip": True,
        "display": ["b"],
        "bands": [
            {
                "name": "a",
                "unit": "m",
                "valid_range": [-5, 5],
                "mean": 0.1,
                "std": 1 / 3,
                "nodata": -9999,
                "gsd_m": 2.5,
            },
            {"name": "b", "unit": "K", "valid_range": [100, 400], "mean": 280.3, "std": 7.7, "wavelength_nm": 10_900.5},
        ],
    }
)
# rgb whose normalisation changes nothing, to compare with models that have none
PLAIN_RGB = Sensor.model_validate(
    {
        "name": "rgb",
        **{"unit": "1", "valid_range": [-100, 100], "mean": 0, "std": 1},
        "bands": [{"name": band} for band in "RGB"],
    }
)


def configure(*sensors: Sensor, kind: str = "strided", mask_patch_size: int = 32, **encoder: Any) -> MsGFMConfig:
    small = {"embed_dim": 8, "depths": [2, 2, 2, 2], "num_heads": [1, 1, 2, 2], "window_size": 7, "moe": None}
    return MsGFMConfig.model_validate(
        {
            "sensors": sensors or (PLAIN_RGB,),
            "encoder": small | encoder,
            "patch_embed": {"kind": kind},
            "mask_patch_size": mask_patch_size,
        }
    )


def randomised(model: nn.Module, std: float = 0.2) -> Any:
    """Biases and norms too: zeros and ones would hide a mix-up."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model.eval()


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


# ---- folders of our own ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> MsGFM:
    """Two stages, one of the blocks a mixture, two sensors."""
    torch.manual_seed(0)
    moe = {"stage": 1, "blocks": [1], "num_experts": 3}
    encoder = {"depths": [1, 2], "num_heads": [1, 2], "window_size": 4, "moe": moe}
    config = configure(OWN, load_sensor("sentinel1"), kind="conv", mask_patch_size=8, **encoder)
    return randomised(MsGFM(config))


@pytest.fixture
def folder(model: MsGFM, tmp_path: Path) -> Path:
    save_pretrained(model, tmp_path / "model")
    return tmp_path / "model"


def image_of(sensor: Sensor, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    mean = torch.tensor([band.mean for band in sensor.bands]).view(-1, 1, 1)
    std = torch.tensor([band.std for band in sensor.bands]).view(-1, 1, 1)
    return mean + std * torch.randn(2, len(sensor.bands), size, size, generator=generator)


def test_what_is_saved_is_loaded_bit_for_bit(model, folder):
    loaded = from_pretrained(folder)
    assert same_weights(model, loaded)
    assert loaded.config == model.config
    assert loaded.sensors == {"own": OWN, "sentinel1": load_sensor("sentinel1")}, "the cards travel with the weights"
    assert not loaded.training
    images = {name: image_of(sensor) for name, sensor in model.sensors.items()}
    with torch.no_grad():
        before, after = model.encode(images), loaded.encode(images)
    for name in images:
        assert all(map(torch.equal, before[name], after[name]))
    assert torch.equal(*(m.reconstruct(images, "own", "sentinel1") for m in (model, loaded)))
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert msgfm.from_pretrained is from_pretrained
    assert same_weights(from_pretrained(str(folder)), model)


def test_the_cards_are_those_of_training_not_those_of_today(folder, monkeypatch):
    monkeypatch.setattr("msgfm.sensors.sensor.CARDS", folder)  # no built-in card is left
    assert from_pretrained(folder).sensors["own"] == OWN


def test_a_trained_model_is_saved_as_it_is(model, folder, tmp_path):
    """In training mode, on whatever device and with gradients."""
    busy = MsGFM(model.config).train()
    busy.load_state_dict(model.state_dict())
    save_pretrained(busy, tmp_path / "busy")
    assert busy.training
    assert same_weights(from_pretrained(tmp_path / "busy"), model)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "busy" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("room", [0, 10_000])
def test_a_full_disk_leaves_the_earlier_model(model, folder, disk_full_after, room):
    other = randomised(MsGFM(model.config))
    with pytest.raises(InputError, match=r"cannot write .*model\.safetensors.*free some space"), disk_full_after(room):
        save_pretrained(other, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert same_weights(from_pretrained(folder), model)


def change_header(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_another_format_version_is_refused(folder):
    assert json.loads((folder / "config.json").read_text())["format_version"] == 1
    change_header(folder, format_version=2)
    with pytest.raises(InputError, match=r"config\.json has format version 2, this msgfm reads 1; update msgfm"):
        from_pretrained(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format_version": 1}', "\xff"])
def test_what_is_no_config_is_refused(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"holds no msgfm model: cannot use .*config\.json"):
        from_pretrained(folder)


def test_a_setting_that_this_msgfm_does_not_know_is_refused(folder):
    header = json.loads((folder / "config.json").read_text())
    header["model"]["encoder"]["windw_size"] = 3
    change_header(folder, model=header["model"])
    with pytest.raises(InputError, match=r"config\.json: encoder\.windw_size: .*did you mean 'window_size'"):
        from_pretrained(folder)
    change_header(folder, model=3)
    with pytest.raises(InputError, match=r"config\.json: "):
        from_pretrained(folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(InputError, match=re.escape(missing)):
        from_pretrained(folder)


def test_truncated_weights_are_refused(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cannot read .*model\.safetensors.*copy or download it again"):
            from_pretrained(folder)


def test_weights_of_another_model_are_refused_and_named(model, folder):
    path = folder / "model.safetensors"
    state = load_file(path)

    def refusal(changed: Mapping[str, Tensor]) -> str:
        save_file(dict(changed), path)
        with pytest.raises(InputError, match=r"model\.safetensors holds the weights of another model") as caught:
            from_pretrained(folder)
        return str(caught.value)

    assert "mask_token is (9,), the model has (8,)" in refusal(state | {"mask_token": torch.zeros(9)})
    assert "more is not in the model" in refusal(state | {"more": torch.zeros(1)})
    assert "mask_token is missing" in refusal({name: t for name, t in state.items() if name != "mask_token"})
    wider = MsGFM(model.config.model_copy(update={"encoder": configure(embed_dim=16).encoder}))
    assert re.search(r"; .*; .*, and \d+ more$", refusal(wider.state_dict()))


def test_no_folder_and_no_repository(tmp_path):
    with pytest.raises(InputError, match=r"no folder .*nowhere; give the folder that `msgfm pretrain` wrote"):
        from_pretrained(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no local folder some/model, and the hub did not give it"):
        from_pretrained("some/model")  # the tests are offline


def test_a_repository_is_fetched_without_anything_else_in_it(model, folder, monkeypatch):
    asked = {}

    def fetch(name: str, allow_patterns: list[str]) -> str:
        asked[name] = sorted(allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert same_weights(from_pretrained("some/model"), model)
    assert asked == {"some/model": ["config.json", "model.safetensors"]}


def test_only_a_model_is_published(folder, tmp_path, monkeypatch):
    calls: list[tuple[str, Any]] = []

    class Api:
        def create_repo(self, name: str, private: bool, exist_ok: bool) -> None:
            calls.append(("create", (name, private)))

        def upload_folder(self, repo_id: str, folder_path: Path, allow_patterns: list[str]) -> str:
            calls.append(("upload", (repo_id, folder_path, sorted(allow_patterns))))
            return "https://hub/commit"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(InputError, match="holds no msgfm model"):
        push_to_hub(tmp_path, "me/x")
    assert calls == []
    assert push_to_hub(folder, "me/x", private=True) == "https://hub/commit"
    files = ["config.json", "model.safetensors", "run.json"]
    assert calls == [("create", ("me/x", True)), ("upload", ("me/x", folder, files))]


# ---- another window -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 3, 6, 8, 12])
def test_tables_are_resized_as_timm_does(window):
    table = torch.randn(13 * 13, 4, generator=torch.Generator().manual_seed(0))
    rows = (2 * window - 1) ** 2
    resized = resize_window_bias("x.relative_position_bias_table", table, window)
    expected = resize_rel_pos_bias_table_simple(table, (window, window), (rows, 4))
    torch.testing.assert_close(resized, expected, rtol=0, atol=1e-6)
    assert resized.is_contiguous(), "safetensors saves nothing else"
    # attention does not prefer a direction that it did not prefer before
    flipped = resize_window_bias("x.relative_position_bias_table", table.flip(0), window)
    torch.testing.assert_close(flipped, resized.flip(0), rtol=0, atol=1e-5)


def test_other_tensors_and_the_same_window_pass():
    table = torch.randn(49, 2)
    assert resize_window_bias("x.weight", table, 9) is table
    assert resize_window_bias("x.relative_position_bias_table", table, 4) is table


def test_the_same_window_is_the_same_model(model, folder):
    same = from_pretrained(folder, window_size=4)
    assert same_weights(same, model)
    assert same.config == model.config


def test_another_window(model, folder):
    wider = from_pretrained(folder, window_size=6)
    assert wider.config == model.config.model_copy(update={"encoder": wider.config.encoder})
    assert wider.config.encoder == model.config.encoder.model_copy(update={"window_size": 6})
    ours, theirs = model.state_dict(), wider.state_dict()
    for name in ours:
        if name.endswith("relative_position_bias_table"):
            expected = resize_rel_pos_bias_table_simple(ours[name], (6, 6), (121, ours[name].shape[1]))
            torch.testing.assert_close(theirs[name], expected)
        else:
            assert torch.equal(ours[name], theirs[name])
    # what was loaded with another window can be saved and loaded again
    save_pretrained(wider, folder)
    assert same_weights(from_pretrained(folder), wider)
    with pytest.raises(InputError, match=r"window_size: .*greater than or equal to 1"):
        from_pretrained(folder, window_size=0)


# ---- encoders of others ---------------------------------------------------------------------------------------------


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
