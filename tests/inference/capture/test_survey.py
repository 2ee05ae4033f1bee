# SPDX-License-Identifier: GPL-3.0-or-later
"""Films that spoil a capture, made of the packaged clip: which shot and whom they give, and what is told."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import sparse2dense.inference
from sparse2dense.inference.capture.blazepose import Roi
from sparse2dense.inference.capture.pipeline import CaptureOptions, capture, look_over
from sparse2dense.inference.capture.survey import Shot, Survey
from sparse2dense.inference.capture.tracking import Find, Track, tracks_of
from sparse2dense.inference.encode import encode_shots
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.inference.format.container import read_clip
from sparse2dense.models.errors import InputError

from ..film.made_films import make

CLIP = Path(sparse2dense.inference.__file__).parent / "data" / "balance.mp4"
DATA = os.environ.get("S2D_DATA")
MAN = (slice(70, 420), slice(60, 250))  # where he is in pictures of 360 by 640, rows and columns


@pytest.fixture(scope="module")
def man():
    return [np.ascontiguousarray(frame) for frame in VideoReader(CLIP, fps=20, size=360)]


def film(path, frames):
    return make(
        path, [np.ascontiguousarray(frame) for frame in frames], rate=20, options={"crf": "20"}.items()
    )


def texture(seed, frames):
    """Pictures of nothing."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((640, 360, 3), np.float32)
    for cells, strength in ((4, 60), (12, 50), (40, 40)):
        picture += cv2.resize(rng.normal(40, strength, (cells, cells, 3)).astype(np.float32), (360, 640))
    return [picture.clip(0, 255).astype(np.uint8)] * frames


