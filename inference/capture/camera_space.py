# SPDX-License-Identifier: GPL-3.0-or-later
"""From a clip's image and metric landmarks to keypoints in camera space with bones of constant length.

Each frame's keypoints minimise a weighted sum of squares: their image (in metres at the person's depth),
the bones' directions in the metric landmarks, the bones' lengths, the depth of the trunk, and the place of
feet that stand still. Time enters through what goes in, which a zero-phase smoother has passed over, so the
frames are independent and are solved together.
"""

from __future__ import annotations

import numpy as np

from ...models.camera import Camera
from ...models.keypoints import ANKLES, BONES, FEET, KEYPOINT_INDEX, MIRRORED, TRUNK
from ...models.rotations import unit

CUTOFF = 4.0
"""Frequency (Hz) that smoothing of strength 1 halves in a point at rest; strength s halves ``CUTOFF / s``."""
FAST = 1.0
"""Speed (trunk lengths a second) at which a point's cutoff has doubled; it grows with speed."""
DEPTH_CUTOFF = 1.0
"""The same for the trunk's depth, the direction that one camera measures worst."""
STEADY_CUTOFF, STEADY_DEPTH_CUTOFF = 2.0, 1.5
"""The same once the body lies on the film (:func:`steady`): in the picture, and of what that shows worse."""

_IMAGE_SIGMA = 0.012  # metres at the person's depth
_DIRECTION_SIGMA = 0.02  # metres along a bone
_LENGTH_SIGMA = 0.001  # of the bone
_DEPTH_SIGMA = 0.005  # metres
_CONTACT_SIGMA = 0.006  # metres
_GLITCH = 0.15  # of the trunk: a point this far off for one frame counts half
_MOST_EAGER = 10.0  # times the cutoff at rest
_MEASURABLE = 0.02  # of the frames, in which a bone's ends must be seen for its length to be measured
_USUAL = 25.0  # frames of a limb seen that count as much as the body at rest
_STILL_SPEED = 0.12  # metres a second, of a foot that stands
_STILL_CUTOFF = 2.0  # Hz; jitter is no step
_STILL_TIME = 0.2  # seconds
_ITERATIONS = 8
_DAMPING = 500.0  # 1 / square metres, of a step
_FRAMES_AT_ONCE = 512
_SIDEWAYS = 0.2  # how readily a bone gets its length back across the view; 1 as in depth
_CUT_OFF = 0.05  # of a point's weight, what counts of its image outside the picture

_FIRST, _SECOND = np.array(BONES).T
# Not bones, for they bend a little, but what keeps the head over the trunk and the trunk square.
_SPANS = BONES + tuple(
    (KEYPOINT_INDEX[f"{side}_shoulder"], KEYPOINT_INDEX[f"{other}_{part}"])
    for side in ("left", "right")
    for other in ("left", "right")
    for part in ("ear", "hip")
    if (side, part) != (other, "hip")
)
_PLANTED = [*ANKLES, *FEET]
_LIMBS = [
    ([KEYPOINT_INDEX[parent] for parent in parents], KEYPOINT_INDEX[child], leg)
    for parents, child, leg in [
        *((("left_shoulder", "right_shoulder"), head, False) for head in ("nose", "left_ear", "right_ear")),
        *(
            ((f"{side}_{parent}",), f"{side}_{child}", leg)
            for parent, child, leg in (
                ("shoulder", "elbow", False),
                ("elbow", "wrist", False),
                ("wrist", "pinky", False),
                ("wrist", "index", False),
                ("hip", "knee", True),
                ("knee", "ankle", True),
                ("ankle", "heel", True),
                ("ankle", "foot_index", True),
            )
            for side in ("left", "right")
        ),
    ]
]
_ENDS, _END_PARENTS = np.array(
    [
        (KEYPOINT_INDEX[end.format(side)], KEYPOINT_INDEX[parent.format(side)])
        for side in ("left", "right")
        for end, parent in (
            ("{}_ear", "nose"),
            ("{}_pinky", "{}_wrist"),
            ("{}_index", "{}_wrist"),
            ("{}_heel", "{}_ankle"),
            ("{}_foot_index", "{}_ankle"),
        )
    ]
).T


