# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoints are moved to where the pictures show the body, and stay where no picture speaks for that."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from sparse2dense.inference.capture import alignment
from sparse2dense.inference.capture.alignment import looked_at, outline_offsets, picture_offsets
from sparse2dense.inference.capture.silhouettes import Silhouettes
from sparse2dense.inference.decoding.vertices import VertexDecoder
from sparse2dense.inference.format.clip import Clip, Reference
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.keypoints import KEYPOINT_INDEX
from sparse2dense.models.mesh_motion import see_body, warp_over_plate
from sparse2dense.models.shaped_body import ShapedBody

BODY = load_body()
SHAPE = np.zeros(BODY.shape_size, np.float32)
SIDE, FRAMES = 256, 12
CAMERA = Camera(380, 380, SIDE / 2, SIDE / 2)
ARM = [KEYPOINT_INDEX[f"left_{name}"] for name in ("elbow", "wrist", "pinky", "index")]
PREDICTOR = VertexDecoder(ShapedBody(BODY, SHAPE), 25.0, None)


@pytest.fixture(scope="module")
def filmed():
    """A textured person who walks aside and lifts an arm: true keypoints, frames, and the first's clip."""
    rest = BODY.keypoints(BODY.rest(SHAPE)[0])
    rest = rest - rest.mean(0) + [0, 0, 2.6]
    keypoints = np.repeat(rest[None], FRAMES, 0)
    shoulder = rest[KEYPOINT_INDEX["left_shoulder"]]
    for frame, angle in enumerate(np.linspace(0, 0.6, FRAMES)):
        turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        keypoints[frame, ARM] = (rest[ARM] - shoulder) @ turn.T + shoulder
        keypoints[frame, :, 0] += 0.01 * frame
    keypoints = keypoints.astype(np.float32)
    noise = np.random.default_rng(0).integers(0, 255, (2, SIDE, SIDE, 3)).astype(np.uint8)
    picture, plate = cv2.GaussianBlur(noise[0], (0, 0), 3), cv2.GaussianBlur(noise[1], (0, 0), 6) // 2
    posed = PREDICTOR.predict(keypoints, 0, FRAMES)
    seen = [see_body(BODY, vertices, CAMERA.project, SIDE, SIDE) for vertices in posed]
    mask = np.uint8(255 * seen[0].coverage)
    frames = [
        warp_over_plate(picture, mask, plate, frame.motion_to(seen[0]), seen[0].coverage) for frame in seen
    ]
    clip = Clip(
        fps=Fraction(25),
        camera=CAMERA,
        width=SIDE,
        height=SIDE,
        keypoints=keypoints,
        body="anny",
        shape=SHAPE,
        references=[Reference(0, frames[0], mask)],
        plate=plate,
    )
    return clip, frames


def wrong(clip, points, metres):
    """Return a copy whose ``points`` are off by ``metres`` in x in all frames but the reference's."""
    spoilt = Clip(**vars(clip))
    spoilt.keypoints = clip.keypoints.copy()
    spoilt.keypoints[1:, points, 0] += metres
    return spoilt


@pytest.fixture(autouse=True)
def every_frame(monkeypatch):
    """Let every frame be measured, where capture takes some."""
    monkeypatch.setattr(alignment, "_RATE", 1000.0)


def stacked(found):
    """Return the offsets ``(T, 23, 2)``, and ``(T, 23)`` how certain they are, 1 / square pixels."""
    found = list(found)
    certainty = np.stack([each.certainty for each in found])
    return np.stack([each.moved for each in found]), np.trace(certainty, axis1=-2, axis2=-1) / 2


def found(clip, frames, silhouettes=None):
    if silhouettes is None:
        silhouettes = Silhouettes(clip.width, clip.height)
        for number in range(clip.frames):
            silhouettes.put(number, np.full((clip.height, clip.width), 255, np.uint8))  # without an outline
    return stacked(picture_offsets(clip, frames, silhouettes, BODY, PREDICTOR))


def masks_of(clip):
    """Return where the body that the clip's keypoints pose is seen, frame by frame."""
    kept = Silhouettes(clip.width, clip.height)
    for number, vertices in enumerate(PREDICTOR.predict(clip.keypoints, 0, clip.frames)):
        kept.put(number, np.uint8(255 * see_body(BODY, vertices, CAMERA.project, SIDE, SIDE).coverage))
    return kept


def test_a_limb_that_was_seen_elsewhere_is_moved_there(filmed):
    clip, frames = filmed
    spoilt = wrong(clip, ARM, 0.03)
    offsets, certainty = found(spoilt, frames)
    true, shown = CAMERA.project(clip.keypoints), CAMERA.project(spoilt.keypoints)
    before, after = (np.linalg.norm(shown + by - true, axis=-1)[3:, ARM].mean() for by in (0, offsets))
    assert before > 3
    assert after < 0.5 * before
    assert certainty[3:, ARM].mean() > 0.3


