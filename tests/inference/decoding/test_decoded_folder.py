# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder that a clip is decoded to: what is written is what is read, and damage is said in words."""

import copy
import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from sparse2dense.inference.decoding import decoded_folder
from sparse2dense.inference.decoding.decoded_folder import (
    DESCRIPTION_FILE,
    Description,
    RestBody,
    open_folder,
    read_bones,
    read_description,
    read_rest_body,
    written_before,
)
from sparse2dense.inference.decoding.floor import Floor
from sparse2dense.inference.decoding.point_cache import write_pc2
from sparse2dense.models.array_files import write_arrays
from sparse2dense.models.camera import Camera
from sparse2dense.models.whole_files import publish

TEXT = """\
{
  "clip": "5eed",
  "frames": 300,
  "fps": [
    30000,
    1001
  ],
  "width": 256,
  "height": 456,
  "camera": {
    "fx": 400.5,
    "fy": 401.0,
    "cx": 128.0,
    "cy": 228.0
  },
  "body": "anny",
  "measures": {
    "stature": {
      "value": 1.7,
      "min": 1.3,
      "max": 2.1,
      "unit": "m",
      "label": "Stature",
      "description": "Größe"
    }
  },
  "edits": {
    "smoothing": 1.0
  },
  "has_video": true,
  "weights": {
    "reference_encoder": "0a",
    "generator": "0b",
    "vertex_predictor": "0c"
  },
  "files": {
    "body": "body.npz"
  },
  "written": [
    "body.npz",
    "clip.json"
  ],
  "warnings": [
    "ä"
  ]
}
"""
PLACES = {
    "bounds": [[-1.5, 2.0, 0.0], [1.0, 4.25, 1.75]],
    "floor": {"up": [0.0, -1.0, 0.0], "point": [0.1, 0.9, 3.0], "forward": [0.0, 0.0, -1.0]},
}
CERTAINTY = {"head": [[0, 1.0]], "left_arm": [[0, 1.0], [60, 0.33], [78, 1.0]]}
FLOOR = Floor(*(np.array(PLACES["floor"][name]) for name in ("up", "point", "forward")))
BODY = RestBody(
    np.float32([[0, 0, 0], [1, 0, 0], [0, 0, 2]]),
    np.int32([[0, 1, 2]]),
    np.float32([[[0, 0], [1, 0], [0, 1]]]),
)


@pytest.fixture
def description():
    return Description.from_json(json.loads(TEXT))