def smooth(values: np.ndarray, weights: np.ndarray, cutoff: float, fps: float) -> np.ndarray:
    """Smooth ``values (T, K, C)`` in time without delay; ``weights (T, K)`` of zero are filled in.

    Penalised least squares on second differences (Whittaker 1922, Hodrick and Prescott 1997): where the
    weight is one, a swing of ``cutoff`` Hz is halved; gaps become cubic curves.
    """
    frames = len(values)
    if frames < 3:
        return values.copy()
    penalty = (2 - 2 * np.cos(np.pi * min(1.0, 2 * cutoff / fps))) ** -2
    diagonal = np.full((frames, 1), 6.0)
    diagonal[[0, -1]], diagonal[[1, -2]] = 1.0, 5.0
    if frames == 3:
        diagonal[1] = 4.0
    beside = np.full(frames - 1, -4.0)
    beside[[0, -1]] = -2.0
    middle = weights + penalty * diagonal
    first = np.zeros_like(middle)  # the factors of L D L^T, one row a frame
    second = np.zeros_like(middle)
    pivot = np.zeros_like(middle)
    solution = values * weights[..., None]
    for t in range(frames):
        pivot[t] = middle[t]
        off = np.full(weights.shape[1], penalty * beside[t]) if t < frames - 1 else 0.0
        if t >= 1:
            pivot[t] -= pivot[t - 1] * first[t - 1] ** 2
            off = off - pivot[t - 1] * first[t - 1] * second[t - 1]
            solution[t] -= first[t - 1, :, None] * solution[t - 1]
        if t >= 2:
            pivot[t] -= pivot[t - 2] * second[t - 2] ** 2
            solution[t] -= second[t - 2, :, None] * solution[t - 2]
        first[t] = off / pivot[t]
        second[t] = penalty / pivot[t] if t < frames - 2 else 0.0
    solution /= pivot[..., None]
    for t in range(frames - 2, -1, -1):
        solution[t] -= first[t, :, None] * solution[t + 1]
        if t < frames - 2:
            solution[t] -= second[t, :, None] * solution[t + 2]
    return solution


def _trunk_length(image: np.ndarray) -> float:
    """Return the median distance in pixels from the shoulders' middle to the hips'."""
    ends = np.diff(image[:, TRUNK].reshape(-1, 2, 2, 2).mean(axis=1), axis=1)[:, 0]
    return max(1.0, float(np.median(np.linalg.norm(ends, axis=-1))))


def _believed(image: np.ndarray) -> np.ndarray:
    """Return ``(T, 23)`` near 0 where a point leaves its path for one frame only, elsewhere near 1."""
    belief = np.ones(image.shape[:2])
    if len(image) < 3:
        return belief
    off = np.linalg.norm(image[1:-1] - (image[:-2] + image[2:]) / 2, axis=-1)
    stride = np.linalg.norm(image[2:] - image[:-2], axis=-1) / 2
    belief[1:-1] = 1 / (1 + (off / (stride + _GLITCH * _trunk_length(image))) ** 4)
    return belief


def _eagerness(image: np.ndarray, weights: np.ndarray, cutoff: float, fps: float) -> np.ndarray:
    """Return factors ``(T, 23)`` on the weights that raise :func:`smooth`'s cutoff with a point's speed.

    As in the One Euro filter (Casiez et al., 2012): jitter shows at rest, and lag in motion. A cutoff grows
    with the fourth root of the weight.
    """
    speed = speeds(smooth(image, weights, cutoff, fps), fps)
    return np.minimum(1 + speed / (FAST * _trunk_length(image)), _MOST_EAGER) ** 4


def speeds(points: np.ndarray, fps: float) -> np.ndarray:
    """Return the speeds ``(T, K)``, a second, of ``points (T, K, C)``; zeros for a single frame."""
    if len(points) < 2:
        return np.zeros(points.shape[:-1])
    return np.linalg.norm(np.gradient(points, axis=0), axis=-1) * fps


