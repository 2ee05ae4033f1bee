# SPDX-License-Identifier: GPL-3.0-or-later
"""PC2 files are as documented, and one that is damaged is found before anything is read from it."""

import re
import struct

import numpy as np
import pytest
from sparse2dense.inference.decoding.point_cache import (
    floor_origin,
    from_blender,
    open_pc2,
    read_pc2,
    rest_for_blender,
    to_blender,
    write_pc2,
)
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.shaped_body import ShapedBody

POINTS = np.random.default_rng(1).normal(size=(5, 7, 3)).astype(np.float32)
X, Y, Z = np.moveaxis(POINTS, -1, 0)
HEADER = struct.Struct("<12siiffi")


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "mesh.pc2"
    write_pc2(path, 5, 7, [POINTS[:2], POINTS[2:]])
    return path


def test_file_has_the_documented_bytes_in_blenders_axes(cache):
    data = cache.read_bytes()
    assert HEADER.unpack(data[:32]) == (b"POINTCACHE2\0", 1, 7, 0.0, 1.0, 5)
    stored = np.frombuffer(data[32:], "<f4").reshape(5, 7, 3)
    np.testing.assert_array_equal(stored, np.stack([X, Z, -Y], axis=-1))


def test_frames_are_read_as_they_were_written_and_mapped_as_blender_has_them(cache):
    np.testing.assert_array_equal(read_pc2(cache, 1, 4), POINTS[1:4])
    np.testing.assert_array_equal(read_pc2(cache, 0, 5), POINTS)
    assert read_pc2(cache, 5, 5).shape == (0, 7, 3)
    mapped = open_pc2(cache)
    np.testing.assert_array_equal(mapped, np.stack([X, Z, -Y], axis=-1))
    assert mapped.dtype == np.float32 and not mapped.flags.writeable


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 6), (5, 7)])
def test_frames_that_are_not_there_are_refused(cache, start, stop):
    with pytest.raises(ValueError, match=f"5 frames, not {start} to {stop}"):
        read_pc2(cache, start, stop)


def test_bounds_are_those_of_all_batches(tmp_path):
    bounds = write_pc2(tmp_path / "mesh.pc2", 5, 7, [POINTS[:2], POINTS[2:]])
    expected = [[X.min(), Z.min(), (-Y).min()], [X.max(), Z.max(), (-Y).max()]]
    np.testing.assert_array_equal(bounds, np.array(expected, np.float32))
    assert bounds.dtype == np.float32


@pytest.mark.parametrize(
    ("frames", "batches", "said"),
    [
        (5, [POINTS[:2]], "3 frames were never written"),
        (6, [POINTS], "1 frames were never written"),
        (2, [POINTS], r"at most 2 frames of \(7, 3\) expected, not \(5, 7, 3\)"),
        (4, [POINTS[:2], POINTS[2:]], "at most 2 frames"),
        (5, [POINTS[:, :6]], r"not \(5, 6, 3\)"),
    ],
)
def test_missing_surplus_and_other_frames_are_refused(tmp_path, frames, batches, said):
    with pytest.raises(ValueError, match=said):
        write_pc2(tmp_path / "mesh.pc2", frames, 7, batches)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: b"", "no PC2"),
        (lambda data: data[:31], "no PC2"),
        (lambda data: b"X" + data[1:], "no PC2"),
        (lambda data: HEADER.pack(b"POINTCACHE2\0", 2, 7, 0, 1, 5) + data[32:], "header"),
        (lambda data: HEADER.pack(b"POINTCACHE2\0", 1, 0, 0, 1, 5) + data[32:], "0 vertices"),
        (lambda data: HEADER.pack(b"POINTCACHE2\0", 1, -7, 0, 1, 5) + data[32:], "-7 vertices"),
        (lambda data: HEADER.pack(b"POINTCACHE2\0", 1, 7, 0, 1, 0) + data[32:], "0 frames"),
        (lambda data: HEADER.pack(b"POINTCACHE2\0", 1, -7, 0, 1, -5) + data[32:], "-5 frames"),
        (lambda data: HEADER.pack(b"POINTCACHE2\0", 1, 7, 0, 1, 6) + data[32:], "too short for 6 frames"),
        (lambda data: HEADER.pack(b"POINTCACHE2\0", 1, 2**31 - 1, 0, 1, 2**31 - 1), "too short"),
        (lambda data: data[:-1], "too short for 5 frames of 7 vertices"),
    ],
)
def test_damage_is_said_before_anything_is_mapped(cache, change, said):
    cache.write_bytes(change(cache.read_bytes()))
    with pytest.raises(OSError, match=said) as caught:
        open_pc2(cache)
    assert re.search(r"mesh\.pc2", str(caught.value))
    with pytest.raises(OSError, match=said):
        read_pc2(cache, 0, 1)


def test_cache_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_pc2(tmp_path / "mesh.pc2")


def test_smallest_cache_is_one_vertex_in_one_frame(tmp_path):
    write_pc2(tmp_path / "mesh.pc2", 1, 1, [np.float32([[[1, 2, 3]]])])
    np.testing.assert_array_equal(open_pc2(tmp_path / "mesh.pc2"), [[[1, 3, -2]]])


def test_axes_turn_there_and_back():
    np.testing.assert_array_equal(to_blender(np.array([1.0, 2.0, 3.0])), [1, 3, -2])
    np.testing.assert_array_equal(from_blender(to_blender(POINTS)), POINTS)


def test_origin_lies_below_the_middle_at_the_soles():
    box = np.array([[1.0, 2.0, 3.0], [5.0, 12.0, 4.0], [2.0, 2.0, 7.0]])
    np.testing.assert_array_equal(floor_origin(box), [3, 7, 3])


def test_body_at_rest_stands_on_the_floor_over_the_origin_and_faces_minus_y():
    body = ShapedBody(load_body(), np.zeros(load_body().shape_size))
    rest = rest_for_blender(body)
    low, high = rest.min(axis=0), rest.max(axis=0)
    np.testing.assert_allclose([low[2], low[0] + high[0], low[1] + high[1]], 0, atol=1e-5)
    nose, left_ear, right_ear = body.model.keypoints(rest)[:3]
    assert nose[1] < left_ear[1] - 0.05 and left_ear[0] > right_ear[0] and nose[2] > 1.4
    assert rest.dtype == np.float32
