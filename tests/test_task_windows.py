"""What is said of a whole image does not hang on the windows that it is seen in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from task_data import batch, image, load, positions, save
from torch import Tensor

from msgfm.data.records import Sample
from msgfm.data.tasks import TaskData
from msgfm.errors import InputError
from msgfm.models.tasks import Restoration
from msgfm.sensors import load_sensor
from msgfm.training.finetuning.predicting import Predicted, Predictor

HEIGHT, WIDTH = 8, 20
SIZES = (8, 6, 5, 20)


def predict(data: TaskData, task: Restoration, output: str) -> Predicted:
    """The test image, with one of the inputs for the prediction."""

    def rule(images: Mapping[str, Tensor]) -> Tensor:
        return images[output]

    device = torch.device("cpu")
    predictor = Predictor(predict=rule, task=task, device=device, batch_size=2, num_workers=0)
    assert data.test is not None
    (found,) = predictor.over(data.test, "test")
    return found


@pytest.fixture(scope="module")
def clouded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place of which 40 of 160 pixels are under clouds, and 20 others were not seen under them."""
    root = tmp_path_factory.mktemp("clouded")
    clear = np.full((13, HEIGHT, WIDTH), 1000, np.uint16)
    cloudy = clear.copy()
    cloudy[:, :, :5] = 6000
    cloudy[:, :4, 15:] = 0  # no data
    images = (image(root, "sentinel2", "a", clear), image(root, "sentinel2@cloudy", "a", cloudy))
    return save(root, [Sample(sample="a", scene="a", split="test", images=images)])


@pytest.mark.parametrize("size", SIZES)
def test_the_share_under_clouds_is_that_of_the_image(clouded: Path, size: int) -> None:
    task = Restoration.model_validate({"target": "sentinel2", "over": "sentinel2@cloudy"})
    data = load(clouded, task, "sentinel2@cloudy", image_size=size, train="test", val=None)
    assert predict(data, task, "sentinel2@cloudy").clouds == pytest.approx(40 / 140)


def test_a_square_larger_than_every_image_is_told_and_one_larger_by_far_refused(clouded: Path) -> None:
    task = Restoration.model_validate({"target": "sentinel2", "over": "sentinel2@cloudy"})
    settings = {"train": "test", "val": None}
    assert load(clouded, task, "sentinel2@cloudy", image_size=WIDTH, **settings).notes == ()
    (note,) = load(clouded, task, "sentinel2@cloudy", image_size=WIDTH + 1, **settings).notes
    assert "data.image_size of 21 px is larger than every image (the largest has 20 px a side)" in note
    (note,) = load(clouded, task, "sentinel2@cloudy", image_size=8, window_size=32, **settings).notes
    assert "data.window_size of 32 px is larger than every image" in note
    with pytest.raises(InputError, match=r"data\.image_size=1000000: the largest image has 20 px a side"):
        load(clouded, task, "sentinel2@cloudy", image_size=1_000_000, **settings)
    with pytest.raises(InputError, match=r"data\.window_size=1000000: the largest image has 20 px a side"):
        load(clouded, task, "sentinel2@cloudy", image_size=8, window_size=1_000_000, **settings)


@pytest.fixture(scope="module")
def sloping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sloping")
    place = positions(HEIGHT, WIDTH)
    grey = np.stack([place] * 3).astype(np.uint8)
    images = (image(root, "rgb", "a", grey), image(root, "dsm", "a", (place[None] + 500).astype(np.float32)))
    return save(root, [Sample(sample="a", scene="a", split="test", images=images)])


@pytest.mark.parametrize("size", SIZES)
def test_true_heights_are_those_above_the_mean_of_the_image(sloping: Path, size: int) -> None:
    assert load_sensor("dsm").centre == "image"
    task = Restoration.model_validate({"target": "dsm"})
    data = load(sloping, task, "rgb", image_size=size, train="test", val=None)
    place = positions(HEIGHT, WIDTH)
    np.testing.assert_allclose(predict(data, task, "rgb").target[0], place - place.mean(), atol=1e-3)


def test_in_training_they_are_those_above_the_mean_of_the_square(sloping: Path) -> None:
    task = Restoration.model_validate({"target": "dsm"})
    seen = batch(load(sloping, task, "rgb", image_size=6, train="test", val=None).train)
    assert seen.target.std() > 1
    assert seen.target.mean(dim=(1, 2, 3)) == pytest.approx(np.zeros(len(seen)), abs=1e-4)
