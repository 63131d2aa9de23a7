"""Checkpoints: whole or not there, the last few kept, and none of another run."""

from __future__ import annotations

import copy
import io
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from msgfm.errors import InputError
from msgfm.training.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    require_same,
    save_checkpoint,
)

SHAPING: dict[str, Any] = {
    "seed": 0,
    "optim": {"eps": 1e-8, "milestones": [700]},
    "model": {"sensors": [{"name": "rgb", "bands": [{"name": "R", "mean": 1.5}, {"name": "G", "mean": 2.5}]}]},
    "sources": {"rgb": {"lr": 1e-3, "samples": 10}},
}


def content() -> dict[str, Any]:
    """As pretraining saves it, with an optimiser that has taken a step."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    return {
        "model": layer.state_dict(),
        "optimizer": optimizer.state_dict(),
        "shaping": SHAPING,
        "bad": ["a.tif: truncated"],
    }


def assert_equal(a: Any, b: Any) -> None:
    assert type(a) is type(b) or isinstance(a, dict)
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    else:
        assert a == b


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_what_is_saved_is_loaded(tmp_path):
    path = save_checkpoint(tmp_path, 7, content(), keep=3)
    assert path == checkpoint_path(tmp_path, 7)
    loaded = load_checkpoint(path)
    assert loaded.pop("step") == 7
    assert loaded.pop("format_version") == 1
    assert_equal(loaded, content())
    assert names(tmp_path) == ["step_00000007.ckpt"]


def test_the_last_few_are_kept_in_the_order_of_steps(tmp_path):
    for step in (1, 2, 9, 10, 100):
        save_checkpoint(tmp_path, step, {}, keep=3)
    assert [load_checkpoint(path)["step"] for path in list_checkpoints(tmp_path)] == [9, 10, 100]
    assert len(names(tmp_path)) == 3


def test_other_files_are_left_alone_and_not_taken_for_checkpoints(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("step_5.ckpt", "step_00000005.ckpt.bak", "best.ckpt", "notes.txt"):
        (folder / name).write_text("mine")
    save_checkpoint(tmp_path, 1, {}, keep=1)
    save_checkpoint(tmp_path, 2, {}, keep=1)
    assert list_checkpoints(tmp_path) == [folder / "step_00000002.ckpt"]
    assert len(names(tmp_path)) == 5
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_what_a_killed_run_was_writing_is_no_checkpoint_and_goes(tmp_path):
    save_checkpoint(tmp_path, 1, {}, keep=3)
    (tmp_path / "checkpoints" / ".step_00000002.ckpt.4711.tmp").write_bytes(b"half")
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000001.ckpt"]
    save_checkpoint(tmp_path, 2, {}, keep=3)
    assert names(tmp_path) == ["step_00000001.ckpt", "step_00000002.ckpt"]


@pytest.mark.parametrize("room", [0, 500, 200_000])
@pytest.mark.parametrize("keep", [1, 3])
def test_a_full_disk_leaves_the_earlier_checkpoints(tmp_path, disk_full_after, room, keep):
    save_checkpoint(tmp_path, 1, content(), keep)
    large = content() | {"model": {"weight": torch.zeros(100_000)}}
    with pytest.raises(InputError, match=r"cannot write .*step_00000002\.ckpt.*free some space"), disk_full_after(room):
        save_checkpoint(tmp_path, 2, large, keep)
    assert names(tmp_path) == ["step_00000001.ckpt"]
    assert_equal(load_checkpoint(checkpoint_path(tmp_path, 1))["model"], content()["model"])
    save_checkpoint(tmp_path, 2, large, keep)
    assert load_checkpoint(checkpoint_path(tmp_path, 2))["step"] == 2


def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path):
    path = save_checkpoint(tmp_path, 1, content(), keep=3)
    whole = path.read_bytes()
    for length in [0, 1, 4, 100, *range(200, len(whole), 211), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cannot read checkpoint .*step_00000001\.ckpt.*delete it to resume"):
            load_checkpoint(path)
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        load_checkpoint(path)


def test_a_flipped_bit_never_changes_what_is_loaded(tmp_path):
    """A disk that gives back other bytes than were written must not end in other weights."""
    path = save_checkpoint(tmp_path, 1, content(), keep=3)
    whole = path.read_bytes()
    before = load_checkpoint(path)
    draw = random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            loaded = load_checkpoint(path)
        except InputError:
            refused += 1
        else:
            assert_equal(loaded, before)  # the bit was one of padding
    assert refused > 50


class Sprung:
    """Runs code when unpickled, as the pickles do that one is warned of."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


