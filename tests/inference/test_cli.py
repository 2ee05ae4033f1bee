# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line as a user meets it: one clear line for bad input, and nothing half-written."""

import json
import os
import subprocess
import sys
import zlib
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.film.writer import VideoWriter
from sparse2dense.inference.format.clip import Shot
from sparse2dense.inference.format.container import STEP_MM, S2DFile, read_clip, write_shot
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.keypoints import BLAZEPOSE_INDEX, HIPS, KEYPOINT_NAMES

from ..models.made_smpl import model_fields


def assert_one_line(done, status, *words):
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_options_that_are_wrong_are_named_in_one_line(engine):
    assert_one_line(engine("decode", "x.s2d"), 2, "-o/--output", "--help")
    assert_one_line(engine("encode", "-o", "x.s2d"), 2, "VIDEO", "--keypoints")
    assert_one_line(engine("decode", "x.s2d", "-o", "y", "--only", "sound"), 2, "sound", "mesh")
    assert_one_line(engine("encode", "x.mp4", "-o", "y.s2d", "--fps", "1/0"), 2, "1/0", "30000/1001")
    assert_one_line(engine("encode", "x.mp4", "-o", "y.s2d", "--quality", "500"), 2, "500", "0 to 100")
    assert_one_line(engine("encode", "x.mp4", "-o", "y.s2d", "--texture", "32"), 2, "32", "64 to 2048")


def test_video_that_is_none_leaves_no_file(engine, tmp_path):
    text = tmp_path / "holiday video.mp4"
    text.write_text("this is no video")
    assert_one_line(engine("encode", text, "-o", tmp_path / "clip.s2d"), 2, str(text), "not a video")
    assert_one_line(engine("encode", tmp_path / "none.mp4", "-o", tmp_path / "clip.s2d"), 2, "none.mp4")
    assert os.listdir(tmp_path) == [text.name]


def test_video_without_a_person_is_said_so(engine, tmp_path):
    video = tmp_path / "fog.webm"
    with VideoWriter(video, Fraction(25), 160, 120) as writer:
        for shade in range(12):
            writer.write(np.full((120, 160, 3), 100 + shade, np.uint8))
    assert_one_line(engine("encode", video, "-o", tmp_path / "clip.s2d"), 2, "person")
    assert os.listdir(tmp_path) == [video.name]


def test_output_that_cannot_be_written_is_found_before_the_work(engine, tmp_path, motion_file):
    (tmp_path / "file").write_text("")
    assert_one_line(engine("encode", "x.mp4", "-o", tmp_path / "file" / "clip.s2d"), 2, "Cannot write")
    assert_one_line(engine("encode", "x.mp4", "-o", tmp_path), 2, "is a folder")
    assert_one_line(engine("decode", motion_file, "-o", tmp_path / "file"), 2, "Cannot write", "file")
    assert (tmp_path / "file").read_text() == ""


def _truncated(data):
    return data[: len(data) * 2 // 3]


def _altered(data):
    return data[:-20] + bytes([data[-20] ^ 64]) + data[-19:]


def _foreign(data):
    return b"\x1a\x45\xdf\xa3" + data[4:]


def _future(data):
    return data[:4] + bytes([99]) + data[5:]


def _million_frames(data):
    """Claim a million frames where the file has thirty, with a header checksum that is right again."""
    size = int.from_bytes(data[5:7], "little")
    claim = bytes([0xC0, 0x84, 0x3D])  # 1,000,000 as LEB128; the frame count follows schema and flags
    payload = data[7:9] + claim + data[10 : 7 + size]
    head = data[:5] + len(payload).to_bytes(2, "little") + payload
    return head + zlib.crc32(head).to_bytes(4, "little") + data[7 + size + 4 :]


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (_truncated, "cut short"),
        (_altered, "checksum"),
        (_foreign, "not a .s2d"),
        (_future, "version 99"),
        (_million_frames, "1000000 frames"),
    ],
)
def test_bad_clip_is_refused_in_one_line_and_leaves_nothing(engine, tmp_path, motion_file, damage, word):
    bad = tmp_path / "bad.s2d"
    bad.write_bytes(damage(motion_file.read_bytes()))
    assert_one_line(engine("decode", bad, "-o", tmp_path / "out"), 2, str(bad), word)
    assert os.listdir(tmp_path) == ["bad.s2d"]


def test_info_says_how_fine_a_clip_is_and_where_its_bytes_go(engine, motion_file):
    done = engine("info", motion_file)
    size = f"{motion_file.stat().st_size:,}"
    assert done.returncode == 0, done.stderr
    assert f"keypoints in steps of {STEP_MM:g} mm" in done.stdout
    assert done.stdout.splitlines()[-1].split()[:2] == ["total", size]
    assert "version 2" in done.stdout
    assert "hidden" not in done.stdout and "people" not in done.stdout


