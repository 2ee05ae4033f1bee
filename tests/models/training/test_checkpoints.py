# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training leaves is read again, and nothing else is."""

import subprocess
import sys

import pytest

pytest.importorskip("torch")

import torch
from sparse2dense.models.errors import InputError
from sparse2dense.models.training.checkpoints import (
    of_this_training,
    read_checkpoint,
    write_checkpoint,
)


def test_tensors_and_numbers_come_back(tmp_path):
    path = tmp_path / "runs" / "joint.pt"
    write_checkpoint(path, {"weights": {"a": torch.arange(3)}, "steps": 7})
    found = read_checkpoint(path)
    assert found["steps"] == 7
    assert found["weights"]["a"].tolist() == [0, 1, 2]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "There is no checkpoint"), (b"PK no checkpoint", "damaged"), (b"cos\nsystem\n.", "damaged")],
)
def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path, content, said):
    path = tmp_path / "joint.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as refused:
        read_checkpoint(path)
    assert refused.value.code == "checkpoint"
    assert str(path) in str(refused.value)


def test_objects_are_not_read(tmp_path):
    torch.save({"path": tmp_path}, tmp_path / "joint.pt")
    with pytest.raises(InputError, match="no checkpoint of this training"):
        read_checkpoint(tmp_path / "joint.pt")


def test_a_state_that_does_not_fit_is_of_another_configuration(tmp_path):
    with pytest.raises(InputError, match="another configuration") as refused, of_this_training(tmp_path):
        torch.nn.Linear(2, 3).load_state_dict(torch.nn.Linear(3, 3).state_dict())
    assert refused.value.code == "checkpoint"


WRITER = """
import sys
from pathlib import Path
import torch
from sparse2dense.models.errors import explain
from sparse2dense.models.training.checkpoints import write_checkpoint
path, steps, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    for step in range(steps):
        write_checkpoint(path, {"step": step, "weights": torch.zeros(10_000_000)})
        print(step, flush=True)
except Exception as error:
    print(explain(error).code)
"""


def start_writer(path, steps, limit=0):
    command = [sys.executable, "-c", WRITER, *map(str, (path, steps, limit))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_is_told_and_the_checkpoint_before_stays(tmp_path):
    path = tmp_path / "joint.pt"
    write_checkpoint(path, {"step": 7})
    assert start_writer(path, 1, limit=100_000).communicate(timeout=60)[0] == "disk_full\n"
    assert read_checkpoint(path)["step"] == 7
    assert list(tmp_path.iterdir()) == [path]


def test_a_training_that_is_killed_as_it_saves_leaves_a_whole_checkpoint_and_the_next_sweeps(tmp_path):
    path = tmp_path / "joint.pt"
    with start_writer(path, 10_000) as process:
        for _ in range(3):
            process.stdout.readline()
        while not any(left.stat().st_size for left in tmp_path.glob(".s2d-partial-*/whole*")):
            assert process.poll() is None
        process.kill()
    assert read_checkpoint(path)["step"] >= 2
    assert len(list(tmp_path.iterdir())) == 2, "killed in the midst"
    assert start_writer(path, 1).wait(60) == 0
    assert read_checkpoint(path)["step"] == 0
    assert list(tmp_path.iterdir()) == [path]
