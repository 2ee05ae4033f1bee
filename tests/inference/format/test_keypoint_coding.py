# SPDX-License-Identifier: GPL-3.0-or-later
"""The keypoint track as bytes: what it costs, how far off it is, and what it must survive."""

from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.format.keypoint_coding import (
    MAX_SPACING,
    SPARSE_ERROR,
    check_group_size,
    decode_group,
    encode_group,
    encode_sparsely,
)
from sparse2dense.inference.format.range_coding import pack_group
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoint_motion import load_tables


@pytest.fixture(scope="module")
def walk():
    """Fifty frames of captured motion; one finger jumps in the middle."""
    with np.load(Path(__file__).parents[2] / "data" / "golden.npz") as file:
        return file["keypoints"]


def error_mm(found, given):
    return 1000 * np.linalg.norm(found - given, axis=-1)


def test_captured_motion_is_small_and_close(walk):
    calm = walk[:30]
    group = encode_group(calm, 6000).data
    errors = error_mm(decode_group(group, 30, 6000), calm)
    assert errors.mean() < 3
    assert errors.max() < 15
    assert len(group) * 8 / (30 * 23) < 8  # a short group, of which the first frame is a sixth


def test_the_step_buys_accuracy(walk):
    sizes, errors = [], []
    for step_um in (1000, 3000, 10_000):
        group = encode_group(walk, step_um).data
        sizes.append(len(group))
        errors.append(error_mm(decode_group(group, len(walk), step_um), walk).mean())
        assert errors[-1] < 0.75 * step_um / 1000
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)


def test_a_still_person_costs_next_to_nothing(walk):
    still = np.repeat(walk[:1], 300, axis=0)
    group = encode_group(still, 6000).data
    assert len(group) * 8 / (300 * 23) < 0.5
    assert error_mm(decode_group(group, 300, 6000), still).max() < 7
    check_group_size(300, len(group))


def test_the_stillest_group_passes_the_limit_on_frames():
    """The bound on claimed frames holds because no row of the tables makes a residual cheaper."""
    highest = load_tables().frequencies.max() / 65536
    assert -69 * np.log2(highest) > 1


@pytest.mark.parametrize(("spacing", "most"), [(1, 8064), (2, 16127), (8, 64505)])
def test_how_many_frames_fit_into_a_thousand_bytes(spacing, most):
    """The bound of the document: (coded frames − 64) / 8."""
    check_group_size(most, 1000, spacing)
    with pytest.raises(InputError, match=f"{most + 1} frames in 1000 bytes") as caught:
        check_group_size(most + 1, 1000, spacing)
    assert caught.value.code == "damaged"


def test_every_frame_is_coded_unless_a_spacing_is_named():
    check_group_size(8064, 1000)
    with pytest.raises(InputError):
        check_group_size(8065, 1000)


def test_a_group_too_short_for_its_frames_costs_no_memory(walk):
    data = encode_group(walk[:2], 5000).data
    with pytest.raises(InputError, match="1000000000 frames"):
        decode_group(data, 1_000_000_000, 5000)


def test_jumps_are_followed(walk):
    thrown = walk.copy()
    thrown[20:] += np.array([40.0, -3.0, 15.0], np.float32)
    errors = error_mm(decode_group(encode_group(thrown, 5000).data, len(thrown), 5000), thrown)
    assert errors[np.abs(np.arange(len(thrown)) - 20) > 6].mean() < 6


def test_one_frame_is_a_group(walk):
    errors = error_mm(decode_group(encode_group(walk[:1], 5000).data, 1, 5000), walk[:1])
    assert errors.max() < 5


def test_slow_motion_needs_no_number_every_frame(walk):
    """A walk in slow motion at a high frame rate: a third of the bytes, hardly less true, its ends too."""
    calm = walk[:20].astype(float)
    times = np.linspace(0, 19, 191)
    slow = np.stack([np.interp(times, range(20), track) for track in calm.reshape(20, -1).T], axis=1)
    slow = slow.reshape(-1, 23, 3)
    every, sparse = encode_group(slow, 6000), encode_sparsely(slow, 6000)
    assert sparse.spacing > 3
    assert len(sparse.data) < len(every.data) / 2
    found = decode_group(sparse.data, len(slow), 6000, sparse.spacing)
    errors = error_mm(found, slow)
    assert np.sqrt((errors**2).mean()) == pytest.approx(1000 * sparse.error, rel=1e-3)
    assert sparse.error <= SPARSE_ERROR * 0.006
    assert errors[[0, -1]].mean() < 2 * errors.mean()


