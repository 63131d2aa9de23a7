"""The recipes for fine-tuning: they parse, say what a reader needs, and their data load where they are at hand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from msgfm.data.mixture import SampleKey
from msgfm.data.tasks import TaskDataset, load_task_data
from msgfm.sensors import load_sensor
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.finetuning.overrides import load_recipe

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "recipes" / "finetune"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SYNTHETIC = [name for name in NAMES if name.startswith("synth_")]
# what examples/index_finetune_pack.sh indexes
PACK = [name for name in NAMES if "index_finetune_pack.sh" in (FOLDER / f"{name}.yaml").read_text()]
# protocols of whole data sets, on the few images of each that the pack has
PROTOCOLS = {
    "bigearthnet_100": ["data.val=all"],
    "eurosat": ["data.val=all", "data.test=all"],
    "sen12ms_cr": ["data.train=all", "data.val=all"],
    "sen1floods11": ["data.val=all", "data.test=all"],
}


def read(name: str, *changes: str) -> FinetuneConfig:
    return load_recipe(FOLDER / f"{name}.yaml", changes)[0]


def test_every_protocol_of_the_paper_has_one() -> None:
    protocols = {"bigearthnet_1", "bigearthnet_10", "bigearthnet_100", "vaihingen", "sen12ms_cr", "sen12ms_cr_1"}
    protocols |= {"spacenet2", "oscd", "dsifn", "whu_buildings", "ucmerced", "eurosat", "sen1floods11"}
    assert protocols <= set(NAMES)
    assert len(SYNTHETIC) == 8
    assert len(PACK) == 12


@pytest.mark.parametrize("name", NAMES)
def test_recipe_parses_and_its_header_says_what_a_reader_needs(name: str) -> None:
    config = read(name)
    assert config.out == Path("runs") / name
    assert len(config.seeds) == 3
    text = (FOLDER / f"{name}.yaml").read_text()
    for word in ("What it ", "Data: ", "Command: ", "Hardware: ", "Result: "):
        assert re.search(f"^# {word}", text, re.MULTILINE), word
    assert f"msgfm finetune {name}" in text
    assert max(map(len, text.splitlines())) <= 120


def header_changes(name: str) -> Iterator[list[str]]:
    """What the header lets one change: overrides in the lines below the command, as `data.fold=$k out=runs/...`."""
    text = (FOLDER / f"{name}.yaml").read_text()
    command = text.partition("# Command:")[2].partition("# Hardware:")[0].replace("\n#", " ")
    for line in re.split(r" {2,}|, or |; ", command.replace("$k", "1")):
        changes = re.findall(r"'([a-z._]+=[^']*)'|(?<!')\b([a-z._]+=(?:\[[^]]*\]|\{[^}]*\}|[^\s',]+))", line)
        if changes:
            yield [quoted or plain for quoted, plain in changes]


def documented() -> Iterator[tuple[str, list[str]]]:
    """Commands of the documentation and of `--help` that name a recipe of ours, and what they change."""
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "src" / "msgfm" / "cli" / "finetuning.py"]
    for path in files:
        for line in re.findall(r"^ *msgfm finetune ((?:'[^']*'|[^'\n])*)", path.read_text(), re.MULTILINE):
            name, *changes = shlex.split(line, comments=True)
            if name in NAMES:
                yield name, changes


def test_commands_that_are_documented_are_what_recipes_take() -> None:
    found = list(documented())
    assert len(found) >= 7
    for name, changes in found:
        read(name, *changes)


def test_what_starts_at_random_is_trained_at_one_rate() -> None:
    """Layers below the head have smaller rates where they are pretrained; else they would hardly be trained at all."""
    every = [*documented(), *((name, changes) for name in NAMES for changes in ([], *header_changes(name)))]
    decays = {
        (name, *changes): read(name, *changes).optim.layer_decay for name, changes in every if at_random(name, changes)
    }
    assert len(decays) >= 12
    assert set(decays.values()) == {1.0}, decays


def at_random(name: str, changes: list[str]) -> bool:
    config = read(name, *changes)
    if config.backbone.kind == "rule":
        return False
    return config.init is None and getattr(config.backbone, "weights", None) is None


@pytest.mark.parametrize("name", NAMES)
def test_what_the_header_lets_one_change_can_be_changed(name: str) -> None:
    for changes in header_changes(name):
        read(name, *changes)


def test_the_papers_numbers() -> None:
    """Han et al. 2024, written out here, not read from anywhere; shares where ours are shares."""
    expected = {
        "bigearthnet_1": {"map_micro": 0.809},
        "bigearthnet_10": {"map_micro": 0.875},
        "bigearthnet_100": {"map_micro": 0.929},
        "vaihingen": {"miou": 0.758},
        "sen12ms_cr": {"mae": 0.026, "sam": 4.87, "ssim": 0.842},
        "dsifn": {"f1": 0.704},
        "whu_buildings": {"iou": 0.906},
    }
    assert {name: config.paper for name in NAMES if (config := read(name)).paper} == expected
    # of photographs, so beside three bands alone
    assert {"f1": 0.571} in [read("oscd", *changes).paper for changes in header_changes("oscd")]


@pytest.mark.parametrize("name", [name for name in NAMES if read(name).init == Path("demo")])
def test_headers_say_what_pretrains_the_demo(name: str) -> None:
    data = (FOLDER / f"{name}.yaml").read_text().partition("# Data:")[2].partition("# Command:")[0]
    assert "make demo" in data


@pytest.mark.parametrize("name", NAMES)
def test_bands_that_recipes_name_are_on_their_cards(name: str) -> None:
    config = read(name)
    for shown in config.inputs:
        own = ROOT / "examples" / "cards" / f"{shown.sensor}.yaml"
        card = shown.card([load_sensor(own if own.is_file() else shown.sensor)])
        card.require_statistics()


def require_batches(name: str, *changes: str) -> None:
    """Every split of the recipe's data has batches of the shapes that its task wants."""
    config = read(name, *changes)
    data = load_task_data(config.data, config.task, config.inputs)
    size, window = config.data.image_size, config.data.evaluated_size
    for dataset in (data.train, data.val, data.test):
        if dataset is None:
            continue
        one = dataset.__getitems__([SampleKey(0, 0, i) for i in range(min(2, len(dataset)))])
        side = size if dataset is data.train or config.task.kind == "classification" else window
        assert not one.bad
        assert {tuple(images.shape[2:]) for images in one.images.values()} == {(side, side)}
        assert list(one.images) == [shown.key for shown in config.inputs]
        assert any(images.isfinite().any() for images in one.images.values())
        require_something_to_predict(dataset)


def require_something_to_predict(dataset: TaskDataset) -> None:
    keys = [SampleKey(0, 0, i) for i in range(len(dataset))][:40]
    target = dataset.__getitems__(keys).target
    assert target.isfinite().any() if target.is_floating_point() else (target >= 0).any()


@pytest.fixture(scope="module")
def pack(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_script("index_finetune_pack.sh", str(real_data), tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_script("index_synth_pack.sh", "20", tmp_path_factory.mktemp("world"))


def run_script(script: str, argument: str, folder: Path) -> Path:
    """Runs an example in a folder, which is returned; its commands are those of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(ROOT / "examples" / script), argument]
    environment = os.environ | {"PATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", PACK)
def test_data_of_the_pack_are_those_of_the_recipe(name: str, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pack)
    require_batches(name)  # the digests in the recipe are compared on the way


@pytest.mark.slow
@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_read_the_real_files_that_there_are(name: str, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pack)
    require_batches(name, *PROTOCOLS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SYNTHETIC)
def test_data_of_the_synthetic_world(name: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    require_batches(name)
