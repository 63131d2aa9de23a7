"""What holds for the package as a whole: its public names, what it imports, its requirements, its README."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import msgfm

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "lightning", "rasterio", "pyarrow", "numpy", "matplotlib", "tensorboard", "huggingface_hub"}


def modules_after(code: str) -> set[str]:
    """Names of the top-level modules that a fresh process has loaded after running `code`."""
    report = "\nimport json, sys; sys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def test_import_msgfm_loads_nothing_heavy() -> None:
    loaded = modules_after("import msgfm; assert msgfm.__version__")
    assert "msgfm" in loaded
    assert not loaded & (HEAVY | {"pydantic", "yaml"})


def test_help_loads_nothing_heavy() -> None:
    loaded = modules_after("from msgfm.cli import app; app(['--help'], standalone_mode=False)")
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_help_lists_the_commands() -> None:
    command = [sys.executable, "-c", "from msgfm.cli import app; app(['--help'])"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("pretrain", "data", "info", "reconstruct", "demo"):
        assert re.search(rf"\b{command}\b", done.stdout), command


def test_sensors_load_without_torch() -> None:
    loaded = modules_after("import msgfm; assert msgfm.load_sensor('sentinel1').band_names == ('VV', 'VH')")
    assert "pydantic" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("Sensor", "msgfm.sensors"),
        ("load_sensor", "msgfm.sensors"),
        ("DownstreamModel", "msgfm.models.downstream"),
        ("MsGFM", "msgfm.models.msgfm"),
        ("from_pretrained", "msgfm.models.pretrained"),
    ],
)
def test_public_names_are_the_objects_of_their_modules(name: str, home: str) -> None:
    assert name in msgfm.__all__
    assert name in dir(msgfm)
    assert getattr(msgfm, name) is getattr(importlib.import_module(home), name)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"msgfm.*no attribute 'Senzor'"):
        _ = msgfm.Senzor  # type: ignore[attr-defined]


def test_version_stands_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == msgfm.__version__
    assert re.search(rf"^## \[(Unreleased|{re.escape(msgfm.__version__)})\]", (ROOT / "CHANGELOG.md").read_text(), re.M)


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]
    # msgfm[...] stands for lines of other extras; wandb is not installed for the tests
    return [requirement for requirement in map(Requirement, lines) if requirement.name not in ("msgfm", "wandb")]


def constraints() -> dict[str, str]:
    """Version by canonical name; a line that is not `name==version` fails here."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;@]+)", line) for line in lines]
    assert None not in pins, lines[pins.index(None)]
    return {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_every_requirement_has_a_tested_version_within_its_bounds(requirement: Requirement) -> None:
    tested = constraints()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(tested, prereleases=True)


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_compromised_lightning_cannot_be_installed(version: str) -> None:
    (lightning,) = (requirement for requirement in requirements() if requirement.name == "lightning")
    assert not lightning.specifier.contains(version)


def readme_tree() -> list[str]:
    """Paths in the README's file tree: indentation gives the folder, the first word of a line the name."""
    section = (ROOT / "README.md").read_text().split("\n## The files\n", 1)[1]
    block = re.search(r"```[a-z]*\n(.*?)```", section, re.S)
    assert block, "no fenced block under '## The files'"
    folders: list[tuple[int, str]] = []
    paths = []
    for line in block[1].splitlines():
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip(" │├└─"))
        name = line[indent:].split()[0]
        while folders and folders[-1][0] >= indent:
            folders.pop()
        path = (folders[-1][1] if folders else "") + name
        paths.append(path)
        if name.endswith("/"):
            folders.append((indent, path))
    return paths


def test_every_line_of_the_readme_tree_exists() -> None:
    paths = readme_tree()
    assert len(paths) > 20
    missing = [path for path in paths if not any(ROOT.glob(path.rstrip("/")))]
    assert not missing


def test_every_module_stands_in_the_readme_tree() -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "src" / "msgfm").rglob("*.py")}
    modules = {module for module in modules if (ROOT / module).read_text().count("\n") > 1}  # empty __init__.py
    assert "src/msgfm/sensors/sensor.py" in modules
    # A package's __init__.py stands for itself in its folder's line.
    named = set(readme_tree())
    assert not {module for module in modules - named if not module.endswith("/__init__.py")}


PROBE = """
import pytest

@pytest.mark.real_data
def test_marked():
    pass

def test_with_fixture(real_data):
    assert (real_data / "README.md").is_file()

def test_other():
    pass
"""


def run_probe(folder: Path, *, real_data: str | None) -> subprocess.CompletedProcess[str]:
    """Runs three tests under a copy of our conftest.py, in a checkout that has no real images beside it."""
    tests = folder / "checkout" / "tests"
    tests.mkdir(parents=True)
    (tests / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tests / "test_probe.py").write_text(PROBE)
    (tests.parent / "pytest.ini").write_text("[pytest]\nmarkers =\n    real_data: needs real images\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "MSGFM"))}
    if real_data is not None:
        environment["MSGFM_REAL_DATA"] = real_data
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests"]
    return subprocess.run(command, cwd=tests.parent, env=environment, capture_output=True, text=True, check=False)


def test_without_real_images_their_tests_are_left_out_loudly(tmp_path: Path) -> None:
    done = run_probe(tmp_path, real_data=None)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 2 skipped" in done.stdout
    assert "2 real_data tests were left out" in done.stdout
    assert "MSGFM_REAL_DATA" in done.stdout


def test_with_real_images_their_tests_run(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "README.md").write_text("images")
    done = run_probe(tmp_path, real_data=str(pack))
    assert "3 passed" in done.stdout
    assert "left out" not in done.stdout


def test_a_wrong_folder_of_real_images_stops_the_run(tmp_path: Path) -> None:
    done = run_probe(tmp_path, real_data=str(tmp_path / "typo"))
    assert done.returncode != 0
    assert "no such folder" in done.stdout + done.stderr