def test_what_is_right_stays(filmed):
    clip, frames = filmed
    offsets, _ = found(clip, frames)
    assert np.abs(offsets).mean() < 0.5
    assert np.abs(offsets[0]).max() < 0.1


def test_an_outline_draws_a_limb_to_where_it_is_seen_without_any_picture(filmed):
    clip, _ = filmed
    spoilt = wrong(clip, ARM, 0.03)
    offsets, certainty = stacked(outline_offsets(spoilt, masks_of(clip), BODY, PREDICTOR))
    true, lifted = CAMERA.project(clip.keypoints), slice(6, None)  # an arm that hangs moves along its outline
    before, after = (
        np.linalg.norm(CAMERA.project(spoilt.keypoints) + by - true, axis=-1)[lifted, ARM].mean()
        for by in (0, offsets)
    )
    assert before > 3
    assert after < 0.6 * before
    assert certainty[lifted, ARM].mean() > 0.3
    still, _ = stacked(outline_offsets(clip, masks_of(clip), BODY, PREDICTOR))
    assert np.abs(still).mean() < 0.3


def test_the_first_reference_too_is_laid_on_its_outline(filmed):
    """All else is laid on it: what it has wrong the pictures would keep."""
    clip, frames = filmed
    spoilt = Clip(**vars(clip))
    spoilt.keypoints = clip.keypoints + np.float32([0.025, 0, 0])
    kept, _ = found(spoilt, frames)
    laid, _ = found(spoilt, frames, masks_of(clip))
    true = CAMERA.project(clip.keypoints)
    errors = [
        np.linalg.norm(CAMERA.project(spoilt.keypoints) + by - true, axis=-1).mean() for by in (kept, laid)
    ]
    assert errors[0] > 3
    assert errors[1] < 0.4 * errors[0]


@pytest.mark.parametrize("mask", [np.zeros((SIDE, SIDE), np.uint8), np.full((SIDE, SIDE), 255, np.uint8)])
def test_a_mask_without_an_outline_says_nothing(filmed, mask):
    clip, _ = filmed
    kept = Silhouettes(SIDE, SIDE)
    for number in range(FRAMES):
        kept.put(number, mask)
    offsets, certainty = stacked(outline_offsets(clip, kept, BODY, PREDICTOR))
    assert not np.any(offsets) and not np.any(certainty)


def test_silhouettes_of_a_part_of_a_film_are_counted_from_its_beginning(filmed):
    clip, _ = filmed
    whole = masks_of(clip)
    first = [each.frame for each in outline_offsets(clip, whole.part(slice(0, 4)), BODY, PREDICTOR)]
    assert first == [0, 1, 2, 3]
    shifted = Clip(**vars(clip))
    shifted.keypoints = clip.keypoints[4:]
    apart, _ = stacked(outline_offsets(shifted, whole.part(slice(4, FRAMES)), BODY, PREDICTOR))
    assert np.abs(apart).mean() < 0.3


def test_without_anybody_in_the_frames_nothing_moves(filmed):
    clip, frames = filmed
    offsets, certainty = found(wrong(clip, ARM, 0.03), [clip.plate] * len(frames))
    assert np.abs(offsets).mean() < 1
    assert certainty.mean() < 0.5


def test_a_person_outside_the_picture_is_no_fault(filmed):
    clip, frames = filmed
    away = Clip(**vars(clip))
    away.keypoints = clip.keypoints + np.float32([5, 0, 0]) * (np.arange(FRAMES) > 0)[:, None, None]
    offsets, certainty = found(away, frames)
    assert not offsets[1:].any() and not certainty[1:].any()


@pytest.mark.parametrize("side", [64, 96, 128, 184, 256, 368, 512, 736])
def test_a_small_person_in_the_corner_of_any_canvas_is_measured_too(filmed, side):
    """The flow crashes the whole process on pictures of a few pixels, so it must never be given any."""
    clip, frames = filmed
    small = Clip(**vars(clip))
    small.width, small.height = side, side
    small.camera = Camera(60 * side / SIDE, 60 * side / SIDE, 0.06 * side, 0.94 * side)
    small.plate = cv2.resize(clip.plate, (side, side))
    picture = cv2.resize(frames[0], (side, side))
    small.references = [Reference(0, picture, np.full((side, side), 255, np.uint8))]
    offsets, _ = found(small, [picture] * 3)
    assert np.isfinite(offsets).all()


def test_some_frames_a_second_are_measured_and_the_references(filmed, monkeypatch):
    clip, _ = filmed
    monkeypatch.setattr(alignment, "_RATE", 25 / 3)
    kept = masks_of(clip)
    assert looked_at(clip, kept) == sorted({*range(0, FRAMES, 3), clip.references[0].frame})
