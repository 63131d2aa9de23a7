"""Environment of the tests, and the pack of real images where there is one."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor

# Set before anything imports torch, which reads them once. Subprocesses inherit them.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # a thread per worker: workers that each take all cores slow each other down
    os.environ["MKL_NUM_THREADS"] = "1"
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what torch's deterministic algorithms ask for on CUDA
os.environ["COLUMNS"] = "120"  # rich wraps messages at the terminal's width
os.environ["NO_COLOR"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "disabled"

_BESIDE = Path(__file__).parents[2] / "shared" / "data"
_HOW = "set MSGFM_REAL_DATA=FOLDER to run them"
_LEFT_OUT = "no real images"


def _find_real_data() -> Path | None:
    """The folder in $MSGFM_REAL_DATA, else ../shared/data. Set but empty means: leave those tests out."""
    named = os.environ.get("MSGFM_REAL_DATA")
    if named is None:
        return _BESIDE if _BESIDE.is_dir() else None
    if named and not Path(named).is_dir():
        raise pytest.UsageError(f"MSGFM_REAL_DATA={named}: no such folder; unset it to leave the real_data tests out")
    return Path(named).resolve() if named else None


# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every command that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

_REAL_DATA = _find_real_data()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; its README.md describes them."""
    assert _REAL_DATA is not None, "tests that take this fixture are skipped where there are no real images"
    return _REAL_DATA


@pytest.fixture(scope="session")
def load_golden() -> Callable[[str], dict[str, Tensor]]:
    """Reads a file of numbers of a public implementation, by name; skips the test where there is none."""
    folder = Path(os.environ.get("MSGFM_GOLDEN", _BESIDE.with_name("golden")))

    def load(name: str) -> dict[str, Tensor]:
        from safetensors.torch import load_file

        path = folder / f"{name}.safetensors"
        if not path.is_file():
            pytest.skip(f"no golden file {path}; set MSGFM_GOLDEN=FOLDER")
        return load_file(path)

    return load


@pytest.fixture(scope="session")
def disk_full_after() -> Callable[[int], AbstractContextManager[None]]:
    """A block in which no file can grow beyond so many bytes: writing fails with an error of the system."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")
        if _REAL_DATA is None and item.get_closest_marker("real_data"):
            item.add_marker(pytest.mark.skip(reason=f"{_LEFT_OUT}; {_HOW}"))
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_tests:
        import torch

        if not torch.cuda.is_available():
            for item in gpu_tests:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_report_header() -> str:
    return f"real images: {_REAL_DATA or f'none, the real_data tests are left out; {_HOW}'}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says at the end, where it is read, what did not run."""
    left_out = sum(_LEFT_OUT in str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    if left_out:
        terminalreporter.write_line(f"{left_out} real_data tests were left out: {_LEFT_OUT}; {_HOW}", yellow=True)