@pytest.mark.parametrize("as_torch", [True, False])
def test_code_in_a_checkpoint_is_not_run(tmp_path, monkeypatch, as_torch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "step_00000001.ckpt"
    trap = {"format_version": 1, "step": 1, "model": Sprung()}
    if as_torch:
        torch.save(trap, path)
    else:
        path.write_bytes(pickle.dumps(trap))
    with pytest.raises(InputError, match=r"step_00000001\.ckpt") as caught:
        load_checkpoint(path)
    assert not Path("sprung").exists()
    assert "weights_only" not in str(caught.value), "torch's advice is to load it all the same"
    pickle.loads(pickle.dumps(trap))
    assert Path("sprung").exists(), "the trap is one"


@pytest.mark.parametrize("other", [[1], 5, {"model": {}}, torch.ones(2), {"format_version": 2, "step": 1}])
def test_other_files_of_torch_are_refused(tmp_path, other):
    path = tmp_path / "x.ckpt"
    torch.save(other, path)
    with pytest.raises(InputError, match=r"x\.ckpt (is no checkpoint of msgfm|has format version 2, .* reads 1)"):
        load_checkpoint(path)


def test_lightning_and_old_torch_files_are_refused(tmp_path):
    buffer = io.BytesIO()
    torch.save(content(), buffer, _use_new_zipfile_serialization=False)
    (tmp_path / "old.ckpt").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"old\.ckpt"):
        load_checkpoint(tmp_path / "old.ckpt")


def test_the_same_run_goes_on(tmp_path):
    require_same(SHAPING, copy.deepcopy(SHAPING), tmp_path)
    path = save_checkpoint(tmp_path, 1, content(), keep=1)
    require_same(load_checkpoint(path)["shaping"], SHAPING, path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["seed"], 1, "seed was 0 and is 1"),
        (["optim", "eps"], 1e-6, "optim.eps was 1e-08 and is 1e-06"),
        (["optim", "milestones"], [600], "optim.milestones.0 was 700 and is 600"),
        (["optim", "milestones"], [600, 700], r"optim.milestones was \[700\] and is \[600, 700\]"),
        (["optim", "gamma"], 0.1, "optim.gamma was None and is 0.1"),
        (["sources", "rgb", "samples"], 11, "sources.rgb.samples was 10 and is 11"),
        (["sources", "more"], {"lr": 1}, "sources.more was None and is {'lr': 1}"),
        (["model", "sensors", 0, "bands", 1, "mean"], 3.5, "model.sensors.0.bands.1.mean was 2.5 and is 3.5"),
    ],
)
def test_another_run_is_refused_and_the_difference_named(tmp_path, place, value, message):
    present = copy.deepcopy(SHAPING)
    node: Any = present
    for part in place[:-1]:
        node = node[part]
    node[place[-1]] = value
    with pytest.raises(InputError, match=f"x.ckpt is of another run: {message}. Resume with the recipe"):
        require_same(SHAPING, present, Path("x.ckpt"))


def test_many_differences_are_counted():
    present = SHAPING | {f"key{i}": i for i in range(7)}
    with pytest.raises(InputError, match=r"key0 was None and is 0; .*key3 was None and is 3, and 3 more"):
        require_same(SHAPING, present, Path("x.ckpt"))
