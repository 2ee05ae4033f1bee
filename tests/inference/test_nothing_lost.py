# SPDX-License-Identifier: GPL-3.0-or-later
"""No command takes from its user what it cannot give back, whatever it is told, and however it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference import cli
from sparse2dense.inference.format.container import write_clip
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.keypoints import KEYPOINT_NAMES

from .conftest import until_stage

LIMIT = 200_000  # bytes of a file, where a disk is to be full


@pytest.fixture(scope="module")
def long_file(make_motion, tmp_path_factory):
    """A motion whose decoding takes long enough to be killed in its midst."""
    path = tmp_path_factory.mktemp("long") / "long.s2d"
    write_clip(make_motion(200), path)
    return path


@pytest.fixture
def keypoints(tmp_path):
    """A motion for ``s2d encode --keypoints``, which takes a second."""
    body = load_body()
    standing = body.keypoints(body.rest(np.zeros(body.shape_size))[0]) + np.array([0, 0, 3])
    path = tmp_path / "motion.npz"
    np.savez(path, keypoints=np.stack([standing] * 3), keypoint_names=np.array(KEYPOINT_NAMES), fps=30)
    return path


def contents(folder):
    """Return every file below ``folder``, hidden ones too, and its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def refuse(engine, *arguments):
    """Run a command that is refused; return the one line that says why, in which nothing was written."""
    done = engine(*arguments)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    return line


def kill(process):
    process.kill()
    process.wait(30)


def full_disk():
    """Return the options of a child process that finds its disk full."""
    import resource

    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))}


# ---- an output that is an input ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["motion.npz", "new/../motion.npz", "hard.s2d"])
def test_encoding_does_not_write_over_what_it_reads(engine, tmp_path, keypoints, name):
    os.link(keypoints, tmp_path / "hard.s2d")
    before = contents(tmp_path)
    for force in ([], ["--force"]):
        line = refuse(engine, "encode", "--keypoints", keypoints, "-o", tmp_path / name, *force)
        assert str(keypoints) in line and "reads" in line
    assert contents(tmp_path) == before and not (tmp_path / "new").exists()


def test_encoding_does_not_write_over_its_film_nor_a_body(engine, tmp_path, start_worker):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"a film")
    assert "reads" in refuse(engine, "encode", film, "-o", film, "--force")
    body = tmp_path / "SMPLX.npz"
    body.write_bytes(b"a body")
    line = refuse(engine, "encode", film, "-o", body, "--body", "smplx", "--body-path", body, "--force")
    assert str(body) in line and "reads" in line
    process = start_worker("encode", film, "-o", film)
    (event,) = [json.loads(line) for line in process.stdout]
    assert process.wait(30) == 2
    assert (event["type"], event["code"]) == ("error", "output_taken")
    assert contents(tmp_path) == {"film.mp4": b"a film", "SMPLX.npz": b"a body"}


def test_encoding_does_not_write_over_a_picture_of_its_sequence(engine, tmp_path):
    for number in (1, 2):
        (tmp_path / f"shot_{number:04d}.png").write_bytes(b"a picture")
    before = contents(tmp_path)
    for film in (tmp_path, tmp_path / "shot_%04d.png", tmp_path / "shot_####.png"):
        line = refuse(engine, "encode", film, "-o", tmp_path / "shot_0001.png", "--force")
        assert "shot_0001.png" in line and "reads" in line
    assert contents(tmp_path) == before


def test_clips_of_shots_are_written_where_nothing_is(engine, tmp_path, motion_file):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"a film")
    (tmp_path / "clip_2.s2d").write_bytes(motion_file.read_bytes())
    (tmp_path / "clip_two.s2d").write_bytes(b"of another name")
    before = contents(tmp_path)
    line = refuse(engine, "encode", film, "-o", tmp_path / "clip.s2d", "--shots")
    assert "clip_2.s2d" in line and "--force" in line
    (tmp_path / "film_3.mp4").write_bytes(b"a film")
    line = refuse(
        engine, "encode", tmp_path / "film_3.mp4", "-o", tmp_path / "film.mp4", "--shots", "--force"
    )
    assert "film_3.mp4" in line and "reads" in line
    for options in (["-o", tmp_path / "other.s2d"], ["-o", tmp_path / "clip.s2d", "--force"]):
        assert "not a video" in refuse(engine, "encode", film, *options, "--shots")
    assert contents(tmp_path) == before | {"film_3.mp4": b"a film"}


