# SPDX-License-Identifier: GPL-3.0-or-later
"""CMU motion capture (BVH) as poses of a body: Anny, or one of the SMPL family.

The BVH conversion's skeleton is Daz's: T-pose at rest, centimetres, Y up, facing +z. A bone of ours takes
the world rotation of the joint that drives it, after a fixed turn that lays our rest limb along theirs;
limbs thus point where the captured ones pointed, whatever the two rest poses.

Data: CMU Graphics Lab motion capture database, BVH conversion by B. Hahne (cgspeed); see the data's README.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ...inference.motions.bvh_file import parse_bvh
from ..body import ELBOW_BENDS, BodyModel, rest_hinge
from ..body_catalogue import load_body
from ..errors import InputError
from ..keypoints import KEYPOINT_INDEX
from ..rotations import angles_between, orthonormal_frames, relative_to_parents
from ..smpl import FINGER_JOINTS

ARCHIVE = "cmu_01-13_30fps.zip"
HELD_OUT_SUBJECTS: tuple[str, ...] = ("11", "13")
"""Subjects that nothing is trained on."""
TRAINING_SUBJECTS: tuple[str, ...] = ("01", "02", "03", "05", "06", "07", "08", "10", "12")
FPS = 30

TO_CAMERA = np.diag([1.0, -1.0, -1.0])
"""From BVH axes (y up, facing +z) to camera axes (y down, facing -z)."""

JUMP = np.radians(50)
"""A joint that turns further than this between two frames (1500 degrees a second) has flipped."""

LONGEST_REPAIR = 6
"""A flipped stretch of up to this many frames is bridged; a longer one ends the motion there."""

SHORTEST_MOTION = 30

_SMPL_BONES = {
    "pelvis": "root", "spine1": "spine04", "spine2": "spine03", "spine3": "spine02", "neck": "neck02",
    "jaw": "head",
    **{
        f"{side}_{smpl}": anny if anny == "head" else f"{anny}.{side[0].upper()}"
        for side in ("left", "right")
        for smpl, anny in (
            ("eye", "head"), ("collar", "clavicle"), ("shoulder", "upperarm01"), ("elbow", "lowerarm01"),
            ("wrist", "wrist"), ("hand", "wrist"), *((f"finger{i}", "wrist") for i in range(FINGER_JOINTS)),
            ("hip", "upperleg01"), ("knee", "lowerleg01"), ("ankle", "foot"), ("foot", "foot"),
        )
    },
}  # fmt: skip
"""The bone of Anny's that a bone of the SMPL family moves like."""


def bone_roles(body: BodyModel) -> tuple[str, ...]:
    """Return for each bone of ``body`` the bone of Anny's that it moves like."""
    return tuple(_SMPL_BONES.get(name, name) for name in body.bone_names)


def data_dir(given: str | Path | None = None) -> Path:
    """Return the folder of the training data: ``given``, or the environment variable ``S2D_DATA``.

    InputError ``no_data`` where neither names a folder that holds the motion archive.
    """
    folder = given or os.environ.get("S2D_DATA")
    if not folder:
        raise InputError(
            "no_data",
            "Say where the data is: --data DIR, or the environment variable S2D_DATA; "
            "models/weights/MODEL_CARD.md says what it holds.",
        )
    if not (Path(folder) / ARCHIVE).is_file():
        raise InputError(
            "no_data", f"The motion archive {ARCHIVE} is not in '{folder}'; see models/weights/MODEL_CARD.md."
        )
    return Path(folder)


@dataclass(frozen=True)
class BvhMotion:
    """One BVH file as stored: joint ``offsets (J, 3)``, ``local`` rotations, root ``translation (T, 3)``."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    local: Rotation  # T * J rotations, frame by frame
    translation: np.ndarray

    def rest_positions(self) -> np.ndarray:
        """Return the joints' places in the T-pose, ``(J, 3)``."""
        places = self.offsets.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                places[joint] += places[parent]
        return places


