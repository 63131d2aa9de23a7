"""What benchmarks/data_loading.py says of the memory of a process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def test_growth_is_told_from_steps_of_different_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of a large batch takes more memory than one of a small batch; samples hit either by chance."""
    pytest.importorskip("torchgeo")
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    from data_loading import growth

    rng = np.random.default_rng(0)
    steps = np.linspace(1, 2400, 480).astype(int)
    starting = np.minimum(steps - 600, 0) * 0.1
    for slope in (0, 50):
        memory = 900 + starting + slope * steps / 1000 + rng.choice([0, 130], 480) + rng.normal(0, 2, 480)
        found = growth(list(zip(steps.tolist(), memory.tolist(), strict=True)))
        assert abs(found["slope_per_1000_steps"] - slope) < 5
        assert found["standard_error"] < 3
        assert found["last_part"] - found["first_part"] == pytest.approx(slope * 1.08, abs=6)
