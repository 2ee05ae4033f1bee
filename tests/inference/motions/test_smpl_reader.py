# SPDX-License-Identifier: GPL-3.0-or-later
"""SMPL parameters as AMASS has them, against what smplx itself makes of them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import REQUIRED_NAMES

from ...models.made_smpl import model_fields

smplx = pytest.importorskip("smplx")
torch = pytest.importorskip("torch")

FRAMES = 20


def fields():
    """The made SMPL-H, without pose correctives, which move no joint of a real one."""
    made = model_fields(52)
    return made | {"posedirs": np.zeros_like(made["posedirs"])}


@pytest.fixture(scope="module")
def parameters():
    """A small walk, z up: the arrays of an AMASS file of SMPL-H, without the hands."""
    time = np.arange(FRAMES) / 30
    swing = 0.5 * np.sin(2 * np.pi * time)
    poses = np.zeros((FRAMES, 22, 3))
    poses[:, 0] = (Rotation.from_euler("Z", 0.7) * Rotation.from_euler("X", 90, degrees=True)).as_rotvec()
    poses[:, 1, 0], poses[:, 2, 0] = -swing, swing
    poses[:, 4, 0], poses[:, 5, 0] = 0.5 + swing, 0.5 - swing
    poses[:, 16, 2], poses[:, 17, 2] = -1.1, 1.1
    poses[:, 18, 1], poses[:, 19, 1] = -0.3, 0.5
    trans = np.stack([time, 0.5 * time, 0.9 + 0.02 * np.sin(9 * time)], axis=1)
    return {"poses": poses.reshape(FRAMES, -1), "trans": trans, "betas": 0.8 * np.cos(np.arange(16))}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("smpl") / "SMPLH_NEUTRAL.npz"
    np.savez(path, **fields())
    return path


@pytest.fixture(scope="module")
def joints(parameters):
    """The twelve joints ``(T, 12, 3)``, z up, read off the vertices that smplx poses."""
    layer = smplx.SMPL(
        "", data_struct=smplx.utils.Struct(**fields()), create_body_pose=False, use_hands=False,
        vertex_ids=dict.fromkeys(("nose", "reye", "leye", "rear", "lear"), 0), use_feet_keypoints=False,
    )  # fmt: skip
    poses = np.concatenate([parameters["poses"], np.zeros((FRAMES, 90))], axis=1)
    given = {
        "betas": np.tile(parameters["betas"][:10], (FRAMES, 1)),
        "global_orient": poses[:, :3],
        "body_pose": poses[:, 3:],
        "transl": parameters["trans"],
    }
    with torch.no_grad():
        posed = layer(**{name: torch.tensor(value, dtype=torch.float32) for name, value in given.items()})
    order = {"shoulder": 16, "elbow": 18, "wrist": 20, "hip": 1, "knee": 4, "ankle": 7}
    at = [order[name.split("_")[1]] + name.startswith("right") for name in REQUIRED_NAMES]
    return fields()["J_regressor"][at] @ posed.vertices.numpy()


def save(path, parameters, width=156, **more):
    wide = np.concatenate([parameters["poses"], 0.3 * np.ones((FRAMES, width - 66))], axis=1)
    np.savez(path, **(parameters | {"poses": wide, "gender": "neutral", "mocap_framerate": 30.0} | more))
    return path


def apart(clip, joints, named_clip, columns):
    """Millimetres between a clip's joints and those of smplx, after the way between their cameras."""
    expected = named_clip(joints, REQUIRED_NAMES).keypoints[:, columns(REQUIRED_NAMES)]
    off = clip.keypoints[:, columns(REQUIRED_NAMES)] - expected
    return 1000 * np.linalg.norm(off - off.mean(axis=(0, 1)), axis=-1).max()


def test_joints_are_those_that_smplx_makes(parameters, model, joints, clip_of, named_clip, columns, tmp_path):
    clip, warnings = clip_of(save(tmp_path / "walk.npz", parameters), body="smplh", body_path=model)
    assert apart(clip, joints, named_clip, columns) < 0.1
    assert (clip.body, clip.fps, warnings) == ("smplh", 30, [])
    np.testing.assert_allclose(clip.shape, parameters["betas"][:10], atol=1e-6)


def test_the_names_of_smplx_files(parameters, model, joints, clip_of, named_clip, columns, tmp_path):
    body = parameters["poses"]
    np.savez(tmp_path / "walk.npz", root_orient=body[:, :3], pose_body=body[:, 3:], trans=parameters["trans"],
             betas=parameters["betas"], mocap_frame_rate=119.88)  # fmt: skip
    clip, _ = clip_of(tmp_path / "walk.npz", body="smplh", body_path=model)
    assert clip.fps.as_integer_ratio() == (120000, 1001)
    clip.fps = 30
    assert apart(clip, joints, named_clip, columns) < 0.1


def test_another_models_shape_is_left_out_and_told_of(parameters, model, clip_of, tmp_path):
    clip, warnings = clip_of(save(tmp_path / "walk.npz", parameters, 165), body="smplh", body_path=model)
    assert not clip.shape.any()
    assert any("smplx" in warning and "smplh" in warning for warning in warnings)


def test_without_a_model_it_is_said_what_to_give(parameters, clip_of, tmp_path):
    path = save(tmp_path / "walk.npz", parameters)
    with pytest.raises(InputError, match=r"--body smplx .*--body-path FILE"):
        clip_of(path)
    with pytest.raises(InputError, match="model file"):
        clip_of(path, body="smplx")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"poses": np.zeros((FRAMES, 100))}, "poses has 100 numbers"),
        ({"poses": np.full((FRAMES, 156), np.nan)}, "poses must be finite"),
        ({"trans": np.zeros((3, 3))}, "trans has 3 frames"),
        ({"trans": np.array(["a", "b"])}, "trans must be"),
        ({"betas": np.full(10, 1e6)}, "betas"),
        ({"mocap_framerate": 0.0}, "mocap_framerate"),
        ({"mocap_framerate": "fast"}, "mocap_framerate"),
    ],
)
def test_what_is_broken_is_named(parameters, model, clip_of, tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        clip_of(save(tmp_path / "walk.npz", parameters, **change), body="smplh", body_path=model)


def test_the_body_is_what_was_asked_for(parameters, model, clip_of, tmp_path):
    clip, _ = clip_of(save(tmp_path / "walk.npz", parameters), body="smplh", body_path=model)
    assert load_body("smplh", model).shape_size == len(clip.shape)