def captured_motion(text: str) -> BvhMotion:
    """Take the motion out of a BVH file of joints with three rotation channels and a root that moves.

    Raises InputError: the text is not such a file.
    """
    file = parse_bvh(text)
    frames, count = len(file.values), len(file.joints)
    quaternions = np.zeros((frames, count, 4))
    quaternions[..., 3] = 1.0
    translation = np.zeros((frames, 3))
    for number, joint in enumerate(file.joints):
        turns, moves = joint.columns("rotation"), joint.columns("position")
        if len(turns) != (0 if joint.is_end else 3) or len(moves) != (0 if number else 3):
            raise InputError("motion", f"the joint {joint.name} has other channels than captured motion has")
        if turns:
            order = "".join("XYZ"[axis] for _, axis in turns)
            angles = file.values[:, [at for at, _ in turns]]
            quaternions[:, number] = Rotation.from_euler(order, angles, degrees=True).as_quat()
        for at, axis in moves:
            translation[:, axis] = file.values[:, at]
    return BvhMotion(
        tuple(joint.name for joint in file.joints),
        tuple(joint.parent for joint in file.joints),
        np.array([joint.offset for joint in file.joints]),
        Rotation.from_quat(quaternions.reshape(-1, 4)),
        translation,
    )


def _between(first: np.ndarray, second: np.ndarray, blend: float) -> np.ndarray:
    """Interpolate rotations ``(..., 3, 3)`` along the shortest way."""
    start = Rotation.from_matrix(first.reshape(-1, 3, 3))
    step = start.inv() * Rotation.from_matrix(second.reshape(-1, 3, 3))
    return (start * step**blend).as_matrix().reshape(first.shape)


