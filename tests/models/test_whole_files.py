# SPDX-License-Identifier: GPL-3.0-or-later
"""Files appear whole or not at all, whatever happens while they are written."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
from sparse2dense.models.errors import InputError, S2DError
from sparse2dense.models.whole_files import (
    PARTIAL_PREFIX,
    check_space,
    check_writable,
    staging_folder,
    sweep,
    unwritable,
    whole_file,
    write_whole,
)


def test_a_file_appears_when_it_is_whole_and_replaces_the_one_before(tmp_path):
    path = tmp_path / "new folder" / "clip.s2d"
    write_whole(path, b"first")
    with whole_file(path) as aside:
        assert aside.parent.parent == path.parent and aside.suffix == ".s2d" and not aside.exists()
        aside.write_bytes(b"second")
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["clip.s2d"]


def test_what_fails_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "clip.s2d"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="halfway"), whole_file(path) as aside:
        aside.write_bytes(b"half")
        raise RuntimeError("halfway")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["clip.s2d"]


def test_a_block_that_writes_nothing_is_told(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "nothing.txt"):
        pass
    assert os.listdir(tmp_path) == []


def test_text_is_utf_8_with_its_own_line_ends(tmp_path):
    write_whole(tmp_path / "text.txt", "Tänze 🕺\r\n人\n")
    assert (tmp_path / "text.txt").read_bytes() == "Tänze 🕺\r\n人\n".encode()


def test_a_name_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / ("x" * 251 + ".s2d")
    write_whole(path, b"data")
    assert path.read_bytes() == b"data"


def test_many_writers_of_one_name_leave_one_whole_file(tmp_path):
    path, texts = tmp_path / "shared.json", [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write_whole, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert os.listdir(tmp_path) == ["shared.json"]


def test_where_nothing_can_be_written_the_error_is_the_systems(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught:
        write_whole(tmp_path / "file" / "below.txt", b"")
    told = unwritable(tmp_path / "file" / "below.txt", caught.value)
    assert isinstance(told, InputError) and told.code == "output_unwritable" and "below.txt" in str(told)


def test_a_full_disk_is_nobodys_input(tmp_path):
    told = unwritable(tmp_path / "x.s2d", OSError(errno.ENOSPC, "No space left on device"))
    assert type(told) is S2DError and told.code == "disk_full" and told.exit_status == 1


# ---- killed processes ------------------------------------------------------------------------

WRITER = """
import sys, time
from pathlib import Path
from sparse2dense.models.whole_files import staging_folder, whole_file
path = Path(sys.argv[2])
with whole_file(path) if sys.argv[1] == "file" else staging_folder(path) as aside:
    (aside if sys.argv[1] == "file" else aside / "mesh.pc2").write_bytes(b"half")
    print("half", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def start_writer():
    """Start a process that writes half of a file, or half of a folder's, and then takes its time."""
    started = []

    def start(kind, path):
        command = [sys.executable, "-c", WRITER, kind, str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "half\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kill(process):
    process.kill()
    process.wait(30)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_is_swept_by_the_next_and_nothing_was_lost(tmp_path, start_writer, kind):
    (tmp_path / "clip.s2d").write_bytes(b"before")
    kill(start_writer(kind, tmp_path / "clip.s2d" if kind == "file" else tmp_path))
    assert (tmp_path / "clip.s2d").read_bytes() == b"before"
    assert len(os.listdir(tmp_path)) == 2
    write_whole(tmp_path / "other.s2d", b"other")
    assert sorted(os.listdir(tmp_path)) == ["clip.s2d", "other.s2d"]


def test_what_a_living_process_writes_is_not_swept_however_old(tmp_path, start_writer):
    living, dead = start_writer("folder", tmp_path), start_writer("file", tmp_path / "clip.s2d")
    kill(dead)
    for left in tmp_path.iterdir():
        os.utime(left, (0, 0))
    with staging_folder(tmp_path) as mine:
        sweep(tmp_path)
        (theirs,) = (left for left in tmp_path.iterdir() if left != mine)
        assert (theirs / "mesh.pc2").read_bytes() == b"half"
        assert mine.is_dir(), "nor what this process writes"
    kill(living)
    sweep(tmp_path)
    assert os.listdir(tmp_path) == []


def test_nothing_is_swept_that_is_not_ours(tmp_path, start_writer):
    other = tmp_path / "kept"
    other.mkdir()
    names = [f"{PARTIAL_PREFIX}notes of mine.txt", f"{PARTIAL_PREFIX}0123456789AB", ".s2d-part-0123456789ab"]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / f"{PARTIAL_PREFIX}0123456789ab").symlink_to(other)
    (other / "owner").touch()
    (tmp_path / f"{PARTIAL_PREFIX}0123456789ac").symlink_to(tmp_path / names[0])  # to what is old
    just_made = tmp_path / f"{PARTIAL_PREFIX}00000000000a"
    just_made.mkdir()
    before = sorted(os.listdir(tmp_path))
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == before and (other / "owner").exists()


@pytest.mark.parametrize("name", ["a1b2c3d4e5f6.s2d", "ab_1cd2e", "a1b2c3d4e5f6"])
def test_what_has_no_owner_is_given_up_after_a_day(tmp_path, name):
    """Of an earlier version, or of a process killed before it could say that it lives."""
    left = tmp_path / f"{PARTIAL_PREFIX}{name}"
    if "." in name:
        left.touch()
    else:
        left.mkdir()
    sweep(tmp_path)
    assert left.exists()
    os.utime(left, (time.time() - 90_000,) * 2)
    sweep(tmp_path)
    assert not left.exists()


def test_what_was_left_counts_as_free(tmp_path, start_writer):
    kill(start_writer("folder", tmp_path))
    check_space(tmp_path, 1000)
    assert os.listdir(tmp_path) == []


def test_ten_thousand_files_are_not_looked_through_ten_thousand_times(tmp_path, monkeypatch):
    looked, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: looked.append(str(folder)) or scandir(folder))
    for number in range(5):
        write_whole(tmp_path / f"{number}.npz", b"")
    assert looked.count(str(tmp_path)) == 1


# ---- folders that cannot be written ------------------------------------------------------------


def test_trying_a_folder_leaves_everything_as_it_was(tmp_path):
    check_writable(tmp_path / "a" / "b", None, tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot write") as refused:
        check_writable(tmp_path, tmp_path / "file" / "weights")
    assert refused.value.code == "output_unwritable"
    assert str(tmp_path / "file" / "weights") in str(refused.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        check_writable(tmp_path)


def test_an_error_names_the_file_and_not_what_lies_aside(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "taken", tmp_path / "file" / "below"):
        with pytest.raises(OSError) as caught:
            write_whole(path, b"")
        assert caught.value.filename == str(path)


@pytest.mark.skipif(sys.platform != "linux", reason="a small disk of its own is Linux's")
def test_a_full_disk_loses_nothing(tmp_path):
    """On a file system of 64 kB, where this machine lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        write_whole(disk / "clip.s2d", b"before")
        with pytest.raises(OSError) as caught:
            write_whole(disk / "clip.s2d", bytes(200_000))
        assert caught.value.errno == errno.ENOSPC
        assert os.listdir(disk) == ["clip.s2d"] and (disk / "clip.s2d").read_bytes() == b"before"
    finally:
        subprocess.run(["umount", str(disk)], check=True)
