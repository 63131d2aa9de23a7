"""Fetches data sets with TorchGeo (extra `datasets`), and says where those are that it cannot fetch."""

from __future__ import annotations

import difflib
import lzma
import socket
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgfm.errors import InputError

_TIMEOUT_S = 60.0  # of a connection that says nothing; TorchGeo itself waits for ever
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


@dataclass(frozen=True, kw_only=True)
class Download:
    """A data set that TorchGeo fetches.

    Args:
        dataset: its class in `torchgeo.datasets`.
        parts: arguments of the class; each is fetched in turn.
        layout: the layout that indexes it.
        folder: where that finds it, below the folder that it was fetched to.
    """

    dataset: str
    layout: str
    parts: tuple[Mapping[str, str], ...] = ({},)
    folder: str = ""


def _splits(*names: str) -> tuple[Mapping[str, str], ...]:
    return tuple({"split": name} for name in names)


DOWNLOADS = {
    "bigearthnet": Download(dataset="BigEarthNet", layout="bigearthnet"),
    "eurosat": Download(dataset="EuroSAT", layout="eurosat", parts=_splits("train", "val", "test")),
    "levir-cd": Download(dataset="LEVIRCD", layout="levir-cd"),
    "levir-cd-plus": Download(dataset="LEVIRCDPlus", layout="levir-cd", folder="LEVIR-CD+"),
    "mdas": Download(dataset="MDAS", layout="mdas"),
    "oscd": Download(dataset="OSCD", layout="oscd"),
    "spacenet2": Download(dataset="SpaceNet2", layout="spacenet2", parts=_splits("train", "test")),
    "ssl4eo-s12": Download(dataset="SSL4EOS12", layout="ssl4eo-s12", parts=_splits("s1", "s2c", "s2a")),
    "ucmerced": Download(dataset="UCMerced", layout="ucmerced"),
}
ELSEWHERE = {
    "bigearthnet-v2": "zenodo.org/records/10891137 (TorchGeo 0.8 names the parts of its archives wrongly)",
    "dsifn": "github.com/GeoZcx/A-deeply-supervised-image-fusion-network-for-change-detection-in-remote-sensing-images",
    "geopile": "github.com/mmendiet/GFM, which links to it",
    "millionaid": "captain-whu.github.io/DiRS",
    "potsdam": "www.isprs.org/education/benchmarks/UrbanSemLab, on request",
    "sen12ms": "mediatum.ub.tum.de/1474000 (FTP), and its lists from github.com/schmitt-muc/SEN12MS, folder splits",
    "sen12ms-cr": "mediatum.ub.tum.de/1554803",
    "sen1floods11": "the bucket gs://sen1floods11, as github.com/cloudtostreet/Sen1Floods11 says",
    "terramesh": "huggingface.co/datasets/ibm-esa-geospatial/TerraMesh",
    "vaihingen": "www.isprs.org/education/benchmarks/UrbanSemLab, on request",
    "whu-buildings": "gpcv.whu.edu.cn/data/building_dataset.html",
}


def download(name: str, root: Path) -> Path:
    """Fetches a data set, checks its MD5 sums and unpacks it.

    Args:
        name: a key of `DOWNLOADS`.
        root: the folder that it goes to; made where it is not there.

    Returns:
        The folder that its layout indexes.

    Raises:
        InputError: no such data set, one that TorchGeo does not fetch, no TorchGeo, no network, no space, a file that
            is not what it should be, or an earlier attempt that did not end.
    """
    if name not in DOWNLOADS:
        raise InputError(_what_there_is(name))
    source = DOWNLOADS[name]
    try:
        import torchgeo.datasets
    except ImportError as error:
        raise InputError(f"downloads need TorchGeo ({error}): pip install 'msgfm[datasets]'") from error
    dataset = getattr(torchgeo.datasets, source.dataset)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _marked(root, name), _impatient():
            for part in source.parts:
                dataset(root, **part, download=True, checksum=True)
    except _BROKEN as error:
        raise InputError(f"{name}: an archive in {root} is broken ({error}); remove it and start again") from error
    except (OSError, RuntimeError, torchgeo.datasets.DependencyNotFoundError) as error:
        raise InputError(f"{name} could not be fetched to {root}: {error}; is there a network, and space?") from error
    return root / source.folder


def _what_there_is(name: str) -> str:
    names = ", ".join(DOWNLOADS)
    if name in ELSEWHERE:
        return f"{name} cannot be fetched this way; get it from {ELSEWHERE[name]}. These can: {names}"
    near = difflib.get_close_matches(name, [*DOWNLOADS, *ELSEWHERE], n=1)
    return f"no data set {name!r}: {f'did you mean {near[0]!r}? ' if near else ''}there are {names}"


@contextmanager
def _marked(root: Path, name: str) -> Iterator[None]:
    """Leaves a file while it works. TorchGeo takes a folder that was unpacked in part for the whole data set."""
    marker = root / f".{name}.incomplete"
    if marker.exists():
        raise InputError(
            f"an earlier download to {root} did not end, and what it unpacked may not be whole: remove that and "
            f"{marker}, keep the archives, and start again"
        )
    marker.touch()
    try:
        yield
    except BaseException:
        if [path for path in root.iterdir() if path != marker] == []:
            marker.unlink()
        raise
    marker.unlink()


@contextmanager
def _impatient() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
