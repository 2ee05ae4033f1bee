# SPDX-License-Identifier: GPL-3.0-or-later
"""TRC files, as Pose2Sim, OpenCap and OpenSim write them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import KEYPOINT_NAMES, REQUIRED_NAMES

from .conftest import UPRIGHT

HALPE_26 = [
    "Hip", "RHip", "RKnee", "RAnkle", "RBigToe", "RSmallToe", "RHeel", "LHip", "LKnee", "LAnkle", "LBigToe",
    "LSmallToe", "LHeel", "Neck", "Head", "Nose", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow",
    "LWrist",
]  # fmt: skip
"""The markers of Pose2Sim's files, in its order."""

OURS = {
    "BigToe": "foot_index", "Heel": "heel", "Nose": "nose", "Hip": "hip", "Knee": "knee", "Ankle": "ankle",
    "Shoulder": "shoulder", "Elbow": "elbow", "Wrist": "wrist",
}  # fmt: skip


def ours(marker):
    """Return our name of a marker, None where it is no point of ours."""
    side = {"R": "right_", "L": "left_"}.get(marker[0], "") if marker[1].isupper() else ""
    joint = OURS.get(marker.removeprefix(marker[0]) if side else marker)
    return side + joint if joint and (side or joint == "nose") else None


NAMES = [ours(marker) for marker in HALPE_26 if ours(marker)]


def trc(markers, labels, unit="m", rate="30", end="\n", blank="", number="{:.6f}"):
    """Write a table as Pose2Sim does; NaN is a blank cell."""
    frames = len(markers)
    lines = [
        "PathFileType\t4\t(X/Y/Z)\twalk.trc",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{frames}\t{len(labels)}\t{unit}\t{rate}\t0\t{frames}",
        "Frame#\tTime\t" + "\t\t\t".join(labels) + "\t\t",
        "\t\t" + "\t".join(f"X{i}\tY{i}\tZ{i}" for i in range(1, len(labels) + 1)),
    ]
    for frame, row in enumerate(markers.reshape(frames, -1)):
        cells = (blank if np.isnan(value) else number.format(value) for value in row)
        lines.append(f"{frame}\t{frame / 30:.6f}\t" + "\t".join(cells))
    return end.join([*lines, ""])


def pose2sim_markers(walk):
    """The walk as Pose2Sim's markers ``(60, 22, 3)``, y up, metres."""
    markers = walk[:, [KEYPOINT_NAMES.index(ours(marker) or "nose") for marker in HALPE_26]] @ UPRIGHT["y"].T
    markers[:, 0] = markers[:, [HALPE_26.index("RHip"), HALPE_26.index("LHip")]].mean(axis=1)
    return markers


@pytest.fixture(scope="module")
def halpe(walk):
    return pose2sim_markers(walk)


@pytest.fixture
def reference(walk, columns, named_clip):
    return named_clip(walk[:, columns(NAMES)], NAMES)


@pytest.mark.parametrize(
    ("unit", "scale", "options"),
    [
        ("m", 1, {}),
        ("mm", 1000, {"number": "{:.3f}"}),
        ("m", 1, {"end": "\r\n"}),
        ("m", 1, {"number": "{:12.6f}"}),
    ],
)
def test_a_walk_is_the_walk_whatever_the_unit(
    halpe, reference, clip_of, millimetres, tmp_path, unit, scale, options
):
    path = tmp_path / "walk.trc"
    path.write_text(trc(halpe * scale, HALPE_26, unit, **options), encoding="utf-8", newline="")
    clip, warnings = clip_of(path)
    assert millimetres(clip, reference) < 0.1
    assert warnings == []


def test_a_byte_order_mark_decimal_commas_and_lost_tabs_change_nothing(
    halpe, reference, clip_of, millimetres, tmp_path
):
    text = trc(halpe, HALPE_26, number="{:.6f}").replace(".", ",").replace("walk,trc", "walk.trc")
    path = tmp_path / "walk.trc"
    path.write_bytes(text.encode("utf-8-sig"))
    assert millimetres(clip_of(path)[0], reference) < 0.1
    path.write_bytes(text.encode("utf-16"))
    assert millimetres(clip_of(path)[0], reference) < 0.1


