# SPDX-License-Identifier: GPL-3.0-or-later
"""What a clip is decoded with: its body, the networks that are there for it, and what to tell the user."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from sparse2dense.inference.decoding import session as session_module
from sparse2dense.inference.decoding.edits import Edits
from sparse2dense.inference.decoding.session import Session
from sparse2dense.inference.format.clip import Shot
from sparse2dense.inference.format.container import S2DFile, write_clip, write_shot
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError
from sparse2dense.models.shipped import WEIGHTS

from ...models.made_smpl import model_fields


@pytest.fixture(scope="module")
def write(make_motion, tmp_path_factory):
    """Write a short clip with some fields of its own, and open it."""
    folder = tmp_path_factory.mktemp("session")

    def save(**fields):
        path = folder / "clip.s2d"
        write_clip(replace(make_motion(4), **fields), path)
        return S2DFile.open(path)

    return save


def digits(name):
    return hashlib.sha256((WEIGHTS / name).read_bytes()).hexdigest()[:12]


def test_description_says_what_the_clip_is_and_what_decodes_it(write):
    file = write()
    found = Session(file).describe(has_video=False, with_video=False)
    assert found.clip == hashlib.sha256(file.path.read_bytes()).hexdigest()
    assert (found.frames, found.fps, found.width, found.height) == (4, 30, 256, 256)
    assert (found.camera, found.body, found.files) == (file.header.camera, "anny", {})
    assert (found.has_video, found.warnings, found.edits) == (False, [], {})
    assert found.weights == {"vertex_predictor": digits("vertex_predictor.onnx")}
    assert found.bounds is None and found.floor is None


def test_description_of_a_video_names_the_networks_that_draw_it(write):
    found = Session(write()).describe(has_video=True, with_video=True)
    assert found.has_video
    assert found.weights == {name: digits(f"{name}.onnx") for name in found.weights}
    assert list(found.weights) == ["reference_encoder", "generator", "vertex_predictor"]
    later = Session(write()).describe(has_video=True, with_video=False)
    assert later.has_video and list(later.weights) == ["vertex_predictor"]


def test_measures_are_the_persons_own_with_their_ranges(write):
    shape = np.zeros(load_body().shape_size, np.float32)
    measures = Session(write(shape=shape)).describe(False, False).measures
    assert list(measures) == [
        "stature", "weight", "leg_length", "arm_length", "shoulder_width", "hip_width",
        "sex", "age", "muscle",
    ]  # fmt: skip
    stature = measures["stature"]
    assert stature["min"] == pytest.approx(1.305, abs=0.01) and stature["max"] == pytest.approx(
        2.152, abs=0.01
    )
    assert stature["value"] == pytest.approx(1.676, abs=0.01)
    assert (stature["unit"], stature["label"]) == ("m", "Stature")
    assert "soles" in stature["description"]
    shape[0] = 1
    other = Session(write(shape=shape)).describe(False, False).measures
    assert other["stature"]["value"] != stature["value"]


def test_edits_give_the_motion_to_another_body_and_describe_the_persons_own(write):
    edits = Edits(measures={"stature": 1.9}, mirror=True)
    session = Session(write(), edits=edits)
    assert np.ptp(session.target.vertices[:, 1]) == pytest.approx(1.9, abs=0.005)
    assert np.ptp(session.body.vertices[:, 1]) == pytest.approx(1.676, abs=0.005)
    found = session.describe(False, False)
    assert found.edits == {"measures": {"stature": 1.9}, "mirror": True}
    assert found.measures["stature"]["value"] == pytest.approx(1.676, abs=0.005)
    assert np.ptp(session.rest.vertices[:, 2]) == pytest.approx(1.9, abs=0.005)
    plain = Session(write())
    assert plain.target is plain.body and plain.edits == Edits()


def test_certainty_of_the_clip_is_that_of_its_motion(write):
    certainty = np.ones((4, 6), np.float32)
    certainty[:, 2] = 0  # the left arm
    file = write(certainty=certainty)
    found = Session(file).describe(False, False).certainty
    assert list(found) == ["head", "trunk", "left_arm", "right_arm", "left_leg", "right_leg"]
    assert (found["left_arm"], found["right_arm"]) == ([(0, 0.0)], [(0, 1.0)])
    mirrored = Session(file, edits=Edits(mirror=True)).describe(False, False).certainty
    assert (mirrored["left_arm"], mirrored["right_arm"]) == ([(0, 1.0)], [(0, 0.0)])
    assert Session(write()).describe(False, False).certainty == {}


def test_where_the_motion_is_a_guess_is_told_in_frames(make_motion, tmp_path):
    certainty = np.ones((30, 6), np.float32)
    certainty[6:18, 2] = 0  # the left arm
    write_clip(replace(make_motion(30), certainty=certainty), tmp_path / "clip.s2d")
    file = S2DFile.open(tmp_path / "clip.s2d")
    assert Session(file).describe(False, False).doubts == [(6, 18, "left arm")]
    mirrored = Session(file, edits=Edits(mirror=True))
    assert mirrored.describe(False, False).doubts == [(6, 18, "right arm")]


def test_what_of_a_file_is_not_shown_is_told(make_motion, tmp_path):
    shot = Shot.of(make_motion(4))
    write_shot(replace(shot, people=shot.people * 3), tmp_path / "three.s2d")
    session = Session(S2DFile.open(tmp_path / "three.s2d"))
    assert session.warnings == ["three.s2d holds 3 people, and number 1 is shown."]


def test_body_at_rest_is_the_models_mesh_with_uvs_by_corner(write):
    body, rest = load_body(), Session(write()).rest
    assert rest.vertices.dtype == rest.uv.dtype == np.float32 and rest.vertices[:, 2].min() == 0
    np.testing.assert_array_equal(rest.faces, body.faces)
    np.testing.assert_array_equal(rest.uv, body.uv[body.faces_uv])
    assert rest.model == "", "Anny is not the user's own"


def test_vertices_are_those_of_the_edited_body_at_the_clips_rate(write):
    file = write(fps=25)
    session = Session(file, edits=Edits(measures={"stature": 1.9}), device="cpu")
    assert session.predictor.body is session.target
    assert session.predictor.radius_frames == 7, "a window reaches 7/30 s and a frame"
    assert session.predictor is session.predictor


def test_networks_run_where_they_are_asked_to(write, monkeypatch):
    asked = []
    monkeypatch.setattr(session_module, "load_network", lambda *given: asked.append(given))
    session = Session(write(), device="cuda", threads=3)
    assert not asked, "nothing is loaded before it is needed"
    session.predictor.radius_frames  # noqa: B018
    assert asked == [("vertex_predictor", "cuda", 3)]


def test_clip_of_another_body_version_is_refused(write):
    with pytest.raises(InputError, match=r"5 shape coefficients, here 16") as caught:
        Session(write(shape=np.zeros(5, np.float32)))
    assert caught.value.code == "body"


def test_clip_made_for_other_networks_is_decoded_with_a_warning(write, monkeypatch):
    file = write()
    file.header.networks["vertex_predictor"] = b"old!"
    session = Session(file)
    assert len(session.warnings) == 1 and "other weights (vertex predictor)" in session.warnings[0]
    assert session.describe(False, False).warnings == session.warnings


@pytest.fixture(scope="module")
def own(write, tmp_path_factory):
    """A clip of a user's own body, and the folder with its model file."""
    pytest.importorskip("smplx")
    folder = tmp_path_factory.mktemp("bodies")
    np.savez(folder / "SMPL_NEUTRAL.npz", **model_fields())
    return write(body="smpl", shape=np.zeros(10, np.float32)), folder


def test_own_body_is_told_by_its_file_and_has_no_network_yet(own):
    file, folder = own
    session = Session(file, body_file=folder)
    content = (folder / "SMPL_NEUTRAL.npz").read_bytes()
    assert session.rest.model == hashlib.sha256(content).hexdigest()[:12]
    assert session.describe(False, False).weights == {}
    (warning,) = session.warnings
    assert "SMPL_NEUTRAL.npz" in warning and "s2d train vertices --body smpl" in warning
    vertices = session.predictor.predict(file.keypoints(0, 4), 0, 4)
    assert vertices.shape == (4, *session.body.vertices.shape) and np.isfinite(vertices).all()


def test_own_body_decodes_with_the_network_beside_it(own, monkeypatch):
    file, folder = own
    network = folder / "SMPL_NEUTRAL_vertex_predictor.onnx"
    network.write_bytes(b"a network")
    monkeypatch.chdir(folder.parent)
    session = Session(file, body_file=folder.name)
    network_digits = hashlib.sha256(b"a network").hexdigest()[:12]
    assert session.warnings == []
    assert session.describe(False, False).weights == {"vertex_predictor": network_digits}
    network.unlink()