def test_a_fast_group_is_sent_frame_by_frame(walk):
    shaken = walk + 0.2 * np.sin(np.arange(len(walk)))[:, None, None]
    assert encode_sparsely(shaken, 6000).spacing == 1


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 16, 17, 50])
@pytest.mark.parametrize("spacing", [2, 3, MAX_SPACING])
def test_a_line_is_drawn_between_samples_whatever_its_length(walk, frames, spacing):
    line = walk[:1] + np.linspace(0, 0.003 * frames, frames)[:, None, None]
    group = encode_group(line, 500, spacing)
    assert error_mm(decode_group(group.data, frames, 500, spacing), line).max() < 6


def test_what_is_not_metres(walk):
    far = walk[:3] + np.array([990, 0, 0])
    errors = error_mm(decode_group(encode_group(far, 5000).data, 3, 5000), far)
    assert errors.max() < 15
    far[1, 7, 0] = np.nextafter(1000, 0)
    encode_group(far, 5000)
    for value in (1000, -1000, np.inf, np.nan):
        far[1, 7, 0] = value
        with pytest.raises(InputError, match=r"over a kilometre.*metres") as caught:
            encode_group(far, 5000)
        assert caught.value.code == "bad_keypoints"


@pytest.mark.parametrize("step_um", [100, 4000, 100_000])
def test_no_decoded_point_is_over_a_kilometre_away(step_um):
    """But for 64 steps, by which the coded points may lie beyond the given ones."""
    kilometre = 10**9 // step_um
    nothing = np.zeros(0, int)

    def decoded(steps):
        """A frame of which all points stand where the left hip does."""
        return decode_group(pack_group([0, 0, steps, *[0] * 66], nothing, nothing), 1, step_um)

    for steps in (kilometre + 64, -kilometre - 64):
        assert np.abs(decoded(steps)[..., 2]).max() == pytest.approx(1000 + 64e-6 * step_um)
        with pytest.raises(InputError, match="damaged"):
            decoded(steps + np.sign(steps))


@pytest.mark.parametrize(("frames", "spacing"), [(1, 1), (2, 1), (3, 2), (6, 5), (9, 8), (30, 8)])
def test_a_still_group_is_sent_as_sparsely_as_can_be(walk, frames, spacing):
    """No further apart than eight frames, nor than the group is long."""
    group = encode_sparsely(np.repeat(walk[:1], frames, axis=0), 500)
    assert group.spacing == spacing


def test_damaged_groups_under_right_checksums(walk):
    """Random bytes as a group: keypoints, or one InputError."""
    rng = np.random.default_rng(3)
    group = encode_group(walk[:10], 6000).data
    refused = 0
    for turn in range(24):
        altered = bytearray(group) if turn % 2 else bytearray(rng.bytes(len(group)))
        for _ in range(3):
            altered[rng.integers(len(altered))] = rng.integers(256)
        try:
            decoded = decode_group(bytes(altered), 10, 6000)
            assert decoded.shape == (10, 23, 3)
            assert np.isfinite(decoded).all()
        except InputError:
            refused += 1
    assert refused > 4


@pytest.mark.slow
def test_the_bar_on_held_out_subjects():
    """CMU subjects 11 and 13, ten seconds each: at most 6 bits a keypoint and frame, at most 2.6 mm off."""
    pytest.importorskip("scipy")
    from sparse2dense.benchmarks.bench_keypoints import held_out_clips, measure
    from sparse2dense.models.training.motion import data_dir

    try:
        folder = data_dir()
    except InputError as missing:
        pytest.skip(str(missing))
    measured = measure(held_out_clips(folder, seed=7)[::3], step_mm=5.0)
    assert measured["error_mm"] <= 2.6
    assert measured["bits"] <= 5.0  # the bar is 6.0
    assert measured["bits"] < 0.5 * measured["at_equal_error"]["zlib"]
