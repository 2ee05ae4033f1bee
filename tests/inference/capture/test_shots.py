# SPDX-License-Identifier: GPL-3.0-or-later
"""Where films cut, and what looks like a cut and is none: pictures of rooms made up of boxes and texture."""

import cv2
import numpy as np
import pytest
from sparse2dense.inference.capture.shots import Cut, CutFinder, shots_between

FPS = 25
SIDE = 256


def room(seed):
    """A picture (256, 256) of things of many sizes, as unlike another as rooms are."""
    rng = np.random.default_rng(seed)
    picture = np.full((SIDE, SIDE), 120, np.float32)
    for cells, strength in ((5, 50), (12, 40), (30, 40), (70, 30)):
        texture = rng.normal(0, strength, (cells, cells)).astype(np.float32)
        picture += cv2.resize(texture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        (x, y), (w, h) = rng.integers(0, SIDE, 2), rng.integers(8, 70, 2)
        cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), float(rng.uniform(0, 255)), -1)
    return cv2.GaussianBlur(picture, None, 1.2).clip(0, 255)


ROOM, OTHER, THIRD = room(1), room(2), room(3)


def take(picture, frames, start=0, pace=9):
    """A still camera, a person who walks fast through the picture."""
    shown = []
    for t in range(start, start + frames):
        frame = picture.copy()
        x = 20 + (pace * t) % 200
        cv2.ellipse(frame, (x, 150), (16, 70), 10 * np.sin(t), 0, 360, 30, -1)
        cv2.circle(frame, (x, 66), 13, 190, -1)
        shown.append(frame)
    return shown


def glance(frame):
    return cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA).round().clip(0, 255).astype(np.uint8)


def cuts(frames, leaps=(), fps=FPS):
    finder = CutFinder(fps)
    for frame in frames:
        finder.see(glance(frame))
    return finder.cuts(leaps)


def window(picture, x, y, angle=0.0, side=150):
    turned = cv2.warpAffine(
        picture,
        cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), angle, 1),
        (SIDE, SIDE),
        borderMode=cv2.BORDER_REFLECT,
    )
    x, y = (int(np.clip(at, 0, SIDE - side)) for at in (x, y))
    return cv2.resize(turned[y : y + side, x : x + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("fps", [12, 25, 60, 240])
def test_hard_cuts_are_found_to_the_frame(fps):
    assert cuts([*take(ROOM, 21), *take(OTHER, 30), *take(THIRD, 17)], fps=fps) == [Cut(21, 21), Cut(51, 51)]


def test_a_cut_beside_the_film_s_ends_is_found():
    assert cuts([*take(ROOM, 1), *take(OTHER, 30), *take(THIRD, 1)]) == [Cut(1, 1), Cut(31, 31)]


def test_a_shot_that_comes_again_is_a_shot_again():
    assert cuts([*take(ROOM, 20), *take(OTHER, 20), *take(ROOM, 20, 20)]) == [Cut(20, 20), Cut(40, 40)]


def test_a_cut_while_the_camera_pans_is_found():
    pan = [[window(each, 6 * t, 50) for t in range(15)] for each in (ROOM, OTHER)]
    assert cuts(pan[0] + pan[1]) == [Cut(15, 15)]


def flashes(frames):
    for t in (8, 20, 21, 22):
        frames[t] = frames[t] * 2 + 120
    return frames


def black_moments(frames):
    return [frame * 0 if 10 <= t < 28 else frame for t, frame in enumerate(frames)]


def passer_by(frames):
    """Somebody close to the lens hides all of the picture for a fifth of a second."""
    rng = np.random.default_rng(5)
    coat = cv2.resize(rng.uniform(0, 90, (20, 20)).astype(np.float32), (SIDE, SIDE))
    for t in range(12, 20):
        right, left = (int(np.clip((t - begin) / 3, 0, 1) * SIDE) for begin in (11, 16))
        frames[t][:, left:right] = coat[:, left:right]
    return frames


def noisy(frames, light=1.0, noise=60):
    rng = np.random.default_rng(6)
    return [frame * light + rng.normal(0, noise, frame.shape) for frame in frames]


def jittering(frames):
    rng = np.random.default_rng(7)
    return [window(frame, *rng.normal(53, 14, 2)) for frame in frames]


NO_CUTS = {
    "fast": lambda: take(ROOM, 60)[::3],
    "flashes": lambda: flashes(take(ROOM, 40)),
    "black": lambda: black_moments(take(ROOM, 40)),
    "passer-by": lambda: passer_by(take(ROOM, 40)),
    "dimmed": lambda: [f * abs(1 - t / 20) for t, f in enumerate(take(ROOM, 40))],
    "flickers": lambda: [f * (0.4 + 0.6 * (t % 2)) for t, f in enumerate(take(ROOM, 30))],
    "noise": lambda: noisy(take(ROOM, 30)),
    "dark": lambda: noisy(take(ROOM, 30), 0.05, 10),
    "grain": lambda: [
        cv2.resize(f, (SIDE, SIDE)) for f in noisy([glance(f) for f in take(ROOM, 30)], 0.1, 12)
    ],
    "breaks up": lambda: [*take(ROOM, 15), *noisy([ROOM * 0 + 128] * 15, 1, 600)],
    "pan": lambda: [window(f, 4 * t, 50) for t, f in enumerate(take(ROOM, 30))],
    "fast pan": lambda: [window(f, 25 * t, 50) for t, f in enumerate(take(ROOM, 8))],
    "shaken": lambda: jittering(take(ROOM, 30)),
    "zoom": lambda: [window(f, 2 * t, 2 * t, 0, 250 - 4 * t) for t, f in enumerate(take(ROOM, 30))],
    "falls over": lambda: [
        window(f, 53, 53, np.clip(6 * t - 40, 0, 90)) for t, f in enumerate(take(ROOM, 30))
    ],
    "bare": lambda: [np.full((SIDE, SIDE), 90.0 + t) for t in range(20)],
    "one frame": lambda: take(ROOM, 1),
}


@pytest.mark.parametrize("kind", NO_CUTS)
def test_what_is_no_cut(kind):
    assert cuts(NO_CUTS[kind]()) == []


def test_black_between_two_shots_is_in_neither():
    black = [ROOM * 0] * 10
    assert cuts([*take(ROOM, 20), *black, *take(OTHER, 20)]) == [Cut(20, 30)]


def test_two_takes_of_a_still_camera_are_told_apart_where_time_leaps():
    """The person stands elsewhere at once, which by itself is no cut."""
    walk = [*take(ROOM, 20, pace=3), *take(ROOM, 20, 50, pace=3)]
    assert cuts(walk) == []
    assert cuts(walk, [20 / FPS]) == [Cut(20, 20)]
    assert cuts(take(ROOM, 40, pace=3), [20 / FPS]) == []  # pieces of one take, joined


def test_shots_lie_between_the_cuts():
    assert shots_between([Cut(10, 10), Cut(20, 26)], 40) == [slice(0, 10), slice(10, 20), slice(26, 40)]
    assert shots_between([], 3) == [slice(0, 3)]
