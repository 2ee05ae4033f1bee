# SPDX-License-Identifier: GPL-3.0-or-later
"""Capture on the packaged clip, whole and altered: with the real networks."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import sparse2dense.inference
from sparse2dense.inference.capture import pipeline
from sparse2dense.inference.capture.blazepose import PoseDetector
from sparse2dense.inference.capture.camera_motion import people_in
from sparse2dense.inference.capture.pipeline import CaptureOptions, capture
from sparse2dense.inference.capture.tracking import find_people
from sparse2dense.inference.decoding.vertices import VertexDecoder
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.inference.film.writer import VideoWriter
from sparse2dense.inference.format.container import read_clip, write_clip
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.errors import Cancelled, InputError
from sparse2dense.models.keypoints import BONES, KEYPOINT_INDEX
from sparse2dense.models.mesh_motion import see_body, warp_over_plate
from sparse2dense.models.shaped_body import ShapedBody

from ..film.made_films import make

BODY = load_body()
CLIP = Path(sparse2dense.inference.__file__).parent / "data" / "balance.mp4"
SLOW = CaptureOptions(fps=20)
TRUNK = [KEYPOINT_INDEX[name] for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")]


@pytest.fixture(scope="module")
def captured():
    stages = {}

    def progress(stage, done, total):
        assert 0 <= done <= total
        stages[stage] = (done, total)

    result = capture(CLIP, SLOW, progress)
    assert stages == {
        "people": (33, 33),
        "pose": (33, 33),
        "fit": (17, 17),
        "pictures": (1, 1),
        "align": (33, 33),
    }
    return result


@pytest.fixture(scope="module")
def small_frames():
    return list(VideoReader(CLIP, fps=20, size=360))


@pytest.fixture(scope="module")
def small_video(small_frames, tmp_path_factory):
    return write(tmp_path_factory.mktemp("small") / "small.mp4", small_frames)


@pytest.fixture(scope="module")
def small(small_video):
    return capture(small_video).clip


def write(path, frames, fps=20):
    with VideoWriter(path, Fraction(fps), frames[0].shape[1], frames[0].shape[0]) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    return path


def middle_of(mask):
    rows, columns = np.nonzero(mask > 127)
    return columns.mean(), rows.mean()


def limb_lengths(keypoints):
    """Return bones' lengths, without those between shoulders and hips, which a back that bends changes."""
    first, second = np.array([bone for bone in BONES if not set(bone) <= set(TRUNK)]).T
    return np.linalg.norm(keypoints[:, first] - keypoints[:, second], axis=-1)


def test_the_clip_is_whole(captured):
    clip = captured.clip
    assert captured.warnings == []
    assert captured.gaps == []
    assert (clip.width, clip.height, clip.fps) == (256, 456, 20)
    assert clip.keypoints.shape == (33, 23, 3)
    assert clip.keypoints.dtype == np.float32
    assert clip.body == "anny"
    assert np.abs(clip.shape).max() < 4
    assert not clip.moving_camera
    assert len(clip.references) == 1
    assert clip.references[0].picture.shape == clip.plate.shape == (456, 256, 3)


def test_the_man_in_front_is_followed_and_not_the_woman_behind(captured):
    clip = captured.clip
    pixels = clip.camera.project(clip.keypoints)
    mask = clip.references[0].mask
    at = np.floor(pixels[clip.references[0].frame]).astype(int)
    inside = mask[at[:, 1], at[:, 0]] > 127
    assert inside.mean() > 0.8
    hips = pixels[:, [KEYPOINT_INDEX["left_hip"], KEYPOINT_INDEX["right_hip"]]].mean(axis=1)
    assert (np.abs(hips - (125, 190)) < (35, 35)).all()  # the woman stands at (17, 110)
    share = np.count_nonzero(mask > 127) / mask.size
    assert 0.05 < share < 0.15


def test_left_is_the_persons_left_and_up_is_up(captured):
    points = captured.clip.keypoints[0]  # he faces the camera and stands
    assert points[KEYPOINT_INDEX["left_shoulder"], 0] > points[KEYPOINT_INDEX["right_shoulder"], 0]
    assert points[KEYPOINT_INDEX["nose"], 1] < points[TRUNK, 1].min()
    assert points[KEYPOINT_INDEX["left_heel"], 1] > points[KEYPOINT_INDEX["left_knee"], 1]
    assert 1.2 < np.ptp(points[:, 1]) < 1.9


