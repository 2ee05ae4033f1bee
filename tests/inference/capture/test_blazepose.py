# SPDX-License-Identifier: GPL-3.0-or-later
"""The pose estimator sees what MediaPipe's own files see, run by LiteRT (``blazepose_litert.npz``)."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import sparse2dense.inference
from sparse2dense.inference.capture.blazepose import PoseDetector, PoseLandmarker, Roi
from sparse2dense.inference.film.reader import VideoReader

CLIP = Path(sparse2dense.inference.__file__).parent / "data" / "balance.mp4"
TRUTH = Path(__file__).parents[2] / "data" / "blazepose_litert.npz"


@pytest.mark.parametrize("frame", [0, 50])
def test_people_and_landmarks_are_those_of_litert(frame):
    picture = next(islice(VideoReader(CLIP), frame, None))
    with np.load(TRUTH) as truth:
        found, roi, image, world, visibility = (
            truth[f"{frame}_{name}"] for name in ("found", "roi", "image", "world", "visibility")
        )
    np.testing.assert_allclose(PoseDetector().detect(picture), found, atol=0.01)
    pose = PoseLandmarker().find(picture, Roi(*roi))
    np.testing.assert_allclose(pose.image, image, atol=0.05)
    np.testing.assert_allclose(pose.world, world, atol=5e-4)
    np.testing.assert_allclose(pose.visibility, visibility, atol=1e-3)
