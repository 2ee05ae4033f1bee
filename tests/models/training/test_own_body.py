# SPDX-License-Identifier: GPL-3.0-or-later
"""A predictor for the user's own body, from ``s2d train vertices`` to the decoded mesh."""

import json
import zipfile
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from sparse2dense.inference.cli import main
from sparse2dense.inference.decode import decode
from sparse2dense.inference.format.clip import Clip
from sparse2dense.inference.format.container import write_clip
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import KEYPOINT_INDEX
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.training import evaluate_vertices, train_vertices, window_sampler
from sparse2dense.models.training.evaluate_vertices import evaluate, measure_speed
from sparse2dense.models.training.motion import ARCHIVE, HELD_OUT_SUBJECTS, load_motions, mirrored

from ..made_smpl import model_fields

pytest.importorskip("smplx")

STEPS = "60"


@pytest.fixture(scope="module")
def little_data(data_folder, tmp_path_factory):
    """Three motions to train on and one that is held out, in an archive like the whole one."""
    folder = tmp_path_factory.mktemp("data")
    with zipfile.ZipFile(data_folder / ARCHIVE) as whole, zipfile.ZipFile(folder / ARCHIVE, "w") as little:
        for name in whole.namelist():
            if name.endswith(("02_01.bvh", "02_03.bvh", "05_03.bvh", "13_11.bvh")):
                little.writestr(name, whole.read(name))
    return folder


@pytest.fixture(scope="module")
def body_folder(tmp_path_factory):
    """The user's folder of body models."""
    folder = tmp_path_factory.mktemp("my bodies")
    np.savez(folder / "SMPL_NEUTRAL.npz", **model_fields())
    return folder


LIMBS = [
    (KEYPOINT_INDEX[f"{side}_{first}"], KEYPOINT_INDEX[f"{side}_{second}"])
    for first, second in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
    for side in ("left", "right")
]


def limb_directions(body, rotations, places):
    points = ShapedBody(body, np.zeros(body.shape_size)).pose_keypoints(rotations, places)
    limbs = np.stack([points[:, end] - points[:, start] for start, end in LIMBS], axis=1)
    return limbs / np.linalg.norm(limbs, axis=-1, keepdims=True)


def test_its_limbs_point_where_the_captured_ones_do(little_data, body_folder):
    anny, own = load_body(), load_body("smpl", body_folder)
    for (_, *of_anny), (_, *of_own) in zip(
        load_motions(little_data, ["02", "05"], anny),
        load_motions(little_data, ["02", "05"], own),
        strict=True,
    ):
        ours = limb_directions(own, *of_own)
        cosine = (ours * limb_directions(anny, *of_anny)).sum(-1)
        assert cosine.min() > np.cos(np.radians(8))
        turned = limb_directions(own, mirrored(own, of_own[0]), of_own[1])
        swapped = turned.reshape(len(turned), -1, 2, 3)[:, :, ::-1].reshape(turned.shape) * [-1, 1, 1]
        assert (ours * swapped).sum(-1).min() > np.cos(np.radians(1))


def make_clip(body, folder, path):
    """Write a clip of the body in a held-out motion, as an estimator sees it; returns its true vertices."""
    _, rotations, places = load_motions(folder, HELD_OUT_SUBJECTS, body)[0]
    rng = np.random.default_rng(3)
    shape = rng.normal(size=body.shape_size).astype(np.float16).astype(np.float32)
    true = ShapedBody(body, shape).pose(rotations, places + np.array([0, 0, 4], np.float32))
    seen = body.keypoints(true) + rng.normal(0, 0.01, (len(true), 23, 3))
    camera = Camera(256, 256, 128, 128)
    write_clip(Clip(Fraction(30), camera, 256, 256, seen.astype(np.float32), body.name, shape), path)
    return true


def decoded_error(clip, folder, body_folder, true):
    """Decode, and return how far the vertices lie from the true ones (m), and what was said of the clip."""
    decode(clip, folder, body_file=body_folder, vertices=True)
    with np.load(folder / "mesh.npz", allow_pickle=False) as mesh:
        found = np.linalg.norm(mesh["vertices"] - true, axis=-1).mean()
    return found, json.loads((folder / "clip.json").read_text())


@pytest.mark.slow
def test_it_is_trained_in_slices_and_decoding_finds_it(
    little_data, body_folder, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(window_sampler, "FIT_POOL", 50)
    monkeypatch.setattr(train_vertices, "BATCH", 32)
    monkeypatch.setattr(train_vertices, "WARM_UP", 5)
    monkeypatch.setattr(evaluate_vertices, "evaluate", partial(evaluate, excerpt=10, linear_batches=2))
    monkeypatch.setattr(evaluate_vertices, "measure_speed", partial(measure_speed, seconds=0.1))
    body = load_body("smpl", body_folder)
    clip = tmp_path / "clip.s2d"
    true = make_clip(body, little_data, clip)
    before, said = decoded_error(clip, tmp_path / "before", body_folder, true)
    assert "s2d train vertices --body smpl" in said["warnings"][0] and said["weights"] == {}

    train = ["train", "vertices", "--body", "smpl", "--body-path", str(body_folder), "--threads", "1"]
    checkpoint = str(tmp_path / "run" / "smpl.pt")
    train += ["--data", str(little_data), "--checkpoint", checkpoint, "--steps", STEPS]
    assert main([*train, "--minutes", "0"]) == 0  # a slice of no time is one step long
    assert main([*train, "--resume"]) == 0
    assert f"step {STEPS} of {STEPS}" in capfd.readouterr().out
    name = "SMPL_NEUTRAL_vertex_predictor"
    assert {f"{name}.onnx", f"{name}.json"} <= {file.name for file in body_folder.iterdir()}

    monkeypatch.chdir(body_folder.parent)
    after, said = decoded_error(clip, tmp_path / "after", body_folder.name, true)
    assert said["warnings"] == [] and set(said["weights"]) == {"vertex_predictor"}
    assert after < 0.9 * before

    anny = ["train", "vertices", "--data", str(little_data), "--resume", "--checkpoint", checkpoint]
    assert main(anny) == 2
    assert "is a training of the body smpl, not anny" in capfd.readouterr().err
    (body_folder / f"{name}.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match="train it again"):
        decode(clip, tmp_path / "broken", body_file=body_folder)


def test_a_body_that_is_not_there_is_said_before_any_training(tmp_path, capfd):
    assert main(["train", "vertices", "--body", "smplx", "--body-path", str(tmp_path)]) == 2
    assert f"No file of the body model 'smplx' is in {tmp_path}" in capfd.readouterr().err