def test_bones_keep_their_lengths_and_sides_match(captured):
    lengths = limb_lengths(captured.clip.keypoints)
    assert np.abs(lengths / lengths.mean(axis=0) - 1).max() < 0.03  # the skin about a joint gives a little


def test_smoothing_calms_and_stays_near_the_image_landmarks(small, small_video):
    free = capture(small_video, CaptureOptions(smoothing=0)).clip  # where the network sees the points
    calm = capture(small_video, CaptureOptions(smoothing=3)).clip
    shakes = [np.abs(np.diff(clip.keypoints, 2, axis=0)).mean() for clip in (calm, small, free)]
    assert shakes[0] < 0.8 * shakes[1] < 0.64 * shakes[2]
    apart = np.linalg.norm(
        small.camera.project(small.keypoints) - free.camera.project(free.keypoints), axis=-1
    )
    assert np.median(apart) < 1.5
    assert np.percentile(apart, 95) < 8


def test_the_root_does_not_swim(captured):
    clip = captured.clip
    root = clip.keypoints[:, TRUNK].mean(axis=1)
    shake = np.diff(root, 2, axis=0) * float(clip.fps) ** 2
    assert np.sqrt((shake[:, 2] ** 2).mean()) < 2.5  # m/s² in depth, where noise would show most
    assert np.ptp(root[:, 2]) < 1.0


def test_a_mirrored_video_gives_the_mirrored_motion(tmp_path, small_frames, small):
    straight = small
    turned = capture(write(tmp_path / "b.mp4", [frame[:, ::-1] for frame in small_frames])).clip
    swapped = turned.keypoints[:, _other_side()] * (-1, 1, 1)
    pixels = straight.camera.project(straight.keypoints)
    apart = np.linalg.norm(pixels - straight.camera.project(swapped), axis=-1)
    assert np.median(apart) < 3
    np.testing.assert_allclose(
        limb_lengths(straight.keypoints)[0], limb_lengths(turned.keypoints)[0], rtol=0.12, atol=0.02
    )


@pytest.mark.parametrize("quarters", [1, 2])
def test_a_turned_film_gives_the_turned_motion(tmp_path, small_frames, small, quarters):
    """Whatever way round the film was held, or the person is: lying, or on their hands."""
    clip = capture(write(tmp_path / "b.mp4", [np.rot90(frame, -quarters) for frame in small_frames])).clip
    pixels, points = clip.camera.project(clip.keypoints), clip.keypoints
    width, height = clip.width, clip.height
    for _ in range(4 - quarters):  # clockwise, until it stands
        pixels = np.stack([height - pixels[..., 1], pixels[..., 0]], axis=-1)
        points = np.stack([-points[..., 1], points[..., 0], points[..., 2]], axis=-1)
        width, height = height, width
    apart = np.linalg.norm(pixels - small.camera.project(small.keypoints), axis=-1)
    assert apart.mean() < 4
    roots = [keypoints[:, TRUNK].mean(axis=1, keepdims=True) for keypoints in (points, small.keypoints)]
    assert np.linalg.norm((points - roots[0]) - (small.keypoints - roots[1]), axis=-1).mean() < 0.025