def fill(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return ``values (T, ...)`` with straight lines between the frames that were ``seen (T,)``."""
    known = np.flatnonzero(seen)
    times = np.arange(len(values))
    after = np.clip(np.searchsorted(known, times), 0, len(known) - 1)
    before = np.clip(after - (known[after] > times), 0, None)
    span = np.maximum(known[after] - known[before], 1)
    share = np.clip((times - known[before]) / span, 0, 1).reshape(-1, *[1] * (values.ndim - 1))
    return values[known[before]] * (1 - share) + values[known[after]] * share


def bone_lengths(world: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the ``(len(BONES),)`` lengths in metres, the same left and right.

    Medians of ``world (T, 23, 3)`` metres over the frames in which both ends are ``seen (T, 23)``; NaN for a
    bone that hardly ever is.
    """
    both, known = np.concatenate([world, world[:, MIRRORED]]), np.concatenate([seen, seen[:, MIRRORED]])
    spans = np.linalg.norm(both[:, _FIRST] - both[:, _SECOND], axis=-1)
    known = known[:, _FIRST] & known[:, _SECOND]
    measured = known.mean(axis=0) > _MEASURABLE
    spans = np.where(known | ~measured, spans, np.nan)
    return np.where(measured, np.nanmedian(spans, axis=0), np.nan)


def complete(world: np.ndarray, cut_off: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return ``world (T, 23, 3)`` with limbs in their usual pose where they are ``cut_off (T, 23)``.

    What the picture's edge cuts off is guessed, and squeezed into the picture. The usual pose is
    the clip's own mean where the limb is seen, and ``rest (23, 3)``'s as far as it is not: arms and head
    go with the trunk, legs half with it and half straight down.
    """
    done = world.copy()
    rest_axes = _trunk_axes(rest[None])[0]
    axes = _trunk_axes(world)
    for parents, child, leg in _LIMBS:
        turn, rest_turn = axes[:, int(leg)], rest_axes[int(leg)]
        own = np.einsum("tji,tj->ti", turn, world[:, child] - world[:, parents].mean(axis=1))
        known = ~(cut_off[:, child] | cut_off[:, parents].any(axis=1))
        usual = (
            own[known].sum(axis=0) + _USUAL * rest_turn.T @ (rest[child] - rest[parents].mean(axis=0))
        ) / (known.sum() + _USUAL)
        guess = done[:, parents].mean(axis=1) + np.einsum("tij,j->ti", turn, usual)
        follows = done[:, parents].mean(axis=1) - world[:, parents].mean(axis=1) + world[:, child]
        done[:, child] = np.where(cut_off[:, child, None], guess, follows)
    return done


def _trunk_axes(points: np.ndarray) -> np.ndarray:
    """Return the axes ``(T, 2, 3, 3)`` (columns: left, down, forward) of ``points``' arms and legs."""
    left_hip, left_shoulder, right_hip, right_shoulder = (points[:, one] for one in TRUNK)
    across = left_shoulder - right_shoulder + left_hip - right_hip
    along = unit(left_hip + right_hip - left_shoulder - right_shoulder)
    axes = []
    for down in (along, unit(along + np.array([0.0, 1.0, 0.0]))):
        left = unit(across - (across * down).sum(axis=-1, keepdims=True) * down)
        axes.append(np.stack([left, down, np.cross(left, down)], axis=-1))
    return np.stack(axes, axis=1)


def look_along(world: np.ndarray, image: np.ndarray, camera: Camera) -> np.ndarray:
    """Turn ``world (T, 23, 3)`` from the axes of a picture centred on the person to the camera's.

    The landmark network sees the person in the middle of its picture, wherever the camera has them.
    """
    middle = image.mean(axis=1)
    ray = np.stack(
        [(middle[:, 0] - camera.cx) / camera.fx, (middle[:, 1] - camera.cy) / camera.fy, np.ones(len(image))],
        axis=1,
    )
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    half = ray + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    # Two half turns, about the axis and then about the bisector, take the axis to the ray without a roll.
    flip = np.diag([-1.0, -1.0, 1.0])
    turn = (2 * half[:, :, None] * half[:, None, :] - np.eye(3)) @ flip
    return np.einsum("tij,tkj->tki", turn, world)


def place(image: np.ndarray, world: np.ndarray, weights: np.ndarray, camera: Camera) -> np.ndarray:
    """Return the translations ``(T, 3)`` that bring ``world (T, 23, 3)`` nearest to ``image (T, 23, 2)``.

    Least squares on the distances from the rays, which are linear in the translation.
    """
    ray = _rays(image, camera)
    across = np.zeros((*image.shape[:2], 2, 3))
    across[..., 0, 0] = across[..., 1, 1] = 1
    across[..., 2] = -ray
    weighted = across * weights[..., None, None]
    normal = np.einsum("tkri,tkrj->tij", weighted, across) + 1e-9 * np.eye(3)
    right = -np.einsum("tkri,tkrj,tkj->ti", weighted, across, world)
    return np.linalg.solve(normal, right[..., None])[..., 0]


def lift(
    image: np.ndarray,
    world: np.ndarray,
    weights: np.ndarray,
    lengths: np.ndarray,
    camera: Camera,
    fps: float,
    *,
    cut_off: np.ndarray | None = None,
    strength: float = 1.0,
    contacts: bool = True,
) -> np.ndarray:
    """Return keypoints ``(T, 23, 3)`` in camera space, metres.

    Args:
        image: ``(T, 23, 2)`` pixels, filled where unseen.
        world: ``(T, 23, 3)`` metres in camera axes, any origin, filled where unseen.
        weights: ``(T, 23)`` how certain each is, 0 to 1, above 0.
        lengths: ``(len(BONES),)`` metres.
        camera: the pinhole camera of ``image``.
        fps: frames a second.
        cut_off: ``(T, 23)`` bool, points outside the picture, of which ``image`` says nothing.
        strength: of the smoothing; 0 leaves the landmarks as they are.
        contacts: whether feet that stand still in the picture stand still in space (a still camera).
    """
    in_image = weights if cut_off is None else np.where(cut_off, _CUT_OFF * weights, weights)
    if strength > 0:
        belief = _believed(image)
        weights, in_image = weights * belief, in_image * belief
        eager = weights * _eagerness(image, weights, CUTOFF / strength, fps)
        calm = weights * np.sqrt(eager / weights)
        image = smooth(image, eager, CUTOFF / strength, fps)
        world = smooth(world, calm, CUTOFF / strength, fps)
    start = world + place(image, world, in_image, camera)[:, None]
    certain = in_image, weights
    points = _solve(start, image, _spans(world, lengths), certain, lengths, camera)
    if strength <= 0:
        return points
    still = _standing(image, points[..., 2], camera, fps) if contacts else None
    for _ in range(2):
        depth = smooth(
            points[:, TRUNK, 2].mean(axis=1)[:, None, None],
            np.ones((len(points), 1)),
            DEPTH_CUTOFF / strength,
            fps,
        )[:, 0, 0]
        spans = _spans(
            smooth(points - points[:, TRUNK].mean(axis=1, keepdims=True), calm, CUTOFF / strength, fps),
            lengths,
        )
        ground = None if still is None else _hold(points[:, _PLANTED], still)
        points = _solve(points, image, spans, certain, lengths, camera, depth, ground)
    return points


def move_in_picture(
    points: np.ndarray, offsets: np.ndarray, camera: Camera, fps: float, contacts: bool = True
) -> np.ndarray:
    """Return lifted ``points (T, 23, 3)`` moved by ``offsets (T, 23, 2)`` in the picture, pixels.

    Bones keep their lengths and, as far as can be, their directions, and the trunk its depth; ``fps`` and
    ``contacts`` are as for :func:`lift`.
    """
    image = camera.project(points) + offsets
    lengths = _usual_lengths(points)
    depth, spans = points[:, TRUNK, 2].mean(axis=1), _spans(points, lengths)
    certain = np.ones(points.shape[:2]), np.ones(points.shape[:2])
    moved = _solve(points, image, spans, certain, lengths, camera, depth)
    if not contacts:
        return moved
    ground = _hold(moved[:, _PLANTED], _standing(image, moved[..., 2], camera, fps))
    return _solve(moved, image, spans, certain, lengths, camera, depth, ground)


def steady(points: np.ndarray, camera: Camera, fps: float, strength: float = 1.0) -> np.ndarray:
    """Return lifted ``points (T, 23, 3)`` with less jitter, most of all where the picture tells least.

    That is in depth, and in how the ends of limbs (hands, feet, ears) lie to wrists, ankles and nose. What
    moves fast is smoothed less, as in :func:`lift`. Bones keep their lengths.
    """
    image = camera.project(points)
    even = np.ones(image.shape[:2])
    eager = _eagerness(image, even, STEADY_CUTOFF / strength, fps)
    image = smooth(image, eager, STEADY_CUTOFF / strength, fps)
    calm = _on_rays(image, points[..., 2], camera)
    cutoff = STEADY_DEPTH_CUTOFF / strength
    apart = calm[:, _ENDS] - calm[:, _END_PARENTS]
    calm[:, _ENDS] = calm[:, _END_PARENTS] + smooth(apart, eager[:, _END_PARENTS], cutoff, fps)
    image, depth = camera.project(calm), calm[..., 2:]
    trunk = depth[:, TRUNK].mean(axis=1, keepdims=True)
    depth = smooth(trunk, even[:, :1], cutoff, fps) + smooth(depth - trunk, eager, cutoff, fps)
    return _with_lengths(_on_rays(image, depth[..., 0], camera), _usual_lengths(points), _SIDEWAYS)


def _usual_lengths(points: np.ndarray) -> np.ndarray:
    """Return the bones' median lengths ``(len(BONES),)`` over ``points (T, 23, 3)``."""
    return np.median(np.linalg.norm(points[:, _FIRST] - points[:, _SECOND], axis=-1), axis=0)


def _on_rays(image: np.ndarray, depth: np.ndarray, camera: Camera) -> np.ndarray:
    """Return the points ``(T, K, 3)`` at ``depth`` that look as ``image``."""
    return np.concatenate([_rays(image, camera) * depth[..., None], depth[..., None]], axis=-1)


def _rays(image: np.ndarray, camera: Camera) -> np.ndarray:
    return (image - (camera.cx, camera.cy)) / (camera.fx, camera.fy)


def _spans(points: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the vectors ``(T, len(_SPANS), 3)`` between ``points (T, 23, 3)``, bones at their lengths."""
    first, second = np.array(_SPANS).T
    spans = points[:, first] - points[:, second]
    size = np.maximum(np.linalg.norm(spans, axis=-1, keepdims=True), 1e-6)
    spans[:, : len(BONES)] *= lengths[:, None] / size[:, : len(BONES)]
    return spans


def _solve(
    start: np.ndarray,
    image: np.ndarray,
    spans: np.ndarray,
    weights: tuple[np.ndarray, np.ndarray],
    lengths: np.ndarray,
    camera: Camera,
    depth: np.ndarray | None = None,
    ground: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Gauss-Newton over each frame's 69 numbers.

    ``weights``: ``(T, 23)`` of the image and of the metric landmarks; ``ground``: targets ``(T, 6, 3)``,
    weights ``(T, 6)``.
    """
    points = np.empty_like(start)
    for begin in range(0, len(start), _FRAMES_AT_ONCE):
        part = slice(begin, begin + _FRAMES_AT_ONCE)
        points[part] = _solve_part(
            start[part],
            _rays(image[part], camera),
            spans[part],
            (weights[0][part], weights[1][part]),
            lengths,
            None if depth is None else depth[part],
            None if ground is None else (ground[0][part], ground[1][part]),
        )
    return points


def _solve_part(
    points: np.ndarray,
    rays: np.ndarray,
    spans: np.ndarray,
    weights: tuple[np.ndarray, np.ndarray],
    lengths: np.ndarray,
    depth: np.ndarray | None,
    ground: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    frames, count = points.shape[:2]
    every = np.arange(count)
    normal = np.zeros((frames, count, 3, count, 3))
    right = np.zeros((frames, count, 3))

    seen = weights[0] / _IMAGE_SIGMA**2
    normal[:, every, 0, every, 0] += seen
    normal[:, every, 1, every, 1] += seen
    for axis in range(2):
        normal[:, every, axis, every, 2] -= seen * rays[..., axis]
        normal[:, every, 2, every, axis] -= seen * rays[..., axis]
    normal[:, every, 2, every, 2] += seen * (rays**2).sum(axis=-1)

    first, second = np.array(_SPANS).T
    trust = np.minimum(weights[1][:, first], weights[1][:, second])
    told = trust / _DIRECTION_SIGMA**2
    for axis in range(3):
        for b, (one, other) in enumerate(_SPANS):
            normal[:, one, axis, one, axis] += told[:, b]
            normal[:, other, axis, other, axis] += told[:, b]
            normal[:, one, axis, other, axis] -= told[:, b]
            normal[:, other, axis, one, axis] -= told[:, b]
            right[:, one, axis] += told[:, b] * spans[:, b, axis]
            right[:, other, axis] -= told[:, b] * spans[:, b, axis]

    if depth is not None:
        share = 1 / len(TRUNK)
        for one in TRUNK:
            normal[:, one, 2, TRUNK, 2] += share**2 / _DEPTH_SIGMA**2
            right[:, one, 2] += share * depth / _DEPTH_SIGMA**2
    if ground is not None:
        held = ground[1] / _CONTACT_SIGMA**2
        for axis in range(3):
            normal[:, _PLANTED, axis, _PLANTED, axis] += held
            right[:, _PLANTED, axis] += held * ground[0][..., axis]

    flat_normal = normal.reshape(frames, 3 * count, 3 * count)
    flat_right = right.reshape(frames, 3 * count)
    # Holds each step back: a bone that points at the camera would swing about its solution for ever.
    flat_normal += _DAMPING * np.eye(3 * count)
    for step in range(_ITERATIONS):
        # The lengths stiffen over the iterations, or they would freeze the directions of the start.
        stiffness = 1 / (lengths * _LENGTH_SIGMA * 4.0 ** max(0, 4 - step))
        rows, _ = _length_rows(points)
        rows *= stiffness[:, None]
        across = rows.transpose(0, 2, 1)
        # Linearised at the direction of now, a bone's length is its component along that direction.
        target = flat_right + (across @ (stiffness * lengths)[:, None])[..., 0]
        target += _DAMPING * points.reshape(frames, -1)
        points = np.linalg.solve(flat_normal + across @ rows, target[..., None])[..., 0].reshape(
            frames, count, 3
        )
    return _with_lengths(points, lengths)


def _length_rows(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Jacobian ``(T, len(BONES), 69)`` of the bones' lengths, and the lengths."""
    bone = np.arange(len(BONES))
    span = points[:, _FIRST] - points[:, _SECOND]
    size = np.linalg.norm(span, axis=-1)
    along = span / np.maximum(size, 1e-6)[..., None]
    rows = np.zeros((len(points), len(BONES), *points.shape[1:]))
    rows[:, bone, _FIRST] = along
    rows[:, bone, _SECOND] = -along
    return rows.reshape(len(points), len(BONES), -1), size


def _with_lengths(points: np.ndarray, lengths: np.ndarray, sideways: float = 1.0) -> np.ndarray:
    """Return the nearest ``(T, 23, 3)`` with these bone lengths (Newton on the constraints).

    A move across the view is as dear as one of ``1 / sqrt(sideways)`` times the way in depth.
    """
    give = np.tile((sideways, sideways, 1.0), points.shape[1])
    for _ in range(5):
        rows, size = _length_rows(points)
        across = (rows * give).transpose(0, 2, 1)
        pull = np.linalg.solve(rows @ across + 1e-6 * np.eye(len(lengths)), (lengths - size)[..., None])
        points = points + (across @ pull)[..., 0].reshape(points.shape)
    return points


def _standing(image: np.ndarray, depth: np.ndarray, camera: Camera, fps: float) -> np.ndarray:
    """Return ``(T, 6)`` bool: which foot points stand still in the picture for a while."""
    metres = _rays(image[:, _PLANTED], camera) * depth[:, _PLANTED, None]
    slow = speeds(smooth(metres, np.ones(metres.shape[:2]), _STILL_CUTOFF, fps), fps) < _STILL_SPEED
    return np.stack([_long_runs(slow[:, k], round(_STILL_TIME * fps)) for k in range(slow.shape[1])], axis=1)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return the ``(start, stop)`` of each run of True in ``flags (T,)``."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _long_runs(flags: np.ndarray, least: int) -> np.ndarray:
    kept = np.zeros_like(flags)
    for start, stop in runs(flags):
        kept[start:stop] = stop - start >= least
    return kept


def _hold(feet: np.ndarray, still: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each standing run's median place ``(T, 6, 3)``, and weights ``(T, 6)`` that fade at its ends."""
    target = feet.copy()
    weight = np.zeros(still.shape)
    for k in range(still.shape[1]):
        for start, stop in runs(still[:, k]):
            target[start:stop, k] = np.median(feet[start:stop, k], axis=0)
            ramp = np.minimum(np.arange(stop - start) + 1, np.arange(stop - start)[::-1] + 1)
            weight[start:stop, k] = np.minimum(1, ramp / 6)
    return target, weight
