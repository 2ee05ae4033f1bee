# SPDX-License-Identifier: GPL-3.0-or-later
"""Files appear whole or not at all, whatever happens while they are written."""

import errno
import os
import threading

import pytest
from sparse2dense.models.errors import InputError, S2DError
from sparse2dense.models.whole_files import unwritable, whole_file, write_whole


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
