# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is followed through a video, where detections come and go."""

import numpy as np
from sparse2dense.inference.capture.blazepose import Roi
from sparse2dense.inference.capture.tracking import find_people

PICTURE = np.zeros((256, 256, 3), np.uint8)


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
    people, frames = find_people([PICTURE] * 12, 6.0, Detector(looks))
    assert frames == 12
    assert len(people) == 1
    assert people[0].frames == [0, 1, 2, 3, 9, 10, 11]


def test_two_people_keep_their_own_tracks():
    looks = [[walker(i), Roi(230 - 5 * i, 130, 120, 0.0)] for i in range(6)]
    people, _ = find_people([PICTURE] * 6, 6.0, Detector(looks))
    assert [len(person.frames) for person in people] == [6, 6]
    assert people[0].rois[0].size == 200
