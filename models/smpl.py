# SPDX-License-Identifier: GPL-3.0-or-later
"""SMPL, SMPL-H and SMPL-X as body models, through ``smplx`` and the user's own model file.

Beside that file lies the vertex predictor trained for it (``s2d train vertices --body smplx``), if any.

Neither is ever bundled: both are for non-commercial research (see THIRD_PARTY.md). Nothing in a file is run:
``.npz`` is read without its pickled entries, ``.pkl`` by an unpickler that knows arrays alone.

Keypoints at joint centres are the rows of the model's own joint regressor. Knuckles are SMPL-H's and SMPL-X's
finger joints; SMPL has none, so there they lie half way from wrist to finger tip. Nose, ears, heels and toe
tips are the vertices that ``smplx`` names on the real meshes (6,890 and 10,475 vertices); on any other mesh
the outermost vertices of head, feet and hands stand in for them.
"""

from __future__ import annotations

import io
import pickle
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from .body import PART_INDEX, BodyModel
from .errors import InputError
from .keypoints import KEYPOINT_INDEX

_MODEL_FILES = (".npz", ".pkl")
_USUAL_NAMES = {
    "smpl": ("SMPL_NEUTRAL.*", "basic[mM]odel_neutral_*.*", "SMPL_*.*", "basic[mM]odel_*.*"),
    "smplh": ("SMPLH_NEUTRAL.*", "neutral/model.npz", "SMPLH_*.*"),
    "smplx": ("SMPLX_NEUTRAL*.*", "SMPLX_*.*"),
}
"""Patterns of the names that the files are published by, the neutral body first."""

SHAPE_SIZE = 10
TO_CAMERA = np.array([1.0, -1.0, -1.0])
"""SMPL is y up and faces +z."""

FINGER_JOINTS = 15
"""Finger joints of a hand, in the order index, middle, pinky, ring, thumb, three each."""

_BODY_JOINTS: tuple[tuple[str, tuple[str, str, float]], ...] = (
    ("pelvis", ("pelvis", "pelvis", 0.0)),
    ("left_hip", ("left_thigh", "left_thigh", 0.0)),
    ("right_hip", ("right_thigh", "right_thigh", 0.0)),
    ("spine1", ("pelvis", "chest", 0.33)),
    ("left_knee", ("left_shin", "left_shin", 0.0)),
    ("right_knee", ("right_shin", "right_shin", 0.0)),
    ("spine2", ("pelvis", "chest", 0.66)),
    ("left_ankle", ("left_foot", "left_foot", 0.0)),
    ("right_ankle", ("right_foot", "right_foot", 0.0)),
    ("spine3", ("chest", "chest", 0.0)),
    ("left_foot", ("left_foot", "left_foot", 0.0)),
    ("right_foot", ("right_foot", "right_foot", 0.0)),
    ("neck", ("chest", "head", 0.5)),
    ("left_collar", ("chest", "left_upper_arm", 0.2)),
    ("right_collar", ("chest", "right_upper_arm", 0.2)),
    ("head", ("head", "head", 0.0)),
    ("left_shoulder", ("left_upper_arm", "left_upper_arm", 0.0)),
    ("right_shoulder", ("right_upper_arm", "right_upper_arm", 0.0)),
    ("left_elbow", ("left_forearm", "left_forearm_twist", 0.5)),
    ("right_elbow", ("right_forearm", "right_forearm_twist", 0.5)),
    ("left_wrist", ("left_hand", "left_hand", 0.0)),
    ("right_wrist", ("right_hand", "right_hand", 0.0)),
)
_JOINT = {name: index for index, (name, _) in enumerate(_BODY_JOINTS)}

_FIRST_FINGER = {"smplh": 22, "smplx": 25}

_SURFACE = {
    "nose": "nose", "left_ear": "lear", "right_ear": "rear", "left_heel": "LHeel", "right_heel": "RHeel",
    "left_foot_index": "LBigToe", "right_foot_index": "RBigToe",
}  # fmt: skip
"""Our name of a surface point and smplx's."""

_FIELDS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_UV_FIELDS = ("vt", "ft")


