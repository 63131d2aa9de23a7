"""`msgfm compare`: means and spreads, what is bold, what is refused, what is left out."""

from __future__ import annotations

import csv
import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from finetuned_runs import TASK, write_missing_sensors, write_run, write_seed
from html_pages import Page
from hypothesis import given
from hypothesis import strategies as st
from small_runs import invoke, refused, run
from small_tasks import write_finetune_recipe, write_task_data

from msgfm.training.comparison import compare
from msgfm.training.comparison.runs import load_runs
from msgfm.training.comparison.table import Cell, Comparison, Row, compare_metrics

GOOD = {"accuracy": [0.90, 0.92, 0.91], "f1_macro": [0.80, 0.84, 0.82]}
BAD = {"accuracy": [0.70, 0.74, 0.72], "f1_macro": [0.79, 0.85, 0.80]}


def numbers_of(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(newline="") as file:
        return {(row["run"], row["metric"]): row for row in csv.DictReader(file)}


def bold_of(path: Path) -> list[tuple[str, int]]:
    """Run and column of each bold cell of a Markdown table."""
    rows = [line.strip("| \n").split(" | ") for line in path.read_text().splitlines() if line.startswith("|")]
    return [(row[0], i) for row in rows for i, cell in enumerate(row) if cell.startswith("**")]


def test_mean_and_spread_are_those_of_numpy(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, values) for name, values in (("good", GOOD), ("bad", BAD))]
    printed = run("compare", *runs, "--out", tmp_path / "table.csv")
    found = numbers_of(tmp_path / "table.csv")
    for name, values in (("good", GOOD), ("bad", BAD)):
        for metric, numbers in values.items():
            row = found[name, metric]
            assert float(row["mean"]) == pytest.approx(np.mean(numbers), abs=1e-12)
            assert float(row["std"]) == pytest.approx(np.std(numbers, ddof=1), abs=1e-12)
            assert [float(row[f"seed {i}"]) for i in range(3)] == numbers
            assert row["seeds"] == "3"
            assert f"{np.mean(numbers):.4f} ± {np.std(numbers, ddof=1):.4f}" in printed


def test_only_a_difference_beyond_the_spread_is_bold(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, values) for name, values in (("good", GOOD), ("bad", BAD))]
    run("compare", *runs, "--out", tmp_path / "table.md")
    assert bold_of(tmp_path / "table.md") == [("good", 2)]  # accuracy; f1_macro is as good in both


def test_of_errors_the_lowest_is_best(tmp_path: Path) -> None:
    task = {"kind": "restoration", "target": {"sensor": "sentinel2"}, "over": None}
    for name, errors in (("near", [0.02, 0.021]), ("far", [0.05, 0.051])):
        write_run(tmp_path / name, {"mae": errors, "psnr": [30.0, 30.1]}, task=task, seeds=(0, 1))
    printed = run("compare", tmp_path / "near", tmp_path / "far", "--out", tmp_path / "table.md")
    assert bold_of(tmp_path / "table.md") == [("near", 2)]
    assert "mae ↓" in printed and "psnr ↑" in printed


def compared(*values: list[float]) -> Comparison:
    rows = [
        Row(name=str(i), seeds=len(v), cells={"m": Cell(values={str(j): x for j, x in enumerate(v)})})
        for i, v in enumerate(values)
    ]
    return Comparison(title="", columns=("m",), lower_is_better={"m": False}, rows=tuple(rows), paper=(), notes=())


def test_unknown_spreads() -> None:
    assert compared([0.9], [0.1]).best("m") is None  # one seed each: nobody knows
    assert compared([0.9], [0.1, 0.12]).best("m") == "0"  # as if it spread as the other
    assert compared([0.9], [0.1, 0.99]).best("m") is None
    assert compared([0.9], [0.1, 0.1]).best("m") is None  # a rule is the same with every seed, what is trained is not
    assert compared([0.9, 0.9], [0.1]).best("m") is None
    assert compared([0.9, 0.91], [0.1, 0.1]).best("m") == "0"
    assert compared([0.9, 0.9]).best("m") is None  # nothing beside it
    assert compared([0.5, 0.5], [0.5, 0.5]).best("m") is None  # a tie


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=4), min_size=2, max_size=4),
)
def test_the_best_is_beyond_the_spread_of_every_other(values: list[list[float]]) -> None:
    best = compared(*values).best("m")
    means, spreads = [np.mean(v) for v in values], [np.std(v, ddof=1) for v in values]

    def beyond(i: int) -> list[float]:
        return [means[i] - means[j] - np.sqrt(spreads[i] ** 2 + spreads[j] ** 2) for j in range(len(values)) if j != i]

    clear = [str(i) for i in range(len(values)) if min(beyond(i)) > 1e-9]
    if clear:
        assert best == clear[0] and len(clear) == 1
    elif best is not None:
        assert min(beyond(int(best))) > -1e-9


