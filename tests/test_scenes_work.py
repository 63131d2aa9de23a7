"""The work on a scene elsewhere: one run at a time, nothing twice, nothing for a run that is over; how runs stop."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from rich.progress import Progress
from scene_commands import refused
from scene_data import reflectance, write
from small_downstream import describe
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.data.processes import fresh_processes
from msgfm.errors import InputError
from msgfm.geo.tiling import Area
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import save_pretrained
from msgfm.scenes import work
from msgfm.scenes.inputs.scene import Scene
from msgfm.scenes.parts import open_parts, parts_beside, remove_parts
from msgfm.scenes.products import RestoredImage
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").band_names
RUN = [Area(top=top, bottom=top + 5, left=0, right=5) for top in range(0, 50, 5)]


def test_threads_of_a_worker_take_turns(tmp_path, monkeypatch):
    """A cluster's worker may have several; the scene that it holds open is for one."""
    at_work, most = [], []

    def do_run(work, run, product, scene, clock):
        at_work.append(run)
        most.append(len(at_work))
        time.sleep(0.01)
        at_work.pop()
        yield 1

    monkeypatch.setattr(work, "do_run", do_run)
    monkeypatch.setattr(work, "_opened", lambda work: (None, None))
    job = SimpleNamespace(parts=open_parts(tmp_path / "out.tif", ["result"], {}, resume=False))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: work.do_run_elsewhere(job, [part]), RUN))
    assert most == [1] * len(RUN)


def test_of_a_run_that_was_lost_with_its_worker_only_the_rest_is_done(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(work, "do_run", lambda work, run, *_: iter(done.extend(run) or [1]))
    monkeypatch.setattr(work, "_opened", lambda work: (None, None))
    parts = open_parts(tmp_path / "out.tif", ["result", "entropy"], {}, resume=False)
    for part in RUN[:4]:
        for layer in parts.layers:
            parts.file(layer, part).touch()
    parts.file("result", RUN[4]).touch()  # the worker was killed between the two
    work.do_run_elsewhere(SimpleNamespace(parts=parts), RUN)
    assert done == RUN[4:]


def test_a_worker_that_outlives_its_run_writes_nothing(tmp_path):
    out = tmp_path / "out.tif"
    old = open_parts(out, ["result"], {"window": 32}, resume=False)
    old.require_plan()
    remove_parts(out)
    with pytest.raises(InputError, match="no folder"):
        old.require_plan()
    open_parts(out, ["result"], {"window": 48}, resume=False)
    with pytest.raises(InputError, match="another run"):
        old.require_plan()
    assert not list(parts_beside(out).glob("*.tif"))


def _wait(seconds):
    time.sleep(seconds)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, InputError])
def test_processes_end_at_once_where_nobody_is_to_wait_for_them(stop):
    with pytest.raises(stop), fresh_processes(1, patient=False) as pool:
        begun = pool.submit(_wait, 600)
        while not begun.running():
            time.sleep(0.01)
        raise stop("now")
    assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "copy"
    copy = {"backbone": {"kind": "rule", "rule": "copy"}}
    save_pretrained(DownstreamModel(describe("restoration", ["sentinel2@cloudy"], **copy)), folder)
    return folder


def test_the_scene_is_closed_when_nobody_works_on_it_any_more(model, tmp_path, monkeypatch):
    """Ctrl-C may come where the bar is drawn, while threads are at work: to close files then may be a crash."""
    scene = write(tmp_path / "s2.tif", reflectance(640, 32, count=13), names=S2, nodata=0)
    begun, working, closed_with = threading.Event(), [], []
    predict, close = RestoredImage.predict, Scene.close

    def slow(self, images):
        working.append(1)
        begun.set()
        time.sleep(0.2)
        found = predict(self, images)
        working.pop()
        return found

    def closing(self):
        closed_with.append(len(working))
        close(self)

    def stopped(*_):
        assert begun.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(RestoredImage, "predict", slow)
    monkeypatch.setattr(Scene, "close", closing)
    monkeypatch.setattr(Progress, "advance", stopped)
    command = ["predict", model, "--sentinel2", scene, "--window", 32, "--out", tmp_path / "out.tif"]
    result = CliRunner().invoke(app, [str(word) for word in command])
    assert result.exit_code == 130
    assert "--resume" in result.output
    assert closed_with == [0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s2.tif"], "nothing was finished, nothing is left"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere", "tcp://127.0.0.1:port", "silent"])
def test_a_scheduler_that_does_not_answer_is_told(model, tmp_path, monkeypatch, address):
    monkeypatch.setattr("msgfm.scenes.execute._PATIENCE_S", 1.0)
    scene = write(tmp_path / "s2.tif", reflectance(40, 40, count=13), names=S2, nodata=0)
    command = ["predict", model, "--sentinel2", scene, "--window", 32, "--out", tmp_path / "out.tif"]
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes calls, and says nothing
        if address == "silent":
            address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        told = refused(*command, "--dask", address)
    assert f"--dask {address}: no scheduler answers there" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s2.tif"]
