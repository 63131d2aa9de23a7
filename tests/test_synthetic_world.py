from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.data.layouts import LayoutOptions, index_layout
from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest
from msgfm.data.synthetic import KINDS, write_world
from msgfm.data.synthetic.kinds import Place
from msgfm.errors import InputError
from msgfm.files import lock_folder
from msgfm.geo.raster import raster_info, read_bands


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "world"
    assert write_world(out, scenes=10, seed=1, size=32) == 10 * len(KINDS)
    return out


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def manifest_of(world: Path, kind: str) -> Manifest:
    layout, *options = KINDS[kind].index_as.split()
    sensors = tuple(value for name, value in pairwise(options) if name == "--sensor")
    return index_layout(layout, world / kind, LayoutOptions(sensors=sensors)).manifest


def test_the_same_seed_writes_the_same_bytes_by_any_number_of_processes(tmp_path: Path) -> None:
    for workers in (0, 2):
        write_world(tmp_path / str(workers), scenes=9, seed=5, size=64, kinds=("sen12ms", "change"), workers=workers)
    alone, together = (contents(tmp_path / str(workers)) for workers in (0, 2))
    assert len(alone) == 9 * (3 + 3) + 2 + 1
    assert alone == together


def test_a_scene_does_not_depend_on_how_many_there_are_but_on_the_seed(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path / "few", scenes=2, seed=1, size=32)
    write_world(tmp_path / "other", scenes=2, seed=2, size=32)
    few, other, more = contents(tmp_path / "few"), contents(tmp_path / "other"), contents(world)
    images = [name for name in few if name.endswith(".tif")]
    assert len(images) == 2 * (3 + 2 + 1 + 4 + 3 + 2 + 3 + 2)
    assert all(few[name] == more[name] for name in images)
    masks = ("label", "lc_", "cloud_mask")
    assert not any(few[name] == other.get(name) for name in images if not any(mask in name for mask in masks))


def test_no_two_scenes_are_alike(world: Path) -> None:
    images = [path.read_bytes() for path in world.rglob("*.tif") if "label" not in path.as_posix()]
    assert len(set(images)) == len(images)


