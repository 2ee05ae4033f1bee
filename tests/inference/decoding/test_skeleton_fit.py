# SPDX-License-Identifier: GPL-3.0-or-later
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding.point_cache import read_pc2, to_blender, write_pc2
from sparse2dense.inference.decoding.skeleton_fit import write_skeleton
from sparse2dense.inference.format.container import write_clip
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.shaped_body import ShapedBody

FRAMES = 20


@pytest.fixture(scope="module")
def decoded(make_motion, held_out_motions, tmp_path_factory):
    """A folder with a held-out walk, decoded."""
    folder = tmp_path_factory.mktemp("skeleton")
    keypoints = held_out_motions["walk"][20 : 20 + FRAMES] + np.array([0, 0, 4], np.float32)
    write_clip(replace(make_motion(FRAMES), keypoints=keypoints), folder / "walk.s2d")
    decode(folder / "walk.s2d", folder, only="mesh")
    return folder


def test_skeleton_file_poses_the_mesh_as_decoded(decoded):
    with np.load(decoded / "skeleton.npz", allow_pickle=False) as stored:
        data = dict(stored)
    vertices = to_blender(read_pc2(decoded / "mesh.pc2", 0, FRAMES))
    rest = data["matrices"].astype(float)
    matrices = []
    for bone, parent in enumerate(data["parents"]):
        own = np.tile(np.eye(4), (FRAMES, 1, 1))
        own[:, :3, :3] = Rotation.from_quat(data["rotations"][:, bone], scalar_first=True).as_matrix()
        if parent < 0:
            own[:, :3, 3] = (data["locations"] - data["heads"][0]) @ rest[0, :3, :3]
            matrices.append(rest[bone] @ own)
        else:
            matrices.append(matrices[parent] @ np.linalg.inv(rest[parent]) @ rest[bone] @ own)
    moved = np.stack(matrices, axis=1) @ np.linalg.inv(rest)
    points = np.concatenate([data["rest_vertices"], np.ones((len(data["rest_vertices"]), 1))], axis=1)
    shown = sum(
        data["weight_values"][:, k, None]
        * np.einsum("tvij,vj->tvi", moved[:, data["weight_bones"][:, k]], points)[..., :3]
        for k in range(data["weight_bones"].shape[1])
    )
    distances = np.linalg.norm(shown - vertices, axis=-1)
    assert distances.mean() < 0.002
    assert distances.max() < 0.03


def test_skeleton_at_rest_stands_on_the_floor_facing_minus_y(decoded):
    with np.load(decoded / "skeleton.npz", allow_pickle=False) as data:
        names = data["names"].tolist()
        low, high = data["rest_vertices"].min(axis=0), data["rest_vertices"].max(axis=0)
        foot = data["tails"][names.index("foot.L")] - data["heads"][names.index("foot.L")]
        left = data["heads"][names.index("thigh.L")]
    np.testing.assert_allclose([low[2], low[0] + high[0], low[1] + high[1]], 0, atol=1e-5)
    assert high[2] > 1
    assert foot[1] < -0.05
    assert left[0] > 0.03


def scaled(body, sizes):
    """Frames of the resting body, each of another size."""
    return np.stack([size * body.vertices + np.float32([0, 0, 4]) for size in sizes]).astype(np.float32)


def fit(folder, body, vertices, progress=lambda *told: None):
    write_pc2(folder / "mesh.pc2", len(vertices), vertices.shape[1], [vertices])
    write_skeleton(folder / "skeleton.npz", body, folder / "mesh.pc2", len(vertices), progress)
    with np.load(folder / "skeleton.npz", allow_pickle=False) as stored:
        return dict(stored)


def thigh(data):
    names = data["names"].tolist()
    return np.linalg.norm(data["tails"][names.index("thigh.L")] - data["heads"][names.index("thigh.L")])


def test_bones_have_the_lengths_of_the_clip_from_its_first_frame_to_its_last(tmp_path):
    body = ShapedBody(load_body(), np.zeros(load_body().shape_size))
    own, larger, first, last = (
        thigh(fit(tmp_path, body, scaled(body, sizes)))
        for sizes in ((1, 1), (1.1, 1.1), (1.1, 1, 1), (1, 1, 1.1))
    )
    assert larger / own == pytest.approx(1.1, abs=0.02)
    assert own * 1.02 < first < larger * 0.98
    assert last == pytest.approx(first, rel=0.005)


def test_the_work_is_told_batch_by_batch(tmp_path):
    body, told = ShapedBody(load_body(), np.zeros(load_body().shape_size)), []
    data = fit(tmp_path, body, scaled(body, [1] * 40), lambda *progress: told.append(progress))
    assert told == [("skeleton", 32, 40), ("skeleton", 40, 40)]
    assert data["rotations"].shape[0] == data["locations"].shape[0] == 40
    kinds = {
        name: data[name].dtype for name in ("parents", "weight_bones", "rotations", "locations", "heads")
    }
    assert kinds == {
        "parents": np.int32,
        "weight_bones": np.uint8,
        "rotations": np.float32,
        "locations": np.float32,
        "heads": np.float32,
    }
    np.testing.assert_allclose(data["weight_values"].sum(axis=1), 1, atol=1e-5)
