"""Commands on scenes, run for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from msgfm.cli import app


def invoke(*arguments: object) -> str:
    """What a command that ends well says."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object) -> str:
    """What a command says that refuses its input, on one line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def read(path: Path) -> np.ndarray[Any, Any]:
    """All bands as they are stored."""
    with rasterio.open(path) as source:
        stored: np.ndarray[Any, Any] = source.read()
    return stored


def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has results made of small parts, in narrow stripes."""
    monkeypatch.setattr("msgfm.scenes.parts._PART_BYTES", 1)  # 64 rows each
    monkeypatch.setattr("msgfm.scenes.parts._PART_ROWS", 16)
    monkeypatch.setattr("msgfm.scenes.parts._STRIPE_PX", 32)
    monkeypatch.setattr("msgfm.scenes.parts._BLOCK_PX", 16)
