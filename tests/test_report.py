"""report.html: curves, scores and pictures in one file that needs no other."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from html_pages import Page
from small_runs import run, write_data, write_recipe

from msgfm.training.pretraining.report import draw_curves, write_report


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    log = {"picture_every_steps": 5, "tensorboard": False}
    run("pretrain", write_recipe(folder / "recipe.yaml", write_data(folder / "data"), epochs=1, log=log))
    return folder / "run"


def test_it_needs_no_other_file(finished: Path) -> None:
    assert not Page((finished / "report.html").read_text()).needs_other_files


def test_it_shows_curves_and_the_first_and_last_picture(finished: Path) -> None:
    pictures = Page((finished / "report.html").read_text()).pictures()
    drawn = [(finished / "pictures" / f"reconstruction_{step:08d}.png").read_bytes() for step in (12, 5)]
    assert pictures[1:] == drawn
    width, height = struct.unpack(">II", pictures[0][16:24])
    assert width > height > 100


def test_it_shows_scores_and_facts(finished: Path) -> None:
    page = Page((finished / "report.html").read_text())
    assert "12 steps" in page.text
    scores = (finished / "scores.csv").read_text().splitlines()[1:]
    assert len(scores) == 8
    for row in scores:
        data, direction, images, squares, result, _baseline, _l1, ratio = row.split(",")
        assert data in page.text
        assert direction in page.text and int(squares) >= int(images)
        assert f"{float(result):.4f}" in page.text
        assert f"{float(ratio):.3f}" in page.text
    worse = sum(float(row.split(",")[-1]) >= 1 for row in scores)
    assert sum(attributes.get("class") == "worse" for _, attributes in page.tags) == worse
    assert '"batch_size": 6' in page.text


def test_names_are_escaped_and_nothing_held_out_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "a<b>&c"
    folder.mkdir()
    (folder / "log.csv").write_text("step,loss,rgb->rgb\n1,0.5,0.5\n2,0.4,\n")
    write_report(folder, [], {"steps": 2, "parameters": 10, "finished": "now", "commit": "<i>", "left_out": []})
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert "a<b>&c" in page.text
    assert "<b>" not in text
    assert "<i>" not in text
    assert "No samples were held out" in page.text
    assert len(page.pictures()) == 1


def test_curves_of_an_empty_log_are_drawn() -> None:
    assert draw_curves([]).startswith(b"\x89PNG")
