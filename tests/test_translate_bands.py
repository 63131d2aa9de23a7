"""`msgfm translate --bands`: what the message about nameless bands tells the user to write is taken."""

from __future__ import annotations

import re

import rasterio
from scene_data import backscatter, write
from small_downstream import pretrained
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.models.pretrained import save_pretrained


def test_the_remedy_for_files_without_names_works(tmp_path):
    save_pretrained(pretrained("sentinel1", "sentinel2"), tmp_path / "model")
    nameless = write(tmp_path / "s1.tif", backscatter(40, 40))
    command = ["translate", str(tmp_path / "model"), str(nameless), "--from", "sentinel1", "--to", "sentinel2"]
    command += ["--window", "32", "--out", str(tmp_path / "like.tif")]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2, refused.output
    remedy = re.search(r"--bands (\S+)", " ".join(refused.output.split()))
    assert remedy is not None
    done = CliRunner().invoke(app, [*command, "--bands", remedy[1]], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "like.tif") as written:
        assert written.shape == (40, 40)
    # the short form, as there is one sensor alone
    done = CliRunner().invoke(app, [*command, "--bands", "VV,VH", "--overwrite"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
