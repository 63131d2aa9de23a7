"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgfm.errors import InputError

LOCK = ".lock"
"""In a folder that a process holds (`lock_folder`)."""
_LONGEST_NAME = 200  # bytes: file systems take 255, and temporary names and names of layers are longer


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


@contextmanager
def write_folder_atomically(path: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `path`, which takes its place with all that it holds when the block ends well.

    Raises:
        InputError: the disk is full or the folder cannot be written; what stood at `path` before still stands.
    """
    temporary, before = (path.with_name(f".{path.name}.{os.getpid()}.{kind}.tmp") for kind in ("new", "old"))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rename(before)
        temporary.rename(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; {_remedy(error)} (what was there before is untouched)"
        ) from error
    finally:
        if before.exists() and not path.exists():
            before.rename(path)
        for left in (temporary, before):
            shutil.rmtree(left, ignore_errors=True)


def _remedy(error: OSError) -> str:
    # libraries that write by themselves (safetensors, torch) tell a full disk without its number
    if error.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space or choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "get permission to write there or choose another folder"
    return "choose another path"


def remove_unfinished(path: Path) -> None:
    """Removes what was left of a file, or of all files and folders below a folder, when their writer was killed.

    That is what `write_atomically` and `write_folder_atomically` had begun. To be called by who holds the lock on the
    folder, and for what nobody else writes: it would take that away, too.
    """
    for left in list(path.rglob(".*.tmp") if path.is_dir() else path.parent.glob(f".{path.name}.*.tmp")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Tries whether a file can be written at `path`, before the work that it is to hold; leaves nothing behind.

    Raises:
        InputError: it is a folder, lies in one that cannot be made or written, or has a name that is too long.
    """
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; give the name of a file")
    try:
        length = len(path.name.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"cannot write {str(path)!r}: the name is not UTF-8; give another") from error
    if length > _LONGEST_NAME:
        raise InputError(f"cannot write {path}: its name has {length} bytes; give one of {_LONGEST_NAME} at most")
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error} ({folder}); {_remedy(error)}") from error


def require_none_read(paths: Iterable[Path], read: Iterable[str | Path]) -> None:
    """Refuses to write what is read: it would be gone, by whatever name it is called.

    Args:
        paths: that are to be written.
        read: files, also such as are not there or have addresses.

    Raises:
        InputError: one of them is among the others.
    """
    there = [place for place in read if os.path.exists(place)]  # `Path` fails at long addresses
    for path in paths:
        if path.exists() and any(path.samefile(place) for place in there):
            raise InputError(
                f"cannot write {path}: it is one of the inputs, which --overwrite does not replace; choose another name"
            )


def require_suffix(path: Path, suffix: str) -> None:
    """Refuses a name that speaks of another kind of file than the one that is written, before the work.

    Raises:
        InputError: with the suffix that it must have.
    """
    if path.suffix.lower() != suffix:
        raise InputError(f"cannot write {path}: give a name that ends in {suffix}, as that is what is written")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other processes out of it until the block ends, or this process does.

    Raises:
        InputError: another process holds it, or it cannot be made.
    """
    path = folder / LOCK
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
