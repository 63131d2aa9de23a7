"""Rules in the place of networks, as models for a task."""

import math

import numpy as np
import pytest
import torch
from small_downstream import describe, images_for, photograph

from msgfm.data.reader import resample
from msgfm.errors import InputError
from msgfm.models.baselines.rules import class_prior
from msgfm.models.baselines.sharpening import bicubic, brovey, gram_schmidt_adaptive
from msgfm.models.downstream import DownstreamModel, build_downstream
from msgfm.models.pretrained import load_downstream, save_pretrained
from msgfm.sensors import load_sensor

CARDS = [load_sensor(name) for name in ("sentinel1", "sentinel2", "worldview3", "worldview3_pan")]
CLOUDS = {"kind": "restoration", "target": "sentinel2", "over": "sentinel2@cloudy"}
SHARPEN = {"kind": "restoration", "target": "worldview3@pansharpened", "over": "worldview3"}
PAN = ["worldview3", "worldview3_pan"]


def rule(name: str, task: dict, inputs: list[str], **settings) -> DownstreamModel:
    config = describe(task, inputs, sensors=CARDS, backbone={"kind": "rule", "rule": name} | settings)
    model, report = build_downstream(config, None)
    assert report.describe() == ["nothing is trained"]
    return model


def test_a_copy_is_the_cloudy_image():
    model = rule("copy", CLOUDS, ["sentinel2@cloudy", "sentinel1"])
    images = images_for(model, 2, 21, 30)
    assert torch.equal(model(images), images["sentinel2@cloudy"])


def test_a_copy_finds_the_targets_bands_and_fills_holes_with_the_cards_mean():
    model = rule("copy", CLOUDS | {"target": "sentinel2:B04,B02"}, ["sentinel2@cloudy"])
    images = images_for(model)
    images["sentinel2@cloudy"][0, :, 3, 4] = torch.nan
    restored, card = model(images), load_sensor("sentinel2")
    torch.testing.assert_close(restored[1], images["sentinel2@cloudy"][1, [3, 1]])
    assert restored[0, 0, 3, 4] == pytest.approx(card.bands[3].mean)
    missing = model({"sentinel2@cloudy": torch.full((1, 13, 5, 5), torch.nan)})
    assert missing[0, 1].flatten().tolist() == pytest.approx([card.bands[1].mean] * 25)


def test_mean_of_clear_takes_the_other_dates_of_the_sensor():
    model = rule("mean_of_clear", CLOUDS, ["sentinel2@cloudy", "sentinel2@before", "sentinel2@after", "sentinel1"])
    images = {key: torch.full((1, 13, 16, 16), value) for key, value in
              (("sentinel2@cloudy", 0.8), ("sentinel2@before", 0.02), ("sentinel2@after", 0.04))}  # fmt: skip
    images["sentinel1"] = photograph(load_sensor("sentinel1"), 1, 16, 16)
    torch.testing.assert_close(model(images)[:, :10], torch.full((1, 10, 16, 16), 0.03))
    del images["sentinel2@after"]
    torch.testing.assert_close(model(images)[:, :10], torch.full((1, 10, 16, 16), 0.02))


@pytest.mark.parametrize("name", ["bicubic", "brovey", "gram_schmidt_adaptive"])
def test_pansharpening_of_what_the_reader_gives(name):
    model = rule(name, SHARPEN, PAN)
    generator = np.random.default_rng(0)
    native = generator.uniform(200, 800, (2, 8, 8, 8)).astype(np.float32)
    pan = torch.from_numpy(generator.uniform(200, 800, (2, 1, 32, 32)).astype(np.float32))
    images = {"worldview3": torch.stack([torch.from_numpy(resample(one, (32, 32))) for one in native])}
    found = model(images | {"worldview3_pan": pan})
    for i, one in enumerate(torch.from_numpy(native)):
        expected = {
            "bicubic": lambda one=one: bicubic(one, (32, 32)),
            "brovey": lambda one=one, i=i: brovey(one, pan[i, 0]),
            "gram_schmidt_adaptive": lambda one=one, i=i: gram_schmidt_adaptive(one, pan[i, 0]),
        }[name]()
        torch.testing.assert_close(found[i], expected, rtol=1e-3, atol=0.1)
    without_pan = rule("bicubic", SHARPEN, PAN)(images)
    torch.testing.assert_close(model(images), without_pan)