def test_decoding_does_not_write_over_what_it_reads(engine, start_worker, tmp_path, motion_file):
    """Whatever the clip is called, and its edits, in the folder that it is decoded to."""
    clip, edits = tmp_path / "mesh.pc2", tmp_path / "clip.json"
    clip.write_bytes(motion_file.read_bytes())
    edits.write_text('{"smoothing": 1}')
    before = contents(tmp_path)
    assert str(clip) in refuse(engine, "decode", clip, "-o", tmp_path, "--force")
    line = refuse(
        engine, "decode", motion_file, "-o", tmp_path, "--only", "mesh", "--edits", edits, "--force"
    )
    assert str(edits) in line or str(clip) in line
    (tmp_path / "frame_000003.ply").hardlink_to(clip)
    line = refuse(engine, "decode", clip, "-o", tmp_path, "--frame", "3", "--format", "ply", "--force")
    assert "frame_000003.ply" in line
    (tmp_path / "frame_000003.ply").unlink()
    process = start_worker("decode", clip, "-o", tmp_path, "--force")
    (event,) = [json.loads(line) for line in process.stdout]
    assert (process.wait(30), event["code"]) == (2, "output_taken")
    assert contents(tmp_path) == before


def test_edits_are_not_written_over(engine, tmp_path, motion_file):
    edits = tmp_path / "clip.json"
    edits.write_text('{"smoothing": 1}')
    line = refuse(
        engine, "decode", motion_file, "-o", tmp_path, "--only", "mesh", "--edits", edits, "--force"
    )
    assert str(edits) in line and "reads" in line
    assert contents(tmp_path) == {"clip.json": b'{"smoothing": 1}'}


# ---- an output that is something else ------------------------------------------------------------


def test_encoding_replaces_a_clip_by_its_bytes_and_nothing_else_unasked(engine, tmp_path, keypoints):
    notes = tmp_path / "notes.txt"
    notes.write_text("Buy milk")
    line = refuse(engine, "encode", "--keypoints", keypoints, "-o", notes)
    assert line == (f"s2d: {notes} is there and is no .s2d: name another output, or replace it with --force.")
    assert notes.read_text() == "Buy milk"
    assert engine("encode", "--keypoints", keypoints, "-o", notes, "--force").returncode == 0
    assert notes.read_bytes().startswith(b"\x89S2D")
    again = engine("encode", "--keypoints", keypoints, "-o", notes, "--step", "8")
    assert again.returncode == 0, "it is a clip, whatever its name"


def test_decoding_replaces_what_it_has_decoded_and_nothing_else_unasked(
    engine, tmp_path, motion_file, filmed_clip
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "video.webm").write_bytes(b"my film")
    (out / "notes.txt").write_text("Buy milk")
    assert "video.webm" in refuse(engine, "decode", filmed_clip, "-o", out)
    assert contents(out) == {"video.webm": b"my film", "notes.txt": b"Buy milk"}
    assert engine("decode", motion_file, "-o", out).returncode == 0, "a motion has no video"
    assert engine("decode", motion_file, "-o", out).returncode == 0, "its own"
    assert (out / "video.webm").read_bytes() == b"my film"
    assert "video.webm" in refuse(engine, "decode", filmed_clip, "-o", out)
    done = engine("decode", filmed_clip, "-o", out, "--only", "mesh")
    assert done.returncode == 0, "another clip in its place"
    (out / "reference.png").write_bytes(b"my picture")  # which is the clip's by name
    assert engine("decode", filmed_clip, "-o", out, "--force").returncode == 0
    assert (out / "video.webm").read_bytes() != b"my film"
    assert (out / "notes.txt").read_text() == "Buy milk"


def test_a_description_that_is_none_of_ours_is_not_replaced(engine, tmp_path, motion_file):
    (tmp_path / "clip.json").write_text('{"name": "a clip of mine"}')
    assert "clip.json" in refuse(engine, "decode", motion_file, "-o", tmp_path)
    assert contents(tmp_path) == {"clip.json": b'{"name": "a clip of mine"}'}


def test_a_frame_is_not_written_over_another_kind_of_file(engine, tmp_path, motion_file):
    (tmp_path / "frame_000003.obj").write_text("my notes")
    frame = ("decode", motion_file, "-o", tmp_path, "--frame", "3", "--format", "obj")
    assert "OBJ" in refuse(engine, *frame)
    assert (tmp_path / "frame_000003.obj").read_text() == "my notes"
    assert engine(*frame, "--force").returncode == engine(*frame).returncode == 0


