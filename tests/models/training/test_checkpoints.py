# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training leaves is read again, and nothing else is."""

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
