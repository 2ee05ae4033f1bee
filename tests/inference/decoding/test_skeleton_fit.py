# SPDX-License-Identifier: GPL-3.0-or-later
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding.point_cache import read_pc2, to_blender
from sparse2dense.inference.format.container import write_clip

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
