"""Opens what a recipe names: manifests, or shards as manifests; and looks whether their files are still there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from msgfm.data.records import Manifest, read_manifest
from msgfm.data.shards.cache import CacheLimits
from msgfm.data.shards.chunks import is_place
from msgfm.data.shards.read import is_shards, open_shards
from msgfm.data.shards.storage import as_location
from msgfm.errors import InputError
from msgfm.sensors import Sensor

Location = Annotated[Path | str, BeforeValidator(as_location)]
"""In a recipe: a manifest's file, or the folder or `s3://bucket/prefix` of shards."""


def open_manifest(location: Path | str, limits: CacheLimits | None = None) -> Manifest:
    """A manifest, or shards as one; `limits` are for shards on S3."""
    return open_shards(location, limits) if is_shards(location) else read_manifest(Path(location))


def require_files(manifest: Manifest, who: str) -> None:
    """A manifest whose data were moved or deleted is refused before training starts; one look per folder.

    Args:
        manifest: any.
        who: what of the recipe names it, for the message.

    Raises:
        InputError: a folder lacks files.
    """
    folders: dict[Path, Path] = {}
    for sample in manifest.samples:
        for image in sample.images:
            for file in image.files:
                if is_place(file.path):  # `open_shards` has looked at the chunks
                    continue
                path = manifest.root / file.path
                folders.setdefault(path.parent, path)
    gone = [path for path in folders.values() if not path.is_file()]
    if gone:
        raise InputError(
            f"{who}: {gone[0]} is gone ({len(gone)} of {len(folders)} folders that the manifest names lack "
            f"files); put the data back below {manifest.root}, or index again with `msgfm data index`"
        )


def agree_on_cards(manifests: Iterable[tuple[str, Manifest]]) -> dict[str, Sensor]:
    """Each sensor's card once; files of two manifests may store it differently (offset, scale).

    Args:
        manifests: each with what of the recipe names it, for the message; empty where nothing does.

    Raises:
        InputError: two manifests have different cards under one name.
    """
    cards: dict[str, Sensor] = {}
    for who, manifest in manifests:
        for name, card in manifest.sensors.items():
            if cards.setdefault(name, card).without_storage() != card.without_storage():
                fields = [key for key in Sensor.model_fields if getattr(cards[name], key) != getattr(card, key)]
                where = f" ({who} and an earlier one)" if who else ""
                raise InputError(
                    f"sensor {name} has two cards that differ in {', '.join(fields)}{where}; index all manifests with "
                    f"one card, or give one of the sensors another name"
                )
    return cards
