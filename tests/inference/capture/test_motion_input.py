# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion files of other programs: what is read, what is estimated, what is refused."""

import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.capture import motion_input
from sparse2dense.inference.capture.motion_input import MotionOptions
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import BONES, KEYPOINT_INDEX, KEYPOINT_NAMES, REQUIRED_NAMES
from sparse2dense.models.measures import BodyMeasures

from ...models.made_smpl import model_fields

NO_CAMERA = {"camera": None, "size": None}
REQUIRED = [KEYPOINT_INDEX[name] for name in REQUIRED_NAMES]


def read_motion(path, *options):
    return motion_input.read_motion(path, *options)[0]


@pytest.fixture(scope="module")
def walk():
    """Thirty frames of captured motion on an Anny body, ``(30, 23, 3)`` metres."""
    with np.load(Path(__file__).parents[2] / "data" / "golden.npz") as file:
        return file["keypoints"][:30]


CAMERA = {"camera": np.array([[500.0, 0, 100], [0, 510, 700], [0, 0, 1]]), "size": np.array([640, 480])}


@pytest.fixture
def write(tmp_path):
    """Write a motion file with a camera, in whose space its keypoints stay, and return where it is."""

    def save(keypoints, names=KEYPOINT_NAMES, fps=30, **more):
        path = tmp_path / "Bewegung é 人.npz"
        arrays = {name: value for name, value in (CAMERA | more).items() if value is not None}
        np.savez(path, keypoints=keypoints, keypoint_names=np.array(names), fps=fps, **arrays)
        return path

    return save


def test_all_points_come_through_untouched(walk, write):
    clip = read_motion(write(walk))
    np.testing.assert_allclose(clip.keypoints, walk, atol=1e-6)
    assert clip.keypoints.dtype == np.float32
    assert (clip.fps, clip.references, clip.plate, clip.body) == (30, [], None, "anny")


def test_the_required_joints_are_enough(walk, write):
    clip = read_motion(write(walk[:, REQUIRED], REQUIRED_NAMES))
    np.testing.assert_allclose(clip.keypoints[:, REQUIRED], walk[:, REQUIRED], atol=1e-6)
    off = np.linalg.norm(clip.keypoints - walk, axis=-1).mean(0)
    for part, most in (
        ("ear", 0.06),
        ("nose", 0.12),
        ("heel", 0.06),
        ("foot_index", 0.15),
        ("left_index", 0.08),
    ):
        for name, index in KEYPOINT_INDEX.items():
            if part in name:
                assert off[index] < most, name
    # Estimated points ride on their limb: their bones keep one length through the clip.
    first, second = np.array(BONES).T
    lengths = np.linalg.norm(clip.keypoints[:, first] - clip.keypoints[:, second], axis=-1)
    rigid = [i for i, (a, b) in enumerate(BONES) if a not in REQUIRED and b not in REQUIRED]
    assert lengths[:, rigid].std(0).max() < 1e-4


def test_a_resting_body_gets_back_its_own_points(write):
    body = load_body()
    small = np.eye(body.shape_size)[0]  # the first coefficient is growth: who may be a child
    for shape in (small, body.adults[0]):
        rest = body.keypoints(body.rest(shape)[0]) + np.array([0, 0, 3])
        clip = read_motion(write(rest[None, REQUIRED], REQUIRED_NAMES))
        assert np.linalg.norm(clip.keypoints[0] - rest, axis=-1).max() < 0.02
        assert np.abs(clip.shape - shape).max() < 0.5


def test_who_is_grown_up_has_an_adults_body(write):
    """Bones of a rig that nobody has make no old woman of a young man."""
    body = load_body()
    rest = body.keypoints(body.rest(BodyMeasures(body).shape_of(body.adults[0], {"stature": 1.7}))[0])
    rest = rest * np.array([0.9, 1, 1]) + np.array([0, 0, 3])  # narrow hips and shoulders
    measures = BodyMeasures(body).of(read_motion(write(rest[None, REQUIRED], REQUIRED_NAMES)).shape)
    assert 20 < measures["age"].value < 60
    assert 0.1 < measures["muscle"].value < 0.9


def test_a_known_nose_carries_the_ears(walk, write):
    names = [*REQUIRED_NAMES, "nose", "left_eye"]  # the schema has no eyes
    without = read_motion(write(walk[:, REQUIRED], REQUIRED_NAMES)).keypoints
    points = np.concatenate([walk[:, REQUIRED], walk[:, :1], walk[:, :1]], axis=1)
    given = read_motion(write(points, names)).keypoints
    ears = [KEYPOINT_INDEX["left_ear"], KEYPOINT_INDEX["right_ear"]]
    np.testing.assert_allclose(given[:, 0], walk[:, 0], atol=1e-6)
    offset = walk[:, 0] - without[:, 0]
    np.testing.assert_allclose(given[:, ears], without[:, ears] + offset[:, None], atol=1e-5)