@pytest.fixture
def write(tmp_path):
    """Write a ``clip.json`` as it may have become, and return its folder."""

    def save(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
        return tmp_path

    return save


# ---- clip.json -------------------------------------------------------------------------------


def test_description_reads_what_is_documented(write):
    found = read_description(write(json.loads(TEXT) | PLACES))
    assert (found.clip, found.frames, found.fps) == ("5eed", 300, Fraction(30000, 1001))
    assert (found.width, found.height, found.camera) == (256, 456, Camera(400.5, 401, 128, 228))
    assert (found.has_video, found.body, found.files) == (True, "anny", {"body": "body.npz"})
    assert (found.edits, found.warnings) == ({"smoothing": 1.0}, ["ä"])
    assert found.measures["stature"]["max"] == 2.1
    assert found.weights == {"reference_encoder": "0a", "generator": "0b", "vertex_predictor": "0c"}
    np.testing.assert_array_equal(found.bounds, PLACES["bounds"])
    assert found.bounds.dtype == np.float32
    for name in ("up", "point", "forward"):
        np.testing.assert_array_equal(getattr(found.floor, name), PLACES["floor"][name])


def test_certainty_is_read_as_runs(write):
    found = read_description(write(json.loads(TEXT) | {"certainty": CERTAINTY})).certainty
    assert found == {"head": [(0, 1.0)], "left_arm": [(0, 1.0), (60, 0.33), (78, 1.0)]}
    assert read_description(write(json.loads(TEXT))).certainty == {}, "not known"


@pytest.mark.parametrize(
    "places",
    [
        {},
        PLACES,
        PLACES | {"certainty": CERTAINTY, "doubts": [[60, 78, "left arm"]], "contacts": [[3, 9, "left"]]},
        PLACES | {"contacts": []},
    ],
)
def test_description_is_written_as_it_was_read(places, write):
    content = json.loads(TEXT) | places
    assert list(read_description(write(content)).as_json().items()) == list(content.items())


def test_folder_of_an_earlier_version_is_read(write):
    """The first version that named its parts knew no edits, no measures, no floor, and nothing of before."""
    content = json.loads(TEXT)
    for name in ("body", "measures", "edits", "weights", "written"):
        del content[name]
    found = read_description(write(content))
    assert (found.body, found.measures, found.edits, found.weights) == ("", {}, {}, {})
    assert found.bounds is None and found.floor is None
    assert found.written == {"body.npz"}


def changed(name, value):
    """Return ``clip.json`` with a field, or one inside a field, that is another."""
    content = json.loads(TEXT) | copy.deepcopy(PLACES | {"certainty": CERTAINTY})
    *outer, last = name.split(".")
    inner = content
    for step in outer:
        inner = inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Expecting value"),
        ('{"clip": ', "Expecting value"),
        ("[" * 100_000, "recursion"),
        ([1, 2], "no JSON object"),
        ("null", "no JSON object"),
        (changed("clip", ...), "lacks clip"),
        (changed("clip", 5), "clip is no text"),
        (changed("frames", ...), "lacks frames"),
        (changed("frames", 0), "frames is no whole number"),
        (changed("frames", True), "frames"),
        (changed("frames", 1.0), "frames"),
        (changed("frames", 2**31), "frames"),
        (changed("fps", [30, 0]), "fps"),
        (changed("fps", [0, 1]), "fps"),
        (changed("fps", [30]), "fps"),
        (changed("fps", 30), "fps"),
        (changed("fps", ["30", 1]), "fps"),
        (changed("width", -8), "width"),
        (changed("height", None), "lacks height"),
        (changed("camera", [1]), "camera is no JSON object"),
        (changed("camera.fx", ...), "lacks fx"),
        (changed("camera.fx", 0), "focal length"),
        (changed("camera.fy", -1), "focal length"),
        (changed("camera.cx", "128"), "cx is no number"),
        (changed("camera.cx", float("nan")), "cx is no number"),
        (changed("camera.cy", True), "cy is no number"),
        (changed("camera.cy", 10**400), "cy is no number"),
        (changed("has_video", 1), "has_video"),
        (changed("files", ...), "lacks files"),
        (changed("files", ["body.npz"]), "files is no JSON object"),
        (changed("files.body", 1), "body is no text"),
        (changed("files.body", "../body.npz"), "no name of a file"),
        (changed("files.body", "..\\body.npz"), "no name of a file"),
        (changed("files.body", "C:body.npz"), "no name of a file"),
        (changed("files.body", ".."), "no name of a file"),
        (changed("files.body", ""), "no name of a file"),
        (changed("warnings", ...), "lacks warnings"),
        (changed("warnings", "none"), "warnings"),
        (changed("warnings", [1]), "warnings"),
        (changed("weights", {"generator": 3}), "generator is no text"),
        (changed("edits", 3), "edits"),
        (changed("body", 3), "body is no text"),
        (changed("measures", [3]), "measures"),
        (changed("measures.stature", 1.7), "stature is no JSON object"),
        (changed("measures.stature.value", ...), "lacks value"),
        (changed("measures.stature.min", "1"), "min is no number"),
        (changed("measures.stature.max", None), "lacks max"),
        (changed("measures.stature.unit", 1), "unit is no text"),
        (changed("measures.stature.label", ...), "lacks label"),
        (changed("measures.stature.description", 1), "description is no text"),
        (changed("bounds", [[1, 2, 3]]), "bounds does not hold"),
        (changed("bounds", [[1, 2], [3, 4], [5, 6]]), "bounds does not hold"),
        (changed("bounds", [[1, 2, 3], [1, 2]]), "bounds does not hold"),
        (changed("bounds", "high"), "bounds does not hold"),
        (changed("bounds", [[1, 2, 3], [1, 2, float("inf")]]), "bounds does not hold"),
        (changed("certainty", [1]), "certainty is no JSON object"),
        (changed("certainty.head", 1), "head is no list"),
        (changed("certainty.head", [0, 1.0]), "head is no list"),
        (changed("certainty.head", [[0, 1.0, 2]]), "head is no list"),
        (changed("certainty.head", [[0, "1"]]), "head is no number"),
        (changed("certainty.head", [[-1, 1.0]]), "head is no whole number of 0"),
        (changed("certainty.head", []), "head holds no runs"),
        (changed("certainty.head", [[1, 1.0]]), "head holds no runs"),
        (changed("certainty.head", [[0, 1.0], [0, 0.5]]), "head holds no runs"),
        (changed("certainty.head", [[0, 1.0], [9, 0.5], [3, 1.0]]), "head holds no runs"),
        (changed("certainty.head", [[0, 1.5]]), "head holds no runs"),
        (changed("doubts", {}), "doubts is no list"),
        (changed("doubts", [[0, 4]]), "doubts is no list"),
        (changed("doubts", [[-1, 4, "head"]]), "doubts is no whole number of 0"),
        (changed("doubts", [[4, 4, "head"]]), "doubts holds no spans"),
        (changed("doubts", [[0, 4, 1]]), "doubts holds no spans"),
        (changed("contacts", [[4, 4, "left"]]), "contacts holds no spans"),
        (changed("certainty.head", [[0, -0.5]]), "head holds no runs"),
        (changed("floor", [0, 1, 0]), "floor is no JSON object"),
        (changed("floor.up", ...), "lacks up"),
        (changed("floor.point", [0, 1]), "point does not hold"),
        (changed("floor.forward", [0, 1, {}]), "forward does not hold"),
    ],
)
def test_damaged_description_is_an_oserror_that_says_what(write, content, said):
    with pytest.raises(OSError, match=said) as caught:
        read_description(write(content))
    assert DESCRIPTION_FILE in str(caught.value)