def test_a_person_far_away_is_found(tmp_path, small_frames, small):
    """210 pixels of a picture 1,080 high, whom a glance at the whole does not find."""
    frames, scale = [], 0.75
    for frame in small_frames[:12]:
        far = cv2.resize(frame[90:410, 60:230], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture = np.full((1080, 1920, 3), far[-20:].mean(axis=(0, 1)), np.uint8)
        picture[500 : 500 + far.shape[0], 1200 : 1200 + far.shape[1]] = far
        frames.append(picture)
    path = write(tmp_path / "far.mp4", frames)
    assert not find_people(VideoReader(path).pictures(), 20, PoseDetector().detect)[0]
    clip = capture(path).clip
    pixels = (clip.camera.project(clip.keypoints) * 1920 / clip.width - (1200, 500)) / scale + (60, 90)
    expected = small.camera.project(small.keypoints[:12]) * 360 / small.width
    assert np.linalg.norm(pixels - expected, axis=-1).mean() < 8


def test_a_short_gap_is_filled_and_a_long_one_reported(tmp_path, small_frames):
    frames = list(small_frames)
    for index in (6, 7, *range(13, 27)):
        frames[index] = np.zeros_like(frames[index])
    result = capture(write(tmp_path / "gap.mp4", frames))
    assert len(result.clip.keypoints) == len(frames)
    assert np.isfinite(result.clip.keypoints).all()
    ((start, stop),) = result.gaps
    assert start == pytest.approx(0.65, abs=0.06)
    assert stop == pytest.approx(1.35, abs=0.06)
    assert f"{start:.1f} s" in result.warnings[0]
    assert (result.clip.certainty[14:26] == 0).all()  # and not told again, part by part
    assert not any("0:00." in warning for warning in result.warnings)
    root = result.clip.keypoints[:, TRUNK].mean(axis=1)
    assert np.linalg.norm(np.diff(root, axis=0), axis=-1).max() < 0.25
    lengths = limb_lengths(result.clip.keypoints)
    assert np.abs(lengths / lengths.mean(axis=0) - 1).max() < 0.03


def test_a_clip_is_the_part_of_the_film_that_shows_the_person(tmp_path, small_frames, small):
    before, after = ([np.full_like(small_frames[0], 90)] * n for n in (14, 12))
    film = write(tmp_path / "long.mp4", [*before, *small_frames, *after])
    result = capture(film)
    (warning,) = result.warnings
    assert warning.startswith("The person is seen from 0.7 s to 2.")
    assert result.gaps == []
    clip = result.clip
    assert abs(clip.frames - small.frames) <= 1
    assert abs(result.first - len(before)) <= 1
    together = min(clip.frames, small.frames)
    apart = clip.camera.project(clip.keypoints[:together]) - small.camera.project(small.keypoints[:together])
    assert np.median(np.linalg.norm(apart, axis=-1)) < 3  # in time with the film, or it would be far off
    for reference in clip.references:
        truth = small_frames[reference.frame].astype(int)
        shown = reference.mask > 200
        assert np.abs(cv2.resize(truth.astype(np.uint8), shown.shape[::-1], interpolation=cv2.INTER_AREA)[
            shown
        ].astype(int) - reference.picture[shown]).mean() < 12  # fmt: skip

    whole = capture(film, CaptureOptions(whole=True))
    assert whole.first == 0
    assert whole.clip.frames == len(before) + len(small_frames) + len(after)
    assert [round(end - start, 1) for start, end in whole.gaps] == [0.7, 0.6]


def test_another_person_can_be_chosen(tmp_path, small_frames):
    """Two of the man stand beside each other, one of them smaller."""
    large = [cv2.resize(frame, (360, 640)) for frame in small_frames[:16]]
    small = [cv2.resize(frame, (270, 480)) for frame in small_frames[:16]]
    frames = [np.full((640, 640, 3), 128, np.uint8) for _ in large]
    for frame, one, other in zip(frames, large, small, strict=True):
        frame[:, :360] = one
        frame[80:560, 364:634] = other
    path = write(tmp_path / "two.mp4", frames)
    first, second = (capture(path, CaptureOptions(person=person)).clip for person in (None, 2))
    assert middle_of(first.references[0].mask)[0] < 0.5 * first.width
    assert middle_of(second.references[0].mask)[0] > 0.5 * second.width
    assert second.keypoints[..., 2].mean() > 1.1 * first.keypoints[..., 2].mean()
    with pytest.raises(InputError, match="person 9"):
        capture(path, CaptureOptions(person=9))


@pytest.fixture(scope="module")
def pan(small_frames, tmp_path_factory):
    """The clip filmed by a camera that pans: a window moved over it. With the window's places (T, 2)."""
    places = [(round(2.5 * t), round(20 + 15 * np.sin(t / 6))) for t in range(len(small_frames))]
    frames = [frame[y : y + 576, x : x + 264] for (x, y), frame in zip(places, small_frames, strict=True)]
    return write(tmp_path_factory.mktemp("pan") / "pan.mp4", frames), np.array(places)


def test_the_background_follows_a_moving_camera(tmp_path, pan):
    """Through the file: the background of every frame is what was filmed, where nobody stands."""
    path, places = pan
    stages = set()
    result = capture(path, CaptureOptions(), lambda stage, done, total: stages.add(stage))
    clip = result.clip
    assert clip.moving_camera
    assert "camera" in stages
    assert any("camera moves" in warning for warning in result.warnings)
    assert np.isfinite(clip.keypoints).all()
    sizes = write_clip(clip, tmp_path / "pan.s2d")
    assert sizes["camera_motion"] < 3 * clip.frames
    back = read_clip(tmp_path / "pan.s2d")
    moved = (places - places[clip.references[0].frame]) * (clip.width / 264, clip.height / 576)
    apart = back.views.mean(1) - back.views[clip.references[0].frame].mean(0) - moved
    assert np.linalg.norm(apart, axis=-1).max() < 0.5
    pixels = clip.camera.project(clip.keypoints)
    for t, frame in list(enumerate(VideoReader(path)))[::8]:
        clear = ~people_in(clip.width, clip.height, pixels[t], [], (1, 1))
        clear[:, :40] = clear[:, 200:] = False  # the woman behind moves
        followed = np.abs(back.background(t).astype(int) - frame)[clear].mean()
        held = np.abs(back.references[0].picture.astype(int) - frame)[clear].mean()
        assert followed < 8
        assert followed < 0.7 * held or np.abs(moved[t]).max() < 4


def test_a_camera_that_cannot_be_followed_does_not_break(tmp_path, pan, monkeypatch):
    monkeypatch.setattr(pipeline, "follow_camera", lambda *given: None)
    result = capture(pan[0])
    clip = result.clip
    assert clip.moving_camera and clip.views is None
    assert any("painted in" in warning for warning in result.warnings)
    hidden = clip.references[0].mask > 127
    change = np.abs(clip.plate.astype(int) - clip.references[0].picture)
    assert change[hidden].mean() > 20  # the person is gone
    assert change[~cv2.dilate(hidden.astype(np.uint8), np.ones((21, 21))).astype(bool)].max() <= 1


def test_a_person_whose_head_leaves_the_picture_is_not_lost(tmp_path, small_frames, small):
    """The camera tilts down until the picture ends at the chest; the whole clip says where he is."""
    tops = np.clip((np.arange(len(small_frames)) - 8) * 14, 0, 225)
    frames = [frame[top : top + 400] for frame, top in zip(small_frames, tops, strict=True)]
    wide = 2 * np.degrees(np.arctan(200 / (small.camera.fx * 360 / small.width)))
    cut = capture(write(tmp_path / "cut.mp4", frames), CaptureOptions(fov=wide)).clip
    shift = np.stack([np.zeros(len(tops)), tops], axis=1)[:, None]
    whole = small.camera.project(small.keypoints) * 360 / small.width - shift
    pixels = cut.camera.project(cut.keypoints) * (360 / cut.width, 400 / cut.height)
    # Once the shoulders have left the picture, too, the estimator is sure of what is not there.
    apart = np.linalg.norm(pixels - whole, axis=-1)[20:25]
    inside = (whole[20:25, :, 1] > 0) & (whole[20:25, :, 1] < 400)
    assert np.median(apart[inside]) < 9
    first, second = (
        clip.keypoints - clip.keypoints[:, TRUNK].mean(1, keepdims=True) for clip in (cut, small)
    )
    head = [KEYPOINT_INDEX[name] for name in ("nose", "left_ear", "right_ear")]
    assert np.linalg.norm(first - second, axis=-1)[20:25, head].mean() < 0.35


def test_where_the_picture_ends_is_not_told_by_the_principal_point(tmp_path, small_frames, monkeypatch):
    """His legs are below the picture, whether the camera's axis meets its middle or its lower edge."""
    legless = [np.ascontiguousarray(frame[:340]) for frame in small_frames[:16]]
    film = make(tmp_path / "legless.mkv", legless, codec="ffv1", pix_fmt="bgr0", rate=20)

    def seen_with_axis_at(height):
        def camera(reader, _fov):
            return Camera(8 * reader.width, 8 * reader.width, reader.width / 2, height * reader.height)

        monkeypatch.setattr(pipeline, "camera_of", camera)
        clip = capture(film).clip
        return clip.camera.project(clip.keypoints), clip.shape

    (middle, shape), (lower, other_shape) = seen_with_axis_at(0.5), seen_with_axis_at(0.9)
    np.testing.assert_allclose(other_shape, shape, atol=0.05)
    assert np.linalg.norm(lower - middle, axis=-1).mean() < 3.5  # legs that are only guessed stray a little


def test_nobody_in_the_video(tmp_path, capfd):
    frames = [np.full((128, 128, 3), 90 + index, np.uint8) for index in range(12)]
    with pytest.raises(InputError) as caught:
        capture(write(tmp_path / "empty.mp4", frames))
    assert caught.value.code == "no_person"
    assert capfd.readouterr().err == ""


def test_the_reference_moved_by_the_body_lies_on_the_film(captured, monkeypatch):
    """Nearer than with what the estimator says by itself: that is what aligning is for."""

    def off(clip):
        predictor = VertexDecoder(ShapedBody(BODY, clip.shape), float(clip.fps), None)
        posed = predictor.predict(clip.keypoints, 0, clip.frames)
        seen = [see_body(BODY, vertices, clip.camera.project, clip.width, clip.height) for vertices in posed]
        reference = clip.references[0]
        there = seen[reference.frame]
        near = cv2.dilate(np.max([surface.coverage for surface in seen], axis=0), np.ones((21, 21))) > 0
        errors = []
        for number, frame in enumerate(VideoReader(CLIP, fps=20)):
            moved = seen[number].motion_to(there)
            drawn = warp_over_plate(reference.picture, reference.mask, clip.plate, moved, there.coverage)
            errors.append(cv2.absdiff(drawn, frame)[near].mean())
        return np.mean(errors)

    monkeypatch.setattr(pipeline, "_laid", lambda fit, motion, *_: motion)
    assert off(captured.clip) < 0.92 * off(capture(CLIP, SLOW).clip)


def test_the_body_fills_the_persons_mask(captured):
    clip = captured.clip
    predictor = VertexDecoder(ShapedBody(BODY, clip.shape), float(clip.fps), None)
    for reference in clip.references:
        posed = predictor.predict(clip.keypoints, reference.frame, reference.frame + 1)[0]
        covered = see_body(BODY, posed, clip.camera.project, clip.width, clip.height).coverage > 0.5
        person = reference.mask > 127
        assert np.count_nonzero(covered & person) > 0.84 * np.count_nonzero(covered | person)


def test_a_single_frame_is_enough(tmp_path, small_frames):
    clip = capture(write(tmp_path / "one.mp4", small_frames[:1])).clip
    assert clip.frames == 1
    assert np.isfinite(clip.keypoints).all()


@pytest.mark.parametrize("stage", ["people", "pose", "fit", "align"])
def test_it_can_be_cancelled(stage, small_video):
    def progress(now, done, total):
        if now == stage and done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        capture(small_video, CaptureOptions(), progress)


def test_a_wider_view_brings_the_person_nearer(small, small_video):
    wide = capture(small_video, CaptureOptions(fov=90, start=0.5, end=0.8)).clip
    assert wide.frames == 6
    assert wide.camera.fy == pytest.approx(228, rel=0.01)
    assert wide.keypoints[..., 2].mean() < 0.75 * small.keypoints[10:16, :, 2].mean()


def test_more_references_show_other_poses(small_video):
    clip = capture(small_video, CaptureOptions(fps=10, references=3)).clip
    assert len({reference.frame for reference in clip.references}) == 3


@pytest.mark.parametrize("options", [{"fov": 400}, {"references": 9}, {"smoothing": -1}, {"sex": "child"}])
def test_wrong_options_are_named(small_video, options):
    with pytest.raises(InputError, match=str(next(iter(options.values())))):
        capture(small_video, CaptureOptions(**options))


def _other_side():
    names = list(KEYPOINT_INDEX)
    swap = {"left": "right", "right": "left"}
    return [KEYPOINT_INDEX["_".join(swap.get(word, word) for word in name.split("_"))] for name in names]
