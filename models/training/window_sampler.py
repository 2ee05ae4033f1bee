# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoint windows to train on: bodies of all shapes in mixed motions, seen with an estimator's faults.

They are made while training: poses are cached local rotations, and a keypoint is a fixed combination of bone
transforms, so that no mesh is posed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..body import BodyModel, stack_transforms
from ..rotations import from_vectors
from ..windows import WINDOW, network_inputs
from .keypoint_faults import fitted_shape, spoil
from .motion import TRAINING_SUBJECTS, bone_roles, load_motions, mirrored
from .pack_body import people_of

CHUNK_WINDOWS, CHUNK_SPACING = 4, 6
"""Windows cut from one posed stretch of motion, and frames between them (posing is dear)."""
LOSS_VERTICES = 256
FIT_POOL = 3000

WOBBLE = {
    "spine04": 0.08, "neck02": 0.1, "head": 0.1,
    **{
        f"{bone}.{side}": sigma
        for side in "LR"
        for bone, sigma in (
            ("clavicle", 0.08), ("upperarm01", 0.15), ("lowerarm01", 0.1), ("wrist", 0.15),
            ("upperleg01", 0.1), ("lowerleg01", 0.08), ("foot", 0.12),
        )
    },
}  # fmt: skip
"""Radians by which a bone may be turned, the same through a window, beyond the captured poses."""

LIMB_GROUPS = ("spine", "neck", "head"), ("clavicle", "shoulder", "upperarm", "lowerarm", "wrist")


