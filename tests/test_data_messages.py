"""What the commands on data sets refuse and say, with the remedy."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from small_runs import SCRIPT, assert_says, refused, run
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.data.layouts import LayoutOptions, index_layout
from msgfm.data.reader import read_sample
from msgfm.data.records import read_manifest
from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.geo.raster import write_geotiff


def test_an_option_of_another_layout_is_refused(tmp_path):
    for options, message in (
        (LayoutOptions(tile_size=9), "--tile-size, only mdas"),
        (LayoutOptions(scenes=Path("no.csv")), "--scenes, only pairs"),
        (LayoutOptions(mask_classes=("1=a",)), "--mask-class, only pairs"),
        (LayoutOptions(product="s2a"), "--product, only ssl4eo-s12"),
    ):
        with pytest.raises(InputError, match=message):
            index_layout("image-folder", tmp_path, options)


def test_bands_for_a_layout_other_than_pairs_are_told(tmp_path):
    with pytest.raises(InputError, match="layout `pairs`"):
        index_layout("image-folder", tmp_path, LayoutOptions(sensors=("sentinel1:VH,VV=s1",)))


def test_a_file_name_that_is_not_utf8_is_told(tmp_path):
    write_geotiff(tmp_path / "a.tif", np.zeros((3, 8, 8), np.uint8))
    os.rename(tmp_path / "a.tif", os.fsencode(tmp_path) + b"/caf\xe9.tif")
    with pytest.raises(InputError, match=r"caf\\udce9.tif.*rename"):
        index_layout("image-folder", tmp_path)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "permission"), (errno.EISDIR, "; choose another path")],
)
def test_the_remedy_follows_what_went_wrong(tmp_path, number, remedy):
    with pytest.raises(InputError, match=remedy), write_atomically(tmp_path / "a"):
        raise OSError(number, os.strerror(number))


def test_synth_prints_commands_that_keep_manifests_apart(tmp_path):
    world = tmp_path / "my world"
    command = ["data", "synth", str(world), "--scenes", "1", "--size", "32", "--kinds", "rgb", "--workers", "0"]
    result = CliRunner().invoke(app, command)
    assert f"'{world}/rgb' " in result.stdout
    assert f"--out '{world}/rgb.parquet'" in result.stdout


def test_an_option_that_a_layout_does_not_use_is_refused_with_its_default_too(tmp_path):
    for folder in ("train/A", "train/B", "train/label"):
        write_geotiff(tmp_path / folder / "1.tif", np.zeros((1 if "label" in folder else 3, 8, 8), np.uint8))
    command = ("data", "index", "levir-cd", tmp_path, "--out", tmp_path / "m.parquet", "--check", 0)
    run(*command)
    (tmp_path / "m.parquet").unlink()
    for options, message in (
        (("--tile-size", 384), "takes no --tile-size, only mdas"),
        (("--val-fraction", 0.0), "--val-fraction draws nothing: .* split each sample is in .train."),
        (("--split", "test", "--val-fraction", 0.5), "--split test leaves nothing for --val-fraction"),
        (("--seed", 0), "--seed is of the draws of --val-fraction and --fraction"),
    ):
        assert re.search(message, refused(*command, *options))
        assert not (tmp_path / "m.parquet").exists()
    run(*command, "--fraction", 1, "--seed", 0)


def test_a_setting_that_fits_no_band_is_told_once(tmp_path):
    write_geotiff(tmp_path / "s2" / "1.tif", np.zeros((13, 8, 8), np.uint16))
    command = ("data", "index", "pairs", tmp_path, "--sensor", "sentinel2=s2", "--out", tmp_path / "m.parquet")
    for setting in ("sentinel2.offset=abc", "sentinel2.B02.offset=abc"):
        message = refused(*command, "--set", setting)
        assert len(message.splitlines()) == 1
        assert setting in message and "a valid number" in message
        assert "should be a valid number (got 'abc')" in message and "Input" not in message
    assert "did you mean 'offset'" in refused(*command, "--set", "sentinel2.ofset=1")


@pytest.mark.parametrize("name", ["m.csv", "m", "m.parquet.gz"])
def test_a_manifest_is_parquet_and_named_so(tmp_path, name):
    write_geotiff(tmp_path / "images" / "a.tif", np.zeros((3, 8, 8), np.uint8))
    message = refused("data", "index", "image-folder", tmp_path / "images", "--out", tmp_path / name)
    assert name in message and "ends in .parquet" in message
    assert not (tmp_path / name).exists()


def test_a_seed_without_a_draw_is_refused_before_a_catalogue_is_asked(tmp_path):
    command = ("data", "stac", tmp_path / "gone.json", "--bbox", "1,2,3,4", "--dates", "2024-06-01")
    wanted = ("--sensors", "sentinel2", "--out", tmp_path / "out")
    assert "--seed is of the draw of --val-fraction" in refused(*command, *wanted, "--seed", 0)
    assert "gone.json" in refused(*command, *wanted, "--seed", 0, "--val-fraction", 0.5)


def test_outputs_are_tried_before_the_work(tmp_path, monkeypatch):
    def work(*_, **__):
        raise AssertionError("begun")

    write_geotiff(tmp_path / "images" / "a.tif", np.zeros((3, 8, 8), np.uint8))
    manifest, folder = tmp_path / "m.parquet", tmp_path / "images"
    run("data", "index", "image-folder", folder, "--out", manifest, "--check", 0)
    monkeypatch.setattr("msgfm.data.layouts.index_layout", work)
    monkeypatch.setattr("msgfm.data.statistics.measure", work)
    below_file = folder / "a.tif" / "m.out"
    for command in (
        ("data", "index", "image-folder", folder, "--out"),
        ("data", "stats", manifest, "--json"),
    ):
        assert f"cannot write {folder}: it is a folder" in refused(*command, folder)
        assert f"cannot write {below_file}: Not a directory" in refused(*command, below_file)
    (tmp_path / "card.yaml").mkdir()
    assert "card.yaml: it is a folder" in refused("data", "stats", manifest, "--out", tmp_path / "card.yaml")
    assert f"cannot write {folder / 'a.tif' / 'rgb.yaml'}" in refused(
        "data", "stats", manifest, "--out", folder / "a.tif"
    )


@pytest.mark.parametrize(
    ("work", "command"),
    [
        ("layouts.index_layout", "index image-folder . --out new.parquet"),
        ("records.read_manifest", "stats m.parquet"),
        ("catalogue.find_coincidences", "stac x.json --bbox 1,2,3,4 --dates 2024-06-01 --sensors sentinel2 --out ."),
        ("synthetic.write_world", "synth ."),
        ("shards.verify.verify_shards", "verify ."),
    ],
)
def test_ctrl_c_is_one_line(tmp_path, monkeypatch, work, command):
    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"msgfm.data.{work}", interrupted)
    result = CliRunner().invoke(app, ["data", *command.split()])
    assert result.exit_code == 130
    assert result.stderr.startswith("stopped; ") and result.stderr.count("\n") == 1


def test_ctrl_c_ends_a_command_that_writes(tmp_path):
    command = [SCRIPT, "data", "synth", tmp_path / "world", "--scenes", "10000", "--kinds", "rgb", "--workers", "0"]
    # a group of its own, which gets the signal as a terminal's foreground does
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not any(tmp_path.glob("world/rgb/Images/*/*.tif")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.startswith("stopped; ") and said.count("\n") == 1, said
    assert not list(tmp_path.rglob(".*"))


def test_index_set_changes_what_stored_numbers_mean(tmp_path):
    write_geotiff(tmp_path / "images" / "a.tif", np.full((12, 8, 8), 3000, np.uint16))
    arguments = [
        "data",
        "index",
        "pairs",
        tmp_path,
        "--check",
        0,
        "--sensor",
        "sentinel2_l2a=images",
        "--out",
        tmp_path / "m.parquet",
    ]
    run(*arguments, "--set", "sentinel2_l2a.offset=-1000", "--set", "sentinel2_l2a.B04.offset=0")
    manifest = read_manifest(tmp_path / "m.parquet")
    image = read_sample(manifest.root, manifest.samples[0], manifest.sensors)["sentinel2_l2a"]
    np.testing.assert_allclose(image[[2, 3, 4], 0, 0], [0.2, 0.3, 0.2], rtol=1e-6)
    for setting, message in [
        ("sentinel2.offset=-1000", "no sensor 'sentinel2' here"),
        ("sentinel2_l2a.offset", "write SENSOR.FIELD=VALUE"),
        ("sentinel2_l2a.B04.colour=red", "colour"),
    ]:
        assert_says(refused(*arguments, "--set", setting), message)
