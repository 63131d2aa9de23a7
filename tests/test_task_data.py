"""From manifests to the splits of a task: samples, classes, fractions, folds; and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from task_data import CLASSES, batch, image, load, mask, positions, save, write_labelled, write_masked

from msgfm.data.records import Sample, read_manifest
from msgfm.data.tasks import DataConfig, TaskData, TaskDataset, require_disjoint
from msgfm.errors import InputError
from msgfm.models.tasks import ChangeDetection, Classification, Restoration, Segmentation


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled"), {"train": 20, "val": 2, "test": 3})


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masked(tmp_path_factory.mktemp("masked"))


def shares(dataset: TaskDataset | None) -> Counter[str]:
    assert dataset is not None
    return Counter(label for sample in dataset.samples for label in sample.labels)


def names(dataset: TaskDataset | None) -> set[str]:
    assert dataset is not None
    return {sample.sample for sample in dataset.samples}


def test_the_manifests_splits_and_classes(labelled: Path) -> None:
    data = load(labelled, Classification(), "rgb", image_size=8)
    assert data.classes == CLASSES
    assert (len(data.train), len(data.val or ()), len(data.test or ())) == (60, 6, 9)
    expected = [CLASSES.index(sample.labels[0]) for sample in data.test.samples] if data.test else []
    assert batch(data.test).target.tolist() == expected
    assert list(data.cards) == ["rgb"]
    assert data.digests["test"] == read_manifest(labelled).only("test").digest


def test_several_labels_are_zeros_and_ones(labelled: Path) -> None:
    data = load(labelled, Classification(multilabel=True), "rgb", image_size=8)
    target = batch(data.val).target
    assert target.shape == (6, 3)
    assert target.sum(1).tolist() == [1] * 6


def test_classes_in_the_order_of_the_checkpoint(labelled: Path) -> None:
    turned = load(labelled, Classification(classes=CLASSES[::-1]), "rgb", image_size=8)
    plain = load(labelled, Classification(), "rgb", image_size=8)
    assert (2 - batch(turned.test).target).tolist() == batch(plain.test).target.tolist()


@pytest.mark.parametrize("classes", [("field", "lake"), ("field", "lake", "town"), (*CLASSES, "town")])
def test_other_classes_than_the_checkpoints(labelled: Path, classes: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"classes differ.*manifest.*task\.classes"):
        load(labelled, Classification(classes=classes), "rgb", image_size=8)


def test_pixels_of_classes_that_are_not_named_are_not_labelled(masked: Path) -> None:
    data = load(masked, Segmentation(classes=("wood", "field")), "rgb", image_size=32)
    place = positions(12, 20) % 3
    expected = np.select([place == 2, place == 0], [0, 1], -1)
    np.testing.assert_array_equal(batch(data.val).target[0, :12, :20], expected)


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_a_fraction_keeps_shares_and_leaves_the_other_splits(labelled: Path, fraction: float) -> None:
    data = load(labelled, Classification(), "rgb", image_size=8, fraction=fraction)
    assert set(shares(data.train).values()) == {round(20 * fraction)}
    assert len(data.test or ()) == 9
    other = load(labelled, Classification(), "rgb", image_size=8, fraction=fraction, seed=1)
    assert names(data.train) != names(other.train)
    assert data.digests["test"] == other.digests["test"]


def test_a_fraction_with_fewer_samples_than_classes(labelled: Path) -> None:
    with pytest.raises(InputError, match=r"0\.02 of 60 .* is 1, fewer than the 3 classes; give at least 0\.05"):
        load(labelled, Classification(), "rgb", image_size=8, fraction=0.02)


def test_a_fraction_with_one_sample_of_each_class(labelled: Path) -> None:
    data = load(labelled, Classification(), "rgb", image_size=8, fraction=0.05)
    assert shares(data.train) == dict.fromkeys(CLASSES, 1)


def test_a_fraction_of_several_manifests_whose_samples_share_names(tmp_path: Path) -> None:
    """Two copies of a data set: half of the samples is half of all, of each class and of each copy."""
    copies = [write_labelled(tmp_path / name, {"train": 8}) for name in ("one", "two")]
    settings = {"image_size": 8, "val": None, "test": None}
    data = load(copies, Classification(), "rgb", fraction=0.5, **settings)
    assert Counter(sample.labels for sample in data.train.samples) == {(name,): 8 for name in CLASSES}
    of_copy = Counter(manifest.root.name for manifest, _ in data.train.listed)
    assert min(of_copy["one"], of_copy["two"]) >= 6
    other = load(copies, Classification(), "rgb", fraction=0.5, seed=1, **settings)
    assert other.digests != data.digests


def test_folds_are_even_and_test_everything_once(labelled: Path) -> None:
    tested: Counter[str] = Counter()
    for fold in range(5):
        data = load(labelled, Classification(), "rgb", image_size=8, folds=5, fold=fold)
        parts = [names(part) for part in (data.train, data.val, data.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 75
        assert set(shares(data.test).values()) == {5}
        tested.update(parts[2])
    assert set(tested.values()) == {1}
    assert len(tested) == 75


def test_the_fold_after_the_tested_one_validates(labelled: Path) -> None:
    folds = [load(labelled, Classification(), "rgb", image_size=8, folds=3, fold=fold) for fold in range(3)]
    assert [names(data.val) for data in folds] == [names(folds[after].test) for after in (1, 2, 0)]


def test_folds_follow_from_the_seed_of_the_data(labelled: Path) -> None:
    tested = [names(load(labelled, Classification(), "rgb", folds=5, seed=seed).test) for seed in (0, 0, 1)]
    assert tested[0] == tested[1] != tested[2]


def test_with_folds_the_splits_named_are_those_of_the_folds(labelled: Path) -> None:
    settings: dict[str, object] = {"image_size": 8, "folds": 5, "fold": 2}
    plain = load(labelled, Classification(), "rgb", **settings)
    named = load(labelled, Classification(), "rgb", **settings, val=None, test="train")
    assert named.val is None
    assert names(named.test) == names(named.train) == names(plain.train)
    assert len(names(load(labelled, Classification(), "rgb", **settings, test="all").test)) == 75
    with pytest.raises(InputError, match=r"no split 'nosuch' \(data\.test\): data\.folds 5 deals all .*folds=null"):
        load(labelled, Classification(), "rgb", **settings, test="nosuch")


def test_validation_drawn_from_the_training_split_is_not_the_draw_of_indexing(tmp_path: Path) -> None:
    """A manifest indexed with --val-fraction has no scene left that the same draw would take."""
    from msgfm.data.layouts.splits import draw_split

    manifest = write_labelled(tmp_path, {"train": 30})
    left = {name for name in names(load(manifest, Classification(), "rgb", image_size=8, val=None, test=None).train)}
    indexed = {name for name in left if draw_split(name, 0.2, 0) == "val"}
    data = load(manifest, Classification(), "rgb", image_size=8, val_fraction=0.2, test=None)
    assert 5 < len(names(data.val)) < 35
    assert names(data.val) | names(data.train) == left
    assert names(data.val) - indexed


def test_samples_without_what_is_predicted_are_left_out_and_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shown = [image(tmp_path, "rgb", str(i), rng.integers(1, 255, (3, 8, 8)).astype(np.uint8)) for i in range(3)]
    label = mask(tmp_path, "0", positions(8, 8) % 3)
    samples = [
        Sample(sample=str(i), scene=str(i), split="train", images=(one,), mask=label if i == 0 else None)
        for i, one in enumerate(shown)
    ]
    manifest = save(tmp_path, samples, mask_classes=dict(enumerate(CLASSES)))
    data = load(manifest, Segmentation(), "rgb", image_size=8, val=None, test=None)
    assert names(data.train) == {"0"}
    assert data.notes == ("2 samples left out: has no mask",)


def test_labels_of_images_from_their_masks(masked: Path) -> None:
    task = Classification(multilabel=True, classes=("wood", "field"))
    data = load(masked, task, "rgb", image_size=12, labels_from_mask=0.4)
    assert batch(data.test).target.tolist() == [[1, 1]]  # a third of the pixels each, half of those that are named
    for share, labels in ((0.5, [[1, 1]]), (0.51, [[0, 0]])):  # at least half
        assert batch(load(masked, task, "rgb", image_size=12, labels_from_mask=share).test).target.tolist() == labels
    with pytest.raises(InputError, match="labels_from_mask"):
        load(masked, Classification(), "rgb", labels_from_mask=0.4)


def test_digests_pin_samples(labelled: Path) -> None:
    digest = load(labelled, Classification(), "rgb").digests["test"]
    load(labelled, Classification(), "rgb", digest={"test": digest[:16]})
    with pytest.raises(InputError, match=r"data\.digest: the samples of test have .*, expected is 0123"):
        load(labelled, Classification(), "rgb", digest={"test": "0123"})


def test_splits_that_share_samples_are_refused(labelled: Path) -> None:
    def data(**splits: str | int | None) -> TaskData:
        return load(labelled, Classification(), "rgb", **{"val": None, "image_size": 8} | splits)

    require_disjoint(data())
    require_disjoint(data(train="all", test=None))
    require_disjoint(data(folds=3))
    for splits in ({"train": "all", "test": "all"}, {"train": "all"}, {"test": "train"}):
        with pytest.raises(InputError, match=r"data\.train and data\.test share \d+ samples, \w+ for one"):
            require_disjoint(data(**splits))
    with pytest.raises(InputError, match=r"data\.val and data\.test share"):
        require_disjoint(data(val="test"))


def test_training_samples_as_those_of_a_test(masked: Path, labelled: Path) -> None:
    """The run's own, whatever drew them, in windows that tile each image, without anything at random."""
    drawn: list[dict[str, object]] = [
        {"fraction": 0.5, "val": None, "test": None},
        {"val_fraction": 0.3},
        {"folds": 5, "fraction": 0.5, "test": "train"},
    ]
    for settings in drawn:
        plain = load(labelled, Classification(), "rgb", image_size=8, **settings)
        data = load(labelled, Classification(), "rgb", image_size=8, test_on_train=True, **settings)
        assert names(data.test) == names(data.train) == names(plain.train)
        assert data.digests["test"] == plain.digests["train"]
    data = load(masked, Segmentation(), "rgb", image_size=10, jitter=0.5, test_on_train=True)
    whole = load(masked, Segmentation(), "rgb", image_size=10, test="train", val=None)
    assert data.test is not None and whole.test is not None
    assert data.test.windows == whole.test.windows
    first, again, expected = batch(data.test, 0), batch(data.test, 1), batch(whole.test)
    assert first.target.equal(again.target) and first.target.equal(expected.target)
    assert first.images["rgb"].nan_to_num(9).equal(expected.images["rgb"].nan_to_num(9))
    digest = {"test": data.digests["train"]}
    with pytest.raises(InputError, match=r"data\.digest: the samples of test"):
        load(masked, Segmentation(), "rgb", image_size=10, digest=digest, test_on_train=True)