def test_the_demo_writes_over_nothing_else(engine, tmp_path):
    (tmp_path / "balance.blend").write_text("my scene")
    assert "balance.blend" in refuse(engine, "demo", "-o", tmp_path)
    assert contents(tmp_path) == {"balance.blend": b"my scene"}


TOOLS = {  # with one of the files that each writes
    ("train", "vertices", "--checkpoint", "run.pt", "--output", "."): ("run.pt", "vertex_predictor.onnx"),
    ("train", "joint", "--out", ".", "--export", "weights", "--data", "data"): (
        "joint.pt",
        "weights/generator.safetensors",
    ),
    ("train", "bundle", "--data", "data", "-o", "my.zip"): ("my.zip",),
    ("train", "lifter", "--out", "films", "--export", "."): ("pose_lifter.onnx", "pose_lifter.json"),
    ("train", "people", "-o", "sheet.png"): ("sheet.png",),
    ("train", "keypoints", "--output", "tables.npz"): ("tables.npz",),
    ("train", "body", "--output", "body.npz"): ("body.npz",),
    ("train", "clothing", "--out", "."): ("clothing.npz",),
    ("bench", "vertices", "--out", "."): ("vertices.json", "vertices_heat.png"),
    ("bench", "pictures", "--json", "figures.json"): ("figures.json",),
    ("bench", "textures", "--out", "."): ("textures.json", "textures.png"),
    ("bench", "ablations", "--out", "."): ("ablations.json", "ablations.md"),
    ("bench", "capture", "--data", "data", "--out", "."): ("capture.json", "capture_errors.png"),
    ("bench", "rate", "--out", "."): ("rate.json",),
    ("bench", "keypoints", "--out", "."): ("keypoints.json", "keypoints_curves.png"),
    ("bench", "speed", "--out", "."): ("speed.json",),
    ("bench", "blender", "--out", "."): ("blender.json",),
    ("bench", "report", "--out", ".", "--markdown", "page.md"): ("report.html", "page.md"),
}


@pytest.mark.parametrize("arguments", TOOLS, ids=lambda arguments: " ".join(arguments[:2]))
def test_what_trains_and_measures_writes_over_nothing_else(arguments, tmp_path, monkeypatch, capfd):
    for package in ("torch", "matplotlib", "markdown", "anny"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "weights"):
        Path(folder).mkdir()
    Path("data", "cmu_01-13_30fps.zip").touch()
    for name in TOOLS[arguments]:
        Path(name).write_text("Buy milk")
        assert cli.main(arguments) == 2
        said = capfd.readouterr().err
        assert f"{name} is there and is no" in said and "--force" in said
        assert Path(name).read_text() == "Buy milk"
        Path(name).unlink()


def test_every_tool_says_what_it_writes():
    told = {arguments[:2] for arguments in TOOLS}
    assert told == {(verb, subject) for verb, subjects in cli._TOOLS.items() for subject in subjects}


def test_a_bundle_does_not_write_over_what_goes_into_it(tmp_path, monkeypatch, capfd):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    for name in ("cmu_01-13_30fps.zip", "run.pt"):
        Path(name).write_bytes(b"PK\x03\x04 cmu_01-13_30fps.zip")
        told = ["train", "bundle", "--data", ".", "--checkpoint", "run.pt", "-o", name, "--force"]
        if name == "cmu_01-13_30fps.zip":
            Path("run.pt").touch()
        assert cli.main(told) == 2
        assert "reads" in capfd.readouterr().err


# ---- killed --------------------------------------------------------------------------------------


def test_what_a_killed_worker_left_goes_with_the_next_decoding(
    engine, start_worker, long_file, motion_file, tmp_path
):
    out = tmp_path / "out"
    process = start_worker("decode", long_file, "-o", out)
    until_stage(process, "vertices")
    kill(process)
    left = [name for name in os.listdir(out) if name.startswith(".")]
    assert left
    assert engine("decode", motion_file, "-o", out).returncode == 0
    assert not [name for name in os.listdir(out) if name.startswith(".")]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows stops no process")
