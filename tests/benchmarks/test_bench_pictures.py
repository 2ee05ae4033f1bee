# SPDX-License-Identifier: GPL-3.0-or-later
"""The baseline that the networks must beat is the very picture they start from."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("anny")

import torch
from sparse2dense.benchmarks.bench_pictures import _flow_errors, tables
from sparse2dense.inference.decoding.synthesis import FrameSynthesiser
from sparse2dense.inference.format.clip import Clip, Reference
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.generator import Generator, ReferenceEncoder
from sparse2dense.models.mesh_motion import see_body, warp_over_plate

BODY = load_body()


class Untrained:
    """A network as the synthesiser calls it, with the weights that training starts from."""

    def __init__(self, name):
        self.module, self.outputs = {
            "reference_encoder": (ReferenceEncoder, ("half", "quarter")),
            "generator": (Generator, ("picture",)),
        }[name]
        self.module = self.module()

    def __call__(self, **inputs):
        with torch.no_grad():
            found = self.module(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        found = found if isinstance(found, tuple) else (found,)
        return {name: value.numpy() for name, value in zip(self.outputs, found, strict=True)}


def test_the_plain_warp_is_what_an_untrained_generator_draws():
    rng, camera = np.random.default_rng(0), Camera(150, 150, 64, 64)
    vertices = BODY.rest(np.zeros(BODY.shape_size))[0]
    vertices = (vertices - vertices.mean(0) + [0, 0, 2.6]).astype(np.float32)
    moved = vertices + np.float32([0.2, 0.1, 0])
    before, after = (see_body(BODY, each, camera.project, 128, 128) for each in (vertices, moved))
    mask = (before.coverage * 255).astype(np.uint8)
    picture, plate = rng.integers(0, 255, (2, 128, 128, 3)).astype(np.uint8)
    clip = Clip(
        fps=Fraction(25),
        camera=camera,
        width=128,
        height=128,
        keypoints=BODY.keypoints(vertices)[None],
        body="anny",
        shape=np.zeros(BODY.shape_size, np.float32),
        references=[Reference(0, picture, mask)],
        plate=plate,
    )
    drawn = FrameSynthesiser(clip, BODY, [vertices], Untrained).frame(BODY.keypoints(moved), moved)
    plain = warp_over_plate(picture, mask, plate, after.motion_to(before), before.coverage)
    difference = np.abs(drawn.astype(int) - plain)
    assert difference.mean() < 1.5
    assert np.abs(plain.astype(int) - picture).mean() > 20 * difference.mean()


def test_the_flow_of_a_drawn_frame_is_measured_where_the_body_is():
    """An untrained generator's flow is the mesh's, whose error against itself is nothing."""
    vertices = BODY.rest(np.zeros(BODY.shape_size))[0]
    vertices = (vertices - vertices.mean(0) + [0, 0, 2.6]).astype(np.float32)
    camera, step = Camera(150, 150, 64, 64), np.float32([0.2, 0.1, 0])
    before, after = (see_body(BODY, each, camera.project, 128, 128) for each in (vertices, vertices + step))
    flow = after.motion_to(before)
    mask = ((flow[2] > 0.9) * 255).astype(np.uint8)
    truth = np.zeros((128, 128, 2), np.float32) - step[:2] * 150 / 2.6
    right = np.zeros_like(mask, bool)
    right[:, 64:] = True
    found = _flow_errors(flow[:2], mask, truth, right)
    assert found["body"] < 0.6 and found["shown"] < 0.6
    off = flow[:2] + np.float32([3, 4])[:, None, None]
    assert _flow_errors(off, mask, truth, right)["body"] == pytest.approx(5, abs=0.6)


def test_a_table_has_a_row_a_method():
    measured = {"vggcos": 0.1, "ssimulacra2": 20.0, "psnr": 25.0}
    regions = {"whole": measured, "person": measured}
    lines = tables(
        {
            "generator_sha256": "ab" * 32,
            "coding": {"step_mm": 6.0, "reference_quality": 50},
            "gmac": {"reference_encoder": 0.5, "generator": 1.2, "generator_from_two": 1.4},
            "sets": {
                "clip.mp4": {"clips": 1, "frames": 4, "bytes_per_clip": 7000, "milliseconds": 40.0}
                | dict.fromkeys(("ours", "still"), regions)
                | {"warp": dict.fromkeys(("whole", "person"), measured | {"vggcos": 0.16})}
            },
        }
    )
    assert any("38% below" in line for line in lines)
    assert any("in steps of 6 mm, the reference at quality 50" in line for line in lines)
    assert sum(line.startswith("| ") for line in lines) == 5
    assert any("0.1000 | 20.0 | 25.00" in line for line in lines)
