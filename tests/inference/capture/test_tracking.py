# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is followed through a video, where detections come and go."""

import numpy as np
from sparse2dense.inference.capture.blazepose import Pose, Roi
from sparse2dense.inference.capture.tracking import Still, Track, find_people, follow, takes_place

PICTURE = Still(np.zeros((256, 256, 3), np.uint8))


class Detector:
    """Finds what it was told to, look by look."""

    def __init__(self, looks):
        self._looks = iter(looks)

    def detect(self, picture):
        return next(self._looks)


def walker(look):
    return Roi(100 + 5 * look, 120, 200, 0.0)


def test_a_shadow_at_the_picture_s_edge_is_not_taken_for_the_person_who_was_lost():
    shadow = Roi(-40, 250, 220, 0.0)
    looks = [[walker(i)] if i < 4 or i > 8 else [shadow] for i in range(12)]
    people, frames = find_people([PICTURE] * 12, 6.0, Detector(looks).detect)
    assert frames == 12
    assert len(people) == 1
    assert people[0].frames == [0, 1, 2, 3, 9, 10, 11]


def test_two_people_keep_their_own_tracks():
    looks = [[walker(i), Roi(230 - 5 * i, 130, 120, 0.0)] for i in range(6)]
    people, _ = find_people([PICTURE] * 6, 6.0, Detector(looks).detect)
    assert [len(person.frames) for person in people] == [6, 6]
    assert people[0].rois[0].size == 200


class Landmarker:
    """Sees a person of 100 pixels who walks to the left wherever it is told to look."""

    def __init__(self):
        self.frame = 0
        self.looked_at = []

    def find(self, picture, roi, surround=None):
        self.looked_at.append(roi)
        middle = 180 - 10 * self.frame
        spread = np.linspace(-20, 20, 33)
        return Pose(
            roi=roi,
            next_roi=Roi(middle, 128, 100, 0.0),
            score=1.0,
            image=np.stack([middle + spread, 128 + spread], 1),
            world=np.zeros((33, 3)),
            visibility=np.ones(33),
            mask=np.zeros((256, 256), np.float32),
        )


def followed(track, frames):
    landmarker = Landmarker()
    for number, (_, pose) in enumerate(follow([PICTURE] * frames, 6.0, track, landmarker)):
        landmarker.frame = number + 1
        yield pose, landmarker.looked_at[-1]


def test_two_people_found_as_one_do_not_take_the_landmarks_off_the_one_who_is_followed():
    both = Roi(40, 90, 240, 0.0)
    track = Track(list(range(12)), [Roi(180 - 10 * i, 128, 120, 0.0) if i < 8 else both for i in range(12)])
    found = list(followed(track, 12))
    assert all(pose is not None and roi.size <= 120 for pose, roi in found)
    # Known from the first look on, they are taken for the person.
    track = Track(list(range(12)), [Roi(180, 128, 120, 0.0), *[both] * 11])
    assert any(roi == both for _, roi in followed(track, 12))


def test_who_has_walked_out_of_the_picture_is_not_followed_beyond_it():
    track = Track([0, 1], [Roi(180, 128, 120, 0.0), Roi(170, 128, 120, 0.0)])
    seen = [pose is not None for pose, _ in followed(track, 24)]
    assert all(seen[:18])
    assert not any(seen[20:])


def dressed(look, people):
    """A picture of people in clothes of one colour each: ``(region, colour)``."""
    picture = np.full((256, 256, 3), 90, np.uint8)
    for roi, colour in people:
        left, half = int(roi.x), int(0.15 * roi.size)
        picture[:, max(0, left - half) : left + half] = colour
    return Still(picture)


def tracked(looks):
    """Track people through looks of ``(region, colour)`` each, six a second."""
    pictures = [dressed(i, look) for i, look in enumerate(looks)]
    return find_people(pictures, 6.0, Detector([[roi for roi, _ in look] for look in looks]).detect)[0]


RED, BLUE = (200, 30, 30), (30, 30, 200)
DARK, LIGHT = (60, 60, 60), (100, 100, 100)  # which the light might make of one


def test_who_comes_where_another_left_is_someone_else():
    def at(look):
        return Roi(120 + look, 128, 150, 0.0)

    looks = [[(at(i), RED)] if i < 8 else [(at(i), BLUE)] if i > 10 else [] for i in range(16)]
    first, second = tracked(looks)
    assert (first.frames[-1], second.frames[0]) == (7, 11)
    assert takes_place(second, first, 6.0) == 11
    assert takes_place(first, second, 6.0) is None
    (same,) = tracked([[(roi, RED) for roi, _ in look] for look in looks])
    assert same.frames[-1] == 15


def test_people_who_cross_keep_their_tracks_by_their_clothes():
    """They meet, are found as one for a moment, and each goes on the way they went."""
    looks = []
    for i in range(14):
        dark, light = Roi(60 + 10 * i, 128, 150, 0.0), Roi(190 - 10 * i, 128, 150, 0.0)
        looks.append([(dark, DARK)] if 5 <= i <= 8 else [(light, LIGHT), (dark, DARK)])
    for track in tracked(looks)[:2]:
        steps = np.diff([roi.x for roi in track.rois])
        assert (steps > 0).all() or (steps < 0).all()


def test_the_landmarks_do_not_go_over_to_who_takes_the_place():
    own = Track([0, 1, 2, 3], [Roi(180 - 10 * i, 128, 120, 0.0) for i in range(4)], [np.zeros((2, 3))] * 4)
    place = [Roi(180 - 10 * i, 128, 120, 0.0) for i in range(4, 12)]
    for colour, followed_for in ((np.full((2, 3), 60.0), 6), (np.zeros((2, 3)), 12)):
        other = Track(list(range(4, 12)), place, [colour] * 8)
        landmarker, seen = Landmarker(), []
        for number, (_, pose) in enumerate(follow([PICTURE] * 12, 6.0, own, landmarker, [own, other])):
            landmarker.frame = number + 1
            seen.append(pose is not None)
        assert seen == [True] * followed_for + [False] * (12 - followed_for)