def test_description_that_is_no_text_or_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_description(tmp_path)
    (tmp_path / DESCRIPTION_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OSError, match="damaged"):
        read_description(tmp_path)


def test_largest_counts_are_read(write):
    assert read_description(write(changed("frames", 2**31 - 1))).frames == 2**31 - 1
    assert read_description(write(changed("width", 1))).width == 1


# ---- body.npz and mesh.npz -------------------------------------------------------------------


def test_body_is_read_as_it_was_written(tmp_path):
    write_arrays(tmp_path / "body.npz", vars(replace(BODY, model="0e5eed")))
    found = read_rest_body(tmp_path / "body.npz")
    assert found.model == "0e5eed"
    for name in ("vertices", "faces", "uv"):
        array = getattr(found, name)
        np.testing.assert_array_equal(array, getattr(BODY, name))
        assert array.dtype == getattr(BODY, name).dtype


def test_body_of_other_precision_comes_as_blender_takes_it(tmp_path):
    write_arrays(
        tmp_path / "body.npz",
        {
            "vertices": np.asfortranarray(BODY.vertices, np.float64),
            "faces": BODY.faces.astype(np.uint8),
            "uv": BODY.uv.astype(np.float16),
        },
    )
    found = read_rest_body(tmp_path / "body.npz")
    arrays = found.vertices, found.faces, found.uv
    assert [array.dtype for array in arrays] == [np.float32, np.int32, np.float32]
    assert all(array.flags.c_contiguous for array in arrays)
    assert found.model == "", "earlier versions did not say"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"vertices": None}, "lacks vertices"),
        ({"faces": None, "uv": None}, "lacks faces, uv"),
        ({"vertices": BODY.vertices.astype(int)}, "vertices are int64"),
        ({"vertices": BODY.vertices[:, :2]}, r"vertices are float32 \(3, 2\)"),
        ({"vertices": BODY.vertices.ravel()}, r"vertices are float32 \(9,\)"),
        ({"vertices": BODY.vertices[:0]}, r"vertices are float32 \(0, 3\)"),
        ({"faces": BODY.faces.astype(float)}, "faces are float64"),
        ({"faces": BODY.faces[:, :2]}, r"faces are int32 \(1, 2\)"),
        ({"faces": BODY.faces[:0]}, r"faces are int32 \(0, 3\)"),
        ({"faces": np.int32([[0, 1, 3]])}, "join vertices that it does not have"),
        ({"faces": np.int32([[0, 1, -1]])}, "join vertices that it does not have"),
        ({"uv": BODY.uv[0]}, r"uv are float32 \(3, 2\)"),
        ({"uv": BODY.uv.astype(int)}, "uv are int64"),
        ({"uv": np.array([["x"]])}, "uv are <U1"),
    ],
)
def test_body_of_wrong_arrays_is_an_oserror(tmp_path, arrays, said):
    path = tmp_path / "body.npz"
    write_arrays(path, {name: a for name, a in (vars(BODY) | arrays).items() if a is not None})
    with pytest.raises(OSError, match=said) as caught:
        read_rest_body(path)
    assert "body.npz" in str(caught.value)


