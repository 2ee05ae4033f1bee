# SPDX-License-Identifier: GPL-3.0-or-later
"""C3D files, written by ezc3d."""

import re
import struct

import numpy as np
import pytest
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import REQUIRED_NAMES

from .conftest import UPRIGHT

ezc3d = pytest.importorskip("ezc3d")

CENTRES = {"shoulder": "SJC", "elbow": "EJC", "wrist": "WJC", "hip": "HJC", "knee": "KJC", "ankle": "AJC"}


def plug_in_gait(name):
    side, joint = name.split("_")
    return f"Anna:{side[0].upper()}{CENTRES[joint]}"


@pytest.fixture
def write(tmp_path):
    """Write markers ``(T, M, 3)``, NaN where not seen, by ezc3d."""

    def save(markers, labels, rate=30.0, unit="mm", analog=False):
        file = ezc3d.c3d()
        file["parameters"]["POINT"]["RATE"]["value"] = [rate]
        file["parameters"]["POINT"]["UNITS"]["value"] = [unit]
        file["parameters"]["POINT"]["LABELS"]["value"] = list(labels)
        seen = np.isfinite(markers).all(axis=-1).T
        points = np.ones((4, len(labels), len(markers)))
        points[:3] = np.nan_to_num(np.moveaxis(markers, 2, 0).swapaxes(1, 2))
        file["data"]["points"] = points
        file["data"]["meta_points"]["residuals"] = np.where(seen, 0.0, -1.0)[None]
        if analog:
            file["parameters"]["ANALOG"]["RATE"]["value"] = [10 * rate]
            file["parameters"]["ANALOG"]["LABELS"]["value"] = ["Force.Fx"]
            file["data"]["analogs"] = np.zeros((1, 1, 10 * len(markers)))
        path = tmp_path / "walk.c3d"
        file.write(str(path))
        return path

    return save


@pytest.fixture(scope="module")
def markers(walk, columns):
    """The walk's joints, z up, millimetres."""
    return 1000 * walk[:, columns(REQUIRED_NAMES)] @ UPRIGHT["z"].T


@pytest.fixture
def reference(walk, columns, named_clip):
    return named_clip(walk[:, columns(REQUIRED_NAMES)], REQUIRED_NAMES)


@pytest.mark.parametrize(
    ("labels", "unit", "scale"),
    [
        ([plug_in_gait(name) for name in REQUIRED_NAMES], "mm", 1),
        ([name.title().replace("_", "") for name in REQUIRED_NAMES], "m", 0.001),
        ([name[0].upper() + name.split("_")[1].title() for name in REQUIRED_NAMES], "cm", 0.1),
    ],
)
def test_a_walk_is_the_walk_whatever_the_labels(
    write, markers, reference, clip_of, millimetres, labels, unit, scale
):
    clip, warnings = clip_of(write(markers * scale, labels, unit=unit, analog=True))
    assert millimetres(clip, reference) < 0.1
    assert warnings == []


def test_a_residual_of_minus_one_is_a_missing_point(
    write, markers, walk, columns, named_clip, clip_of, millimetres
):
    gap, wrist = markers.copy(), REQUIRED_NAMES.index("left_wrist")
    gap[5:9, wrist] = np.nan
    path = write(gap, [plug_in_gait(name) for name in REQUIRED_NAMES])
    data = bytearray(path.read_bytes())
    start = 512 * (struct.unpack_from("<H", data, 16)[0] - 1)
    for frame in range(5, 9):  # where other programs than ezc3d leave the last place that they had
        at = start + 16 * (frame * len(REQUIRED_NAMES) + wrist)
        assert struct.unpack_from("<f", data, at + 12) == (-1.0,)
        struct.pack_into("<3f", data, at, 1.0, 2.0, 3.0)
    path.write_bytes(data)
    clip, warnings = clip_of(path)
    assert len(warnings) == 1 and "left_wrist (4 of 60 frames)" in warnings[0]
    known = walk[:, columns(REQUIRED_NAMES)].copy()
    known[5:9, wrist] = np.nan
    assert millimetres(clip, named_clip(known, REQUIRED_NAMES)) < 0.1


def test_rates_are_exact(write, markers, clip_of):
    clip, _ = clip_of(write(markers, [plug_in_gait(name) for name in REQUIRED_NAMES], rate=119.88))
    assert clip.fps.as_integer_ratio() == (120000, 1001)