def test_the_paper_stands_below(tmp_path: Path) -> None:
    paper = {"paper": {"accuracy": 0.95}}
    write_run(tmp_path / "ours", GOOD, recipe=paper)
    write_run(tmp_path / "random", BAD)
    run("compare", tmp_path / "ours", tmp_path / "random", "--out", tmp_path / "a.md")
    assert re.search(r"^\| paper \(ours\) \|  \| 0\.9500 \| n/a \|$", (tmp_path / "a.md").read_text(), re.M)
    assert "paper" not in [name for name, _ in bold_of(tmp_path / "a.md")]
    run("compare", tmp_path / "ours", "--out", tmp_path / "b.md")
    assert re.search(r"^\| paper \|  \| 0\.9500 \|", (tmp_path / "b.md").read_text(), re.M)


def test_metrics_are_picked_in_order(tmp_path: Path) -> None:
    write_run(tmp_path / "r", GOOD)
    run("compare", tmp_path / "r", "--metric", "f1_macro", "--out", tmp_path / "t.md")
    assert "| run | seeds | f1_macro ↑ |" in (tmp_path / "t.md").read_text()
    message = refused("compare", tmp_path / "r", "--metric", "f1_mcro")
    assert "did you mean 'f1_macro'?" in message


def test_other_tasks_classes_and_data_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", GOOD)
    write_run(tmp_path / "task", GOOD, task=TASK | {"multilabel": True})
    write_run(tmp_path / "classes", GOOD, task=TASK | {"classes": ["forest", "water", "city"]})
    write_run(tmp_path / "order", GOOD, task=TASK | {"classes": ["water", "forest", "town"]})
    write_run(tmp_path / "data", GOOD, truth="ef56" * 16)
    assert "multilabel is False in a and True in task" in refused("compare", tmp_path / "a", tmp_path / "task")
    assert "town only in a and city only in classes" in refused("compare", tmp_path / "a", tmp_path / "classes")
    assert "the same names in another order" in refused("compare", tmp_path / "a", tmp_path / "order")
    message = refused("compare", tmp_path / "a", tmp_path / "data")
    assert "ab12ab12ab12 (24 samples) in a" in message and "ef56ef56ef56 (24 samples) in data" in message


def test_the_same_files_that_meant_different_things_are_refused(tmp_path: Path) -> None:
    for name, reading in (("a", "1" * 64), ("alike", "1" * 64), ("swapped", "2" * 64), ("earlier", None)):
        folder = write_seed(tmp_path / name, 0, {"accuracy": 0.5}, seeds=(0,))
        facts = json.loads((folder / "run.json").read_text())
        facts["data"]["truth_readings"] = {"test": reading} if reading else {}
        (folder / "run.json").write_text(json.dumps(facts))
    message = refused("compare", tmp_path / "a", tmp_path / "swapped")
    assert "a and swapped were scored on the same files of test, but these were read differently" in message
    run("compare", tmp_path / "a", tmp_path / "alike", tmp_path / "earlier")


def test_the_image_that_a_residual_is_added_to_is_the_models_affair(tmp_path: Path) -> None:
    task = {"kind": "restoration", "target": {"sensor": "sentinel2"}}
    write_run(tmp_path / "with", {"mae": [0.1]}, task=task | {"over": "sentinel2@cloudy"}, seeds=(0,))
    write_run(tmp_path / "without", {"mae": [0.2]}, task=task | {"over": None}, seeds=(0,))
    assert "without" in run("compare", tmp_path / "with", tmp_path / "without")


def test_what_is_unfinished_is_named_and_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "r", {"accuracy": [0.5]})
    (tmp_path / "r" / "seed_1").mkdir()
    (tmp_path / "none" / "seed_0").mkdir(parents=True)
    printed = run("compare", tmp_path / "r", tmp_path / "none", "--out", tmp_path / "t.csv")
    assert "r: seed_1 is not finished" in printed
    assert "r: seed 2 of its recipe not started" in printed
    assert "none is left out, no seed of it has scores of test" in printed
    assert numbers_of(tmp_path / "t.csv")["r", "accuracy"]["seeds"] == "1"
    assert "nothing to compare" in refused("compare", tmp_path / "none")


