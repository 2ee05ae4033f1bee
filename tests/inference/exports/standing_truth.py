# SPDX-License-Identifier: GPL-3.0-or-later
"""What a decoded folder says of a clip, put on the floor as the add-on does, in Blender's axes, metres.

The bones' rotations are fitted anew: where a bone carries little, its turn follows the last bit of the
vertices by more than a tenth of a degree, and these differ with how many frames are predicted at once.
"""

import json
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation
from sparse2dense.inference.decoding.point_cache import open_pc2, to_blender
from sparse2dense.inference.decoding.session import Session
from sparse2dense.inference.decoding.skeleton_fit import fit_skeleton
from sparse2dense.inference.format.container import S2DFile
from sparse2dense.inference.runtime.progress import unwatched

Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
"""From Blender's axes to y up."""


@dataclass
class Truth:
    keypoints: np.ndarray  # (T, 23, 3)
    names: list[str]
    rotations: np.ndarray  # (T, J, 3, 3), since rest
    heads: np.ndarray  # (T, J, 3)
    skinned: np.ndarray  # (T, V, 3), the skeleton's
    predicted: np.ndarray  # (T, V, 3), the network's


def decoded_truth(clip, folder):
    floor = json.loads((folder / "clip.json").read_text())["floor"]
    up, point, forward = (to_blender(np.array(floor[name])) for name in ("up", "point", "forward"))
    place = np.eye(4)
    place[:3, :3] = np.stack([np.cross(up, forward), -forward, up])
    place[:3, 3] = -place[:3, :3] @ point

    def stand(points):
        return points @ place[:3, :3].T + place[:3, 3]

    with np.load(folder / "skeleton.npz", allow_pickle=False) as stored:
        data = dict(stored)
    rest, frames = data["matrices"].astype(float), len(data["rotations"])
    moved = []
    for bone, parent in enumerate(data["parents"]):
        own = np.tile(np.eye(4), (frames, 1, 1))
        own[:, :3, :3] = Rotation.from_quat(data["rotations"][:, bone], scalar_first=True).as_matrix()
        if parent < 0:
            own[:, :3, 3] = (data["locations"] - data["heads"][0]) @ rest[0, :3, :3]
            moved.append(place @ rest[bone] @ own)
        else:
            moved.append(moved[parent] @ np.linalg.inv(rest[parent]) @ rest[bone] @ own)
    matrices = np.stack(moved, axis=1)
    since_rest = matrices @ np.linalg.inv(rest)
    points = np.concatenate([data["rest_vertices"], np.ones((len(data["rest_vertices"]), 1))], axis=1)
    skinned = sum(
        data["weight_values"][:, k, None]
        * np.einsum("tvij,vj->tvi", since_rest[:, data["weight_bones"][:, k]], points)[..., :3]
        for k in range(4)
    )
    file = S2DFile.open(clip)
    session = Session(file)
    vertices = partial(session.predictor.predict, file.keypoints(0, frames))
    camera = to_blender(np.eye(3)).T
    fitted = fit_skeleton(session.body, vertices, frames, unwatched).rotations
    return Truth(
        keypoints=stand(open_pc2(folder / "keypoints.pc2")),
        names=data["names"].tolist(),
        rotations=place[:3, :3] @ camera @ fitted @ camera.T,
        heads=matrices[..., :3, 3],
        skinned=skinned,
        predicted=stand(open_pc2(folder / "mesh.pc2")),
    )


def degrees_between(rotations, others):
    """The angles between rotations ``(..., 3, 3)``."""
    turns = np.swapaxes(rotations, -1, -2) @ others
    return np.degrees(Rotation.from_matrix(turns.reshape(-1, 3, 3)).magnitude()).reshape(turns.shape[:-2])
