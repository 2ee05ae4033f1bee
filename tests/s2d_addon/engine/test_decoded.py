# SPDX-License-Identifier: GPL-3.0-or-later
"""What the add-on reads of a decoded folder, and what it says of one that was damaged."""

import json
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from sparse2dense.inference.decode import decode
from sparse2dense.s2d_addon.engine.decoded import open_point_cache, read_bones, read_decoded

BODY = {
    "vertices": np.float32([[0, 0, 0], [1, 0, 0], [0, 0, 2]]),
    "faces": np.int32([[0, 1, 2]]),
    "uv": np.float32([[[0, 0], [1, 0], [0, 1]]]),
}
STATURE = {"value": 1.7, "min": 1.3, "max": 2.1, "unit": "m", "label": "Stature", "description": "Height"}
CONTENT = {
    "clip": "5eed",
    "frames": 300,
    "fps": [30000, 1001],
    "width": 256,
    "height": 456,
    "camera": {"fx": 400.5, "fy": 401.0, "cx": 128.0, "cy": 228.0},
    "measures": {"stature": STATURE},
    "has_video": True,
    "files": {"body": "body.npz", "reference": "reference.png", "mesh": "mesh.pc2", "video": "video.webm"},
    "warnings": ["It may look different."],
    "bounds": [[-1.5, 2.0, 0.0], [1.0, 4.25, 1.75]],
    "floor": {"up": [0.0, -1.0, 0.1], "point": [0.1, 0.9, 3.0], "forward": [0.0, 0.1, -1.0]},
}


@pytest.fixture
def folder(tmp_path):
    """A clip decoded by an earlier version, its video lost since."""
    (tmp_path / "clip.json").write_text(json.dumps(CONTENT), encoding="utf-8")
    np.savez(tmp_path / "body.npz", **BODY)
    for name in ("reference.png", "mesh.pc2"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_clip_has_what_a_scene_is_built_from(folder):
    clip = read_decoded(folder, "Dancer")
    assert (clip.name, clip.folder, clip.key, clip.frames) == ("Dancer", folder, "5eed", 300)
    assert (clip.fps, clip.width, clip.height) == (Fraction(30000, 1001), 256, 456)
    assert (clip.focal, clip.centre) == ((400.5, 401.0), (128.0, 228.0))
    assert (clip.has_video, clip.warnings) == (True, ("It may look different.",))
    assert clip.measures == {"stature": STATURE}
    for name, array in (("rest", "vertices"), ("faces", "faces"), ("uv", "uv")):
        np.testing.assert_array_equal(getattr(clip, name), BODY[array])
    np.testing.assert_array_equal(clip.bounds, CONTENT["bounds"])


def test_certainty_does_not_disturb(folder):
    certainty = {"left_arm": [[0, 1.0], [60, 0.0]], "tail": [[0, 1.0]]}  # a region that nobody knows yet
    (folder / "clip.json").write_text(json.dumps(CONTENT | {"certainty": certainty}))
    assert read_decoded(folder, "Dancer").frames == 300


def test_floor_is_turned_to_blenders_axes(folder):
    floor = read_decoded(folder, "Dancer").floor
    np.testing.assert_array_equal(floor.up, [0, 0.1, 1])
    np.testing.assert_array_equal(floor.point, [0.1, 3, -0.9])
    np.testing.assert_array_equal(floor.forward, [0, -1, -0.1])


def test_what_is_not_there_or_lost_is_none(folder):
    clip = read_decoded(folder, "Dancer")
    assert (clip.mesh, clip.reference) == (folder / "mesh.pc2", folder / "reference.png")
    assert clip.video is clip.keypoints is clip.mesh_data is clip.skeleton is None
    early = {name: value for name, value in CONTENT.items() if name not in ("bounds", "floor", "measures")}
    (folder / "clip.json").write_text(json.dumps(early | {"files": {"body": "body.npz"}}))
    clip = read_decoded(folder, "Dancer")
    assert clip.bounds is clip.floor is clip.mesh is None and clip.measures == {}


def without(name):
    return {key: value for key, value in CONTENT.items() if key != name}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[1, 2]",
        '"text"',
        without("files"),
        without("camera"),
        without("clip"),
        without("warnings"),
        CONTENT | {"files": {}},
        CONTENT | {"files": {"body": "other.npz"}},
        CONTENT | {"files": ["body.npz"]},
        CONTENT | {"files": {"body": 5}},
        CONTENT | {"fps": [30, 0]},
        CONTENT | {"fps": [0, 1]},
        CONTENT | {"fps": 30},
        CONTENT | {"frames": "many"},
        CONTENT | {"frames": 0},
        CONTENT | {"width": None},
        CONTENT | {"camera": {"fx": 1}},
        CONTENT | {"camera": CONTENT["camera"] | {"fx": "wide"}},
        CONTENT | {"has_video": "yes"},
        CONTENT | {"warnings": "none"},
        CONTENT | {"bounds": [1, 2]},
        CONTENT | {"floor": {"up": [0, 1, 0]}},
        CONTENT | {"floor": {"up": [0, 1], "point": [0, 0, 0], "forward": [0, 0, 1]}},
        CONTENT | {"measures": {"stature": {"value": 1.7}}},
    ],
)
def test_damaged_description_is_an_oserror_in_words(folder, content):
    (folder / "clip.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(OSError, match=r"damaged|does not hold") as caught:
        read_decoded(folder, "Dancer")
    assert str(folder) in str(caught.value)


def test_folder_without_description_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match=r"clip\.json"):
        read_decoded(tmp_path, "Dancer")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-30])