class MixedMotions:
    """The captured motions of the training subjects, mirrored too, of which limbs mix, and who moves so.

    Attributes:
        rotations, places: of all frames, local ``(F, B, 3, 3)`` and of the root ``(F, 3)`` m, float32.
        piece_start, piece_stop: ``(F,)`` frames between which a frame's motion lies.
        groups: ``(B,)`` which of the four motions that are mixed a bone takes part in.
        shapes: ``(n, S)`` float32 of people.
    """

    def __init__(self, body: BodyModel, folder: Path | None) -> None:
        self.body = body
        motions = load_motions(folder, TRAINING_SUBJECTS, body)
        self.roles = bone_roles(body)
        pieces = [piece for _, piece, _ in motions]
        pieces += [mirrored(body, piece) for piece in pieces]
        places = [place for _, _, place in motions]
        self.places = np.concatenate(places + [place * np.array([-1, 1, 1], np.float32) for place in places])
        lengths = np.array([len(piece) for piece in pieces])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.rotations = np.concatenate(pieces)
        self.piece_start, self.piece_stop = np.repeat(starts, lengths), np.repeat(starts + lengths, lengths)
        groups = np.zeros(body.bone_count, np.int64)  # legs and root
        for bone, role in enumerate(self.roles):
            if role.startswith(LIMB_GROUPS[0]):
                groups[bone] = 1
            elif role.startswith(LIMB_GROUPS[1]):
                groups[bone] = 2 if role.endswith(".L") else 3
        self.groups = groups
        # What rides on a bone of the same role (fingers, toes, eyes) turns with it alone.
        self._wobbling = [
            bone for bone, role in enumerate(self.roles) if role in WOBBLE and self.roles.index(role) == bone
        ]
        self._wobble = np.array([WOBBLE[self.roles[bone]] for bone in self._wobbling])
        people = people_of(body, held_out=False)
        self._pool = np.random.default_rng(0)  # whatever the seed, so that a checkpoint finds the same again
        self.shapes = people[self._pool.integers(0, len(people), FIT_POOL)]
        self.shapes = (self.shapes + self._pool.normal(0, 0.3, self.shapes.shape)).astype(np.float32)
        self.keypoint_mean = body.keypoint_skinning(np.zeros(body.shape_size))
        self.keypoint_basis = np.stack(
            [body.keypoint_skinning(unit) - self.keypoint_mean for unit in np.eye(body.shape_size)]
        )

    def mix(self, rng: np.random.Generator, count: int, odds: tuple[float, float, float]) -> np.ndarray:
        """Draw the frames ``(count, 4)`` about which legs, trunk, left and right arm move.

        ``odds`` are how often trunk and arms, one arm, and the other are of another motion.
        """
        centre = rng.integers(0, len(self.rotations), (count, 4))
        mixed = rng.random((count, 3)) < np.array(odds)
        centre[:, 1] = np.where(mixed[:, 0], centre[:, 1], centre[:, 0])
        centre[:, 2] = np.where(mixed[:, 1], centre[:, 2], centre[:, 1])
        centre[:, 3] = np.where(mixed[:, 2], centre[:, 3], centre[:, 1])
        return centre

    def around(self, centre: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the local rotations ``(N, L, B, 3, 3)`` and the root's way ``(N, L, 3)`` m about frames.

        ``moments`` ``(N, L)`` or ``(L,)`` are frames from the ``centre (N, 4)``; motions stop at their ends.
        """
        frames = centre[:, None] + moments[..., None]
        frames = np.clip(frames, self.piece_start[centre][:, None], self.piece_stop[centre][:, None] - 1)
        local = self.rotations[frames[..., self.groups], np.arange(self.body.bone_count)]
        return local, self.places[frames[..., 0]] - self.places[centre[:, :1]]

    def wobble(self, rng: np.random.Generator, local: np.ndarray, most: float = 1.0) -> None:
        """Turn the joints of half of the windows ``(N, L, B, 3, 3)`` a little, ``most`` of :data:`WOBBLE`."""
        count = len(local)
        sigma = most * self._wobble * (rng.random((count, 1)) < 0.5)
        turn = from_vectors(rng.normal(size=(count, len(self._wobbling), 3)) * sigma[..., None])
        local[:, :, self._wobbling] = local[:, :, self._wobbling] @ turn[:, None].astype(np.float32)

    def posed(
        self, shape: np.ndarray, local: np.ndarray, travel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pose people of shapes ``(N, S)`` by local rotations ``(N, L, B, 3, 3)`` and ways ``(N, L, 3)``.

        Returns the keypoints ``(N, L, 23, 3)`` and the bones' rotations and places in the world, float32.
        """
        count, length, bones = local.shape[:3]
        joints = self.body.joints_mean + np.tensordot(shape, self.body.joints_basis, 1)
        flat_joints = np.repeat(joints, length, axis=0)
        world, place = self.body.forward_kinematics(
            flat_joints, local.reshape(-1, bones, 3, 3), travel.reshape(-1, 3).astype(np.float32)
        )
        readout = self.keypoint_mean + np.tensordot(shape, self.keypoint_basis, 1)
        stacked = stack_transforms(world, place, flat_joints).reshape(count, length, -1, 3)
        keypoints = np.matmul(readout[:, None], stacked)
        return keypoints, world.reshape(local.shape), place.reshape(count, length, bones, 3)


class WindowSampler(MixedMotions):
    """Draws training windows: poses of mixed motions, shapes, and keypoints with an estimator's faults."""

    def __init__(self, body: BodyModel, folder: Path | None, seed: int, noisy: bool = True) -> None:
        super().__init__(body, folder)
        self.noisy = noisy
        self.rng = np.random.default_rng(seed)
        self.legs = [self.roles.index(role) for role in ("upperleg01.L", "foot.L")]
        self.fitted = np.stack([fitted_shape(body, shape, self._pool) for shape in self.shapes])
        corners = body.vertices_mean[body.faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
        share = np.cumsum(np.bincount(body.faces.ravel(), np.repeat(area, 3), len(body.vertices_mean)))
        self._area = share / share[-1]

    def rest_of(self, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return keypoints ``(N, 23, 3)`` and joints ``(N, B, 3)`` at rest of shapes ``(N, S)``."""
        joints = self.body.joints_mean + np.tensordot(shapes, self.body.joints_basis, 1)
        readout = self.keypoint_mean + np.tensordot(shapes, self.keypoint_basis, 1)
        eye = np.broadcast_to(np.eye(3, dtype=np.float32), (*joints.shape, 3))
        return np.matmul(readout, stack_transforms(eye, joints, joints)), joints

    def batch(self, count: int) -> dict[str, np.ndarray]:
        """Draw ``count`` windows with all that :class:`.train_vertices.WindowLoss` needs of them.

        That is the network's inputs (:data:`..vertex_predictor.INPUTS`), the bones' truth in the trunk's
        frame, the ``true_shape``, and which vertices to look at (``chosen``).
        """
        drawn = self.draw(count)
        inputs, axes, origin = self.inputs(drawn)
        # Half of them by area: the mesh is densest in face and hands, and the trunk must not drown in them.
        uniform = self.rng.integers(0, len(self._area), LOSS_VERTICES // 2)
        by_area = np.searchsorted(self._area, self.rng.random(LOSS_VERTICES // 2))
        truth = {
            "true_shape": drawn["shape"],
            "true_rotations": np.swapaxes(axes, 1, 2)[:, None] @ drawn["rotations"],
            "true_positions": (drawn["positions"] - origin[:, None]) @ axes,
        }
        chosen = np.concatenate([uniform, by_area])
        return inputs | {name: x.astype(np.float32) for name, x in truth.items()} | {"chosen": chosen}

    def inputs(self, drawn: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Turn drawn windows into the network's inputs, and the trunk frames that lead back."""
        rest_keypoints, joints = self.rest_of(drawn["known_shape"])
        return network_inputs(self.body, drawn["windows"], drawn["known_shape"], rest_keypoints, joints)

    def draw(self, count: int) -> dict[str, np.ndarray]:
        """Draw ``count`` windows (a multiple of ``CHUNK_WINDOWS``).

        Returns keypoints ``windows (N, 15, 23, 3)``, the true ``shape`` and what is known of it
        (``known_shape``), and the true bone ``rotations``, ``positions`` and ``joints`` in the middle.
        """
        rng, body, bones = self.rng, self.body, self.body.bone_count
        chunks, length = count // CHUNK_WINDOWS, WINDOW + (CHUNK_WINDOWS - 1) * CHUNK_SPACING
        centre = self.mix(rng, chunks, (0.25, 0.15, 0.15))
        stride = np.where(rng.random(chunks) < 0.15, 2, 1)
        local, travel = self.around(centre, (np.arange(length) - length // 2) * stride[:, None])
        self.wobble(rng, local)
        person = rng.integers(0, len(self.shapes), chunks)
        shape = self.shapes[person]
        known = np.where((rng.random(chunks) < 0.5)[:, None], shape, self.fitted[person])
        leg, mean_leg = (
            np.linalg.norm(np.diff(j[..., self.legs, :], axis=-2), axis=-1)
            for j in (body.joints_mean + np.tensordot(shape, body.joints_basis, 1), body.joints_mean)
        )
        keypoints, world, place = self.posed(shape, local, travel * (leg / mean_leg)[..., None])
        starts = np.arange(CHUNK_WINDOWS) * CHUNK_SPACING
        windows = keypoints[:, starts[:, None] + np.arange(WINDOW)].reshape(count, WINDOW, -1, 3)
        middle = starts + WINDOW // 2
        return {
            "windows": (spoil(windows, rng) if self.noisy else windows).astype(np.float32),
            "shape": np.repeat(shape, CHUNK_WINDOWS, axis=0),
            "known_shape": np.repeat(known, CHUNK_WINDOWS, axis=0).astype(np.float32),
            "rotations": world[:, middle].reshape(count, bones, 3, 3),
            "positions": place[:, middle].reshape(count, bones, 3),
        }
