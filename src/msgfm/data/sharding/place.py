"""Whether a folder may be written to: neither anybody's files nor the samples' own source are written over."""

from __future__ import annotations

import re
from pathlib import Path

from msgfm.data.records import Manifest
from msgfm.data.shards.chunks import LITDATA_INDEX, is_place
from msgfm.data.shards.index import INDEX, MANIFEST
from msgfm.errors import InputError

_CHUNK = re.compile(r"chunk-0-\d+\.bin")
_NOTE = re.compile(r"\.chunk-0-\d+\.bin\.json")


def require_own_folder(manifest: Manifest, folder: Path) -> None:
    """Sees to it that a folder is new, empty or of shards; hidden files of others may lie in it.

    Raises:
        InputError: it holds something else, or the very shards that the manifest's samples come from.
    """
    if manifest.root.resolve() == folder.resolve() and is_place(manifest.samples[0].images[0].files[0].path):
        raise InputError(f"{folder} holds the shards that the manifest lists; choose an empty or new folder")
    if not folder.is_dir():
        return
    names = {path.name for path in folder.iterdir()}
    if INDEX in names or any(_NOTE.fullmatch(name) for name in names):
        return
    chunks = {name for name in names if _CHUNK.fullmatch(name)}
    # without a chunk, a manifest is one of files, maybe the one that is being packed
    others = sorted(
        name for name in names - chunks - ({MANIFEST, LITDATA_INDEX} if chunks else set()) if not name.startswith(".")
    )
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise InputError(f"{folder} holds {others[0]}{more}, but no shards; choose an empty or new folder")