def test_body_cut_off_anywhere_is_an_oserror(tmp_path):
    write_arrays(tmp_path / "whole.npz", vars(BODY))
    whole, path = (tmp_path / "whole.npz").read_bytes(), tmp_path / "body.npz"
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(OSError, match="damaged"):
            read_rest_body(path)


def test_body_with_a_pickle_is_never_opened(tmp_path):
    np.savez(tmp_path / "body.npz", **(vars(BODY) | {"uv": np.array([{"a": 1}], object)}))
    with pytest.raises(OSError, match="damaged"):
        read_rest_body(tmp_path / "body.npz")


def test_bones_are_pairs_of_keypoints(tmp_path):
    path = tmp_path / "mesh.npz"
    write_arrays(path, {"keypoint_bones": np.int32([[0, 1], [1, 22]]), "fps": np.array([30, 1])})
    np.testing.assert_array_equal(read_bones(path), [[0, 1], [1, 22]])
    for wrong in (np.int32([[0, 1, 2]]), np.float32([[0, 1]]), np.int32([0, 1]), np.int32([[0, -1]])):
        write_arrays(path, {"keypoint_bones": wrong})
        with pytest.raises(OSError, match="no pairs of keypoints"):
            read_bones(path)
    write_arrays(path, {"fps": np.array([30, 1])})
    with pytest.raises(OSError, match="lacks keypoint_bones"):
        read_bones(path)


# ---- filling a folder ------------------------------------------------------------------------


def stage(folder, *names):
    for name in names:
        (folder.staging / name).write_text(name)


def contents(path):
    return {item.name: item.read_bytes() for item in path.iterdir() if item.is_file()}


def shown(path):
    return sorted(item.name for item in path.iterdir())