def test_seeds_trained_differently_are_told(tmp_path: Path) -> None:
    write_seed(tmp_path / "r", 0, {"accuracy": 0.5}, seeds=(0, 1), recipe={"epochs": 5, "optim": {"lr": 0.1}})
    write_seed(tmp_path / "r", 1, {"accuracy": 0.5}, seeds=(0, 1), recipe={"epochs": 5, "optim": {"lr": 0.2}})
    assert "r: its seeds were trained with different optim.lr" in run("compare", tmp_path / "r")


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "r", GOOD)
    assert "no folder" in refused("compare", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no fine-tuning run" in refused("compare", tmp_path / "empty")
    assert "named twice" in refused("compare", tmp_path / "r", tmp_path / "r" / ".." / "r")
    assert ".md, .csv, .html" in refused("compare", tmp_path / "r", "--out", tmp_path / "t.txt")
    assert "no seed of it has scores of val" in refused("compare", tmp_path / "r", "--split", "val")
    both = refused("compare", tmp_path / "r", tmp_path / "r" / "seed_1")
    assert f"{tmp_path / 'r' / 'seed_1'} is in both r and seed_1; give each seed once" in both
    (tmp_path / "r" / "seed_0" / "run.json").write_text("{")
    assert "run.json is damaged" in refused("compare", tmp_path / "r")


def test_a_signal_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        monkeypatch.setattr(compare, "compare_runs", lambda *_, number=number, **__: signal.raise_signal(number))
        before = signal.getsignal(signal.SIGTERM)
        result = invoke("compare", tmp_path)
        assert result.exit_code == 128 + number
        assert "stopped; files that were written are whole" in result.stderr
        assert signal.getsignal(signal.SIGTERM) == before


def test_one_seed_alone_can_be_named(tmp_path: Path) -> None:
    write_run(tmp_path / "a", GOOD)
    write_run(tmp_path / "b", BAD)
    run("compare", tmp_path / "a" / "seed_0", tmp_path / "b" / "seed_0", "--out", tmp_path / "t.csv")
    rows = numbers_of(tmp_path / "t.csv")
    assert rows["a/seed_0", "accuracy"]["mean"] == "0.9" and rows["a/seed_0", "accuracy"]["std"] == ""


def test_seeds_of_one_run_that_differ_are_named(tmp_path: Path) -> None:
    write_seed(tmp_path / "r", 0, {"accuracy": 0.5}, seeds=(0, 1))
    write_seed(tmp_path / "r", 1, {"accuracy": 0.5}, seeds=(0, 1), task=TASK | {"classes": ["forest", "water", "city"]})
    assert "r and r" not in (message := refused("compare", tmp_path / "r"))
    assert "town only in seed_0 of r and city only in seed_1 of r" in message


def test_folds_are_seeds_of_one_run(tmp_path: Path) -> None:
    for name, level in (("a", 0.9), ("b", 0.5)):
        for fold in range(2):
            write_run(
                tmp_path / name / f"fold_{fold}",
                {"accuracy": [level + 0.01 * fold, level]},
                seeds=(0, 1),
                truth=f"{fold}" * 64,
                recipe={"data": {"folds": 2, "fold": fold}},
            )
    run("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "t.csv")
    row = numbers_of(tmp_path / "t.csv")["a", "accuracy"]
    assert row["seeds"] == "4" and float(row["mean"]) == pytest.approx(0.9025)
    # a run of one fold is not one of all
    message = refused("compare", tmp_path / "a", tmp_path / "b" / "fold_0")
    assert "different data" in message
    # without folds, seeds of one run have one test set
    write_seed(tmp_path / "c", 0, {"accuracy": 0.5}, seeds=(0, 1), truth="1" * 64)
    write_seed(tmp_path / "c", 1, {"accuracy": 0.5}, seeds=(0, 1), truth="2" * 64)
    assert "the seeds of c were scored on different data" in refused("compare", tmp_path / "c")


def test_a_metric_that_a_seed_does_not_have_is_told(tmp_path: Path) -> None:
    write_seed(tmp_path / "r", 0, {"accuracy": 0.5, "f1_macro": None}, seeds=(0, 1))
    write_seed(tmp_path / "r", 1, {"accuracy": 0.7, "f1_macro": 0.3}, seeds=(0, 1))
    runs, notes = load_runs([tmp_path / "r"], "test")
    table = compare_metrics(runs, "test", [], notes)
    assert table.rows[0].cells["f1_macro"].mean == 0.3
    assert table.notes == ("r: f1_macro is defined in 1 of 2 seeds",)


def test_by_class_and_by_clouds(tmp_path: Path) -> None:
    write_run(tmp_path / "r", GOOD, per_class={"water": {"f1": 0.25}, "town": {"f1": None}})
    run("compare", tmp_path / "r", "--by", "class", "--out", tmp_path / "t.md")
    text = (tmp_path / "t.md").read_text()
    assert "f1 by class" in text and "| run | seeds | water ↑ | town ↑ |" in text
    assert "| r | 3 | 0.2500 ± 0.0000 | n/a |" in text
    assert "no scores by cloud-cover" in refused("compare", tmp_path / "r", "--by", "cloud-cover")
    assert "shows one metric" in refused("compare", tmp_path / "r", "--by", "class", "--metric", "a", "--metric", "b")


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    settings = {"per_class": {"water": {"f1": 0.25}, "to<w>n": {"f1": 0.5}}}
    write_run(tmp_path / "a<b>", GOOD, recipe={"epochs": 5, "paper": {"accuracy": 0.95}}, **settings)
    write_run(tmp_path / "bad", BAD, recipe={"epochs": 7, "paper": {"accuracy": 0.95}}, **settings)
    run("compare", tmp_path / "a<b>", tmp_path / "bad", "--out", tmp_path / "t.html")
    page = Page((tmp_path / "t.html").read_text())
    assert not page.needs_other_files
    assert page.rows[0] == ["run", "seeds", "accuracy ↑", "f1_macro ↑"]
    assert page.rows[1] == ["a<b>", "3", "0.9100 ± 0.0100", "0.8200 ± 0.0200"]
    assert page.rows[3] == ["paper", "", "0.9500", "n/a"]
    assert ["epochs", "5", "7"] in page.rows
    tags = [tag for tag, _ in page.tags]
    assert tags.count("b") == 1 and "w" not in tags
    assert len(page.pictures()) == 2 and all(picture.startswith(b"\x89PNG") for picture in page.pictures())


def test_by_sensors_of_the_split(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = write_seed(tmp_path / "r", seed, {"accuracy": 0.5}, seeds=(0, 1))
        write_missing_sensors(folder, "accuracy", "val", "test")
    run("compare", tmp_path / "r", "--by", "sensors", "--out", tmp_path / "t.csv")
    found = {sensors: row["mean"] for (_, sensors), row in numbers_of(tmp_path / "t.csv").items()}
    assert {name: float(mean) for name, mean in found.items()} == pytest.approx(
        {
            "sentinel1 + sentinel2": 0.8,
            "sentinel1": 0.4,
            "sentinel2": 0.4,
            "sentinel1, sentinel2 predicted": 0.5,
            "sentinel2, sentinel1 predicted": 0.5,
        }
    )


@pytest.mark.slow
def test_runs_with_other_inputs_are_compared_on_one_truth(tmp_path: Path) -> None:
    recipe = write_finetune_recipe(
        tmp_path / "r.yaml", write_task_data(tmp_path / "data"), "classification", epochs=1, seeds=[0, 1]
    )
    run("finetune", recipe, f"out={tmp_path / 'both'}")
    run("finetune", recipe, f"out={tmp_path / 'radar'}", "inputs=[sentinel1]")
    run("compare", tmp_path / "both", tmp_path / "radar", "--out", tmp_path / "t.csv")
    rows = numbers_of(tmp_path / "t.csv")
    for name in ("both", "radar"):
        written = [json.loads((tmp_path / name / f"seed_{seed}" / "metrics.json").read_text()) for seed in (0, 1)]
        values = [one["test"]["metrics"]["accuracy"] for one in written]
        assert float(rows[name, "accuracy"]["mean"]) == pytest.approx(np.mean(values))
        assert (tmp_path / name / "seed_1" / "README.md").exists()
        assert not Page((tmp_path / name / "seed_1" / "report.html").read_text()).needs_other_files
    digests = [
        json.loads((tmp_path / name / "seed_0" / "run.json").read_text())["data"]["digests"]["test"]
        for name in ("both", "radar")
    ]
    assert digests[0] != digests[1]  # the inputs are in them, the truth is the same


def test_other_degradation_is_refused_and_other_windows_are_told(tmp_path: Path) -> None:
    sizes = {"image_size": 96, "window_size": None, "resize": False, "wald": 4}
    data = {"one": sizes, "two": sizes | {"wald": 2}, "three": sizes | {"window_size": 32}, "four": sizes}
    for name, settings in data.items():
        write_run(tmp_path / name, {"accuracy": [0.5]}, recipe={"data": settings})
    message = refused("compare", tmp_path / "one", tmp_path / "two")
    assert "data.wald is 4 in one and 2 in two" in message
    assert "squares" not in run("compare", tmp_path / "one", tmp_path / "four")
    assert "different squares: one 96 px; three 32 px" in run("compare", tmp_path / "one", tmp_path / "three")
    # what was changed when the split was scored counts, not the recipe
    path = tmp_path / "four" / "seed_0" / "run.json"
    facts = json.loads(path.read_text())
    facts["data"]["settings"] = {"test": {"data.window_size": 48}, "val": {"data.wald": 8}}
    path.write_text(json.dumps(facts))
    assert "different squares: one 96 px; four 48 px" in run("compare", tmp_path / "one", tmp_path / "four")