def test_info_says_what_is_a_guess_and_who_is_shown(engine, tmp_path, make_motion):
    certainty = np.ones((90, 6), np.float32)
    shot = Shot.of(replace(make_motion(90), certainty=certainty))
    write_shot(shot, tmp_path / "seen.s2d")
    assert "the whole body is seen throughout" in engine("info", tmp_path / "seen.s2d").stdout
    certainty[60:78, 2] = 0
    write_shot(replace(shot, people=shot.people * 2), tmp_path / "hidden.s2d")
    lines = engine("info", tmp_path / "hidden.s2d").stdout.splitlines()
    assert "2 people, and number 1 is shown" in lines
    assert "  0:02.0-0:02.6 left arm" in lines
    told = json.loads(engine("info", tmp_path / "hidden.s2d", "--json").stdout)
    assert (told["people"], told["doubts"]) == (2, ["0:02.0-0:02.6 left arm"])
    assert told["bytes"]["certainty"] > 0


def test_export_says_who_is_shown(engine, tmp_path, make_motion):
    shot = Shot.of(make_motion(4))
    write_shot(replace(shot, people=shot.people * 2), tmp_path / "pair.s2d")
    done = engine("export", tmp_path / "pair.s2d", "-o", tmp_path / "pair.npz")
    assert done.returncode == 0
    assert "pair.s2d holds 2 people, and number 1 is shown" in done.stderr


def test_info_of_a_bad_clip_is_refused_too(engine, tmp_path):
    assert_one_line(engine("info", tmp_path / "none.s2d"), 2, "none.s2d")
    assert_one_line(engine("info", tmp_path), 2, str(tmp_path))


def test_motion_has_no_video_to_decode(engine, tmp_path, motion_file):
    assert_one_line(
        engine("decode", motion_file, "-o", tmp_path / "out", "--only", "video"), 2, "--only mesh"
    )
    assert not (tmp_path / "out").exists()


def test_frame_outside_the_clip_is_named(engine, tmp_path, motion_file):
    assert_one_line(engine("decode", motion_file, "-o", tmp_path / "out", "--frame", 30), 2, "0 to 29")


