"""What is installed holds what the checkout holds: cards, recipes, tables."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed")


def build(kind: str, source: Path, out: Path) -> Path:
    """Builds as pip does, by the hooks of PEP 517, but in this environment: nothing is downloaded."""
    code = f"import sys; from hatchling.build import build_{kind} as build; print(build(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


def installed() -> dict[str, bytes]:
    """What the checkout holds, by the names that it has when installed."""
    package = ROOT / "src" / "msgfm"
    files = {f"msgfm/{path.relative_to(package)}": path for path in package.rglob("*") if path.is_file()}
    recipes = {f"msgfm/{path.relative_to(ROOT)}": path for path in (ROOT / "recipes").rglob("*.yaml")}
    return {name: path.read_bytes() for name, path in (files | recipes).items() if path.suffix != ".pyc"}


@pytest.mark.parametrize("of", ["checkout", "sdist"])
def test_a_wheel_holds_cards_recipes_and_tables(tmp_path: Path, of: str) -> None:
    source = ROOT
    if of == "sdist":  # what pip builds from where there is no wheel
        with tarfile.open(build("sdist", ROOT, tmp_path)) as packed:
            packed.extractall(tmp_path, filter="data")
        (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    with zipfile.ZipFile(build("wheel", source, tmp_path)) as wheel:
        held = {name: wheel.read(name) for name in wheel.namelist()}
    expected = installed()
    assert {
        "msgfm/cli/app.py",
        "msgfm/data/checks/band_relations.csv",
        "msgfm/data/layouts/bigearthnet_classes.yaml",
        "msgfm/sensors/cards/sentinel2.yaml",
        "msgfm/recipes/pretrain/small.yaml",
        "msgfm/py.typed",
    } <= set(expected)
    assert {name: content for name, content in held.items() if name.startswith("msgfm/")} == expected
    assert any(name.endswith("entry_points.txt") and b"msgfm = msgfm.cli:app" in held[name] for name in held)
