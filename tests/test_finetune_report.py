"""report.html of a fine-tuning run: curves, scores, pictures, in one file that needs no other."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from finetuned_runs import LABELS, write_missing_sensors, write_seed
from html_pages import Page
from matplotlib.image import imread

from msgfm.errors import InputError
from msgfm.training.finetuning.report import draw_training, write_finetune_report
from msgfm.training.plots import draw_bars, draw_confusion

LOG = "step,epoch,loss,val/accuracy\n1,0,1.5,\n2,0,1.2,0.5\n3,1,1.0,\n4,1,0.9,0.75\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write_seed(
        tmp_path / "a<b>",
        2,
        {"accuracy": 0.875, "f1_macro": None},
        per_class={"forest": {"f1": 0.75}, "wa<i>ter": {"f1": None}},
        confusion={"classes": LABELS, "counts": [[8, 1, 1], [0, 0, 0], [2, 3, 5]]},
        recipe={"paper": {"accuracy": 0.9}},
    )
    (made / "log.csv").write_text(LOG)
    for step in (2, 4, 10):
        path = made / "pictures" / f"predictions_{step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"picture {step}".encode())
    return made


def test_it_holds_all_and_needs_nothing(folder: Path) -> None:
    write_finetune_report(folder)
    page = Page((folder / "report.html").read_text())
    assert not page.needs_other_files
    assert "Fine-tuning run a<b>, seed 2" in page.text
    assert {"i", "b"}.isdisjoint(tag for tag, _ in page.tags)
    assert page.rows == [
        ["split", "images", "accuracy ↑", "f1_macro ↑"],
        ["test", "24", "0.8750", "n/a"],
        ["paper", "", "0.9000", "n/a"],
    ]
    curves, bars, confusion, last, first = page.pictures()
    assert (last, first) == (b"picture 10", b"picture 2")
    for plot in (curves, bars, confusion):
        width, height = struct.unpack(">II", plot[16:24])
        assert width > 300 and height > 200
    assert '"seed": 2' in page.text


def test_missing_sensors_are_shown(folder: Path) -> None:
    write_missing_sensors(folder, "accuracy", "test", "val")
    for split in ("test", "val"):
        (folder / f"missing_sensors_{split}.png").write_bytes(f"missing in {split}".encode())
    write_finetune_report(folder)
    page = Page((folder / "report.html").read_text())
    assert "Missing sensors" in page.text
    assert {b"missing in test", b"missing in val"} <= set(page.pictures())


def test_without_training_there_are_no_curves(folder: Path) -> None:
    (folder / "log.csv").unlink()
    write_finetune_report(folder)
    page = Page((folder / "report.html").read_text())
    assert "Training" not in page.text and len(page.pictures()) == 4


def test_an_unfinished_run_is_refused(folder: Path) -> None:
    (folder / "run.json").unlink()
    with pytest.raises(InputError, match="no finished run"):
        write_finetune_report(folder)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(imread(BytesIO(png)))


def test_curves_follow_the_log() -> None:
    rows = [
        {"step": str(i), "loss": str(1 / i), "val/miou": "" if i % 2 else "nan" if i == 4 else "0.5"} for i in (1, 2, 4)
    ]
    with_metric, without = pixels(draw_training(rows, "miou")), pixels(draw_training(rows, None))
    assert with_metric.shape == without.shape
    assert (with_metric != without).any()
    assert draw_training([], "miou").startswith(b"\x89PNG")


def test_a_bar_is_as_high_as_its_value() -> None:
    """Counted in pixels of the bars' colour: values 1 and 3 in one plot, and nothing for what is not defined."""
    blue = np.array([0x00, 0x72, 0xB2]) / 255
    picture = pixels(draw_bars(["a", "b", "c"], {"run": [1.0, 3.0, float("nan")]}, {}, "m"))[..., :3]
    columns = (np.abs(picture - blue) < 0.02).all(-1).sum(0)
    one, three = sorted(set(columns[columns > 20]))[0], columns.max()
    assert three / one == pytest.approx(3, rel=0.03)
    assert (np.diff((columns > 20).astype(int)) == 1).sum() == 2


def test_classes_that_are_absent_do_not_break_the_matrix() -> None:
    assert draw_confusion(["a", "b"], [[3, 1], [0, 0]]).startswith(b"\x89PNG")
    many = [f"class {i}" for i in range(30)]
    assert draw_confusion(many, np.eye(30, dtype=int).tolist()).startswith(b"\x89PNG")