def test_the_shares_of_the_classes():
    assert class_prior([torch.tensor([0, 1, 1]), torch.tensor([1])], 3) == (0.25, 0.75, 0.0)
    assert class_prior([torch.tensor([[[0, -1], [1, 1]]])], 2) == pytest.approx((1 / 3, 2 / 3))
    assert class_prior([torch.tensor([[1.0, 0, 1], [0, 0, 1]])], 3) == (0.5, 0.0, 1.0)
    with pytest.raises(InputError, match="none of the training samples is labelled"):
        class_prior([torch.tensor([[-1]])], 2)


def test_the_class_prior_predicts_the_shares_and_the_commonest_class():
    single = rule(
        "class_prior", {"kind": "classification", "classes": ["a", "b", "c"]}, ["sentinel2"], prior=[0.2, 0.7, 0.1]
    )
    images = images_for(single)
    assert single.predict(images)[0].tolist() == pytest.approx([0.2, 0.7, 0.1])
    several = {"kind": "classification", "classes": ["a", "b", "c"], "multilabel": True}
    assert rule("class_prior", several, ["sentinel2"], prior=[0.2, 0.9, 0.9]).predict(images)[
        1
    ].tolist() == pytest.approx([0.2, 0.9, 0.9])
    segmentation = rule("class_prior", {"kind": "segmentation", "classes": ["a", "b"]}, ["sentinel2"], prior=[0, 1])
    assert segmentation(images).isfinite().all()
    assert (segmentation.predict(images) == 1).all() and segmentation.predict(images).shape == (2, 32, 32)


def test_a_saved_rule_loads_and_says_the_same(tmp_path):
    model = rule("class_prior", {"kind": "classification", "classes": ["a", "b"]}, ["sentinel2"], prior=[0.3, 0.7])
    images = images_for(model)
    save_pretrained(model, tmp_path)
    assert torch.equal(load_downstream(tmp_path)(images), model(images))
    assert math.isclose(float(model(images)[0, 0].exp()), 0.3, rel_tol=1e-5)


@pytest.mark.parametrize(
    "name,task,inputs,settings,words",
    [
        ("copy", {"kind": "segmentation", "classes": ["a", "b"]}, ["sentinel2"], {}, "copy is for restoration"),
        ("class_prior", CLOUDS, ["sentinel2@cloudy"], {}, "class_prior is for tasks with classes"),
        ("class_prior", {"kind": "segmentation", "classes": ["a", "b"]}, ["sentinel2"], {}, "0 shares, the task 2"),
        ("copy", {"kind": "restoration", "target": "sentinel2"}, ["sentinel1"], {}, "needs task.over"),
        ("brovey", SHARPEN, ["worldview3"], {}, "one input of a single band"),
        ("bicubic", SHARPEN, ["worldview3"], {}, "backbone.ratio"),
    ],
)
def test_what_a_rule_cannot_do_is_said(name, task, inputs, settings, words):
    with pytest.raises(InputError, match=words):
        rule(name, task, inputs, **settings)


def test_the_ratio_may_be_given():
    model = rule("bicubic", SHARPEN, ["worldview3"], ratio=4)
    native = torch.rand(1, 8, 6, 6) * 500
    fine = torch.from_numpy(resample(native[0].numpy(), (24, 24)))[None]
    torch.testing.assert_close(model({"worldview3": fine})[0], bicubic(native[0], (24, 24)), rtol=1e-3, atol=0.1)


def test_the_ratio_is_that_of_the_coarsest_band():
    cards = [load_sensor("worldview3").with_setting("RED.gsd_m", 0.62), load_sensor("worldview3_pan")]
    config = describe(SHARPEN, PAN, sensors=cards, backbone={"kind": "rule", "rule": "brovey"})
    coarse, fine = cards[0].bands[0].gsd_m, cards[1].bands[0].gsd_m
    assert DownstreamModel(config).head.ratio == coarse / fine > 3
