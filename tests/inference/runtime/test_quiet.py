# SPDX-License-Identifier: GPL-3.0-or-later
"""What native code prints to standard error is dropped inside the block, and nowhere else."""

import os

import pytest
from sparse2dense.inference.runtime.quiet import quiet_stderr


def test_what_is_printed_inside_is_dropped(capfd):
    os.write(2, b"before ")
    with quiet_stderr():
        os.write(2, b"inside ")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def test_an_error_ends_the_quiet(capfd):
    with pytest.raises(RuntimeError), quiet_stderr():
        raise RuntimeError
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_no_file_is_left_open():
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        with quiet_stderr():
            pass
    assert len(os.listdir("/dev/fd")) == before


def test_a_process_without_standard_error_is_quiet_as_it_is(monkeypatch):
    def closed(_):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)
    with quiet_stderr():
        done = True
    assert done
