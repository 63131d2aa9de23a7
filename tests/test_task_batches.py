"""What a batch of a task holds: crops, flips, windows, sensors that are missing; all of it follows from numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from task_data import batch, image, load, mask, positions, save, write_labelled, write_masked

from msgfm.data.records import Sample
from msgfm.data.tasks.augment import random_corner
from msgfm.models.tasks import ChangeDetection, Classification, Segmentation

KEYS = "sentinel1 rgb"


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masked(tmp_path_factory.mktemp("masked"))


def place_of(rgb: torch.Tensor) -> torch.Tensor:
    """The number of each pixel, as `write_masked` stores it; 0 where there is no data."""
    return (rgb[:, 0] * 255).round().nan_to_num(0).long()


@pytest.mark.parametrize("size", [7, 16, 24])
def test_images_and_mask_are_cut_flipped_and_turned_alike(masked: Path, size: int) -> None:
    data = load(masked, Segmentation(), KEYS, image_size=size)
    seen = set()
    for epoch in range(12):
        one = batch(data.train, epoch)
        place, inside = place_of(one.images["rgb"]), one.images["rgb"][:, 0].isfinite()
        assert (one.target == torch.where(inside, place % 3, -1)).all()
        radar = one.images["sentinel1"]
        torch.testing.assert_close(radar[:, 0].nan_to_num(0), torch.where(inside, -place / 10 - 1, 0))
        assert inside.flatten(1).sum(1).unique().tolist() == [min(size, 12) * min(size, 20)]
        seen |= {tuple(one.flatten().tolist()) for one in place}
    assert len(seen) >= 8  # ways to lay a square on itself


def test_without_augmentation_crops_are_not_turned(masked: Path) -> None:
    data = load(masked, Segmentation(), "rgb", image_size=7, augment=False)
    place = place_of(batch(data.train).images["rgb"])
    assert (place[:, 0, 1] - place[:, 0, 0] == 1).all()
    assert (place[:, 1, 0] - place[:, 0, 0] == 20).all()


def test_crops_may_lie_anywhere_in_the_image() -> None:
    rng = np.random.default_rng(0)
    corners = {random_corner(5, 4, 3, rng) for _ in range(300)}
    assert corners == {(row, column) for row in range(3) for column in range(2)}
    assert random_corner(3, 2, 3, rng) == (0, 0)


def test_an_epoch_has_as_many_crops_as_make_up_an_image(masked: Path) -> None:
    data = load(masked, Segmentation(), "rgb", image_size=5)
    assert len(data.train) == 3 * round(12 * 20 / 25)
    assert len(load(masked, Segmentation(), "rgb", image_size=40).train) == 3


@pytest.mark.parametrize("size", [5, 8, 12, 19])
def test_windows_of_evaluation_put_together_are_the_image(masked: Path, size: int) -> None:
    data = load(masked, Segmentation(), "rgb", image_size=4, window_size=size)
    assert data.test is not None
    one = batch(data.test)
    whole = np.full((12, 20), -7)
    for window, target, name in zip(data.test.windows, one.target, one.names, strict=True):
        assert (window.height, window.width) == (12, 20)
        assert name == f"4#{window.row},{window.column}"
        part = whole[window.row : window.row + size, window.column : window.column + size]
        part[:] = target[: part.shape[0], : part.shape[1]]
    np.testing.assert_array_equal(whole, positions(12, 20) % 3)


def test_an_image_that_fits_is_one_window_named_as_its_sample(masked: Path) -> None:
    data = load(masked, Segmentation(), "rgb", image_size=20)
    one = batch(data.test)
    assert one.names == ["4"]
    assert one.images["rgb"].shape == (1, 3, 20, 20)
    assert one.images["rgb"][0, :, 12:].isnan().all()


def test_batches_follow_from_seed_epoch_and_number_alone(masked: Path) -> None:
    settings = {"image_size": 7, "sensor_dropout": 0.4}
    data, again = (load(masked, Segmentation(), KEYS, run_seed=3, **settings) for _ in range(2))
    batch(again.train, 5)  # what was read before leaves no trace
    together, alone = batch(data.train, 2), [batch(again.train, 2, [i]) for i in reversed(range(len(data.train)))]
    for key, images in together.images.items():
        reference = torch.cat([one.images[key] for one in reversed(alone)])
        torch.testing.assert_close(images, reference, rtol=0, atol=0, equal_nan=True)
    for other in (batch(data.train, 3), batch(load(masked, Segmentation(), KEYS, run_seed=4, **settings).train, 2)):
        assert not torch.equal(together.target, other.target)


def test_a_sensor_that_a_sample_lacks_is_no_data(masked: Path) -> None:
    one = batch(load(masked, Segmentation(), KEYS, image_size=20).test)
    assert one.images["sentinel1"].shape == (1, 2, 20, 20)
    assert one.images["sentinel1"].isnan().all()
    assert one.images["rgb"][0, :, :12].isfinite().all()


def test_sensor_dropout_leaves_one_and_spares_evaluation(masked: Path) -> None:
    data = load(masked, Segmentation(), KEYS, image_size=12, sensor_dropout=0.5)
    missing = torch.stack(
        [
            torch.stack([images.isnan().flatten(1).all(1) for images in batch(data.train, epoch).images.values()], 1)
            for epoch in range(60)
        ]
    ).flatten(0, 1)
    assert not missing.all(1).any()
    # each is dropped with 1/2, but of both (1/4) one is kept: (1/2 - 1/8) of all samples go without a given sensor
    assert missing.float().mean(0).tolist() == pytest.approx([0.375, 0.375], abs=0.08)
    assert batch(data.val).images["sentinel1"][:, :, :, :12].isfinite().all()


def test_both_dates_of_a_sensor_are_dropped_together(tmp_path: Path) -> None:
    manifest = write_masked(tmp_path, keys=("sentinel1@before", "sentinel1@after", "rgb@before", "rgb@after"))
    inputs = "sentinel1@before sentinel1@after rgb@before rgb@after"
    task = ChangeDetection(classes=("field", "lake", "wood"))
    data = load(manifest, task, inputs, image_size=12, sensor_dropout=0.6)
    gone = set()
    for epoch in range(20):
        for parts in zip(*batch(data.train, epoch).images.values(), strict=True):
            gone.add(tuple(bool(part.isnan().all()) for part in parts))
    assert gone == {(False,) * 4, (True, True, False, False), (False, False, True, True)}


def test_some_bands_in_the_order_of_the_recipe(masked: Path) -> None:
    data = load(masked, Segmentation(), "sentinel1:VH,VV rgb:B", image_size=12)
    whole = load(masked, Segmentation(), KEYS, image_size=12)
    some, all_of_them = batch(data.val), batch(whole.val)
    torch.testing.assert_close(some.images["sentinel1"], all_of_them.images["sentinel1"].flip(1), equal_nan=True)
    assert some.images["rgb"].shape[1] == 1


def test_images_to_classify_are_resized_whole_or_cut_in_the_middle(tmp_path: Path) -> None:
    manifest = write_labelled(tmp_path, {"train": 1, "val": 1, "test": 1}, size=20)
    resized = load(manifest, Classification(), "rgb", image_size=10, resize=True)
    cut = load(manifest, Classification(), "rgb", image_size=10)
    from msgfm.data.reader import read_sample
    from msgfm.data.records import read_manifest

    listed = read_manifest(manifest).only("test")
    for i, sample in enumerate(listed.samples):
        whole = torch.from_numpy(read_sample(listed.root, sample, listed.sensors)["rgb"])
        halves = torch.nn.functional.interpolate(whole[None], size=(10, 10), mode="bilinear", antialias=True)[0]
        torch.testing.assert_close(batch(resized.test).images["rgb"][i], halves)
        torch.testing.assert_close(batch(cut.test).images["rgb"][i], whole[:, 5:15, 5:15])
    assert batch(resized.train).images["rgb"].shape == (3, 3, 10, 10)


def test_jitter_changes_training_images_alone(masked: Path) -> None:
    plain, changed = (load(masked, Segmentation(), "rgb", image_size=12, jitter=jitter) for jitter in (0.0, 0.3))
    assert not torch.allclose(batch(plain.train).images["rgb"], batch(changed.train).images["rgb"], equal_nan=True)
    torch.testing.assert_close(batch(plain.test).images["rgb"], batch(changed.test).images["rgb"], equal_nan=True)


def test_a_sensor_that_one_of_two_manifests_has(tmp_path: Path) -> None:
    both = write_masked(tmp_path / "both")
    place = positions(12, 20)
    shown = image(tmp_path / "one", "rgb", "x", np.stack([place] * 3).astype(np.uint8))
    label = mask(tmp_path / "one", "x", place % 3)
    sample = Sample(sample="x", scene="x", split="test", images=(shown,), mask=label)
    alone = save(tmp_path / "one", [sample], mask_classes={0: "field", 1: "lake", 2: "wood"})
    data = load([alone, both], Segmentation(), KEYS, image_size=20)
    one = batch(data.test)
    assert one.names == ["x", "4"]
    assert one.images["sentinel1"].isnan().all()
    assert (one.target[0] == one.target[1]).all()


def test_a_batch_moves_to_a_device(masked: Path) -> None:
    one = batch(load(masked, Segmentation(), KEYS, image_size=12).val).to(torch.device("meta"))
    assert {tensor.device.type for tensor in (*one.images.values(), one.target)} == {"meta"}
    assert len(one) == len(one.names) == 2
