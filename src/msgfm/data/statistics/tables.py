"""Measured statistics for the eye (tables) and for programs (JSON)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from msgfm.data.statistics.bands import BandStatistics
from msgfm.data.statistics.classes import ClassCounts
from msgfm.data.statistics.measure import Measurement, SensorStatistics
from msgfm.files import write_atomically

_SHOWN = (1, 50, 99)


def statistics_table(measured: SensorStatistics) -> Table:
    """One line for each band."""
    title = f"{measured.sensor.name}, {measured.images} images"
    table = Table(title=title, title_justify="left", caption=_caption(measured), caption_justify="left")
    table.add_column("band")
    for heading in ("mean", "std", "min", *(f"{percent} %" for percent in _SHOWN), "max", "with data"):
        table.add_column(heading, justify="right")
    for name, found in measured.bands.items():
        table.add_row(name, *(f"{number:.5g}" for number in _shown(found)), f"{found.valid_share:.1%}")
    return table


def class_tables(counts: ClassCounts) -> list[Table]:
    """One table of labels and one of masks, where there are any."""
    tables = []
    if counts.labels:
        title = f"labels, {counts.samples} samples"
        tables.append(_shares(title, "samples", counts.labels, counts.samples, "a sample may have several classes"))
    if counts.masks:
        rest = 1 - counts.labelled / counts.mask_pixels
        caption = f"{rest:.1%} of {counts.mask_pixels} pixels are of no class; shares are of the others"
        tables.append(_shares(f"masks, {counts.masks}", "pixels", counts.pixels, counts.labelled, caption))
    return tables


def _shares(title: str, what: str, counts: Mapping[str, int], total: int, caption: str) -> Table:
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("class")
    for heading in (what, "share"):
        table.add_column(heading, justify="right")
    for name, number in counts.items():
        table.add_row(name, str(number), f"{number / max(total, 1):.2%}")
    return table


def write_json(path: Path, measurement: Measurement, about: Mapping[str, Any]) -> None:
    """Writes all that was measured; null stands for what no pixel has data for.

    Args:
        path: of the file.
        measurement: the numbers.
        about: what they were measured on, put before them.
    """
    sensors = {
        name: {
            "images": measured.images,
            "bands": {band: _plain(found) for band, found in measured.bands.items()},
        }
        for name, measured in measurement.sensors.items()
    }
    content = {**about, "left_out": measurement.left_out, "sensors": sensors, **_plain_classes(measurement.classes)}
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _plain_classes(counts: ClassCounts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if counts.labels:
        shares = {name: {"samples": number, "share": number / counts.samples} for name, number in counts.labels.items()}
        found["labels"] = {"samples": counts.samples, "classes": shares}
    if counts.masks:
        labelled = counts.labelled
        shares = {
            name: {"pixels": number, "share": number / max(labelled, 1)} for name, number in counts.pixels.items()
        }
        found["masks"] = {
            "masks": counts.masks,
            "pixels": counts.mask_pixels,
            "not_labelled": counts.mask_pixels - labelled,
            "classes": shares,
        }
    return found


def _caption(measured: SensorStatistics) -> str:
    """Which of the columns are as the model sees the values."""
    sensor = measured.sensor
    done = [word for word, is_done in (("clipped", sensor.clip), ("centred", sensor.centre == "image")) if is_done]
    return f"mean and std: {' and '.join(done)}, as the model sees the values" if done else ""


def _shown(found: BandStatistics) -> tuple[float, ...]:
    middle = (found.percentiles[percent] for percent in _SHOWN)
    return (found.mean, found.std, found.minimum, *middle, found.maximum)


def _plain(found: BandStatistics) -> dict[str, Any]:
    numbers = {
        "mean": found.mean,
        "std": found.std,
        "min": found.minimum,
        "max": found.maximum,
        **{f"p{percent}": value for percent, value in found.percentiles.items()},
    }
    known = {name: None if math.isnan(value) else value for name, value in numbers.items()}
    return {"pixels": found.count, "valid_share": found.valid_share, "in_files": found.in_files, **known}