def test_an_interrupted_run_goes_on_and_ends_the_same(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "world"
    write_world(out, scenes=4, seed=1, size=32, kinds=("rgb_dsm", "rgb"))
    lost = out / "rgb_dsm" / "dsm" / "place00002.tif"
    kept = out / "rgb_dsm" / "dsm" / "place00001.tif"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    (lost.parent / f".{lost.name}.123.tmp").write_text("half")
    assert write_world(out, scenes=4, seed=1, size=32, kinds=("rgb_dsm", "rgb")) == 1
    assert kept.stat().st_mtime_ns == before
    assert write_world(out, scenes=10, seed=1, size=32) == 10 * len(KINDS) - 8
    assert contents(out) == contents(world)


def test_a_killed_file_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InputError("disk full")

    monkeypatch.setattr("msgfm.data.synthetic.world.write_geotiff", fail)
    with pytest.raises(InputError, match="disk full"):
        write_world(tmp_path / "world", scenes=2, seed=0, size=32)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "world").rglob("*") if path.is_file()] == ["world.json"]
    assert write_world(tmp_path / "world", scenes=1, seed=0, size=32, kinds=("rgb",)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_layouts_read_what_was_written(world: Path, kind: str) -> None:
    manifest = manifest_of(world, kind)
    assert len(manifest.samples) == 10
    assert len({sample.scene for sample in manifest.samples}) == 10
    expected = {
        "sen12ms": {"sentinel1", "sentinel2"},
        "sen12ms_cr": {"sentinel1", "sentinel2", "sentinel2@cloudy"},
        "rgb": {"rgb"},
        "rgb_dsm": {"rgb", "dsm"},
        "segmentation": {"rgbir", "dsm"},
        "buildings": {"rgb"},
        "change": {"rgb@before", "rgb@after"},
        "pansharpen": {"worldview3", "worldview3_pan"},
    }[kind]
    for sample in manifest.samples:
        images = read_sample(manifest.root, sample, manifest.sensors)
        assert set(images) == expected
        assert all(np.isfinite(image).all() for image in images.values())
        assert (sample.mask is not None) == (kind in ("sen12ms", "sen12ms_cr", "segmentation", "buildings", "change"))
    if kind == "rgb":
        assert set(manifest.classes) == {sample.labels[0] for sample in manifest.samples}
        assert len(manifest.classes) == 6
    if kind in ("buildings", "change"):
        assert {sample.split for sample in manifest.samples} == {"train", "val", "test"}


def test_files_have_the_types_and_grids_of_their_sensors(world: Path) -> None:
    def info(kind: str, which: int) -> tuple[object, ...]:
        place = Place(kind=kind, index=0, seed=1, size=32)
        header = raster_info(world / kind / KINDS[kind].names(place)[which])
        assert header.crs is not None
        return (header.count, header.height, header.width, header.dtype, header.transform.a, -header.transform.e)

    assert info("sen12ms", 0) == (2, 32, 32, "float32", 10, 10)
    assert info("sen12ms", 1) == (13, 32, 32, "uint16", 10, 10)
    assert info("sen12ms_cr", 2) == (13, 32, 32, "uint16", 10, 10)
    assert info("rgb_dsm", 0) == (3, 32, 32, "uint8", 0.5, 0.5)
    assert info("rgb_dsm", 1) == (1, 32, 32, "float32", 0.5, 0.5)
    assert info("pansharpen", 0) == (8, 8, 8, "uint16", 1.24, 1.24)
    assert info("pansharpen", 1) == (1, 32, 32, "uint16", 0.31, 0.31)


def test_images_of_a_scene_lie_on_the_same_ground_and_scenes_apart(world: Path) -> None:
    corners = set()
    for kind in KINDS:
        for index in range(10):
            place = Place(kind=kind, index=index, seed=1, size=32)
            headers = [raster_info(world / kind / name) for name in KINDS[kind].names(place)]
            bounds = {
                (
                    header.crs.to_epsg(),
                    header.transform.c,
                    header.transform.f,
                    round(header.transform.a * header.width, 6),
                )
                for header in headers
            }
            assert len(bounds) == 1
            corners |= bounds
    assert len(corners) == 10 * len(KINDS)


def test_the_offset_is_in_the_files_and_nowhere_else(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path / "late", scenes=1, seed=1, size=32, kinds=("sen12ms_cr",), offset=1000)
    place = Place(kind="sen12ms_cr", index=0, seed=1, size=32)
    for name in KINDS["sen12ms_cr"].names(place):
        plain, late = (read_bands(root / "sen12ms_cr" / name).data for root in (world, tmp_path / "late"))
        shift = 1000 if "_s2_" in name else 0
        np.testing.assert_array_equal(late, plain + np.array(shift, plain.dtype))


def test_the_cloudy_twin_differs_only_under_clouds_and_in_their_shadow(world: Path) -> None:
    red = 3
    for index in range(10):
        place = Place(kind="sen12ms_cr", index=index, seed=1, size=32)
        _, clear, cloudy, mask = (
            read_bands(world / "sen12ms_cr" / name).data.astype(int) for name in KINDS["sen12ms_cr"].names(place)
        )
        thick = mask[0] == 1
        assert thick.any()
        assert (cloudy[red] - clear[red])[thick].mean() > 300
    assert set(np.unique(mask)) <= {0, 1, 2}


def test_a_table_tells_what_each_scene_is(world: Path) -> None:
    with (world / "sen12ms" / "scenes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["scene"]) for row in rows] == list(range(10))
    assert [row["season"] for row in rows[:4]] == ["spring", "summer", "fall", "winter"]
    assert all((world / "sen12ms" / row["file"]).is_file() for row in rows)
    assert all(10 < float(row["sun_elevation"]) < 80 for row in rows)
    assert json.loads((world / "world.json").read_text())["seed"] == 1


@pytest.mark.parametrize(
    "wrong", [{"scenes": 0}, {"size": 16}, {"size": 50}, {"seed": -1}, {"kinds": ("sen12",)}, {"offset": 100_000}]
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"scenes": 1, "seed": 0, "size": 64} | wrong
    with pytest.raises(InputError, match=str(next(iter(wrong))) if "kinds" not in wrong else "sen12'"):
        write_world(tmp_path / "world", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_other_things_in_the_folder_are_left_alone(world: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="choose another folder"):
        write_world(tmp_path, scenes=1, seed=0, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="another world"):
        write_world(world, scenes=1, seed=1, size=64)


def test_a_run_that_another_holds_off_leaves_no_record(tmp_path: Path) -> None:
    out = tmp_path / "world"
    with lock_folder(out):
        with pytest.raises(InputError, match="another run is writing"):
            write_world(out, scenes=1, seed=1, size=32, kinds=("rgb",))
        assert [path.name for path in out.iterdir()] == [".lock"]
    assert write_world(out, scenes=1, seed=2, size=32, kinds=("rgb",)) == 1


def test_what_a_run_leaves_that_is_killed_at_once_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".world.json.123.tmp").write_text("{")
    write_world(tmp_path, scenes=1, seed=1, size=32, kinds=("rgb",))
    assert not list(tmp_path.rglob(".*"))


def test_the_command_says_how_to_index_each_data_set(tmp_path: Path) -> None:
    out = tmp_path / "world"
    arguments = [
        "data",
        "synth",
        str(out),
        "--scenes",
        "2",
        "--size",
        "32",
        "--kinds",
        "rgb_dsm,change",
        "--workers",
        "0",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "4 of them are new" in result.output
    commands = [line.split()[1:] for line in result.output.splitlines() if line.strip().startswith("msgfm data index")]
    assert len(commands) == 2
    for command in commands:
        indexed = CliRunner().invoke(app, [*command, "--out", str(tmp_path / f"{command[2]}.parquet")])
        assert indexed.exit_code == 0, indexed.output
    assert CliRunner().invoke(app, ["data", "synth", str(out), "--kinds", "moon"]).exit_code == 2
