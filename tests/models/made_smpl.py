# SPDX-License-Identifier: GPL-3.0-or-later
"""Models in SMPL's format, made here: cubes round a skeleton, since the real files may not be shipped."""

import numpy as np

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
JOINTS = np.array(
    [
        (0, 0, 0), (0.07, -0.09, 0), (-0.07, -0.09, 0), (0, 0.11, -0.03), (0.1, -0.47, 0), (-0.1, -0.47, 0),
        (0, 0.25, 0), (0.09, -0.87, -0.04), (-0.09, -0.87, -0.04), (0, 0.3, 0.03), (0.11, -0.93, 0.08),
        (-0.11, -0.93, 0.08), (0, 0.51, -0.01), (0.08, 0.42, 0), (-0.08, 0.42, 0), (0, 0.58, 0.04),
        (0.17, 0.45, -0.01), (-0.17, 0.45, -0.01), (0.43, 0.44, -0.04), (-0.43, 0.44, -0.04),
        (0.68, 0.44, -0.04), (-0.68, 0.44, -0.04), (0.77, 0.43, -0.05), (-0.77, 0.43, -0.05),
    ]
)  # fmt: skip


def model_fields(joints=24):
    """A ring of eight vertices round every joint: y up, facing +z, as SMPL is."""
    rng = np.random.default_rng(0)
    places, parents = JOINTS, list(PARENTS)
    if joints > 24:
        places = JOINTS[:22]
        parents = parents[:22]
        extra = joints - 52
        for _ in range(extra):  # jaw and eyes
            places = np.concatenate([places, JOINTS[15:16] + np.array([0, 0.03, 0.08])])
            parents.append(15)
        for wrist, out in ((20, 1), (21, -1)):
            for finger in range(5):
                for knuckle in range(3):
                    at = JOINTS[wrist] + [out * (0.09 + 0.03 * knuckle), 0, 0.04 - 0.02 * finger]
                    places = np.concatenate([places, at[None]])
                    parents.append(len(places) - 2 if knuckle else wrist)
    corners = 0.05 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    count = 8 * len(places)
    regressor, weights = np.zeros((len(places), count)), np.zeros((count, len(places)))
    for joint in range(len(places)):
        regressor[joint, 8 * joint : 8 * joint + 8] = 1 / 8
        weights[8 * joint : 8 * joint + 8, joint] = 0.75
        weights[8 * joint : 8 * joint + 8, max(parents[joint], 0)] += 0.25
    first = np.arange(0, count - 2, 2)
    return {
        "v_template": (places[:, None] + corners).reshape(-1, 3),
        "shapedirs": 0.01 * rng.normal(size=(count, 3, 10)),
        "posedirs": 0.002 * rng.normal(size=(count, 3, 9 * (len(places) - 1))),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[max(p, 0) for p in parents], range(len(places))]),
        "f": np.stack([first, first + 1, first + 2], axis=1),
    }
