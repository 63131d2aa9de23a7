"""Predictions on disk: those of an evaluation that did not end well do not replace those before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import files_in

from msgfm.data.masks import UNLABELLED
from msgfm.models.tasks import Segmentation
from msgfm.training.finetuning.predicting import Predicted
from msgfm.training.finetuning.predictions import write_predictions

TASK = Segmentation(classes=("a", "b"))


def write(folder: Path, value: int, names: tuple[str, ...], *, keep: int | None = None, fail: bool = False) -> None:
    with write_predictions(folder, "test", TASK, keep) as writer:
        for name in names:
            output = torch.full((4, 5), value)
            writer.add(Predicted(name=name, output=output, target=output, clouds=np.nan), {"miou": float(value)})
        if fail:
            raise ValueError("the disk is gone")


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


def test_an_evaluation_that_fails_leaves_the_predictions_before(tmp_path: Path) -> None:
    write(tmp_path, 0, ("x", "y"))
    before = content(tmp_path)
    assert before.keys() == {"test.csv", "test/000000_x.npz", "test/000001_y.npz"}
    for names in ((), ("x",), ("x", "y", "z")):
        with pytest.raises(ValueError, match="the disk is gone"):
            write(tmp_path, 1, names, fail=True)
        assert content(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test", "test.csv"]


def test_one_that_ends_well_replaces_them_all(tmp_path: Path) -> None:
    write(tmp_path, 0, ("x", "y"))
    write(tmp_path, 1, ("z", "y"), keep=1)
    assert content(tmp_path).keys() == {"test.csv", "test/000000_z.npz"}
    with np.load(tmp_path / "test" / "000000_z.npz") as arrays:
        assert (arrays["predicted"] == 1).all()
    assert (tmp_path / "test.csv").read_text().splitlines()[1:] == ["z,000000_z.npz,1.0", "y,,1.0"]
    write(tmp_path, 1, ("z",), keep=0)
    assert not (tmp_path / "test").exists()


@pytest.mark.parametrize(("classes", "dtype", "unlabelled"), [(255, np.uint8, 255), (256, np.uint16, 65535)])
def test_every_class_has_a_number_of_its_own_and_none_is_that_of_no_label(
    tmp_path: Path, classes: int, dtype: type, unlabelled: int
) -> None:
    output = torch.arange(classes)[None]
    target = torch.where(output == 7, UNLABELLED, output)
    with write_predictions(tmp_path, "test", Segmentation(classes=tuple(map(str, range(classes)))), None) as writer:
        writer.add(Predicted(name="x", output=output, target=target, clouds=np.nan), {})
    with np.load(tmp_path / "test" / "000000_x.npz") as arrays:
        assert arrays["predicted"].dtype == arrays["target"].dtype == dtype
        assert arrays["predicted"].tolist() == output.tolist()
        assert arrays["target"].tolist() == output.where(output != 7, unlabelled).tolist()