def test_device_that_is_not_here_is_said_so(engine, tmp_path, motion_file):
    if find_spec("torch") and import_module("torch").cuda.is_available():
        pytest.skip("this machine has the GPU that the test says is missing")
    assert_one_line(
        engine("decode", motion_file, "-o", tmp_path / "out", "--device", "cuda"), 2, "--device cpu"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_full_disk_is_said_so_and_leaves_nothing(engine, tmp_path, motion_file):
    import resource

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = engine("decode", motion_file, "-o", tmp_path / "out", preexec_fn=limit_files)
    assert_one_line(done, 1, "full")
    assert not list(Path(tmp_path).rglob("mesh*"))


def test_traceback_is_shown_only_when_asked_for(engine):
    done = engine("info", "none.s2d", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_training_without_its_data_says_what_is_missing(engine, tmp_path):
    pytest.importorskip("anny")
    done = engine("train", "vertices", "--data", tmp_path, "--checkpoint", tmp_path / "run.pt")
    assert_one_line(done, 2, str(tmp_path), ".zip")


def test_motion_file_that_is_none_is_said_so(engine, tmp_path):
    np.savez(tmp_path / "motion.npz", keypoints=np.array([{"a": 1}], object))
    done = engine("encode", "--keypoints", tmp_path / "motion.npz", "-o", tmp_path / "clip.s2d")
    assert_one_line(done, 2, str(tmp_path / "motion.npz"))
    assert os.listdir(tmp_path) == ["motion.npz"]


# ---- a motion without video ------------------------------------------------------------------


@pytest.fixture
def encode_motion(engine, tmp_path):
    """Encode a motion file of a standing body with some options, and more arrays in the file."""
    body = load_body()
    standing = body.keypoints(body.rest(np.zeros(body.shape_size))[0]) + np.array([0, 0, 3])

    def run(*options, **arrays):
        names = np.array(KEYPOINT_NAMES)
        path = tmp_path / "motion.npz"
        np.savez(path, keypoints=np.stack([standing] * 3), keypoint_names=names, fps=30, **arrays)
        return engine("encode", "--keypoints", path, "-o", tmp_path / "clip.s2d", *options)

    return run


@pytest.mark.parametrize(
    "options",
    [
        ("--person", "1"),
        ("--start", "0"),
        ("--end", "1"),
        ("--fps", "25"),  # the file's own rate holds
        ("--smoothing", "0"),
        ("--references", "1"),
        ("--whole",),
        ("--shots",),
        ("--quality", "0"),
        ("--plate-quality", "20"),
    ],
)
def test_options_of_films_are_refused_by_name_for_a_motion(encode_motion, tmp_path, options):
    assert_one_line(encode_motion(*options), 2, options[0], "--keypoints")
    assert not (tmp_path / "clip.s2d").exists()


def test_a_motions_canvas_and_camera_are_as_asked_for(encode_motion, tmp_path):
    done = encode_motion("--size", "512", "--fov", "90", "--step", "8")
    assert (done.returncode, done.stderr) == (0, "")
    header = S2DFile.open(tmp_path / "clip.s2d").header
    assert (header.width, header.height, header.step_um) == (512, 512, 8000)
    assert header.camera.fx == header.camera.fy == pytest.approx(256)
    assert (header.camera.cx, header.camera.cy) == (256, 256)


CAMERA = np.array([[500.0, 0, 100], [0, 510, 300], [0, 0, 1]])


@pytest.mark.parametrize(
    ("options", "arrays", "words"),
    [
        (("--fov", "60"), {"camera": CAMERA, "size": [640, 480]}, ("--fov 60", "camera of its own")),
        (("--fov", "4"), {}, ("--fov 4", "5 to 150")),
        (("--size", "256"), {"size": [640, 480]}, ("--size 256", "640x480")),
        (("--size", "63"), {}, ("--size 63", "64 to 2048")),
        (("--size", "300"), {"camera": CAMERA}, ("camera needs size",)),
        (("--body-path", "x.npz"), {}, ("--body-path", "--body")),
        (("--body", "anny", "--body-path", "x.npz"), {}, ("--body-path", "--body")),
        (("--body", "smplx"), {}, ("smplx", "model file")),
    ],
)
def test_options_that_do_not_fit_a_motion_are_refused_by_name(
    encode_motion, tmp_path, options, arrays, words
):
    assert_one_line(encode_motion(*options, **arrays), 2, *words)
    assert not (tmp_path / "clip.s2d").exists()


def test_a_size_that_the_file_has_too_is_no_contradiction(encode_motion, tmp_path):
    assert encode_motion("--size", "480", camera=CAMERA, size=[640, 480]).returncode == 0
    header = S2DFile.open(tmp_path / "clip.s2d").header
    assert (header.width, header.height, header.camera.cx, header.camera.cy) == (640, 480, 100, 300)


def test_the_body_asked_for_is_fitted_to_a_motion(encode_motion, tmp_path):
    pytest.importorskip("smplx")
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **model_fields())
    done = encode_motion("--body", "smpl", "--body-path", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    clip = read_clip(tmp_path / "clip.s2d")
    assert (clip.body, clip.shape.shape) == ("smpl", (10,))
    assert np.abs(clip.shape).max() > 0.1, "its shape is fitted to the bones"


def test_a_motion_of_another_program_is_encoded_and_what_was_done_is_told(engine, tmp_path, held_out_motions):
    """JSON of MediaPipe, which states no rate: hips at the origin, and a frame in which nobody was found."""
    walk = held_out_motions["walk"][:20].astype(float)
    landmarks = np.full((20, 33, 3), 0.01)
    landmarks[:, BLAZEPOSE_INDEX] = walk - walk[:, HIPS].mean(axis=1, keepdims=True)
    path = tmp_path / "walk é.json"
    frames = landmarks.tolist()
    frames[4] = None
    path.write_text(json.dumps(frames), "utf-8")
    done = engine("encode", "--keypoints", path, "-o", tmp_path / "clip.s2d")
    assert_one_line(done, 2, str(path), "--fps")
    done = engine("encode", "--keypoints", path, "-o", tmp_path / "clip.s2d", "--fps", "29.97")
    assert done.returncode == 0
    filled, centred = done.stderr.splitlines()
    assert filled.startswith("s2d: warning: missing and filled in") and "left_knee (1 of 20 frames)" in filled
    assert "hips stay at the origin" in centred
    clip = read_clip(tmp_path / "clip.s2d")
    assert (clip.frames, clip.fps) == (20, Fraction(30000, 1001))


# ---- one frame's mesh ------------------------------------------------------------------------

README_INSTALL = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("PIL", "scipy", "torch", "tqdm"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from sparse2dense.inference.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("mesh_format", ["glb", "obj", "ply"])
def test_mesh_of_a_frame_is_written_with_the_readmes_packages_alone(motion_file, tmp_path, mesh_format):
    command = [sys.executable, "-c", README_INSTALL, "decode", motion_file, "-o", tmp_path]
    command += ["--frame", "7", "--format", mesh_format]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    path = tmp_path / f"frame_000007.{mesh_format}"
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{path}\n")
    assert path.stat().st_size > 500_000