def test_short_gaps_are_bridged_and_long_ones_named(walk, write):
    wrist = KEYPOINT_INDEX["left_wrist"]
    gap = walk.copy()
    gap[10:14, wrist] = np.nan
    gap[:2, 0] = np.nan
    clip = read_motion(write(gap))
    assert np.linalg.norm(clip.keypoints[10:14, wrist] - walk[10:14, wrist], axis=-1).max() < 0.1
    np.testing.assert_allclose(clip.keypoints[:2, 0], walk[2:3, 0].repeat(2, 0), atol=1e-6)
    gap[5:25, wrist] = np.nan
    with pytest.raises(InputError, match=r"left_wrist.* 20 frames from frame 5"):
        read_motion(write(gap, fps=12))


def test_points_at_zero_are_missing_and_filled_alike(walk, write):
    wrist, nose = KEYPOINT_INDEX["left_wrist"], KEYPOINT_INDEX["nose"]
    for holes in (np.nan, 0.0):
        gap = walk.copy()
        gap[10:15, wrist] = holes
        gap[0, nose] = holes
        clip, warnings = motion_input.read_motion(write(gap))
        if holes != holes:
            expected = clip.keypoints
        np.testing.assert_array_equal(clip.keypoints, expected)
        assert len(warnings) == 1
        assert "nose (1 of 30 frames)" in warnings[0] and "left_wrist (5 of 30 frames)" in warnings[0]


def test_a_point_that_is_the_origin_is_not_missing(walk, write):
    """Motions relative to a joint: it is 0, 0, 0 in every frame, or in the first."""
    hip = KEYPOINT_INDEX["left_hip"]
    for relative in (walk - walk[:, [hip]], walk - walk[0, hip]):
        clip, warnings = motion_input.read_motion(write(relative, **NO_CAMERA))
        lengths = np.linalg.norm(clip.keypoints - clip.keypoints[:, [hip]], axis=-1)
        np.testing.assert_allclose(lengths, np.linalg.norm(walk - walk[:, [hip]], axis=-1), atol=1e-5)
        assert not any("missing" in warning for warning in warnings)


def test_a_joint_that_is_never_seen_is_named_though_it_is_zero(walk, write):
    never = walk.copy()
    never[:, KEYPOINT_INDEX["left_wrist"]] = 0
    with pytest.raises(InputError, match=r"left_wrist is not known \(NaN\) for 30 frames"):
        motion_input.read_motion(write(never))


def test_an_optional_point_that_is_lost_is_estimated(walk, write):
    lost = walk.copy()
    lost[:, 0] = np.nan
    clip, warnings = motion_input.read_motion(write(lost))
    assert len(warnings) == 1 and "where the body has them: nose (30 of 30 frames)" in warnings[0]
    assert np.isfinite(clip.keypoints).all()
    assert np.linalg.norm(clip.keypoints[:, 0] - walk[:, 0], axis=-1).mean() < 0.12


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (29.97, Fraction(30000, 1001)),
        (25, Fraction(25)),
        ([30000, 1001], Fraction(30000, 1001)),
        ((29.97, 1.0), Fraction(30000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
    ],
)
def test_frame_rates_stay_rational(walk, write, fps, exact):
    assert read_motion(write(walk[:3], fps=fps)).fps == exact


def test_the_camera_sets_the_canvas(walk, write):
    clip = read_motion(write(walk[:3]))
    assert (clip.width, clip.height) == (640, 480)
    np.testing.assert_array_equal(clip.camera.matrix(), CAMERA["camera"])


def test_a_camera_needs_the_canvas_beside_it(walk, write):
    """The principal point may lie anywhere, in the canvas or not: it does not tell how large that is."""
    camera = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
    with pytest.raises(InputError, match="camera needs size") as caught:
        read_motion(write(walk[:3], camera=camera, size=None))
    assert caught.value.code == "bad_camera"