def smaller(frames, seed=3, scale=0.7):
    """The man as from farther away, before something else."""
    shown = []
    for frame, behind in zip(frames, texture(seed, len(frames)), strict=True):
        small = cv2.resize(frame[40:460], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture = behind.copy()
        picture[150 : 150 + small.shape[0], 60 : 60 + small.shape[1]] = small
        shown.append(picture)
    return shown


@pytest.fixture(scope="module")
def three_shots(man, tmp_path_factory):
    """Nobody for half a second, the man from afar, and nearby."""
    return film(
        tmp_path_factory.mktemp("shots") / "cut.mp4", [*texture(1, 10), *smaller(man[:12]), *man[:16]]
    )


def test_of_several_shots_the_one_that_shows_the_person_best_becomes_the_clip(three_shots, man):
    result = capture(three_shots)
    assert (result.first, result.clip.frames) == (22, 16)
    assert result.gaps == []
    assert result.warnings == [
        "The film has 3 shots: the clip is the third, 0:01.1-0:01.9; --shots makes a clip of each."
    ]
    reference = result.clip.references[0]
    truth = cv2.resize(man[reference.frame], (reference.picture.shape[1], reference.picture.shape[0]))
    assert np.abs(truth.astype(int) - reference.picture).mean() < 12


def test_nobody_is_followed_across_a_cut(three_shots):
    surveyed = look_over(three_shots)
    assert [shot.frames for shot in surveyed.shots] == [slice(0, 10), slice(10, 22), slice(22, 38)]
    assert [len(shot.people) > 0 for shot in surveyed.shots] == [False, True, True]
    for shot in surveyed.shots:
        assert all(0 <= track.frames[0] <= track.frames[-1] < shot.length for track in shot.people)
    assert surveyed.found_at(0.8, *where(surveyed, 1)) == (1, 1)
    assert surveyed.found_at(1.5, *where(surveyed, 2)) == (2, 1)
    with pytest.raises(InputError, match="person 9 was asked for"):
        surveyed.chosen(9)


def where(surveyed, shot):
    """Where the person of a shot is, as shares of the picture's width and height."""
    roi = surveyed.shots[shot].people[0].rois[1]
    return roi.x / surveyed.reader.source_width, roi.y / surveyed.reader.source_height


def test_a_clip_of_each_shot(three_shots, tmp_path):
    result = encode_shots(three_shots, tmp_path / "c.s2d", CaptureOptions(fps=10))
    assert [Path(clip.path).name for clip in result.clips] == ["c_2.s2d", "c_3.s2d"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c_2.s2d", "c_3.s2d"]
    assert [read_clip(clip.path).frames for clip in result.clips] == [6, 8]
    assert result.warnings == ["Nobody is seen in shot 1 (0:00.0-0:00.5) of 3."]


def other_clothes(frame):
    """The same picture with clothes of other colours."""
    picture = frame.copy()
    picture[MAN] = picture[MAN] // 2 + np.array([0, 20, 110], np.uint8)
    return picture


def without(frame):
    picture = frame.copy()
    picture[MAN] = cv2.blur(cv2.resize(picture[MAN][:, :20], (190, 350)), (9, 9))
    return picture


def test_who_takes_anothers_place_is_not_followed_on(tmp_path, man):
    frames = [*man[:22], *map(without, man[22:28]), *map(other_clothes, man[:14])]
    surveyed = look_over(film(tmp_path / "swap.mp4", frames))
    (shot,) = surveyed.shots
    assert shot.people[0].frames[-1] < 22
    (told,) = surveyed.remarks(0, None)
    assert told.startswith("Another person takes their place at 0:01.")
    assert "is not followed (person " in told
    result = capture(surveyed.reader.path)
    assert result.clip.frames <= 24
    assert told in result.warnings
    # The same person comes back.
    again = look_over(film(tmp_path / "back.mp4", [*man[:22], *map(without, man[22:28]), *man[:14]]))
    assert again.shots[0].people[0].frames[-1] > 30
    assert again.remarks(0, None) == []


def side_by_side(one, other):
    return np.concatenate([one, np.full((640, 40, 3), 128, np.uint8), other], axis=1)


def seen(size, x, changes, frames=30):
    looks = [(frame, [Find(Roi(x, 300, size, 0.0), np.zeros((2, 3)), change)]) for frame, change in
             zip(range(0, frames, 3), changes * 10, strict=False)]  # fmt: skip
    return tracks_of(looks, 20.0)


def test_a_poster_does_not_count_for_the_one_who_moves():
    poster, person = seen(400, 100, [0.4, 0.1]), seen(250, 500, [6.0, 3.0])
    people = sorted(poster + person, key=Track.weight, reverse=True)
    assert people == person + poster
    surveyed = Survey(VideoReader(CLIP), 30, [Shot(slice(0, 30), people)])
    (told,) = surveyed.remarks(0, None)
    assert told == (
        "Whoever is seen larger or longer, but never moves, is taken for a picture or a statue (person 2)."
    )
    assert surveyed.remarks(0, 2) == []  # as the user wants it
    # Who passes by does not count for the one who stands there for long.
    assert max(poster + seen(250, 500, [6.0], 6), key=Track.weight).rois[0].size == 400


def test_who_stands_still_is_captured(tmp_path, man):
    result = capture(film(tmp_path / "still.mp4", man[:1] * 24), CaptureOptions(fps=10))
    assert result.warnings == []
    assert result.clip.frames == 12
    assert np.ptp(result.clip.keypoints, axis=0).max() < 0.1


def test_somebody_in_a_mirror_is_someone_else(tmp_path, man):
    frames = [side_by_side(frame, frame[:, ::-1]) for frame in man[:20]]
    surveyed = look_over(film(tmp_path / "mirror.mp4", frames))
    for track in surveyed.shots[0].people:
        assert np.ptp([roi.x for roi in track.rois]) < 100  # each on one side
    assert surveyed.remarks(0, None) == []


def test_a_camera_that_falls_over(tmp_path, man):
    frames = []
    for t, frame in enumerate(man[:30]):
        turn = cv2.getRotationMatrix2D((180, 250), float(np.clip((t - 6) / 18, 0, 1) * 90), 1)
        turn[:, 2] += (140, 70)
        frames.append(cv2.warpAffine(frame, turn, (640, 640), borderMode=cv2.BORDER_REFLECT))
    result = capture(film(tmp_path / "fall.mp4", frames))
    assert result.clip.frames == 30
    assert result.gaps == []
    assert [line.split(":")[0] for line in result.warnings] == ["The camera moves"]
    across = result.clip.keypoints[-1, 2] - result.clip.keypoints[-1, 3]
    assert np.isfinite(result.clip.keypoints).all() and np.isfinite(across).all()


@pytest.mark.skipif(not DATA, reason="S2D_DATA names no folder with the cases")
def test_two_takes_in_one_stream_are_two_shots():
    surveyed = look_over(Path(DATA) / "cases" / "two_takes.ts")
    assert [shot.length for shot in surveyed.shots] == [34, 34]
    assert "its time leaps" in surveyed.reader.remarks[0]
