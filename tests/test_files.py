"""Atomic writing: a reader sees the whole new file or the old one, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from msgfm.errors import InputError
from msgfm.files import (
    lock_folder,
    remove_unfinished,
    require_writable,
    write_atomically,
    write_folder_atomically,
)

OLD, NEW = b"old" * 10, b"new" * 10_000


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "out.bin"
    path.write_bytes(OLD)
    with write_atomically(path) as temporary:
        temporary.write_bytes(NEW)
        assert path.read_bytes() == OLD
        assert temporary.parent == path.parent, "a rename across file systems would not be atomic"
    assert path.read_bytes() == NEW
    assert files_below(tmp_path) == ["out.bin"]


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path):
    """The name changes hands in one step; the old bytes are not written over."""
    path = tmp_path / "out.bin"
    path.write_bytes(OLD)
    with path.open("rb") as reader:
        with write_atomically(path) as temporary:
            temporary.write_bytes(NEW)
        assert reader.read() == OLD


def test_missing_folders_are_made(tmp_path):
    with write_atomically(tmp_path / "a" / "b" / "out.bin") as temporary:
        temporary.write_bytes(NEW)
    assert files_below(tmp_path) == ["a", "a/b", "a/b/out.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InputError])
def test_an_error_in_the_block_passes_and_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "out.bin"
    path.write_bytes(OLD)
    with pytest.raises(error, match="mine"), write_atomically(path) as temporary:
        temporary.write_bytes(NEW)
        raise error("mine")
    assert path.read_bytes() == OLD
    assert files_below(tmp_path) == ["out.bin"]


@pytest.mark.parametrize("room", [0, 1, 4096, len(NEW) - 1])
def test_a_full_disk_leaves_the_old_file(tmp_path, disk_full_after, room):
    path = tmp_path / "out.bin"
    path.write_bytes(OLD)
    with (
        pytest.raises(InputError, match=r"cannot write .*out\.bin: File too large; free some space"),
        disk_full_after(room),
        write_atomically(path) as temporary,
    ):
        temporary.write_bytes(NEW)
    assert path.read_bytes() == OLD
    assert files_below(tmp_path) == ["out.bin"]


def test_a_disk_with_room_is_written(tmp_path, disk_full_after):
    with disk_full_after(len(NEW)), write_atomically(tmp_path / "out.bin") as temporary:
        temporary.write_bytes(NEW)
    assert (tmp_path / "out.bin").read_bytes() == NEW


def test_a_disk_that_is_really_full(tmp_path):
    """On a file system of 64 KiB, where this process may mount one."""
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        path = tmp_path / "out.bin"
        path.write_bytes(OLD)
        with pytest.raises(InputError, match="No space left on device"), write_atomically(path) as temporary:
            temporary.write_bytes(NEW * 10)
        assert path.read_bytes() == OLD
        assert files_below(tmp_path) == ["out.bin"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_name_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    (tmp_path / "folder").mkdir()
    for path, reason in (
        (tmp_path / "file" / "out.bin", "File exists|Not a directory"),  # a file where the folder should be
        (tmp_path / "file" / "deeper" / "out.bin", "Not a directory"),
        (tmp_path / "folder", "Is a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(InputError, match=reason), write_atomically(path) as temporary:
            temporary.write_bytes(NEW)
    assert files_below(tmp_path) == ["file", "folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with (
        pytest.raises(InputError, match="Permission denied"),
        write_atomically(tmp_path / "out.bin") as temporary,
    ):
        temporary.write_bytes(NEW)
    tmp_path.chmod(0o700)
    assert files_below(tmp_path) == []


def test_the_mode_is_that_of_other_new_files(tmp_path):
    """Others of a group can read the results, as `open` would have it."""
    (tmp_path / "plain").write_bytes(b"")
    with write_atomically(tmp_path / "out.bin") as temporary:
        temporary.write_bytes(NEW)
    assert (tmp_path / "out.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_locked_folder_keeps_others_out_and_is_free_afterwards(tmp_path):
    folder = tmp_path / "run"
    with lock_folder(folder):
        with pytest.raises(InputError, match=f"another run is writing to {folder}"), lock_folder(folder):
            raise AssertionError("two at once")
        assert folder.is_dir()
    with lock_folder(folder):
        pass
    assert files_below(folder) == []


def test_a_lock_on_a_file_that_was_deleted_keeps_nobody_out_and_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    real = fcntl.flock

    def delete_first(file: object, operation: int) -> None:
        (tmp_path / ".lock").unlink()
        (tmp_path / ".lock").touch()  # as the next run would
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", delete_first)
    with pytest.raises(InputError, match="another run is writing"), lock_folder(tmp_path):
        pass


# --- before the work


def test_a_path_that_can_be_written_is_tried_without_a_trace(tmp_path):
    for path in (tmp_path / "a.json", tmp_path / "not" / "yet" / "a.json"):
        require_writable(path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.json").write_text("old")
    require_writable(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == "old"


def test_a_path_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        require_writable(tmp_path)
    with pytest.raises(InputError, match=r"its name has 201 bytes; give one of 200 at most"):
        require_writable(tmp_path / f"{'ä' * 98}x.tif")
    with pytest.raises(InputError, match=r"the name is not UTF-8"):
        require_writable(tmp_path / "a\udcff.tif")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*file/a\.json: Not a directory .*choose another"):
        require_writable(tmp_path / "file" / "a.json")
    with pytest.raises(InputError, match=r"cannot write /proc/none/a\.json"):  # where not even root can
        require_writable(Path("/proc/none/a.json"))


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path):
    for name in ("deep/er/.a.tif.12.tmp", "deep/a.tif", "deep/b.tmp", ".world.json.7.tmp", ".other.json.7.tmp",
                 "deep/.test.7.new.tmp/b.npz", "deep/.test.7.new.tmp/.c.npz.7.tmp"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("deep", "world.json", "nowhere"):
        remove_unfinished(tmp_path / name)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"deep/a.tif", "deep/b.tmp", ".other.json.7.tmp"}


def test_a_folder_takes_the_place_of_another_as_a_whole(tmp_path):
    path = tmp_path / "a" / "folder"
    for names in (["x", "y"], ["y", "z"], []):
        with write_folder_atomically(path) as temporary:
            before = files_below(path) if path.exists() else []
            for name in names:
                (temporary / name).write_bytes(NEW)
            assert (files_below(path) if path.exists() else []) == before
        assert files_below(path) == names
        assert files_below(path.parent) == ["folder", *(f"folder/{name}" for name in names)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InputError])
@pytest.mark.parametrize("when", ["writing", "swapping"])
def test_an_error_leaves_the_old_folder(tmp_path, monkeypatch, error, when):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "x").write_bytes(OLD)
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if target == path and self.name.endswith(".new.tmp"):
            raise error("mine")
        return rename(self, target)

    if when == "swapping":
        monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(error, match="mine"), write_folder_atomically(path) as temporary:
        (temporary / "x").write_bytes(NEW)
        if when == "writing":
            raise error("mine")
    assert (path / "x").read_bytes() == OLD
    assert files_below(tmp_path) == ["folder", "folder/x"]