@pytest.mark.parametrize(
    ("size", "options", "canvas", "focal"),
    [
        (None, {}, (256, 256), 128 / np.tan(np.radians(30))),
        (None, {"size": 128}, (128, 128), 64 / np.tan(np.radians(30))),
        (None, {"fov": 90}, (256, 256), 128),
        ([600, 200], {}, (600, 200), 100 / np.tan(np.radians(30))),
        ([600, 200], {"fov": 90, "size": 200}, (600, 200), 300),
        ([64, 64], {"size": 64, "fov": 150}, (64, 64), 32 / np.tan(np.radians(75))),
        ([2048, 2048], {"size": 2048, "fov": 5}, (2048, 2048), 1024 / np.tan(np.radians(2.5))),
    ],
)
def test_without_a_camera_one_is_made_that_looks_straight_ahead(walk, write, size, options, canvas, focal):
    size = None if size is None else np.array(size)
    clip = read_motion(write(walk[:3], camera=None, size=size), MotionOptions(**options))
    assert (clip.width, clip.height) == canvas
    assert clip.camera.fx == clip.camera.fy == pytest.approx(focal)
    assert (clip.camera.cx, clip.camera.cy) == (canvas[0] / 2, canvas[1] / 2)


def test_the_body_asked_for_is_fitted(walk, write, tmp_path):
    pytest.importorskip("smplx")
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **model_fields())
    clip = read_motion(write(walk[:3]), MotionOptions(body="smpl", body_path=tmp_path))
    assert clip.body == "smpl" and clip.shape.shape == (10,) and np.abs(clip.shape).max() > 0.1


def infinite(walk):
    changed = walk.copy()
    changed[7, 3, 1] = np.inf
    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda k: {"keypoints": k * 100}, "m tall"),
        (lambda k: {"keypoints": k / 100}, "m tall"),
        (lambda k: {"keypoints": k * [1, 1, -1]}, "behind the camera"),
        (lambda k: {"keypoints": k * [1, 1, -1], **NO_CAMERA}, "left and right are exchanged"),
        (lambda k: {"keypoints": infinite(k)}, "left_shoulder, frame 7"),
        (lambda k: {"keypoints": k[:, :, :2]}, "frames, points, 3"),
        (lambda k: {"keypoints": k[0]}, "frames, points, 3"),
        (lambda k: {"keypoints": k[:0]}, "0 frames"),
        (lambda k: {"keypoints": k.astype("U8")}, "must be numbers"),
        (lambda k: {"keypoints": k, "names": KEYPOINT_NAMES[:-1]}, "23 names"),
        (lambda k: {"keypoints": k[:, :-6], "names": KEYPOINT_NAMES[:-6]}, "lacks left_ankle, right_ankle"),
        (
            lambda k: {"keypoints": k[:, [*range(23), 0]], "names": [*KEYPOINT_NAMES, "nose"]},
            "more than once",
        ),
        (lambda k: {"keypoints": k, "fps": 0}, "fps"),
        (lambda k: {"keypoints": k, "fps": np.nan}, "fps"),
        (lambda k: {"keypoints": k, "fps": 1e9}, "fps"),
        (lambda k: {"keypoints": k, "fps": "fast"}, "fps"),
        (lambda k: {"keypoints": k, "camera": np.eye(4), "size": [64, 64]}, "camera must be"),
        (lambda k: {"keypoints": k, "camera": np.full((3, 3), np.nan), "size": [64, 64]}, "camera must be"),
        (lambda k: {"keypoints": k, "camera": None, "size": [64, 64, 3]}, "size must be"),
        (lambda k: {"keypoints": k, "camera": None, "size": [64.0, 64.0]}, "size must be"),
    ],
)
def test_what_no_person_could_do_is_refused(walk, write, change, said):
    given = change(walk)
    path = write(given.pop("keypoints"), **given)
    with pytest.raises(InputError, match=said) as caught:
        read_motion(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_from_strangers(walk, write, tmp_path):
    whole = write(walk).read_bytes()
    path = tmp_path / "strange.npz"
    for content in (b"", b"PK\x03\x04", b"not a zip at all" * 9, whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"strange\.npz"):
            read_motion(path)
    np.savez(path, fps=30, keypoints=walk)
    with pytest.raises(InputError, match="no array named keypoint_names"):
        read_motion(path)
    with pytest.raises(InputError, match="cannot read"):
        read_motion(tmp_path / "missing.npz")


def test_pickles_are_never_opened(walk, write, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    with pytest.raises(InputError, match="plain arrays"):
        read_motion(write(walk, more=0, camera=np.array([Trap()], dtype=object)))
    assert not (tmp_path / "sprung").exists()


def test_an_array_that_lies_about_its_shape(walk, write, tmp_path):
    source = write(walk)
    path = tmp_path / "liar.npz"
    with zipfile.ZipFile(source) as good, zipfile.ZipFile(path, "w") as bad:
        for name in good.namelist():
            data = good.read(name)
            if name == "keypoints.npy":
                data = data.replace(b"(30, 23, 3), }  ", b"(99999999,23,3)}")
            bad.writestr(name, data)
    with pytest.raises(InputError, match="impossible shape"):
        read_motion(path)