def test_skin_markers_stand_for_joints_and_are_told_of(write, markers, clip_of, reference, millimetres):
    """Plug-in Gait's own markers: hips from the pelvis's spines, wrists from pairs."""
    at = dict(zip(REQUIRED_NAMES, np.moveaxis(markers, 1, 0), strict=True))
    across = at["left_hip"] - at["right_hip"]
    left = across / np.linalg.norm(across, axis=-1, keepdims=True)
    up = np.array([0.0, 0, 1])
    up = up - (left @ up)[:, None] * left
    up /= np.linalg.norm(up, axis=-1, keepdims=True)
    ahead = np.cross(left, up)
    width = np.linalg.norm(across, axis=-1, keepdims=True) / 0.72
    front = (at["left_hip"] + at["right_hip"]) / 2 + 0.22 * width * ahead + 0.3 * width * up
    labelled = {}
    for letter, side, out in (("L", "left", 1), ("R", "right", -1)):
        labelled[f"{letter}ASI"] = front + out * width / 2 * left
        labelled[f"{letter}PSI"] = front - 160 * ahead + out * 40 * left
        labelled[f"{letter}WRA"] = at[f"{side}_wrist"] + [30, 0, 0]
        labelled[f"{letter}WRB"] = at[f"{side}_wrist"] - [30, 0, 0]
        for joint, marker in (("shoulder", "SHO"), ("elbow", "ELB"), ("knee", "KNE"), ("ankle", "ANK")):
            labelled[letter + marker] = at[f"{side}_{joint}"]
    clip, warnings = clip_of(write(np.stack(list(labelled.values()), axis=1), labelled))
    assert millimetres(clip, reference) < 0.1
    assert len(warnings) == 1 and "left_knee" in warnings[0] and "left_wrist" not in warnings[0]


def test_joints_that_are_not_there_are_named(write, markers, clip_of):
    labels = [plug_in_gait(name) for name in REQUIRED_NAMES]
    labels[REQUIRED_NAMES.index("right_knee")] = "R42"
    with pytest.raises(InputError, match=r"walk\.c3d: .*right_knee would be.*LSJC") as caught:
        clip_of(write(markers, labels))
    assert "left_knee" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:700],
        lambda data: data[: len(data) // 2],
        lambda data: data[:2] + bytes(510) + data[512:],
        lambda data: data[:512] + bytes(range(256)) * 20,
        lambda data: data.replace(b"LABELS", b"LEBALS"),
        lambda data: data.replace(struct.pack("<H", 12), struct.pack("<H", 0)),
        lambda data: data.replace(struct.pack("<H", 60), struct.pack("<H", 65535)),
        lambda data: data[:512] + bytes(reversed(data[512:])),
    ],
)
def test_damage_is_one_line(write, markers, clip_of, change):
    path = write(markers, [plug_in_gait(name) for name in REQUIRED_NAMES])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=r"walk\.c3d") as caught:
        clip_of(path)
    assert "\n" not in str(caught.value)


def test_whole_numbers_and_old_machines_floats_are_read(
    write, markers, reference, clip_of, millimetres, tmp_path
):
    labels = [plug_in_gait(name) for name in REQUIRED_NAMES]
    path = write(markers, labels, analog=True)
    path.write_bytes(as_dec(path.read_bytes()))
    assert millimetres(clip_of(path)[0], reference) < 0.1

    c3d = pytest.importorskip("c3d")
    writer = c3d.Writer(point_rate=30.0, point_scale=0.1)
    whole = np.zeros((len(markers), len(labels), 5), np.float32)
    whole[..., :3] = markers
    writer.set_point_labels(labels)
    writer.add_frames([(frame, np.zeros((0, 0))) for frame in whole])
    with path.open("wb") as file:
        writer.write(file)
    assert millimetres(clip_of(path)[0], reference) < 1


def as_dec(data):
    """Write an Intel file of floats as a VAX would: exponents two higher, halves exchanged."""

    def dec(floats):
        return (np.frombuffer(floats, "<f4") * 4).astype("<f4").view("<u2").reshape(-1, 2)[:, ::-1].tobytes()

    data = bytearray(data)
    data[512 * (data[0] - 1) + 3] = 85
    parameters = re.finditer(rb"(?:RATE|SCALE)..\x04(?:\x00|\x01\x01)", bytes(data), re.DOTALL)
    for at in (12, 20, *(parameter.end() for parameter in parameters)):  # the header's scale and rate first
        data[at : at + 4] = dec(bytes(data[at : at + 4]))
    start = 512 * (struct.unpack_from("<H", data, 16)[0] - 1)
    data[start:] = dec(bytes(data[start:]))
    return bytes(data)
