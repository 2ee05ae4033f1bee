# SPDX-License-Identifier: GPL-3.0-or-later
"""The fetched model files: pinned, and never fetched twice."""

import pytest
from sparse2dense.models import fetch
from sparse2dense.models.errors import S2DError


def test_a_damaged_file_counts_as_missing(tmp_path):
    assert len(fetch.missing("blazepose", tmp_path)) == 2
    (tmp_path / "blazepose").mkdir()
    (tmp_path / "blazepose" / "pose_detection.tflite").write_bytes(b"half of it")
    assert len(fetch.missing("blazepose", tmp_path)) == 2


def test_without_a_connection_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(S2DError, match=r"python -m sparse2dense\.models\.fetch blazepose"):
        fetch.fetch("blazepose", tmp_path)
    assert list(tmp_path.iterdir()) == []
