"""Weights in and out: folders of our own, and windows of another size."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_downstream import make
from small_swins import OWN, configure, randomised, same_weights
from timm.layers import resize_rel_pos_bias_table_simple
from torch import Tensor

import msgfm
from msgfm.errors import InputError
from msgfm.models.msgfm import MsGFM
from msgfm.models.pretrained import from_pretrained, push_to_hub, resize_window_bias, save_pretrained
from msgfm.sensors import Sensor, load_sensor

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


def test_the_weights_can_be_read_by_whoever_may_read_the_configuration(folder):
    modes = {name: (folder / name).stat().st_mode for name in ("model.safetensors", "config.json")}
    assert modes["model.safetensors"] == modes["config.json"]


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
            sent = {path.name for pattern in allow_patterns for path in folder_path.glob(pattern)}
            calls.append(("upload", (repo_id, folder_path, sorted(sent))))
            return "https://hub/commit"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(InputError, match="holds no msgfm model"):
        push_to_hub(tmp_path, "me/x")
    assert calls == []
    for name in ("README.md", "missing_sensors_test.png", "log.csv"):
        (folder / name).write_text("")
    assert push_to_hub(folder, "me/x", private=True) == "https://hub/commit"
    files = ["README.md", "config.json", "missing_sensors_test.png", "model.safetensors"]
    assert calls == [("create", ("me/x", True)), ("upload", ("me/x", folder, files))]


def test_another_configuration_that_fits_the_weights_is_refused(tmp_path: Path) -> None:
    """Bands of inputs in another order, or another mean, would load and predict without a word."""
    model = make("segmentation", transfer="stack")
    save_pretrained(model, tmp_path)
    path = tmp_path / "config.json"
    header = json.loads(path.read_text())
    path.write_text(json.dumps(header, indent=8, sort_keys=True))
    msgfm.from_pretrained(tmp_path)  # the same, laid out otherwise
    changed = json.loads(path.read_text())
    changed["model"]["inputs"].reverse()
    assert changed != header
    path.write_text(json.dumps(changed))
    with pytest.raises(
        InputError, match=r"config\.json is not the configuration that .*model\.safetensors was written"
    ):
        msgfm.from_pretrained(tmp_path)
    save_file(load_file(tmp_path / "model.safetensors"), tmp_path / "model.safetensors")
    msgfm.from_pretrained(tmp_path)  # as earlier versions left them: no digest
    path.write_text(json.dumps(header))
    assert same_weights(msgfm.from_pretrained(tmp_path), model)


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