def no_zip(path):
    path.write_bytes(b"vertices")


def emptied(path):
    path.write_bytes(b"")


def with_arrays(**arrays):
    return lambda path: np.savez(path, **(BODY | arrays))


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        no_zip,
        emptied,
        lambda path: np.savez(path, vertices=BODY["vertices"]),
        with_arrays(uv=np.array([None])),
        with_arrays(vertices=BODY["vertices"][0]),
        with_arrays(vertices=np.array(["a", "b", "c"])),
        with_arrays(faces=BODY["faces"][:, :2]),
        with_arrays(faces=BODY["faces"] + 1),
        with_arrays(uv=BODY["uv"][:, :2]),
    ],
)
def test_damaged_body_is_an_oserror_in_words(folder, damage):
    damage(folder / "body.npz")
    with pytest.raises(OSError, match="damaged") as caught:
        read_decoded(folder, "Dancer")
    assert "body.npz" in str(caught.value)


def test_point_cache_is_mapped_in_blenders_axes(tmp_path):
    header = struct.pack("<12siiffi", b"POINTCACHE2\0", 1, 2, 0.0, 1.0, 3)
    points = np.arange(18, dtype="<f4").reshape(3, 2, 3)
    path = tmp_path / "mesh.pc2"
    path.write_bytes(header + points.tobytes())
    np.testing.assert_array_equal(open_point_cache(path), points)
    for damaged in (header + points.tobytes()[:-4], header, header[:20], b"", b"RIFF" + bytes(100)):
        path.write_bytes(damaged)
        with pytest.raises(OSError, match=r"mesh\.pc2 is"):
            open_point_cache(path)


def test_bones_are_read_or_an_oserror_says_why_not(tmp_path):
    path = tmp_path / "mesh.npz"
    np.savez(path, keypoint_bones=np.int32([[0, 1], [3, 5]]))
    np.testing.assert_array_equal(read_bones(path), [[0, 1], [3, 5]])
    for damage in (truncated, no_zip, emptied, lambda path: np.savez(path, fps=30)):
        damage(path)
        with pytest.raises(OSError, match=r"mesh\.npz is damaged"):
            read_bones(path)


def test_what_decoding_writes_is_read(filmed_clip, tmp_path):
    decode(filmed_clip, tmp_path, only="mesh")
    clip = read_decoded(tmp_path, "balance")
    assert (clip.frames, clip.fps, clip.width, clip.height) == (20, 25, 256, 456)
    assert clip.video is None and clip.has_video
    for path in (clip.mesh, clip.keypoints, clip.mesh_data, clip.skeleton, clip.reference):
        assert path.is_file()
    vertices = open_point_cache(clip.mesh)
    assert vertices.shape == (20, *clip.rest.shape) and open_point_cache(clip.keypoints).shape == (20, 23, 3)
    np.testing.assert_allclose(clip.bounds, [vertices.min((0, 1)), vertices.max((0, 1))], atol=1e-6)
    heights = (vertices - clip.floor.point) @ clip.floor.up
    assert abs(heights.min(axis=1).mean()) < 0.05 and clip.floor.up[2] > 0.8
    assert read_bones(clip.mesh_data).max() == 22


def test_reading_needs_numpy_alone():
    """It happens in the job's thread in Blender, where the engine's packages are not to be loaded."""
    program = (
        "import sys, sparse2dense.s2d_addon.engine.decoded\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(done.stdout.replace("'", '"')) if not name.startswith("_")}
    assert loaded <= {"numpy", "sparse2dense", "sitecustomize"}
