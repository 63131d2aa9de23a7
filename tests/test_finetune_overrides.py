"""Changes to a recipe that would do nothing, and those that the paper's numbers do not outlive."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_runs import refused, run
from small_tasks import write_finetune_recipe, write_task_data

from msgfm.errors import InputError
from msgfm.training.finetuning.overrides import idle_settings, load_recipe

ROOT = Path(__file__).parents[1]
RULE = "backbone={kind: rule, rule: class_prior}"


def write(folder: Path, **changes: object) -> Path:
    recipe = {
        "out": "runs/r",
        "data": {"manifest": "m.parquet", "fraction": 0.5},
        "inputs": ["sentinel1", "sentinel2"],
        "task": {"kind": "classification"},
        "optim": {"lr": 5e-4, "layer_decay": 0.8},
        "epochs": 7,
        "paper": {"accuracy": 0.9},
    }
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe | changes))
    return folder / "r.yaml"


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["method=knn", "epochs=3"], "epochs would do nothing with method knn"),
        (["method=knn", "loss.class_weights.town=3"], "loss.class_weights would do nothing with method knn"),
        (["method=knn", "optim={lr: 0.5}", "early_stopping=3"], "optim.lr and early_stopping would do nothing"),
        (["method=knn", "data.jitter=0.5"], "data.jitter would do nothing"),
        (["method=linear_probe", "optim.layer_decay=0.3"], "optim.layer_decay would do nothing with method linear_p"),
        (["method=linear_probe", "drop_path_rate=0.5"], "drop_path_rate would do nothing with method linear_probe"),
        (["neighbours=3"], "neighbours would do nothing with method finetune"),
        (["method=linear_probe", "neighbours=3"], "neighbours would do nothing with method linear_probe"),
        ([RULE, "method=linear_probe"], "method would do nothing with a rule"),
        ([RULE, "epochs=3", "optim.lr=9"], "optim.lr and epochs would do nothing with a rule"),
        (["inputs=[sentinel1]", "data.sensor_dropout=0.9"], "data.sensor_dropout would do nothing with images of one"),
        (["inputs=['sentinel1@a', 'sentinel1@b']", "data.sensor_dropout=0.9"], "with images of one sensor"),
    ],
)
def test_changes_that_would_do_nothing_are_refused(tmp_path: Path, overrides: list[str], named: str) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(write(tmp_path), overrides)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["method=knn", "neighbours=3"],
        ["method=knn", "optim.layer_decay=1", "early_stopping=null"],  # as if they were not there
        ["method=linear_probe", "optim.lr=0.1", "epochs=3", "loss.class_weights={town: 3}"],
        ["optim.layer_decay=0.3", "drop_path_rate=0.5"],
        ["data.sensor_dropout=0.9"],
        [RULE],
    ],
)
def test_changes_that_do_something_are_not(tmp_path: Path, overrides: list[str]) -> None:
    load_recipe(write(tmp_path), overrides)


def test_what_the_recipe_itself_says_is_named_not_refused(tmp_path: Path) -> None:
    config, _ = load_recipe(write(tmp_path), ["method=knn"])
    (keys,) = idle_settings(config).values()
    assert sorted(keys) == ["epochs", "optim.layer_decay", "optim.lr"]
    config, _ = load_recipe(write(tmp_path), ["method=linear_probe"])
    assert list(idle_settings(config).values()) == [["optim.layer_decay"]]
    config, _ = load_recipe(write(tmp_path), [])
    assert idle_settings(config) == {}


@pytest.mark.parametrize("change", ["inputs=[sentinel1]", "data.fraction=0.1", "task.multilabel=true"])
def test_the_papers_numbers_are_those_of_its_own_setting(tmp_path: Path, change: str) -> None:
    recipe = write(tmp_path)
    config, (note,) = load_recipe(recipe, [change])
    assert config.paper == {}
    assert "are not shown" in note and change.partition("=")[0] in note
    assert load_recipe(recipe, [change, "paper={accuracy: 0.7}"])[0].paper == {"accuracy": 0.7}
    for same in ([], ["init=null", "epochs=3", "data.image_size=64"], ["inputs=[sentinel1, sentinel2]"]):
        config, notes = load_recipe(recipe, same)
        assert (config.paper, notes) == ({"accuracy": 0.9}, [])


def test_the_radar_alone_of_a_protocol_has_no_row_of_the_paper() -> None:
    recipe = ROOT / "recipes" / "finetune" / "bigearthnet_1.yaml"
    assert load_recipe(recipe, [])[0].paper
    assert not load_recipe(recipe, ["inputs=[sentinel1]"])[0].paper


@pytest.mark.slow
def test_neighbours_say_what_they_do_not_use_and_that_there_is_no_model(tmp_path: Path) -> None:
    recipe = write_finetune_recipe(
        tmp_path / "r.yaml", write_task_data(tmp_path / "data"), "classification", paper={"accuracy": 0.5}
    )
    printed = " ".join(run("finetune", recipe, "method=knn").split())
    assert " paper 0.5000 " in printed
    assert " paper " not in " ".join(run("evaluate", tmp_path / "run", "--split", "val").split())  # it is of the test
    assert "optim.lr, optim.warmup_epochs, epochs: of no use with method knn" in printed
    assert "from_pretrained" not in printed and "neighbours are no model to load" in printed
    printed = " ".join(run("finetune", recipe, "method=knn", "inputs=[rgb]", f"out={tmp_path / 'alone'}").split())
    assert "the paper's numbers in r.yaml are of other inputs" in printed
    assert " paper 0.5000 " not in printed
    for name, shown in (("run", True), ("alone", False)):
        scores = (tmp_path / name / "seed_0" / "report.html").read_text().partition("<h2>Facts")[0]
        assert ("paper" in scores) == shown
    assert "would do nothing" in refused("finetune", recipe, "method=knn", "epochs=9")
