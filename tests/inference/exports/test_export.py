# SPDX-License-Identifier: GPL-3.0-or-later
"""``s2d export`` as a user meets it: one file whole, or one line that says why not."""

import json
import os
import sys

import numpy as np
import pytest
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding.edits import Edits
from sparse2dense.inference.decoding.vertices import BATCH, VertexDecoder
from sparse2dense.inference.export import ENDINGS, export
from sparse2dense.inference.format.container import read_clip, write_clip
from sparse2dense.models.errors import InputError


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_filmed_clip_becomes_one_file_and_is_told_of(engine, filmed_clip, tmp_path, ending):
    out = tmp_path / "für alle" / f"my clip{ending.upper()}"
    done = engine("export", filmed_clip, "-o", out)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{out}\n")
    assert os.listdir(out.parent) == [out.name]
    assert out.stat().st_size > 5000


@pytest.mark.parametrize("name", ["clip.fbx", "clip", "clip.s2d", ".glb"])
def test_another_ending_is_refused_and_the_known_ones_are_named(engine, motion_file, tmp_path, name):
    done = engine("export", motion_file, "-o", tmp_path / name)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert name in done.stderr and ".bvh, .glb, .trc, .c3d, .npz" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_folder_is_no_file(engine, motion_file, tmp_path):
    (tmp_path / "folder.glb").mkdir()
    for folder in (tmp_path, tmp_path / "folder.glb"):
        done = engine("export", motion_file, "-o", folder)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert "is a folder" in done.stderr and str(folder) in done.stderr


def test_a_place_that_cannot_be_written_is_said_so(engine, motion_file, tmp_path):
    (tmp_path / "file").write_text("")
    done = engine("export", motion_file, "-o", tmp_path / "file" / "clip.trc")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "Cannot write" in done.stderr and "clip.trc" in done.stderr


def test_a_bad_clip_leaves_nothing(engine, motion_file, tmp_path):
    bad = tmp_path / "bad.s2d"
    bad.write_bytes(motion_file.read_bytes()[:-40])
    done = engine("export", bad, "-o", tmp_path / "out" / "clip.bvh")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert str(bad) in done.stderr and os.listdir(tmp_path) == ["bad.s2d"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_export_replaces_an_earlier_one_and_nothing_else(engine, motion_file, tmp_path, ending):
    out = tmp_path / f"clip{ending}"
    out.write_text("a novel")
    done = engine("export", motion_file, "-o", out)
    assert (done.returncode, out.read_text()) == (2, "a novel")
    assert "--force" in done.stderr
    assert engine("export", motion_file, "-o", out, "--force").returncode == 0
    assert engine("export", motion_file, "-o", out).returncode == 0
    clip = tmp_path / f"as if it were{ending}"
    clip.write_bytes(motion_file.read_bytes())
    done = engine("export", clip, "-o", clip, "--force")
    assert (done.returncode, clip.read_bytes()) == (2, motion_file.read_bytes())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_the_file_that_was_there(engine, motion_file, tmp_path, ending):
    import resource

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    out = tmp_path / f"clip{ending}"
    out.write_text("before")
    done = engine("export", motion_file, "-o", out, "--force", preexec_fn=limit_files)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "full" in done.stderr and "clip" in done.stderr
    assert os.listdir(tmp_path) == [out.name] and out.read_text() == "before"


def test_edits_clean_the_motion_up_as_decoding_does(walk, tmp_path):
    edits = Edits(mirror=True, smoothing=1.0)
    export(walk, tmp_path / "edited.npz", edits=edits)
    decode(walk, tmp_path, only="mesh", edits=edits)
    with np.load(tmp_path / "edited.npz") as exported, np.load(tmp_path / "mesh.npz") as decoded:
        np.testing.assert_array_equal(exported["keypoints"], decoded["keypoints"])
        assert np.abs(exported["keypoints"] - read_clip(walk).keypoints).max() > 0.05


def test_edits_give_the_mesh_another_body(engine, motion_file, tmp_path):
    heights = []
    for stature in (1.5, 1.9):
        out = tmp_path / f"{stature}.glb"
        done = engine(
            "export", motion_file, "-o", out, "--edits", json.dumps({"measures": {"stature": stature}})
        )
        assert done.returncode == 0, done.stderr
        data = out.read_bytes()
        content = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
        position = content["meshes"][0]["primitives"][0]["attributes"]["POSITION"]
        heights.append(content["accessors"][position]["max"][1])
    np.testing.assert_allclose(heights, (1.5, 1.9), atol=0.02)
    done = engine("export", motion_file, "-o", tmp_path / "x.glb", "--edits", '{"lock": 1}')
    assert done.returncode == 2 and "no edit 'lock'" in done.stderr


@pytest.mark.parametrize("ending", [".bvh", ".glb"])
def test_vertices_of_a_long_clip_are_never_held_together(make_motion, tmp_path, monkeypatch, ending):
    write_clip(make_motion(150), tmp_path / "long.s2d")
    asked, predict = [], VertexDecoder.predict

    def watched(self, keypoints, start, stop):
        asked.append(stop - start)
        return predict(self, keypoints, start, stop)

    monkeypatch.setattr(VertexDecoder, "predict", watched)
    told = []
    export(tmp_path / "long.s2d", tmp_path / f"long{ending}", progress=lambda *step: told.append(step))
    assert max(asked) <= BATCH and sum(asked) == 150 + 64
    assert told[-1] == ("skeleton", 150, 150) and told[0][0] == "keypoints"


@pytest.mark.parametrize(("ending", "warned"), [("glb", True), ("bvh", True), ("trc", False), ("npz", False)])
def test_skeletons_of_a_body_without_a_network_come_with_a_warning(own_body, tmp_path, ending, warned):
    clip, model = (own_body["glb"].with_name(name) for name in ("own.s2d", "SMPL_NEUTRAL.npz"))
    warnings = export(clip, tmp_path / f"own.{ending}", body_file=model).warnings
    assert ["No vertex predictor" in told for told in warnings] == [True] * warned
    with pytest.raises(InputError):
        export(clip, tmp_path / f"other.{ending}")


def test_the_worker_exports_too(start_worker, motion_file, tmp_path):
    process = start_worker("export", motion_file, "-o", tmp_path / "clip.glb")
    events = [json.loads(line) for line in process.stdout]
    assert process.wait(30) == 0
    assert {event["type"] for event in events[:-1]} == {"progress"}
    assert (events[-1]["type"], events[-1]["path"]) == ("result", str(tmp_path / "clip.glb"))
