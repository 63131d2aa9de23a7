"""`msgfm demo`: interrupted, it goes on, and what is half done is taken up."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from small_runs import assert_says, run, started, wait_for_step

import msgfm


@pytest.mark.slow
def test_demo_is_interrupted_goes_on_and_is_complete(tmp_path: Path) -> None:
    arguments = ("demo", "--epochs", 1, "--scenes", 16, "--out", tmp_path / "demo")
    with started(*arguments) as process:
        wait_for_step(tmp_path / "demo", 1, process)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
    assert "stopped by SIGINT" in stderr
    assert "start the demo again" in stderr
    assert not (tmp_path / "demo" / "report.html").exists()

    assert "resuming" in run(*arguments)
    report = (tmp_path / "demo" / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 2
    for direction in ("sentinel1-&gt;sentinel2", "sentinel2-&gt;sentinel1", "rgb-&gt;rgb"):
        assert direction in report
    assert set(msgfm.from_pretrained(tmp_path / "demo").sensors) == {"sentinel1", "sentinel2", "rgb", "dsm"}
    assert_says(run(*arguments), "complete", str(tmp_path / "demo" / "report.html"))


def test_demo_data_that_were_half_indexed_are_taken_up(tmp_path: Path) -> None:
    from msgfm.cli.pretraining import make_demo_data

    manifests = make_demo_data(tmp_path / "data", 8)
    before = {name: path.read_bytes() for name, path in manifests.items()}
    manifests["rgb"].unlink()
    make_demo_data(tmp_path / "data", 8)
    assert {name: path.read_bytes() for name, path in manifests.items()} == before