def test_parts_appear_whole_and_the_description_names_them_before_anybody_is_told(tmp_path, description):
    told = []

    def finished(part):
        told.append((part, read_description(tmp_path).files))

    with open_folder(tmp_path, replace(description, files={}), finished=finished) as folder:
        stage(folder, "body.npz", "reference.png", "keypoints.f32")
        assert not (tmp_path / "body.npz").exists()
        folder.publish("body")
        stage(folder, "mesh.pc2", "keypoints.pc2", "mesh.npz")
        folder.publish("mesh", bounds=np.float32(PLACES["bounds"]), floor=FLOOR)
        stage(folder, "skeleton.npz")
        folder.publish("skeleton")
        stage(folder, "video.mp4")
        folder.publish("video")
    names = {"body": "body.npz", "reference": "reference.png"}
    assert told[0] == ("body", names)
    names = names | {"mesh": "mesh.pc2", "keypoints": "keypoints.pc2", "mesh_data": "mesh.npz"}
    assert told[1] == ("mesh", names)
    names = names | {"skeleton": "skeleton.npz"}
    assert told[2] == ("skeleton", names)
    assert told[3] == ("video", names | {"video": "video.mp4"})
    assert list(read_description(tmp_path).files) == list(told[3][1]), "in the order in which they came"
    assert folder.files["mesh"] == tmp_path / "mesh.pc2"
    assert shown(tmp_path) == sorted([*told[3][1].values(), DESCRIPTION_FILE])
    assert read_description(tmp_path).as_json()["bounds"] == PLACES["bounds"]


def test_description_is_the_documented_text(tmp_path, description):
    with open_folder(tmp_path, replace(description, files={})) as folder:
        stage(folder, "body.npz")
        folder.publish("body")
    assert (tmp_path / DESCRIPTION_FILE).read_text(encoding="utf-8") == TEXT


def test_work_that_fails_leaves_the_parts_before_it_alone(tmp_path, description):
    out = tmp_path / "new" / "out"
    with pytest.raises(RuntimeError), open_folder(out, description) as folder:
        stage(folder, "body.npz")
        folder.publish("body")
        stage(folder, "mesh.pc2")
        raise RuntimeError
    assert shown(out) == ["body.npz", DESCRIPTION_FILE]
    with pytest.raises(RuntimeError), open_folder(tmp_path / "other", description):
        raise RuntimeError
    assert shown(tmp_path) == ["new"]


@pytest.fixture
def decoded(tmp_path, description):
    """A folder with a mesh, a skeleton that was lost since, and a video."""
    with open_folder(tmp_path, replace(description, files={})) as folder:
        write_arrays(folder.staging / "body.npz", vars(BODY))
        folder.publish("body")
        write_pc2(folder.staging / "mesh.pc2", 2, 3, [np.stack([BODY.vertices] * 2)])
        folder.publish("mesh", bounds=np.float32(PLACES["bounds"]), floor=FLOOR, contacts=[(0, 2, "left")])
        stage(folder, "skeleton.npz", "video.webm")
        folder.publish("video")
    (tmp_path / "skeleton.npz").unlink()
    return tmp_path


def test_what_is_left_stays_though_the_mesh_was_removed(decoded, description):
    (decoded / "mesh.pc2").unlink()
    with open_folder(decoded, replace(description, files={})) as folder:
        assert list(folder.files) == ["body", "video"]


MESH_ALONE = {"vertex_predictor": "0c"}


@pytest.mark.parametrize(
    "weights",
    [
        MESH_ALONE,
        {"vertex_predictor": "0c", "reference_encoder": "0a", "generator": "0b"},
        {"reference_encoder": "new", "generator": "new", "vertex_predictor": "0c"},
    ],
)
def test_what_comes_out_the_same_stays(decoded, description, weights):
    again = replace(description, files={}, weights=weights, warnings=["new"])
    with open_folder(decoded, again) as folder:
        assert folder.files == {
            "body": decoded / "body.npz",
            "mesh": decoded / "mesh.pc2",
            "video": decoded / "video.webm",
        }
        assert (decoded / DESCRIPTION_FILE).exists()
        folder.publish("body")
    found = read_description(decoded)
    assert found.weights == description.weights | weights
    assert found.warnings == ["new"]
    assert found.as_json()["bounds"] == PLACES["bounds"] and found.as_json()["floor"] == PLACES["floor"]
    assert found.contacts == [(0, 2, "left")]