def test_blank_cells_are_missing_points_and_told_of(
    halpe, clip_of, walk, columns, named_clip, millimetres, tmp_path
):
    gap = halpe - halpe[12, -1]  # a blank is no zero, also where the marker passes through the origin
    gap[10:15, HALPE_26.index("LWrist")] = np.nan
    gap[20:22, -1] = np.nan  # the last marker: editors drop the tabs at the end of a line
    lines = trc(gap, HALPE_26).split("\n")
    path = tmp_path / "gaps.trc"
    path.write_text("\n".join(line.rstrip("\t") if n > 4 else line for n, line in enumerate(lines)), "utf-8")
    clip, warnings = clip_of(path)
    assert len(warnings) == 1 and "left_wrist (7 of 60 frames)" in warnings[0]
    known = walk[:, columns(NAMES)].copy()
    known[np.r_[10:15, 20:22], NAMES.index("left_wrist")] = np.nan
    assert millimetres(clip, named_clip(known, NAMES)) < 0.1


def test_somebody_who_lies_has_the_usual_axis_up_and_it_is_told(halpe, clip_of, tmp_path):
    """Down a diagonal, so that the person shows no axis: OpenSim's is y."""
    turn = Rotation.align_vectors([[1, 1, 1]], [[0, 1, 0]])[0].as_matrix()
    path = tmp_path / "lying.trc"
    path.write_text(trc(halpe @ turn.T, HALPE_26), "utf-8")
    _, warnings = clip_of(path)
    assert len(warnings) == 1 and "y is taken for up, as is usual in TRC files" in warnings[0]


def test_rates_are_exact(halpe, clip_of, tmp_path):
    path = tmp_path / "walk.trc"
    path.write_text(trc(halpe, HALPE_26, rate="59.94"), "utf-8")
    assert clip_of(path)[0].fps.as_integer_ratio() == (60000, 1001)


def test_joints_lie_between_pairs_of_markers(walk, columns, named_clip, clip_of, millimetres, tmp_path):
    """OpenCap's and OpenSim's sets: a marker on each side of a joint."""
    pairs = {"knee": ("{}_knee_study", "{}_mknee_study"), "ankle": ("{}_ankle_study", "{}_mankle_study"),
             "elbow": ("{}_lelbow_study", "{}_melbow_study"), "wrist": ("{}_lwrist_study", "{}_mwrist_study"),
             "shoulder": ("{}_shoulder_study",), "hip": ("{}HJC_study",)}  # fmt: skip
    labels, markers = [], []
    for name in REQUIRED_NAMES:
        side, joint = name.split("_")
        letter = side[0].upper() if joint == "hip" else side[0]
        for step, label in enumerate(pairs[joint]):
            apart = 0.04 * (1 - 2 * step) * (len(pairs[joint]) - 1)
            labels.append(label.format(letter))
            markers.append(walk[:, columns([name])[0]] @ UPRIGHT["y"].T + [apart, 0, apart])
    path = tmp_path / "opencap.trc"
    path.write_text(trc(np.stack(markers, axis=1), labels), "utf-8")
    clip, warnings = clip_of(path)
    assert millimetres(clip, named_clip(walk[:, columns(REQUIRED_NAMES)], REQUIRED_NAMES)) < 0.1
    assert warnings == []


def broken(text, line, new):
    lines = text.split("\n")
    lines[line - 1] = new(lines[line - 1])
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: broken(text, 9, lambda line: line.replace("0.", "O.", 1)), "line 9: 'O"),
        (lambda text: broken(text, 9, lambda line: line + "\t1.0"), "line 9: it has 69 cells"),
        (lambda text: broken(text, 3, lambda line: line.replace("30", "0")), "DataRate"),
        (lambda text: broken(text, 3, lambda line: line.replace("\tm\t", "\tell\t")), "unit 'ell'"),
        (lambda text: text.replace("RKnee", "Knie"), "right_knee would be"),
        (lambda text: text[:90], "cut off"),
        (lambda text: "\n".join(text.split("\n")[:5]) + "\n", "no frames"),
        (lambda text: broken(text, 4, lambda line: line + "\ta\t\t" * 100_000), "far fewer"),
        (lambda text: "", "header"),
    ],
)  # fmt: skip
def test_what_is_broken_is_named(halpe, clip_of, tmp_path, change, said):
    path = tmp_path / "broken.trc"
    path.write_text(change(trc(halpe, HALPE_26)), "utf-8")
    with pytest.raises(InputError, match=said) as caught:
        clip_of(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
