"""Scenes behind addresses: the same bytes as from files, and servers that stop answering in the middle of a run."""

from __future__ import annotations

import json

import pytest
from file_server import DROP, HANG, serve
from scene_commands import cut_small, invoke, refused
from scene_data import reflectance, write
from small_downstream import describe

from msgfm.errors import InputError
from msgfm.geo.network import Network, unsigned, without_secrets
from msgfm.geo.source import RasterSource
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import save_pretrained
from msgfm.scenes.parts import parts_beside
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").band_names


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "copy"
    copy = {"backbone": {"kind": "rule", "rule": "copy"}}
    save_pretrained(DownstreamModel(describe("restoration", ["sentinel2@cloudy"], **copy)), folder)
    return folder


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """A scene of 4096 rows, and what is made of it from the file."""
    folder = tmp_path_factory.mktemp("files")
    stored = reflectance(4096, 32, count=13)
    write(folder / "s2.tif", stored, names=S2, nodata=0, block=32, compress="deflate", interleave="pixel")
    with pytest.MonkeyPatch.context() as monkeypatch:
        cut_small(monkeypatch)
        invoke(*command(model, folder / "s2.tif", folder / "expected.tif"))
    return folder


def command(model, place, out):
    return ["predict", model, "--sentinel2", place, "--window", 32, "--overlap", 0, "--out", out]


@pytest.mark.parametrize("failure", [pytest.param(HANG, marks=pytest.mark.slow), DROP, "404", "403", "500"])
def test_a_server_that_stops_in_the_middle(model, files, tmp_path, monkeypatch, failure):
    cut_small(monkeypatch)
    for name, value in {"TIMEOUT": 1, "MAX_RETRY": 1, "RETRY_DELAY": 0.05}.items():
        monkeypatch.setenv(f"GDAL_HTTP_{name}", str(value))
    monkeypatch.setattr("msgfm.geo.source.sleep", lambda seconds: None)
    out, broken = tmp_path / "clear.tif", [True]

    def fail():
        return failure if broken[0] and any(parts_beside(out).glob("*.tif")) else ""

    with serve(files, fail) as address:
        place = f"{address}/s2.tif"
        told = refused(*command(model, place, out))
        assert place in told
        assert "look at the address, or try later. What is done is kept: the same command with --resume goes on" in told
        assert [path.name for path in tmp_path.iterdir()] == [parts_beside(out).name]
        done = len(list(parts_beside(out).glob("*.tif")))
        assert 0 < done < 64, "it stopped in the middle"
        assert place in refused(*command(model, place, out), "--resume"), "it does not answer yet"
        assert len(list(parts_beside(out).glob("*.tif"))) >= done, "what is done is kept"
        broken[0] = False
        invoke(*command(model, place, out), "--resume")
    assert out.read_bytes() == (files / "expected.tif").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clear.json", "clear.qml", "clear.tif"]


@pytest.mark.parametrize("failure", [DROP, "404", "500"])
def test_a_request_that_fails_once_stops_nothing(model, files, tmp_path, monkeypatch, failure):
    cut_small(monkeypatch)
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    monkeypatch.setattr("msgfm.geo.source.sleep", lambda seconds: None)
    out, failed = tmp_path / "clear.tif", []

    def fail_once():
        if failed or not any(parts_beside(out).glob("*.tif")):
            return ""
        failed.append(failure)
        return failure

    with serve(files, fail_once) as address:
        invoke(*command(model, f"{address}/s2.tif", out))
    assert failed
    assert out.read_bytes() == (files / "expected.tif").read_bytes()


def test_a_signature_is_neither_kept_nor_shown_and_may_be_another_when_it_goes_on(model, files, tmp_path, monkeypatch):
    cut_small(monkeypatch)
    monkeypatch.setattr("msgfm.geo.source.sleep", lambda seconds: None)
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    out, broken = tmp_path / "clear.tif", [True]

    def fail():
        return "403" if broken[0] and any(parts_beside(out).glob("*.tif")) else ""

    with serve(files, fail) as address:
        signed = address.replace("//", "//me:password@") + "/s2.tif"
        refused(*command(model, f"{signed}?part=1&sig=first&se=2026", out))
        broken[0] = False
        assert "inputs was" in refused(*command(model, f"{signed}?part=2&sig=first&se=2026", out), "--resume")
        invoke(*command(model, f"{signed}?part=1&sig=second&se=2027", out), "--resume")
        page = tmp_path / "page.html"
        invoke("preview", f"{signed}?sig=second", out, "--out", page)
        told = [link["href"] for link in json.loads(out.with_suffix(".json").read_text())["links"]]
        assert told == [f"{address}/s2.tif"]
    for secret in ("password", "sig=", "second"):
        assert secret not in page.read_text()
    assert out.read_bytes() == (files / "expected.tif").read_bytes()


@pytest.mark.parametrize(
    ("place", "shown", "stays"),
    [
        ("https://me:secret@a.b/c.tif?sig=x#y", "https://a.b/c.tif", "https://me:secret@a.b/c.tif"),
        ("s3://bucket/c.tif?X-Amz-Signature=x&v=2", "s3://bucket/c.tif", "s3://bucket/c.tif?v=2"),
        ("/vsicurl/https://a.b/c.tif?se=1&item=7", "/vsicurl/https://a.b/c.tif", "/vsicurl/https://a.b/c.tif?item=7"),
        ("a?b/c#d.tif", "a?b/c#d.tif", "a?b/c#d.tif"),
    ],
)
def test_what_of_an_address_is_kept(place, shown, stays):
    assert without_secrets(place) == shown
    assert unsigned(place) == stays


def test_an_address_whose_file_has_changed_is_not_read_on(files, tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "s2.tif").write_bytes((files / "s2.tif").read_bytes())
    failing = [""]
    network = Network(retries=1, wait_s=0)
    with serve(folder, lambda: failing[0]) as address, RasterSource(f"{address}/s2.tif", network) as source:
        write(folder / "s2.tif", reflectance(4096, 48, count=13), names=S2)
        failing[0] = DROP
        with pytest.raises(InputError, match=r"s2\.tif"):
            source.read([1], (3000, 0, 32, 32))
        failing[0] = ""
        with pytest.raises(InputError, match="has changed"):
            source.read([1], (3000, 0, 32, 32))
