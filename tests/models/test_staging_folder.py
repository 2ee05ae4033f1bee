# SPDX-License-Identifier: GPL-3.0-or-later
"""Several files of one work appear in a folder when they are whole, or not at all."""

import pytest
from sparse2dense.models.errors import InputError, S2DError
from sparse2dense.models.whole_files import check_space, publish, staging_folder


def test_failed_work_leaves_neither_files_nor_folders(tmp_path):
    out = tmp_path / "a" / "b"
    with pytest.raises(RuntimeError), staging_folder(out) as staging:
        (staging / "mesh.pc2").write_bytes(b"half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_finished_files_replace_older_ones_and_the_staging_folder_goes(tmp_path):
    (tmp_path / "clip.json").write_text("old")
    with staging_folder(tmp_path) as staging:
        (staging / "clip.json").write_text("new")
        assert (tmp_path / "clip.json").read_text() == "old"
        publish(staging / "clip.json", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.json"]
    assert (tmp_path / "clip.json").read_text() == "new"


def test_folder_that_cannot_be_made_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write") as caught, staging_folder(tmp_path / "file" / "x"):
        pass
    assert caught.value.code == "output_unwritable"


def test_too_small_a_disk_is_found_before_the_work(tmp_path):
    check_space(tmp_path / "new" / "folder", 1000)
    with pytest.raises(S2DError, match="MB") as caught:
        check_space(tmp_path / "new" / "folder", 10**18)
    assert caught.value.code == "disk_full"