class _ArrayHolder:
    """Stands in for chumpy's arrays, which old model files are wrapped in: keeps the values alone."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.values = state.get("x")


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and nothing else."""

    _ALLOWED = (
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("_codecs", "encode"),
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return the classes that arrays are made of; refuse all others."""
        if module.split(".", maxsplit=1)[0] == "chumpy":
            return _ArrayHolder
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csr_matrix", "coo_matrix"):
            import scipy.sparse

            return getattr(scipy.sparse, name)
        if (module, name) in self._ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def _read_fields(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a model file; InputError ``body`` where it is not one."""
    fields: dict[str, np.ndarray] = {}
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                fields = {key: stored[key] for key in (*_FIELDS, *_UV_FIELDS) if key in stored.files}
        else:
            with path.open("rb") as file:
                stored = _ArrayUnpickler(file, encoding="latin1").load()
            fields = {key: stored[key] for key in (*_FIELDS, *_UV_FIELDS) if key in stored}
    except (OSError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError("body", f"{path} cannot be read as an SMPL model file: {error}") from error
    missing = [key for key in _FIELDS if key not in fields]
    if missing:
        raise InputError("body", f"{path} is no SMPL model file: it lacks {', '.join(missing)}.")
    for key, value in fields.items():
        value = getattr(value, "values", value)  # noqa: PLW2901
        fields[key] = np.asarray(value.todense()) if hasattr(value, "todense") else np.asarray(value)
    return fields


def _knuckle(name: str, side: str, finger: str, regressor: np.ndarray, tips: dict[str, int]) -> np.ndarray:
    """Return the vertex weights ``(V,)`` of the index or pinky knuckle."""
    if name in _FIRST_FINGER:
        joint = (
            _FIRST_FINGER[name] + (FINGER_JOINTS if side == "right" else 0) + (6 if finger == "pinky" else 0)
        )
        return regressor[joint]
    weights = 0.5 * regressor[_JOINT[f"{side}_wrist"]]
    weights[tips[f"{side[0]}{finger}"]] += 0.5
    return weights


def _outermost(rest: np.ndarray, weights: np.ndarray) -> dict[str, int]:
    """Find the named surface vertices on a mesh that ``smplx`` does not know, in camera axes."""
    heaviest = weights.argmax(axis=1)

    def extreme(joints: tuple[str, ...], direction: tuple[float, float, float]) -> int:
        ridden = np.isin(heaviest, [_JOINT[joint] for joint in joints])
        if not ridden.any():
            raise InputError("body", f"The body model has no vertices on its {joints[0]} joint.")
        chosen = np.flatnonzero(ridden)
        return int(chosen[(rest[chosen] @ np.array(direction)).argmax()])

    found = {"nose": extreme(("head",), (0, 0, -1))}
    for side, out in (("left", 1.0), ("right", -1.0)):
        letter, feet = side[0], (f"{side}_foot", f"{side}_ankle")
        found[f"{letter}ear"] = extreme(("head",), (out, 0, 0))
        found[f"{letter.upper()}Heel"] = extreme(feet, (0, 0.3, 1))
        found[f"{letter.upper()}BigToe"] = extreme(feet, (0, 0, -1))
        found[f"{letter}index"] = extreme((f"{side}_wrist",), (0.5 * out, 0, -1))
        found[f"{letter}pinky"] = extreme((f"{side}_wrist",), (0.5 * out, 0, 1))
    return found


def _keypoint_map(name: str, rest: np.ndarray, regressor: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sparse keypoint map ``(3, N)`` of :class:`.body.BodyModel`."""
    from smplx.vertex_ids import vertex_ids

    known = {6890: "smplh", 10475: "smplx"}.get(len(rest))
    points = vertex_ids[known] if known else _outermost(rest, weights)
    dense = np.zeros((len(KEYPOINT_INDEX), len(rest)))
    for ours, theirs in _SURFACE.items():
        dense[KEYPOINT_INDEX[ours], points[theirs]] = 1.0
    for side in ("left", "right"):
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
            dense[KEYPOINT_INDEX[f"{side}_{joint}"]] = regressor[_JOINT[f"{side}_{joint}"]]
        for finger in ("index", "pinky"):
            dense[KEYPOINT_INDEX[f"{side}_{finger}"]] = _knuckle(name, side, finger, regressor, points)
    keypoint, vertex = np.nonzero(dense)
    weight = dense[keypoint, vertex] / dense.sum(axis=1)[keypoint]
    return np.stack([keypoint, vertex, weight]).astype(np.float32)


def model_file(name: str, path: str | Path | None) -> Path:
    """Return the model file that ``path`` names, or that it holds if it is a folder.

    In a folder, files are known by the names they are published by, and the neutral body is taken first.
    InputError ``body`` where there is none.
    """
    if path is not None and Path(path).is_dir():
        found = (file for pattern in _USUAL_NAMES[name] for file in sorted(Path(path).rglob(pattern)))
        file = next((file for file in found if file.suffix in _MODEL_FILES), None)
        if file is None:
            raise InputError(
                "body",
                f"No file of the body model '{name}' is in {path}: "
                f"put it there under the name it comes with, such as {name.upper()}_NEUTRAL.npz.",
            )
        return file
    if path is None or not Path(path).is_file():
        raise InputError(
            "body", f"The body model '{name}' needs its model file, which only you can have licensed: {path}."
        )
    return Path(path)


def predictor_name(file: Path) -> str:
    """Return what the vertex predictor trained for a model file is called, without its ending."""
    return f"{file.stem}_vertex_predictor"


def load_smpl(name: str, path: str | Path | None) -> BodyModel:
    """Load one of the SMPL family from the user's own model file.

    Args:
        name: ``"smpl"`` (24 joints), ``"smplh"`` (52) or ``"smplx"`` (55).
        path: the ``.npz`` or ``.pkl`` file, or its folder, see :func:`model_file`.

    Raises:
        InputError: ``body``, for no file, a file that is no such model, or ``smplx`` not installed.
    """
    path = model_file(name, path)
    try:
        import smplx
        from smplx.utils import Struct
    except ImportError as error:
        raise InputError("body", "SMPL bodies need smplx: pip install 'sparse2dense[smpl]'.") from error
    fields = _read_fields(path)
    joints = {"smpl": 24, "smplh": 52, "smplx": 55}[name]
    if fields["J_regressor"].shape[0] != joints:
        raise InputError(
            "body", f"{path} has {fields['J_regressor'].shape[0]} joints; '{name}' has {joints}."
        )
    with redirect_stdout(io.StringIO()):  # smplx prints remarks; output is for our own messages
        model = smplx.SMPL(
            str(path), data_struct=Struct(**fields), num_betas=SHAPE_SIZE, create_body_pose=False
        )
    rest = model.v_template.numpy() * TO_CAMERA
    basis = np.moveaxis(model.shapedirs.numpy(), 2, 0) * TO_CAMERA
    regressor, weights = model.J_regressor.numpy(), model.lbs_weights.numpy()
    # A correction is driven by the entries of a rotation, whose axes turn with the space's.
    turned = np.outer(TO_CAMERA, TO_CAMERA).ravel()
    correctives = model.posedirs.numpy().reshape(joints - 1, 9, len(rest), 3)
    correctives = (correctives * turned[:, None, None] * TO_CAMERA).reshape(-1, len(rest), 3)
    hands = [("left", i) for i in range(FINGER_JOINTS)] + [("right", i) for i in range(FINGER_JOINTS)]
    extra = {
        "smpl": [("left_hand", "left_hand"), ("right_hand", "right_hand")],
        "smplh": [(f"{side}_finger{i}", f"{side}_hand") for side, i in hands],
        "smplx": [("jaw", "head"), ("left_eye", "head"), ("right_eye", "head")]
        + [(f"{side}_finger{i}", f"{side}_hand") for side, i in hands],
    }[name]
    rides = [parts for _, parts in _BODY_JOINTS] + [(part, part, 0.0) for _, part in extra]
    uv, faces_uv = fields.get("vt"), fields.get("ft")
    if uv is None or faces_uv is None:
        low, high = (
            rest[:, :2].min(axis=0),
            rest[:, :2].max(axis=0),
        )  # SMPL has no texture map: seen from ahead
        uv, faces_uv = (rest[:, :2] - low) / (high - low) * [1, -1] + [0, 1], fields["f"]
    return BodyModel(
        name=name,
        vertices_mean=rest.astype(np.float32),
        vertices_basis=basis.astype(np.float32),
        joints_mean=(regressor @ rest).astype(np.float32),
        joints_basis=(regressor @ basis).astype(np.float32),
        weights=weights.astype(np.float32),
        parents=model.parents.numpy(),
        bone_names=(*_JOINT, *(bone for bone, _ in extra)),
        faces=np.asarray(fields["f"]).astype(np.int32),
        uv=uv.astype(np.float32),
        faces_uv=np.asarray(faces_uv).astype(np.int32),
        keypoint_map=_keypoint_map(name, rest, regressor, weights),
        bone_parts=np.array([[PART_INDEX[first], PART_INDEX[second]] for first, second, _ in rides]),
        bone_blend=np.array([blend for _, _, blend in rides], np.float32),
        pose_basis=correctives.astype(np.float32),
    )