def test_a_living_worker_loses_nothing_to_another(engine, start_worker, long_file, motion_file, tmp_path):
    process = start_worker("decode", long_file, "-o", tmp_path, "--only", "mesh")
    until_stage(process, "vertices")
    process.send_signal(signal.SIGSTOP)
    try:
        arguments = ("decode", motion_file, "-o", tmp_path, "--frame", "3", "--format", "ply")
        assert engine(*arguments).returncode == 0
    finally:
        process.send_signal(signal.SIGCONT)
    *_, last = [json.loads(line) for line in process.stdout]
    assert last["type"] == "result", last
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("clip", ["another", "the same, edited"])
def test_a_decoding_that_is_killed_leaves_the_one_before(
    engine, start_worker, make_motion, motion_file, long_file, tmp_path, clip
):
    out, first = tmp_path / "out", motion_file if clip == "another" else long_file
    assert engine("decode", first, "-o", out, "--only", "mesh").returncode == 0
    before = contents(out)
    edits = [] if clip == "another" else ["--edits", '{"smoothing": 2}']
    process = start_worker("decode", long_file, "-o", out, "--only", "mesh", *edits)
    until_stage(process, "vertices")
    kill(process)
    assert before.items() <= contents(out).items()
    assert engine("decode", first, "-o", out, "--only", "mesh").returncode == 0
    assert contents(out) == before


def test_encoding_that_is_killed_leaves_the_clip_before(start_worker, motion_file, tmp_path):
    film = Path(__file__).parents[2] / "inference" / "data" / "balance.mp4"
    (tmp_path / "clip.s2d").write_bytes(motion_file.read_bytes())
    process = start_worker("encode", film, "-o", tmp_path / "clip.s2d")
    json.loads(process.stdout.readline())
    kill(process)
    assert contents(tmp_path) == {"clip.s2d": motion_file.read_bytes()}


# ---- full disks and folders that cannot be written -------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_leaves_the_clip_that_was_decoded_before(engine, make_motion, motion_file, tmp_path):
    write_clip(make_motion(40), tmp_path / "other.s2d")
    out = tmp_path / "out"
    assert engine("decode", motion_file, "-o", out, "--only", "mesh").returncode == 0
    before = contents(out)
    for again in ([tmp_path / "other.s2d"], [motion_file, "--edits", '{"smoothing": 2}'], [motion_file]):
        done = engine("decode", *again, "-o", out, "--only", "mesh", **full_disk())
        assert done.returncode == 1 and "full" in done.stderr, done.stderr
        after = contents(out)
        if again == [motion_file]:
            description = json.loads(after.pop("clip.json"))
            assert description["files"] == json.loads(before.pop("clip.json"))["files"]
        assert after == before


@pytest.fixture
def lock_up(tmp_path):
    """Make a folder one that cannot be written: by its mode, or, as root, by mounting it so."""
    locked = []

    def run(folder):
        if os.name == "nt":
            pytest.skip("Windows has other ways to forbid it")
        if os.geteuid() != 0:
            folder.chmod(0o555)
            return
        for command in (["mount", "--bind", folder, folder], ["mount", "-o", "remount,bind,ro", folder]):
            if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
                pytest.skip("nothing is forbidden to root, and no folder can be mounted read-only")
            locked.append(folder)

    yield run
    for folder in set(locked):
        subprocess.run(["umount", folder], check=True)


def test_a_folder_that_cannot_be_written_is_said_before_the_work(
    engine, motion_file, keypoints, tmp_path, lock_up
):
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "clip.s2d").write_bytes(motion_file.read_bytes())
    before = contents(folder)
    lock_up(folder)
    for arguments in (
        ("encode", tmp_path / "no film.mp4", "-o", folder / "other.s2d"),
        ("encode", "--keypoints", keypoints, "-o", folder / "new" / "other.s2d"),
        ("encode", "--keypoints", keypoints, "-o", folder / "clip.s2d"),
        ("decode", motion_file, "-o", folder),
        ("decode", motion_file, "-o", folder, "--frame", "3"),
    ):
        line = refuse(engine, *arguments)
        assert "Cannot write" in line and str(folder) in line
    assert contents(folder) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_results_of_a_bench_stay_where_the_disk_is_full(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "speed.json").write_text("{}")
    program = (
        "import sys; from pathlib import Path; from sparse2dense.benchmarks.results import write_results\n"
        "write_results('speed', {'figures': list(range(100_000))}, Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False, **full_disk()
    )
    assert "File too large" in done.stderr
    assert contents(tmp_path) == {"speed.json": b"{}"}