def test_a_mask_with_a_value_out_of_range(tmp_path: Path) -> None:
    place = positions(8, 8)
    shown = image(tmp_path, "rgb", "a", np.stack([place + 1] * 3).astype(np.uint8))
    odd = np.where(place == 5, 9, place % 3)
    sample = Sample(sample="a", scene="a", split="test", images=(shown,), mask=mask(tmp_path, "a", odd))
    manifest = save(tmp_path, [sample], mask_classes=dict(enumerate(CLASSES)))
    settings = {"train": "all", "val": None, "image_size": 8}
    data = load(manifest, Segmentation(), "rgb", **settings)
    with pytest.raises(InputError, match=r"sample a: its mask mask/a\.tif has the value 9 in 1 pixels.*0=field"):
        batch(data.test)
    ignoring = load(manifest, Segmentation(), "rgb", unlisted="ignore", **settings)
    target = batch(ignoring.test).target[0]
    assert int(target[0, 5]) == -1
    assert int((target == -1).sum()) == 1


def test_a_mask_of_another_size_than_its_image(tmp_path: Path) -> None:
    shown = image(tmp_path, "rgb", "a", np.full((3, 8, 8), 7, np.uint8))
    wide = mask(tmp_path, "a", positions(8, 12) % 3)
    sample = Sample(sample="a", scene="a", split="test", images=(shown,), mask=wide)
    manifest = save(tmp_path, [sample], mask_classes=dict(enumerate(CLASSES)))
    data = load(manifest, Segmentation(), "rgb", train="all", val=None, image_size=8)
    with pytest.raises(InputError, match=r"a\.tif: sample a has a mask of 8 x 12 pixels beside images of 8 x 8"):
        batch(data.test)


