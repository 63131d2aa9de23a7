"""What the commands on data sets refuse and say, with the remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.data.layouts import LayoutOptions, index_layout
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
