"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgfm.errors import InputError


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`; renames it to `path` when the block ends well, else removes it.

    Raises:
        InputError: the disk is full or the folder cannot be written; what stood at `path` before still stands.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; {_remedy(error)} (what was there before is untouched)"
        ) from error
    finally:
        with suppress(OSError):  # it may be impossible for the reason already told
            temporary.unlink()


def _remedy(error: OSError) -> str:
    # libraries that write by themselves (safetensors, torch) tell a full disk without its number
    if error.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space or choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "get permission to write there or choose another folder"
    return "choose another path"


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other processes out of it until the block ends, or this process does.

    Raises:
        InputError: another process holds it, or it cannot be made.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # who held it before may have deleted the file after it was opened here: that lock keeps nobody out
            if os.fstat(file.fileno()).st_ino != path.stat().st_ino:
                raise FileNotFoundError(path)
        except OSError as error:
            raise InputError(f"another run is writing to {folder}; wait for it, or choose another folder") from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
