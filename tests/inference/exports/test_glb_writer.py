# SPDX-License-Identifier: GPL-3.0-or-later
"""An animated GLB, skinned here by the letter of glTF and checked by Khronos' validator."""

import json
import shutil
import struct
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding.edits import Edits
from sparse2dense.inference.decoding.skeleton_fit import SkeletonMotion
from sparse2dense.inference.export import export
from sparse2dense.inference.exports.glb_writer import write_glb
from sparse2dense.inference.exports.uv_corners import split_at_seams
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.skeleton import build_skeleton

from .standing_truth import Y_UP

VALIDATOR = "gltf-validator@2.0.0-dev.3.10"
VALIDATE = """
const validator = require("gltf-validator"), fs = require("fs");
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))
    .then((report) => console.log(JSON.stringify(report)));
"""


@pytest.fixture(scope="session")
def validate(tmp_path_factory):
    """What Khronos' validator says of a file; npm fetches it into a folder of its own."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        pytest.skip("Khronos' validator needs node and npm, which are not on the PATH")
    folder = tmp_path_factory.mktemp("validator")
    command = [npm, "install", "--no-audit", "--no-fund", "--fetch-retries=0", "--prefix", folder, VALIDATOR]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm cannot fetch {VALIDATOR}")
    if done.returncode:
        pytest.skip(f"npm cannot fetch {VALIDATOR}: {done.stderr[-300:]}")

    def report(path):
        done = subprocess.run(
            [node, "-e", VALIDATE, path], cwd=folder, capture_output=True, text=True, timeout=60, check=True
        )
        return json.loads(done.stdout)

    return report


WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
TYPES = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}


class Glb:
    """The JSON of a GLB, and its accessors as arrays."""

    def __init__(self, path):
        data = path.read_bytes()
        magic, version, length, size, kind = struct.unpack("<4sIII4s", data[:20])
        assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
        self.json, self._binary = json.loads(data[20 : 20 + size]), data[28 + size :]

    def array(self, number):
        given = self.json["accessors"][number]
        start = self.json["bufferViews"][given["bufferView"]].get("byteOffset", 0)
        width = WIDTHS[given["type"]]
        flat = np.frombuffer(self._binary, TYPES[given["componentType"]], given["count"] * width, start)
        return flat.reshape(-1, width)

    def attribute(self, name):
        return self.array(self.json["meshes"][0]["primitives"][0]["attributes"][name])

    def channels(self):
        """By node and path: times ``(T,)`` and values."""
        (animation,) = self.json["animations"]
        found = {}
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            assert sampler["interpolation"] == "LINEAR"
            key = channel["target"]["node"], channel["target"]["path"]
            found[key] = self.array(sampler["input"])[:, 0], self.array(sampler["output"])
        return found

    def skinned(self, frame=None):
        """The vertices as a viewer shows them at a key, or without the animation."""
        channels = {} if frame is None else self.channels()
        world = {}

        def visit(number, above):
            node = self.json["nodes"][number]
            here = {path: node.get(path) for path in ("translation", "rotation")}
            here |= {path: values[frame] for (at, path), (_, values) in channels.items() if at == number}
            matrix = np.eye(4)
            if here["rotation"] is not None:
                matrix[:3, :3] = Rotation.from_quat(here["rotation"]).as_matrix()
            if here["translation"] is not None:
                matrix[:3, 3] = here["translation"]
            world[number] = above @ matrix
            for child in node.get("children", []):
                visit(child, world[number])

        for root in self.json["scenes"][self.json["scene"]]["nodes"]:
            visit(root, np.eye(4))
        (skin,) = self.json["skins"]
        binds = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        moves = np.stack([world[joint] @ bind for joint, bind in zip(skin["joints"], binds, strict=True)])
        places = self.attribute("POSITION")
        points = np.concatenate([places, np.ones((len(places), 1))], axis=1)
        chosen, weights = moves[self.attribute("JOINTS_0")], self.attribute("WEIGHTS_0")
        return np.einsum("vk,vkij,vj->vi", weights, chosen, points)[:, :3]

    def image(self):
        """The file of the picture that gives the surface its colour."""
        surface = self.json["materials"][0]["pbrMetallicRoughness"]
        texture = self.json["textures"][surface["baseColorTexture"]["index"]]
        view = self.json["bufferViews"][self.json["images"][texture["source"]]["bufferView"]]
        return self._binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]


@pytest.fixture(scope="module")
def glb(exported):
    return Glb(exported["glb"])


@pytest.fixture(scope="module")
def filmed(filmed_clip, tmp_path_factory):
    """A clip with pictures as a GLB, by name of its format."""
    return {"glb": Path(export(filmed_clip, tmp_path_factory.mktemp("filmed") / "filmed.glb").path)}


def test_a_filmed_body_has_the_texture_that_decoding_makes(filmed, filmed_clip, tmp_path):
    decode(filmed_clip, tmp_path, only="mesh")
    assert Glb(filmed["glb"]).image() == (tmp_path / "texture.png").read_bytes()


def test_an_edited_body_has_the_same_texture(filmed, filmed_clip, tmp_path):
    edited = Edits(smoothing=1.0, measures={"stature": 1.6})
    export(filmed_clip, tmp_path / "edited.glb", edits=edited)
    assert Glb(tmp_path / "edited.glb").image() == Glb(filmed["glb"]).image()


@pytest.mark.parametrize("clip", ["exported", "single", "own_body", "filmed"])
def test_khronos_validator_finds_nothing_wrong(validate, request, clip):
    report = validate(request.getfixturevalue(clip)["glb"])
    issues = report["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
    assert {message["code"] for message in issues["messages"]} <= {"UNUSED_OBJECT"}  # UVs without a texture
    info = report["info"]
    assert (info["animationCount"], info["hasSkins"], info["maxInfluences"]) == (1, True, 4)


@pytest.mark.parametrize("frame", [0, 13, 39])
def test_the_skin_moves_as_the_skeleton_says_in_metres_with_y_up(glb, truth, frame):
    chosen = split_at_seams(load_body())[0]
    np.testing.assert_allclose(glb.skinned(frame), truth.skinned[frame][chosen] @ Y_UP.T, atol=1e-3)


def test_faces_without_area_and_an_odd_number_of_them_are_valid_too(validate, tmp_path):
    whole = load_body()
    body = replace(whole, faces=np.array([[0, 1, 2], [5, 5, 5], [6, 7, 8]]), faces_uv=whole.faces_uv[:3])
    skeleton = build_skeleton(ShapedBody(whole, np.zeros(whole.shape_size)))
    turns = np.tile(np.eye(3, dtype=np.float32), (2, len(skeleton.names), 1, 1))
    write_glb(tmp_path / "few.glb", SkeletonMotion(skeleton, turns, np.zeros((2, 3))), body, Fraction(25))
    issues = validate(tmp_path / "few.glb")["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def test_without_its_animation_the_body_stands_at_rest_facing_ahead(glb):
    rest = glb.skinned()
    np.testing.assert_allclose(rest, glb.attribute("POSITION"), atol=1e-5)
    low, high = rest.min(axis=0), rest.max(axis=0)
    np.testing.assert_allclose([low[1], low[0] + high[0], low[2] + high[2]], 0, atol=1e-5)
    assert 1.5 < high[1] < 1.9
    joints = [glb.json["nodes"][joint]["name"] for joint in glb.json["skins"][0]["joints"]]
    weights, bones = glb.attribute("WEIGHTS_0"), glb.attribute("JOINTS_0")
    left = rest[bones[:, 0] == joints.index("hand.L")]
    assert left[:, 0].min() > 0.1, "their left is at +x"
    foot = joints.index("foot.L")
    ankle = np.linalg.inv(glb.array(glb.json["skins"][0]["inverseBindMatrices"]).reshape(-1, 4, 4)[foot].T)
    ahead = rest[bones[:, 0] == foot][:, 2] - ankle[2, 3]
    assert ahead.max() > 0.1 > -1.5 * ahead.min(), "they face +z"
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)


def test_each_key_has_the_exact_time_of_its_frame(glb, truth):
    channels = glb.channels()
    bones = range(len(truth.names))
    assert set(channels) == {(0, "translation"), *((bone, "rotation") for bone in bones)}
    for times, values in channels.values():
        assert times.tolist() == (np.arange(40) * 1001 / 30000).astype(np.float32).tolist()
        assert len(values) == 40
    for bone in bones:
        turns = channels[bone, "rotation"][1]
        np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1, atol=1e-5)
        assert ((turns[1:] * turns[:-1]).sum(axis=1) > 0).all(), "blending takes the short way"


def test_one_frame_has_one_key_at_zero(single):
    for times, values in Glb(single["glb"]).channels().values():
        assert times.tolist() == [0] and len(values) == 1


def test_mesh_is_the_bodys_with_its_uvs_and_smooth_normals(glb):
    body = load_body()
    chosen, chosen_uv, faces = split_at_seams(body)
    indices = glb.array(glb.json["meshes"][0]["primitives"][0]["indices"]).reshape(-1, 3)
    np.testing.assert_array_equal(indices, faces)
    np.testing.assert_array_equal(chosen[indices], body.faces)
    uv = glb.attribute("TEXCOORD_0")
    np.testing.assert_allclose(np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1), body.uv[chosen_uv], atol=1e-6)
    places, normals = glb.attribute("POSITION")[indices], glb.attribute("NORMAL")[indices]
    across = np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])
    assert ((normals.mean(axis=1) * across).sum(axis=1) > 0).mean() > 0.99