@pytest.mark.parametrize(
    "change",
    [
        {"clip": "another"},
        {"edits": {}},
        {"edits": {"smoothing": 2.0}},
        {"weights": {"vertex_predictor": "0d"}},
        {"weights": {}},  # the network that made the mesh is gone: it would come out in closed form
        {"weights": {"reference_encoder": "0a", "generator": "0b"}},
    ],
)
def test_what_would_come_out_differently_is_replaced_as_one(decoded, description, change):
    told, before = [], contents(decoded)
    with open_folder(decoded, replace(description, files={}, **change), finished=told.append) as folder:
        assert folder.files == {}
        stage(folder, "body.npz")
        folder.publish("body")
        stage(folder, "mesh.pc2")
        folder.publish("mesh", bounds=None)
        assert folder.files["mesh"].read_text() == "mesh.pc2", "what comes next is made of it"
        assert contents(decoded) == before and told == []
    assert told == ["body", "mesh"]
    found = read_description(decoded)
    assert found.files == {"body": "body.npz", "mesh": "mesh.pc2"}
    assert found.bounds is None and found.floor is None
    assert found.weights == change.get("weights", description.weights)
    assert (decoded / "body.npz").read_text() == "body.npz"


def test_what_would_have_been_replaced_stays_where_the_work_fails(decoded, description):
    before = contents(decoded)
    with pytest.raises(RuntimeError), open_folder(decoded, replace(description, clip="another")) as folder:
        stage(folder, "body.npz")
        folder.publish("body")
        raise RuntimeError
    assert contents(decoded) == before


def test_names_that_decoding_has_written_stay_its_own(decoded, description):
    """A video of the clip before is no stranger's file to the clip after the next."""
    assert written_before(decoded) == {"body.npz", "mesh.pc2", "skeleton.npz", "video.webm", DESCRIPTION_FILE}
    with open_folder(decoded, replace(description, files={}, clip="another")) as folder:
        stage(folder, "body.npz")
        folder.publish("body")
    assert read_description(decoded).files == {"body": "body.npz"}
    assert "video.webm" in written_before(decoded)
    assert written_before(decoded.parent) == set()


@pytest.mark.parametrize("last", ["body.npz", "reference.png", DESCRIPTION_FILE])
def test_a_process_killed_between_two_files_has_said_that_they_are_its_own(
    tmp_path, description, last, monkeypatch
):
    """``clip.json`` names nothing then that is not there, and all that may be replaced."""

    def killed(path, folder):
        if path.name == last and (folder / DESCRIPTION_FILE).exists():
            raise KeyboardInterrupt
        return publish(path, folder)

    monkeypatch.setattr(decoded_folder, "publish", killed)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), open_folder(out, replace(description, files={})) as folder:
        stage(folder, "body.npz", "reference.png")
        folder.publish("body")
    assert read_description(out).files == {}
    assert written_before(out) >= set(shown(out))


def test_mesh_of_another_body_file_is_forgotten(decoded, description):
    """Two files of the SMPL family give the same clip two meshes: another gender's, another version's."""
    again = replace(description, files={})
    write_arrays(decoded / "body.npz", vars(replace(BODY, model="0e")))
    with open_folder(decoded, again, "0e") as folder:
        assert "mesh" in folder.files
        folder.publish("body")
    with open_folder(decoded, again, "0f") as folder:
        assert folder.files == {}


@pytest.mark.parametrize("name", [DESCRIPTION_FILE, "body.npz", "mesh.pc2"])
def test_damaged_folder_is_decoded_anew(decoded, description, name):
    (decoded / name).write_bytes((decoded / name).read_bytes()[:-9])
    with open_folder(decoded, replace(description, files={})) as folder:
        assert folder.files == {}
        stage(folder, "body.npz")
        folder.publish("body")
        assert read_description(decoded).files == {"body": "body.npz"}


def test_contract_needs_numpy_alone():
    """The add-on reads such folders in Blender, where the engine's packages are not to be loaded."""
    program = (
        "import sys, sparse2dense.inference.decoding.decoded_folder\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name for name in eval(done.stdout) if not name.startswith(("_", "sitecustomize"))}
    assert loaded <= {"numpy", "sparse2dense"}