def _half_twist(forearm: np.ndarray, hand: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Turn ``forearm (T, 3, 3)`` half as far about its rest ``axis (3,)`` as the hand is turned about it."""
    quaternion = Rotation.from_matrix(np.swapaxes(forearm, 1, 2) @ hand).as_quat()
    quaternion *= np.where(quaternion[:, 3:] < 0, -1.0, 1.0)
    axis = axis / np.linalg.norm(axis)
    angle = 2 * np.arctan2(quaternion[:, :3] @ axis, quaternion[:, 3])
    return forearm @ Rotation.from_rotvec(0.5 * angle[:, None] * axis).as_matrix()


class Retarget:
    """Lays motions of one BVH skeleton on a body; the turns between the rest poses are found once."""

    def __init__(self, body: BodyModel, skeleton: BvhMotion) -> None:
        self.body, self.roles = body, bone_roles(body)
        vertices, self.joints = body.rest(np.zeros(body.shape_size))
        self.bone = {role: self.roles.index(role) for role in self.roles}
        self.joint = {name: i for i, name in enumerate(skeleton.names)}
        ours = body.keypoints(vertices)
        theirs = skeleton.rest_positions() @ TO_CAMERA / 100

        def keypoint(name: str) -> np.ndarray:
            return ours[KEYPOINT_INDEX[name]]

        def daz(name: str) -> np.ndarray:
            return theirs[self.joint[name]]

        forward = np.array([0.0, 0.0, -1.0])
        self.align: dict[str, np.ndarray] = {}
        for side in ("left", "right"):
            s = side[0]
            shoulder, elbow, wrist = (keypoint(f"{side}_{j}") for j in ("shoulder", "elbow", "wrist"))
            hinge = rest_hinge(elbow - shoulder, wrist - elbow, ELBOW_BENDS)
            daz_upper = daz(f"{s}ForeArm") - daz(f"{s}Shldr")
            daz_lower = daz(f"{s}Hand") - daz(f"{s}ForeArm")
            daz_hinge = np.cross(daz_upper, daz_lower)
            index, pinky = keypoint(f"{side}_index"), keypoint(f"{side}_pinky")
            daz_index, daz_pinky = daz(f"{s}Index1"), daz(f"{s}Pinky1")
            hip, knee, ankle = (keypoint(f"{side}_{j}") for j in ("hip", "knee", "ankle"))
            daz_hip, daz_knee, daz_ankle = (daz(f"{s}{j}") for j in ("Thigh", "Shin", "Foot"))
            level = np.array([1.0, 0.0, 1.0])
            toe = (keypoint(f"{side}_foot_index") - keypoint(f"{side}_heel")) * level
            daz_toe = (daz(f"{s}Foot_End") - daz_ankle) * level
            up = np.array([0.0, -1.0, 0.0])
            for name, our_axes, daz_axes in (
                ("upperarm", (elbow - shoulder, hinge), (daz_upper, daz_hinge)),
                ("lowerarm", (wrist - elbow, hinge), (daz_lower, daz_hinge)),
                (
                    "wrist",
                    ((index + pinky) / 2 - wrist, index - pinky),
                    ((daz_index + daz_pinky) / 2 - daz(f"{s}Hand"), daz_index - daz_pinky),
                ),
                ("upperleg", (knee - hip, forward), (daz_knee - daz_hip, forward)),
                ("lowerleg", (ankle - knee, forward), (daz_ankle - daz_knee, forward)),
                ("foot", (toe, up), (daz_toe, up)),
            ):
                turn = orthonormal_frames(*daz_axes) @ orthonormal_frames(*our_axes).T
                self.align[f"{name}.{s.upper()}"] = turn
        legs = [self.bone[name] for name in ("upperleg01.L", "lowerleg01.L", "foot.L")]
        our_leg = np.linalg.norm(np.diff(self.joints[legs], axis=0), axis=1).sum()
        daz_leg = sum(np.linalg.norm(daz(a) - daz(b)) for a, b in (("lThigh", "lShin"), ("lShin", "lFoot")))
        self.scale = our_leg / daz_leg

    def __call__(self, motion: BvhMotion) -> tuple[np.ndarray, np.ndarray]:
        """Return local rotations ``(T, B, 3, 3)`` and root joint places ``(T, 3)`` m, float32."""
        frames = len(motion.translation)
        local = TO_CAMERA @ motion.local.as_matrix().reshape(frames, -1, 3, 3) @ TO_CAMERA
        offsets = motion.offsets @ TO_CAMERA / 100
        world, places = local.copy(), np.zeros((frames, len(motion.names), 3))
        places[:, 0] = motion.translation @ TO_CAMERA / 100
        for joint, parent in enumerate(motion.parents):
            if parent >= 0:
                world[:, joint] = world[:, parent] @ local[:, joint]
                places[:, joint] = places[:, parent] + world[:, parent] @ offsets[joint]

        def daz(name: str) -> np.ndarray:
            return world[:, self.joint[name]]

        bones: dict[str, np.ndarray] = {
            "root": daz("hip"),
            "spine05": _between(daz("hip"), daz("abdomen"), 0.5),
            "spine04": daz("abdomen"),
            "spine03": _between(daz("abdomen"), daz("chest"), 0.5),
            "spine02": daz("chest"),
            "spine01": daz("chest"),
            "neck01": _between(daz("chest"), daz("neck"), 0.5),
            "neck02": daz("neck"),
            "neck03": _between(daz("neck"), daz("head"), 0.5),
            "head": daz("head"),
        }
        for side in "LR":
            s = side.lower()
            upper_arm = daz(f"{s}Shldr") @ self.align[f"upperarm.{side}"]
            forearm = daz(f"{s}ForeArm") @ self.align[f"lowerarm.{side}"]
            hand = daz(f"{s}Hand") @ self.align[f"wrist.{side}"]
            collar = daz(f"{s}Collar")
            axis = self.joints[self.bone[f"wrist.{side}"]] - self.joints[self.bone[f"lowerarm01.{side}"]]
            bones[f"clavicle.{side}"] = collar
            # The shoulder blade follows the arm a little, which the captured skeleton cannot show.
            bones[f"shoulder01.{side}"] = _between(collar, upper_arm, 0.2)
            bones[f"upperarm01.{side}"] = bones[f"upperarm02.{side}"] = upper_arm
            # Of two bones of a forearm the second turns half-way with the hand; a single one does so itself.
            twisted = bones[f"lowerarm02.{side}"] = _half_twist(forearm, hand, axis)
            bones[f"lowerarm01.{side}"] = forearm if f"lowerarm02.{side}" in self.bone else twisted
            bones[f"wrist.{side}"] = hand
            thigh = daz(f"{s}Thigh") @ self.align[f"upperleg.{side}"]
            shin = daz(f"{s}Shin") @ self.align[f"lowerleg.{side}"]
            bones[f"upperleg01.{side}"] = bones[f"upperleg02.{side}"] = thigh
            bones[f"lowerleg01.{side}"] = bones[f"lowerleg02.{side}"] = shin
            bones[f"foot.{side}"] = daz(f"{s}Foot") @ self.align[f"foot.{side}"]
        turned = np.stack([bones[role] for role in self.roles], axis=1)
        rotations = relative_to_parents(turned, self.body.parents)
        hips = (self.joints[self.bone["upperleg01.L"]] + self.joints[self.bone["upperleg01.R"]]) / 2
        daz_hips = (places[:, self.joint["lThigh"]] + places[:, self.joint["rThigh"]]) / 2
        translation = self.scale * daz_hips - turned[:, 0] @ (hips - self.joints[0])
        return rotations.astype(np.float32), translation.astype(np.float32)


def repair(rotations: np.ndarray, translation: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mend joints that flip: bridge short stretches, cut the motion at long ones.

    Takes local rotations ``(T, B, 3, 3)`` and places ``(T, 3)``; returns the clean pieces likewise.
    """
    jumps = np.flatnonzero((angles_between(rotations[:-1], rotations[1:]) > JUMP).any(axis=1)) + 1
    mended = rotations.copy()
    cuts, index = [0], 0
    while index < len(jumps):
        start = jumps[index]
        last = index
        while last + 1 < len(jumps) and jumps[last + 1] - jumps[last] <= LONGEST_REPAIR:
            last += 1
        end = jumps[last]  # first frame after the flipped stretch
        if 0 < end - start <= LONGEST_REPAIR:
            inside = np.arange(start, end)
            for bone in range(rotations.shape[1]):
                ends = Rotation.from_matrix(rotations[[start - 1, end], bone])
                mended[inside, bone] = Slerp([start - 1, end], ends)(inside).as_matrix()
        else:
            cuts += [start, end]
        index = last + 1
    cuts.append(len(rotations))
    pieces = zip(cuts[::2], cuts[1::2], strict=True)
    return [(mended[a:b], translation[a:b]) for a, b in pieces if b - a >= SHORTEST_MOTION]


def _other_side(bone: str) -> str:
    """Return the name of the bone across from ``bone``: itself, where it is in the middle."""
    for ours, theirs in (("left_", "right_"), ("right_", "left_")):
        if bone.startswith(ours):
            return theirs + bone.removeprefix(ours)
    for ours, theirs in ((".L", ".R"), (".R", ".L")):
        if bone.endswith(ours):
            return bone.removesuffix(ours) + theirs
    return bone


def mirrored(body: BodyModel, rotations: np.ndarray) -> np.ndarray:
    """Exchange left and right of local rotations ``(T, B, 3, 3)``."""
    flip = np.diag([-1.0, 1.0, 1.0]).astype(np.float32)
    swapped = [body.bone_names.index(_other_side(name)) for name in body.bone_names]
    return flip @ rotations[:, swapped] @ flip


def load_motions(
    folder: str | Path | None = None,
    subjects: Iterable[str] = TRAINING_SUBJECTS,
    body: BodyModel | None = None,
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Load motions of CMU subjects on a body's skeleton at 30 frames a second.

    Args:
        folder: where the archive lies; ``S2D_DATA`` when None.
        subjects: two-digit subject numbers.
        body: whose skeleton; Anny's when None.

    Returns:
        ``(name, rotations (T, B, 3, 3), translation (T, 3))`` a clean piece, float32: local rotations and the
        root joint's place for :meth:`BodyModel.pose` of the mean shape, in a world with y down (the floor
        near y = 0).

    Raises:
        InputError: ``no_data``, the archive is not there; ``motion``, it is damaged.
    """
    body = body or load_body()
    retarget: Retarget | None = None
    motions = []
    for name, motion in _captured(data_dir(folder) / ARCHIVE, set(subjects)):
        retarget = retarget or Retarget(body, motion)
        pieces = repair(*retarget(motion))
        motions += [(f"{name}.{i}" if len(pieces) > 1 else name, *piece) for i, piece in enumerate(pieces)]
    return motions


def _captured(path: Path, subjects: set[str]) -> Iterator[tuple[str, BvhMotion]]:
    """Yield the motions of subjects as the archive holds them, by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in sorted(archive.namelist()):
                name = Path(entry).stem
                if entry.endswith(".bvh") and name.split("_")[0] in subjects:
                    yield name, captured_motion(archive.read(entry).decode("ascii"))
    except (zipfile.BadZipFile, ValueError, InputError) as error:
        wrong = str(error).rstrip(".")
        raise InputError("motion", f"{path} is damaged ({wrong}): fetch it again.") from error
