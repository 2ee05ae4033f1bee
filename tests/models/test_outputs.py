# SPDX-License-Identifier: GPL-3.0-or-later
"""No output is an input by another name, and none replaces a file of another kind unless it is to."""

import os
import sys
from pathlib import Path

import pytest
from sparse2dense.models.errors import InputError
from sparse2dense.models.outputs import JSON, PNG, archive, beginning, check_outputs

TEXT = beginning("poem", b"Two roads")


@pytest.fixture
def film(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "film.mp4"
    path.write_bytes(b"a film")
    return path


def refused(outputs, inputs=(), force=False):
    with pytest.raises(InputError) as caught:
        check_outputs(outputs, inputs, force)
    assert caught.value.code == "output_taken" and caught.value.exit_status == 2
    return str(caught.value)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "name",
    ["film.mp4", "./film.mp4", "sub/../film.mp4", "not there/../film.mp4", "hard.mp4", "soft.mp4", "far"],
)
def test_an_input_is_refused_by_whatever_name(film, name, force):
    Path("sub").mkdir()
    os.link(film, "hard.mp4")
    Path("soft.mp4").symlink_to("film.mp4")
    Path("far").symlink_to("not there either/../film.mp4")
    for source in (film, Path("film.mp4"), Path("hard.mp4"), Path("sub/../soft.mp4")):
        for kind in (TEXT, beginning("film", b"a film")):
            assert str(Path(name)) in refused({Path(name): kind}, [source], force)


@pytest.mark.skipif(sys.platform == "linux", reason="Linux tells cases apart")
def test_an_input_is_refused_in_other_letters(film):
    refused({Path("FILM.MP4"): TEXT}, [film])


def test_a_file_that_looks_the_same_is_another(film):
    Path("copy.mp4").write_bytes(film.read_bytes())
    check_outputs({Path("copy.mp4"): beginning("film", b"a film"), Path("new/film.mp4"): TEXT}, [film])


def test_only_files_of_the_kind_are_replaced_unless_told_to(film):
    Path("poem.txt").write_text("Two roads diverged")
    Path("notes.txt").write_text("Buy milk")
    Path("empty.txt").touch()
    check_outputs({Path("poem.txt"): TEXT, Path("empty.txt"): TEXT, Path("new.txt"): TEXT}, [film])
    said = refused({Path("poem.txt"): TEXT, Path("notes.txt"): TEXT}, [film])
    assert said == "notes.txt is there and is no poem: name another output, or replace it with --force."
    check_outputs({Path("notes.txt"): TEXT}, [film], force=True)


def test_what_lies_in_a_folder_that_is_read_is_not_replaced_whatever_is_told(film):
    (folder := Path("bodies")).mkdir()
    (folder / "smplx.npz").write_bytes(b"a body")
    (folder / "poem.txt").write_text("Two roads diverged")
    assert "which this command reads" in refused({folder / "smplx.npz": TEXT}, [film, folder], force=True)
    check_outputs({folder / "poem.txt": TEXT, folder / "new.txt": TEXT}, [film, folder])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_file_is_never_replaced(film, force):
    os.mkfifo("pipe")
    assert "no file that can be replaced" in refused({Path("pipe"): TEXT}, [film], force)
    assert "no file that can be replaced" in refused({Path("/dev/null"): TEXT}, [film], force)
    assert "is a folder" in refused({film.parent: TEXT}, [film], force)


def test_kinds_are_known_by_their_bytes(film):
    zipped = archive(".npz of arrays", b".npy")
    for kind, data, other in (
        (PNG, b"\x89PNG\r\n\x1a\n...", b"\x89PNG"),
        (JSON, b'{"a": 1}', b"a: 1"),
        (zipped, b"PK\x03\x04" + bytes(26) + b"a.npy", b"PK\x03\x04" + bytes(26) + b"a.txt"),
        (beginning("late", b"x", at=8), b"12345678x", b"x1234567"),
    ):
        film.write_bytes(data)
        check_outputs({film: kind}, [])
        film.write_bytes(other)
        refused({film: kind})
