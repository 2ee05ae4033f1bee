# SPDX-License-Identifier: GPL-3.0-or-later
"""What the keypoint bench says of other coders is what they really take, and of ours what the file holds."""

import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("zstandard")
pytest.importorskip("matplotlib")

from sparse2dense.benchmarks import bench_keypoints as bench
from sparse2dense.inference.format.clip import Clip
from sparse2dense.inference.format.container import STEP_MM, S2DFile, write_clip
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.rotations import orthonormal_frames
from sparse2dense.models.shaped_body import ShapedBody


@pytest.fixture(scope="module")
def track():
    with np.load(Path(__file__).parents[1] / "data" / "held_out_motion.npz", allow_pickle=False) as stored:
        rotations = orthonormal_frames(*(stored["rotations"].astype(np.float32)[..., i] for i in (0, 1)))
        points = ShapedBody(load_body(), stored["shape"]).pose_keypoints(rotations, stored["translation"])
    return points + np.array([0.0, 0.0, 4.0])


@pytest.fixture(scope="module")
def measured(track):
    return bench.measure([track], STEP_MM)


def arithmetic_code_length(bits):
    """The length of the shortest code of bits and an end that nothing after it spoils, in exact fractions."""
    low, width, counts = Fraction(0), Fraction(1), [0, 0]

    def narrow(start, size, total):
        nonlocal low, width
        low, width = low + width * Fraction(start, total), width * Fraction(size, total)

    for bit in [*bits, None]:
        total = sum(counts) + 1  # the escape is counted once
        if bit is not None and counts[bit]:
            narrow(counts[0] if bit else 0, counts[bit], total)
        else:
            narrow(total - 1, 1, total)
            narrow(2 if bit is None else bit, 1, 3)
        if bit is not None:
            counts[bit] += 1
    length = 0
    while -(-low.numerator * 2**length // low.denominator) + 1 > (low + width) * 2**length:
        length += 1
    return length


def test_the_adaptive_coders_length_is_that_of_a_real_one():
    rng = np.random.default_rng(3)
    for share in (0.1, 0.5, 0.9):
        bits = (rng.random(200) < share).astype(int).tolist()
        ideal = bench.adaptive_bits(np.array([bits.count(0)]), np.array([bits.count(1)]))[0]
        assert 0 <= arithmetic_code_length(bits) - ideal < 2


def test_exponential_golomb_codes_are_counted_right():
    steps = np.array([[[0, 1, -1], [2, -7, 300]]])
    codes = ["1", "010", "011", "00100", "0001111", "0" * 9 + format(600, "b")]
    text = "1" + "".join(codes)
    clip = np.concatenate([np.zeros_like(steps), steps]).astype(float)
    expected = bench.adaptive_bits(np.array([text.count("0")]), np.array([text.count("1")]))
    assert bench.golomb_bytes(clip, 1.0) == np.ceil(expected / 8)


def test_general_compressors_hold_the_whole_track(track):
    data = bench.difference_bytes(track, 0.01)
    plane = np.frombuffer(data, np.uint8).reshape(2, -1)
    steps = plane.T.copy().view("<i2").reshape(-1, len(track)).T.reshape(track.shape)
    assert np.abs(np.cumsum(steps, axis=0) * 0.01 - track).max() <= 0.005 + 1e-9
    packed = bench.COMPRESSORS["zlib"](data)
    assert zlib.decompress(packed) == data


def test_the_bits_are_those_of_a_file(track, measured, tmp_path):
    clip = Clip(Fraction(30), Camera(300, 300, 128, 128), 256, 256, track, "anny", np.zeros(16, np.float32))
    sizes = write_clip(clip, tmp_path / "clip.s2d", step_mm=STEP_MM)
    whole = 8 * (sizes["keypoints"] + sizes["index"]) / len(track)
    assert measured["bits"] * track.shape[1] == pytest.approx(whole)
    assert sum(measured["bits_a_frame"].values()) == pytest.approx(whole)
    assert 0 <= measured["bits_a_frame"]["first frame and escapes"] < 0.5 * whole
    spacing = S2DFile.open(tmp_path / "clip.s2d").header.spaced  # a byte
    assert measured["bits_a_frame"]["index of groups"] == 8 * (sizes["index"] + spacing) / len(track)


def test_others_are_compared_at_our_own_error(track, measured):
    lattice = measured["error_mm"] / bench.LATTICE_ERROR / 1000
    off = 1000 * np.linalg.norm(np.rint(track / lattice) * lattice - track, axis=-1).mean()
    assert off == pytest.approx(measured["error_mm"], rel=0.05)
    assert measured["bits"] < min(measured["at_equal_error"].values())


def test_a_table_has_a_row_a_step(track, measured, tmp_path):
    sets = {"an excerpt": {"clips": 1, "frames": len(track), "steps": [measured]}}
    lines = bench.tables({"sets": sets})
    assert sum(line.startswith(f"| {STEP_MM:.2f} |") for line in lines) == 1
    bench.draw_curves(sets, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
