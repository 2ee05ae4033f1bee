# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips with pictures, filmed by a still and by a panning camera, as they are and as files."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.format import homography_coding
from sparse2dense.inference.format.clip import Clip, Reference
from sparse2dense.inference.format.container import write_clip
from sparse2dense.inference.format.header import Header
from sparse2dense.models.camera import Camera


@pytest.fixture(scope="session")
def golden():
    """What went into golden.s2d and golden_spaced.s2d (``keypoints``) and what must come out (the rest)."""
    with np.load(Path(__file__).parents[2] / "data" / "golden.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture
def header():
    """What a file of 320 frames says before its parts."""
    return Header(
        frames=320,
        fps=Fraction(30000, 1001),
        width=136,
        height=200,
        camera=Camera(210.5, 211.0, 68.0, 99.5),
        body="anny",
        shape=np.array([-1.5, 0.25, 2], np.float32),
        step_um=4000,
        group_frames=300,
        networks={"vertex_predictor": b"\1\2\3\4", "generator": b"abcd"},
    )


@pytest.fixture(scope="session")
def filmed():
    """A clip with two references and a plate, larger than the mask's cells."""
    rng = np.random.default_rng(5)
    standing = rng.normal(0, 0.3, (23, 3)) + np.array([0, 0, 3])
    height, width = 200, 136
    ground = np.linspace(40, 200, height)[:, None, None] + np.zeros((height, width, 3))
    picture = ground.copy()
    picture[60:150, 40:80] = (220, 60, 30)
    mask = np.zeros((height, width), np.uint8)
    mask[60:150, 40:80] = 255
    reference = Reference(3, picture.astype(np.uint8), mask)
    return Clip(
        fps=Fraction(30000, 1001),
        camera=Camera(210.5, 211.0, 68.0, 99.5),
        width=width,
        height=height,
        keypoints=(standing + rng.normal(0, 0.004, (320, 23, 3)).cumsum(0)).astype(np.float32),
        body="anny",
        shape=np.linspace(-1.5, 1.5, 12, dtype=np.float32),
        references=[reference, replace(reference, frame=319)],
        plate=ground.astype(np.uint8),
        moving_camera=True,
    )


@pytest.fixture(scope="session")
def filmed_file(filmed, tmp_path_factory):
    """Its file, and the bytes of the file's parts."""
    path = tmp_path_factory.mktemp("clip") / "filmed.s2d"
    return path, write_clip(filmed, path)


@pytest.fixture(scope="session")
def panned(filmed):
    """The same clip filmed by hand, panning right: its plate is wider than the canvas."""
    time = np.arange(filmed.frames)
    home = homography_coding.canvas_corners(filmed.width, filmed.height)
    middle = home.mean(0)
    turn, zoom = 0.03 * np.sin(time / 9), 1 + 0.04 * np.sin(time / 31)
    rotation = np.stack([np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)], -1).reshape(-1, 2, 2)
    shift = np.stack([0.3 * time, 4 * np.sin(time / 7)], -1)[:, None]
    views = (home - middle) @ rotation * zoom[:, None, None] + middle + shift
    ground = np.linspace(40, 200, 240)[:, None] + np.linspace(0, 50, 260)
    plate = np.repeat(ground[..., None], 3, -1).astype(np.uint8)
    origin = (-12, -20)
    inside = plate[20 : 20 + filmed.height, 12 : 12 + filmed.width].copy()
    inside[60:150, 40:80] = (220, 60, 30)
    references = [replace(reference, picture=inside) for reference in filmed.references]
    return replace(
        filmed, references=references, plate=plate, plate_origin=origin, views=views.astype(np.float32)
    )


@pytest.fixture(scope="session")
def panned_file(panned, tmp_path_factory):
    """Its file, and the bytes of the file's parts."""
    path = tmp_path_factory.mktemp("clip") / "panned.s2d"
    return path, write_clip(panned, path)
