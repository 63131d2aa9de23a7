"""What the numbers of a map of classes mean, where the file or the STAC item beside it says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgfm.geo.facts import RasterFacts
from msgfm.geo.spec import tagged_classes

_CLASSES = "classification:classes"  # STAC's extension: a list of {value, name, ...}


def class_names(facts: RasterFacts) -> dict[int, str]:
    """Names by number; none where neither the file's tags nor such an item say any."""
    if tagged := tagged_classes(facts.tags):
        return tagged
    beside = Path(facts.place).with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        item = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # another program's file
        return {}
    assets = item.get("assets") if isinstance(item, dict) else None
    of_file = [
        asset
        for asset in (assets.values() if isinstance(assets, dict) else ())
        if isinstance(asset, dict) and Path(str(asset.get("href"))).name == Path(facts.place).name
    ]
    return {
        entry["value"]: str(entry.get("title") or entry.get("name") or entry.get("description") or entry["value"])
        for entry in _find(of_file) or _find(item)
        if isinstance(entry, dict) and isinstance(entry.get("value"), int)
    }


def _find(item: Any) -> list[Any]:
    """The first list of classes anywhere in an item: assets or their bands hold it."""
    if isinstance(item, dict):
        if isinstance(item.get(_CLASSES), list):
            return list(item[_CLASSES])
        item = list(item.values())
    if isinstance(item, list):
        return next(filter(None, map(_find, item)), [])
    return []