def test_an_unreadable_sample_is_replaced_in_training_and_an_error_in_evaluation(tmp_path: Path) -> None:
    manifest = write_labelled(tmp_path, {"train": 2, "test": 1})
    for path in [*sorted((tmp_path / "rgb").glob("train*"))[:1], *sorted((tmp_path / "rgb").glob("test*"))[-1:]]:
        path.write_bytes(b"broken")
    data = load(manifest, Classification(), "rgb", image_size=8, val=None)
    trained = batch(data.train, numbers=[0, 1])
    assert trained.names == ["train001", "train001"]
    assert len(trained.bad) == 1
    with pytest.raises(InputError, match=r"test002\.tif"):
        batch(data.test)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val": "later"}, "no usable samples of split 'later'"),
        ({"resize": True}, "data.resize"),
        ({"wald": 4}, "data.wald is for restoration"),
        ({"folds": 40}, "only 5 scenes"),
        ({"val_fraction": 0.001}, "leaves no scene to val"),
    ],
)
def test_settings_that_cannot_be(masked: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(masked, Segmentation(), "rgb", **settings)


@pytest.mark.parametrize(
    ("task", "inputs", "message"),
    [
        (Segmentation(), "sentinel2", "no sample has an image 'sentinel2'; there are rgb, sentinel1"),
        (Segmentation(), "rgb:R,X", "has no band 'X'"),
        (ChangeDetection(), "rgb", "roles before and after"),
        (Classification(), "rgb", "has no labels"),
        (Restoration.model_validate({"target": "rgb"}), "sentinel1 rgb", "target rgb is also an input"),
        (Restoration.model_validate({"target": "rgb", "over": "sentinel2"}), "sentinel1", "task.over 'sentinel2'"),
    ],
)
def test_images_that_are_not_there(
    masked: Path, task: Segmentation | ChangeDetection | Classification | Restoration, inputs: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(masked, task, inputs)


def test_a_fold_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="fold 5: there are 5, 0 to 4"):
        DataConfig.model_validate({"manifest": "a.parquet", "folds": 5, "fold": 5})
