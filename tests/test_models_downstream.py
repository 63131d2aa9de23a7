"""Models for tasks as a whole: every task and way of transfer, missing sensors, use on arrays, folders."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_downstream import CARDS, ENCODER, MIXTURE, TASKS, describe, images_for, make, photograph, pretrained
from small_swins import same_weights
from torch import Tensor
from typer.testing import CliRunner

import msgfm
from msgfm.cli import app
from msgfm.errors import InputError
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import load_downstream, load_msgfm, save_pretrained
from msgfm.sensors import load_sensor

ALL_TASKS = pytest.mark.parametrize("task", list(TASKS))
TRANSFERS = pytest.mark.parametrize("transfer", ["stack", "per_sensor"])
BANDS = {
    "classification": (3,),
    "segmentation": (2, 40, 50),
    "restoration": (13, 40, 50),
    "change_detection": (2, 40, 50),
}


# ---- every task -----------------------------------------------------------------------------------------------------


@ALL_TASKS
@TRANSFERS
def test_forward_of_any_size_and_every_parameter_learns(task: str, transfer: str) -> None:
    model = make(task, transfer=transfer, encoder=MIXTURE).train()
    output = model(images_for(model, height=40, width=50))
    assert output.shape == (2, *BANDS[task])
    assert output.dtype == torch.float32
    (output.square().mean() + model.auxiliary).backward()
    untouched = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert [name for name in untouched if ".experts." not in name] == []  # an expert may get no token


@ALL_TASKS
@TRANSFERS
def test_layers_hold_every_parameter_once_from_embedding_to_head(task: str, transfer: str) -> None:
    model = make(task, transfer=transfer, encoder=MIXTURE)
    layers = [[id(parameter) for parameter in layer] for layer in model.layers()]
    assert sorted(itertools.chain(*layers)) == sorted(map(id, model.parameters()))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[i].split(".")[1] for i in layers[0]} == {"patch_embed"}
    assert {names[i].split(".")[0] for i in layers[-1]} == {"head"}
    blocks = [{".".join(names[i].split(".")[2:6]) for i in layer if ".blocks." in names[i]} for layer in layers[1:-1]]
    assert blocks == [{f"layers.{s}.blocks.{b}"} for s, depth in enumerate(ENCODER["depths"]) for b in range(depth)]


@ALL_TASKS
def test_bfloat16_says_nearly_the_same(task: str) -> None:
    model = make(task, encoder=MIXTURE)
    images = images_for(model)
    exact = model(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(images)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.1 * exact.std()


def test_auxiliary_loss_is_that_of_the_mixtures() -> None:
    two = MIXTURE | {"moe": {"blocks": [0, 1], "num_experts": 3}}
    model = make("classification", encoder=two)
    images = images_for(model)
    model(images)
    prepared = model.inputs(images)
    tokens = model.trunk.patch_embed["stacked"](torch.cat(list(prepared.normalised.values()), dim=1))
    first, second = model.trunk.encoder(tokens).mixtures
    torch.testing.assert_close(model.auxiliary, first.auxiliary + second.auxiliary)
    dense = make("classification")
    dense(images)
    assert dense.auxiliary.item() == 0


# ---- missing sensors ------------------------------------------------------------------------------------------------


@TRANSFERS
def test_absent_image_is_one_without_data(transfer: str) -> None:
    model = make("classification", transfer=transfer)
    images = images_for(model)
    wanted = model(images | {"sentinel1": torch.full_like(images["sentinel1"], torch.nan)})
    torch.testing.assert_close(model({"sentinel2": images["sentinel2"]}), wanted)
    assert not torch.allclose(model(images), wanted)


@TRANSFERS
def test_sensor_missing_in_one_sample_leaves_the_others_alone(transfer: str) -> None:
    model = make("segmentation", transfer=transfer)
    images = images_for(model)
    images["dsm"][1] = torch.nan
    together = model(images)
    torch.testing.assert_close(
        together[:1], model({key: image[:1] for key, image in images.items()}), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(together[1:], model({"rgb": images["rgb"][1:]}), atol=1e-4, rtol=1e-4)


def test_features_of_a_missing_sensor_are_zeros_beside_those_of_the_others() -> None:
    model = make("classification", transfer="per_sensor", encoder=MIXTURE)
    images = images_for(model)
    whole, part = model.features(images), model.features({"sentinel2": images["sentinel2"]})
    for both, one in zip(whole, part, strict=True):
        half = both.shape[1] // 2
        assert not one[:, :half].any()
        torch.testing.assert_close(one[:, half:], both[:, half:])
    nothing = {key: torch.full_like(image, torch.nan) for key, image in images.items()}
    assert not any(stage.any() for stage in model.features(nothing))


@TRANSFERS
def test_every_parameter_has_a_gradient_where_a_sensor_is_missing(transfer: str) -> None:
    """Ranks of a run may miss different sensors, and must still agree on what is averaged."""
    model = make("classification", transfer=transfer).train()
    images = images_for(model)
    model({"sentinel2": images["sentinel2"]}).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model({key: torch.full_like(image, torch.nan) for key, image in images.items()}).sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters() if parameter.grad is not None)


# ---- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "inputs", "message"),
    [
        ("classification", ["sentinel1", "sentinel1:VV"], "sentinel1, sentinel1: each once"),
        ("classification", ["landsat8"], "no sensor 'landsat8'"),
        ("classification", ["sentinel1:HH"], "sensor sentinel1 has no band 'HH'"),
        ("restoration", ["sentinel1"], "task.over 'sentinel2@cloudy' is none of the inputs sentinel1"),
        (
            {"kind": "restoration", "target": "sentinel2", "over": "sentinel1"},
            ["sentinel1"],
            "task.over: sentinel1 and the target sentinel2 have no band in common.*task.over=null",
        ),
        ({"kind": "restoration", "target": "landsat8"}, ["sentinel1"], "no sensor 'landsat8'"),
        ({"kind": "classification"}, ["rgb"], r"task.classes: classification with the classes \[\]; name them all"),
        ({"kind": "segmentation", "classes": ["a"]}, ["rgb"], r"with the classes \['a'\]"),
        ({"kind": "segmentation", "classes": ["a", "b", "a"]}, ["rgb"], "classes a stand more than once"),
        ("change_detection", ["sentinel2"], "the same sensors and bands before and after.*not sentinel2"),
        ("change_detection", ["sentinel2@before", "rgb@after"], "the same sensors and bands before and after"),
        ("change_detection", ["sentinel2@before", "sentinel2@after", "rgb"], "the same sensors and bands"),
        ({"kind": "segmentatoin"}, ["rgb"], "segmentatoin"),
    ],
)
def test_what_cannot_be_built_is_told(task: Any, inputs: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        describe(task, inputs)


def test_one_class_may_stand_alone_among_several_labels() -> None:
    config = describe({"kind": "classification", "classes": ["ship"], "multilabel": True}, ["rgb"])
    assert DownstreamModel(config)(images_for(DownstreamModel(config))).shape == (2, 1)


# ---- predict --------------------------------------------------------------------------------------------------------


def test_predictions_are_what_the_task_calls_for() -> None:
    model = make("classification")
    images = images_for(model)
    torch.testing.assert_close(model.predict(images).sum(dim=1), torch.ones(2))
    several = make({"kind": "classification", "classes": ["a", "b"], "multilabel": True}, ["rgb"])
    torch.testing.assert_close(several.predict(images_for(several)), several(images_for(several)).sigmoid())
    classes = make("segmentation")
    wanted = classes(images_for(classes))
    predicted = classes.predict(images_for(classes))
    assert predicted.dtype == torch.int64
    torch.testing.assert_close(wanted.gather(1, predicted[:, None])[:, 0], wanted.amax(dim=1))
    restored = make("restoration")
    torch.testing.assert_close(restored.predict(images_for(restored)), restored(images_for(restored)))


def test_arrays_are_taken_and_the_mode_stays() -> None:
    model = make("segmentation", encoder=MIXTURE | {"drop_path_rate": 0.5})
    images = images_for(model)
    wanted = model.predict(images)
    model.train().trunk.eval()
    arrays = {key: image.numpy() for key, image in images.items()}
    assert torch.equal(model.predict(arrays), wanted)
    assert model.head.training
    assert not model.trunk.training
    assert all(not output.requires_grad for output in [model.predict(images)])


def test_wrong_images_are_named() -> None:
    model = make("classification", ["sentinel1", "sentinel2:B04,B03"])
    images: dict[str, Any] = images_for(model)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"sentinel1": images["sentinel1"]}, r"no image of sentinel2; the model takes sentinel1 \(VV, VH\), sentinel2"),
        (
            images | {"rgb": images["sentinel2"]},
            r"no input 'rgb'; it takes sentinel1 \(VV, VH\), sentinel2 \(B04, B03\)",
        ),
        (
            images | {"sentinel2": photograph(load_sensor("sentinel2"))},
            r"sentinel2.*expected \(B, 2, H, W\) for bands B04",
        ),
        (
            images | {"sentinel2": images["sentinel2"] * 10_000},
            r"sentinel2, band B04: values around .* expected .* refl",
        ),
        (
            images | {"sentinel2": images["sentinel2"].numpy().astype(np.uint16)},
            "sentinel2: image is torch.uint16; give",
        ),
        (images | {"sentinel2": images["sentinel2"][0]}, r"sentinel2: image of shape \(2, 32, 32\)"),
        (images | {"sentinel2": [["x"]]}, "sentinel2: no image"),
        (
            images | {"sentinel2": images["sentinel2"].index_fill(3, torch.tensor([5]), torch.inf)},
            r"sentinel2, band B04: 64 infinite values; give NaN where there is no data",
        ),
        (
            images | {"sentinel1": images["sentinel1"].double().index_fill(1, torch.tensor([1]), -1e300)},
            r"sentinel1, band VH: 2048 infinite values",
        ),
        ({}, "no image of sentinel1, sentinel2"),
    ]
    for given, message in cases:
        with pytest.raises(InputError, match=message):
            model.predict(given)
    only = {"sentinel1": images["sentinel1"]}
    torch.testing.assert_close(model.predict(only, allow_missing=True), model(only).softmax(dim=1))


@pytest.mark.parametrize("task", [*TASKS, "rule"])
def test_images_of_other_floating_types_are_taken(task: str) -> None:
    rule = {"backbone": {"kind": "rule", "rule": "copy"}}
    model = make("restoration", **rule) if task == "rule" else make(task)
    images = images_for(model)
    wanted = model.predict(images)
    precise = model.predict({key: image.numpy().astype(np.float64) for key, image in images.items()})
    assert precise.dtype == wanted.dtype
    torch.testing.assert_close(precise, wanted)
    if task != "rule":
        doubles = {key: image.double() for key, image in images.items()}
        torch.testing.assert_close(model.features(doubles), model.features(images))


@pytest.mark.parametrize("task", [*TASKS, "copy", "mean_of_clear"])
def test_in_training_an_infinite_value_is_no_data(task: str) -> None:
    rule = task not in TASKS
    settings = {"backbone": {"kind": "rule", "rule": task}} if rule else {}
    model = make("restoration" if rule else task, **settings)
    images = images_for(model)
    for image in images.values():
        image[0, -1, 4:9, 4:9] = torch.nan
    wanted = model(images)
    assert wanted.isfinite().all()
    spoiled = {key: torch.where(image.isnan(), -torch.inf, image) for key, image in images.items()}
    assert torch.equal(model(spoiled), wanted)


@pytest.mark.parametrize("shape", [(2, 3, 0, 0), (0, 3, 32, 32)])
def test_images_without_pixels_are_refused(shape: tuple[int, ...]) -> None:
    model = make("segmentation", ["rgb"])
    with pytest.raises(InputError, match=r"rgb: image of shape .* has no pixels"):
        model.predict({"rgb": torch.zeros(shape)})


def test_images_come_by_key() -> None:
    given: Any = [torch.zeros(1, 3, 32, 32)]
    with pytest.raises(InputError, match=r"images come by key.*these are a list"):
        make("segmentation", ["rgb"]).predict(given)


def test_a_prediction_from_nothing_warns() -> None:
    model = make("segmentation")
    images = images_for(model, batch=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(images)
        images["dsm"][:] = torch.nan  # a missing sensor
        model.predict(images)
    images["rgb"][:2] = torch.nan
    with pytest.warns(UserWarning, match="2 of 3 images have no data") as caught:
        model.predict(images)
    assert caught[0].filename == __file__


# ---- folders --------------------------------------------------------------------------------------------------------


@ALL_TASKS
@TRANSFERS
def test_folder_holds_the_whole_model(task: str, transfer: str, tmp_path: Path) -> None:
    model = make(task, transfer=transfer, encoder=MIXTURE)
    save_pretrained(model, tmp_path)
    loaded = msgfm.from_pretrained(tmp_path)
    assert isinstance(loaded, DownstreamModel)
    assert loaded.config == model.config
    assert not loaded.training
    assert same_weights(loaded, model)
    images = images_for(model, height=40)
    assert torch.equal(loaded.predict(images), model.predict(images))
    assert load_downstream(tmp_path).config == model.config
    with pytest.raises(InputError, match=f"fine-tuned for {task}; a pretrained one is needed"):
        load_msgfm(tmp_path)


def test_folder_says_what_it_holds(tmp_path: Path) -> None:
    source = pretrained("rgb")
    save_pretrained(source, tmp_path)
    path = tmp_path / "config.json"
    header = json.loads(path.read_text())
    assert header["kind"] == "pretrained"
    del header["kind"]  # as folders had it before there were tasks
    path.write_text(json.dumps(header))
    assert same_weights(load_msgfm(tmp_path), source)
    with pytest.raises(InputError, match="holds a pretrained model without a task"):
        load_downstream(tmp_path)
    path.write_text(json.dumps(header | {"kind": "teacher"}))
    with pytest.raises(InputError, match="is of kind 'teacher', this msgfm reads pretrained and downstream; update"):
        msgfm.from_pretrained(tmp_path)


def test_other_window_for_other_images(tmp_path: Path) -> None:
    model = make("segmentation")
    save_pretrained(model, tmp_path)
    loaded = msgfm.from_pretrained(tmp_path, window_size=6)
    assert isinstance(loaded, DownstreamModel)
    assert loaded.config.encoder.window_size == 6
    assert loaded.predict(images_for(loaded, height=96)).shape == (2, 96, 32)


@ALL_TASKS
def test_info_describes_a_fine_tuned_folder(task: str, tmp_path: Path) -> None:
    save_pretrained(make(task), tmp_path)
    (tmp_path / "run.json").write_text('{"what": "fine-tuning leaves here, is not read"}')
    told = CliRunner().invoke(app, ["info", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert task.replace("_", " ") in told.output
    inputs = TASKS[task][1]
    assert all(key in told.output for key in inputs)


def test_info_names_another_backbone(tmp_path: Path) -> None:
    rule = {"kind": "rule", "rule": "copy"}
    cards = [*CARDS, load_sensor("landsat8")]  # which has no statistics, and is not looked at
    save_pretrained(DownstreamModel(describe("restoration", backbone=rule, sensors=cards)), tmp_path)
    told = CliRunner().invoke(app, ["info", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert "rule, rule copy" in told.output
    assert "Swin" not in told.output


def test_a_task_is_learnt() -> None:
    """Which of two bands is brighter, on single images: the whole model, head to embedding."""
    torch.manual_seed(0)
    model = DownstreamModel(describe({"kind": "segmentation", "classes": ["no", "yes"]}, ["sentinel2:B04,B08"]))
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def draw(seed: int) -> tuple[dict[str, Tensor], Tensor]:
        coarse = photograph(load_sensor("sentinel2").select(["B04", "B08"]), 8, 4, 4, seed)
        image = coarse.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
        return {"sentinel2": image}, (image[:, 0] > image[:, 1]).long()

    for step in range(40):
        images, truth = draw(step)
        loss = torch.nn.functional.cross_entropy(model(images), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    images, truth = draw(1000)
    assert (model.predict(images) == truth).float().mean() > 0.8
