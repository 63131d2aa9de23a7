"""What `msgfm data index` prints and writes: counts, classes, masks, the part drawn and its digest."""

from __future__ import annotations

from pathlib import Path

from layout_trees import mask, picture
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.data.records import read_manifest


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["data", "index", *arguments, "--check", "0"])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_a_part_of_a_data_set(tmp_path: Path) -> None:
    for kind, number in (("beach", 20), ("forest", 10)):
        for n in range(number):
            picture(tmp_path / "set" / "Images" / kind / f"{kind}{n:02}.png")
    out = tmp_path / "m.parquet"
    said = run("ucmerced", str(tmp_path / "set"), "--out", str(out), "--fraction", "0.1", "--seed", "3")
    manifest = read_manifest(out)
    assert "samples: 3 rgb splits: 3 train classes: 2 beach; 1 forest" in said
    assert manifest.subset == "0.1 of train, stratified by class, seed 3" and f"subset: {manifest.subset}" in said
    assert f"digest {manifest.digest[:16]}" in said
    again = tmp_path / "elsewhere" / "again.parquet"
    run("ucmerced", str(tmp_path / "set"), "--out", str(again), "--fraction", "0.1", "--seed", "3")
    assert read_manifest(again).digest == manifest.digest
    run("ucmerced", str(tmp_path / "set"), "--out", str(again), "--fraction", "0.1", "--seed", "4")
    assert read_manifest(again).digest != manifest.digest


def test_roles_and_masks_are_told(tmp_path: Path) -> None:
    for folder in ("A", "B"):
        picture(tmp_path / folder / "train_1.png")
    mask(tmp_path / "label" / "train_1.png")
    said = run("levir-cd", str(tmp_path), "--out", str(tmp_path / "m.parquet"))
    assert "samples: 1 rgb@before + rgb@after splits: 1 train masks: 1, with unchanged; changed" in said


def test_a_fraction_that_is_none(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    result = CliRunner().invoke(app, ["data", "index", "image-folder", str(tmp_path), "--fraction", "0"])
    assert result.exit_code == 2 and "above 0 and at most 1" in " ".join(result.output.split())
