# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle holds what a training reads from its data folder, and no more than a machine takes."""

import argparse
import zipfile

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("h5py")

import cv2
import h5py
import torch
from sparse2dense.models.errors import InputError
from sparse2dense.models.training import avatars, bundle, motion, train_joint
from sparse2dense.models.training.backgrounds import read_photograph
from sparse2dense.models.training.losses import Vgg


@pytest.fixture
def data(tmp_path):
    """A data folder: archives of a few bytes, and VGG-16 with random weights."""
    folder = tmp_path / "data"
    (folder / "places").mkdir(parents=True)
    for name in (motion.ARCHIVE, avatars.ARCHIVE, "places/notes.txt"):
        (folder / name).write_bytes(name.encode())
    rows, columns = np.mgrid[:1500, :2560]
    street = np.stack([columns / 10, rows / 6, np.full(rows.shape, 90)], axis=-1).astype(np.uint8)
    for name in ("street.jpg", "street.png"):
        cv2.imwrite(str(folder / "places" / name), street[..., ::-1])
    rng, channels = np.random.default_rng(0), 3
    with h5py.File(folder / train_joint.HED_WEIGHTS, "w") as file:
        for stage, (count, width) in enumerate(((2, 64), (2, 128)), 1):
            for index in range(count):
                group = f"block{stage}/layers/conv2d{f'_{index}' if index else ''}/vars"
                file[f"{group}/0"] = rng.normal(0, 0.1, (3, 3, channels, width)).astype(np.float32)
                file[f"{group}/1"] = np.zeros(width, np.float32)
                channels = width
    return folder


def pack(data, output, *more):
    parser = argparse.ArgumentParser()
    bundle.add_arguments(parser)
    given = ["--data", str(data), "--backgrounds", str(data / "places"), "--stages", "1", "-o", str(output)]
    bundle.run(parser.parse_args([*given, *more]))


def test_what_is_unpacked_is_a_data_folder(data, tmp_path):
    pack(data, tmp_path / "bundle.zip")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as packed:
        assert len(packed.namelist()) == len(set(packed.namelist())), "unzip stops and asks at a second one"
        packed.extractall(tmp_path / "there")
    for name in (motion.ARCHIVE, avatars.ARCHIVE):
        assert (tmp_path / "there" / name).read_bytes() == name.encode()
    [street] = (tmp_path / "there" / "backgrounds").iterdir()
    found, wanted = (read_photograph(path) for path in (street, data / "places" / "street.png"))
    assert (street.stem, found.shape) == ("street", (750, 1280, 3)), "as large as training uses it"
    assert np.abs(found.astype(int) - wanted).mean() < 2
    weights = train_joint.hed_weights(tmp_path / "there")
    assert weights.parent == tmp_path / "there"
    picture = torch.rand(1, 3, 16, 16)
    found, wanted = (Vgg(path, 1)(picture)[0] for path in (weights, data / train_joint.HED_WEIGHTS))
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-1)


def test_a_bundle_that_is_too_large_is_not_written(data, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "LIMIT", 1000)
    with pytest.raises(InputError, match="fewer photographs"):
        pack(data, tmp_path / "bundle.zip")
    assert not list(tmp_path.glob("bundle.zip*"))
