"""Commands on scenes, run for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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
