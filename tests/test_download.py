"""Downloads through TorchGeo from a server on loopback: whole, broken, refused, interrupted."""

from __future__ import annotations

import builtins
import functools
import hashlib
import http.server
import inspect
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from layout_trees import index, tif
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.data.download import DOWNLOADS, ELSEWHERE, download
from msgfm.data.layouts import LAYOUTS
from msgfm.errors import InputError

datasets = pytest.importorskip("torchgeo.datasets")


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """EuroSAT's archive and lists, small, where TorchGeo is told to look for them."""
    folder = tmp_path / "server"
    folder.mkdir()
    base = datasets.EuroSAT.base_dir
    with zipfile.ZipFile(folder / "EuroSATallBands.zip", "w") as archive:
        for n in range(3):
            name = f"River_{n}.tif"
            tif(tmp_path / name, 13, 64, 64)
            archive.write(tmp_path / name, f"{base}/River/{name}")
    sums = {}
    for n, split in enumerate(("train", "val", "test")):
        (folder / f"eurosat-{split}.txt").write_text(f"River_{n}.jpg\n")
        sums[split] = md5(folder / f"eurosat-{split}.txt")
    monkeypatch.setattr(datasets.EuroSAT, "split_md5s", sums)
    monkeypatch.setattr(datasets.EuroSAT, "md5", md5(folder / "EuroSATallBands.zip"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(datasets.EuroSAT, "url", f"http://127.0.0.1:{server.server_port}/")
    yield folder
    server.shutdown()
    server.server_close()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_the_command_fetches_what_its_layout_then_indexes(served: Path, tmp_path: Path) -> None:
    root = tmp_path / "data" / "eurosat"
    result = CliRunner().invoke(app, ["data", "download", "eurosat", "--root", str(root)])
    assert result.exit_code == 0, result.output
    assert f"next: msgfm data index eurosat {root}" in " ".join(result.output.split())
    assert index("eurosat", root).splits == {"train": 1, "val": 1, "test": 1}
    assert not list(root.glob(".*"))
    assert download("eurosat", root) == root  # all is there: nothing is fetched


def test_a_file_that_is_not_what_it_should_be(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.EuroSAT, "md5", "0" * 32)
    with pytest.raises(InputError, match=r"eurosat could not be fetched to .*corrupted"):
        download("eurosat", tmp_path / "data")
    with pytest.raises(InputError, match=r"did not end, and what it unpacked may not be whole: remove .*incomplete"):
        download("eurosat", tmp_path / "data")


def test_a_broken_archive_is_named(served: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / "EuroSATallBands.zip").write_bytes((served / "EuroSATallBands.zip").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"an archive in .*data is broken .*; remove it"):
        download("eurosat", root)


def test_no_network_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.EuroSAT, "url", "http://127.0.0.1:9/")  # a port that nobody listens on
    for _ in range(2):
        with pytest.raises(InputError, match=r"eurosat could not be fetched to .*refused.*is there a network"):
            download("eurosat", tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_without_torchgeo_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("torchgeo"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    result = CliRunner().invoke(app, ["data", "download", "eurosat", "--root", str(tmp_path)])
    assert result.exit_code == 2 and "pip install 'msgfm[datasets]'" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sen12ms", r"sen12ms cannot be fetched this way; get it from mediatum.*These can: bigearthnet"),
        ("eurosatt", "no data set 'eurosatt': did you mean 'eurosat'"),
    ],
)
def test_what_cannot_be_fetched(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        download(name, tmp_path)


def test_every_layout_of_a_data_set_says_where_its_data_are() -> None:
    assert {one.layout for one in DOWNLOADS.values()} | set(ELSEWHERE) == set(LAYOUTS) - {"image-folder", "pairs"}
    assert not DOWNLOADS.keys() & ELSEWHERE.keys()


@pytest.mark.parametrize("name", DOWNLOADS)
def test_torchgeos_classes_take_what_they_are_given(name: str) -> None:
    source = DOWNLOADS[name]
    parameters = inspect.signature(getattr(datasets, source.dataset)).parameters
    assert {"root", "download", "checksum"} <= parameters.keys()
    for part in source.parts:
        assert part.keys() <= parameters.keys()


def test_help_lists_them() -> None:
    output = CliRunner().invoke(app, ["data", "download", "--help"]).output
    assert [name for name in DOWNLOADS if name not in output] == []
    output = CliRunner().invoke(app, ["data", "index", "--help"]).output
    assert [name for name in LAYOUTS if name not in output] == []
