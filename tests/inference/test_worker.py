# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker speaks JSON lines, ends when told to or when its parent dies, and leaves nothing half done."""

import json
import os
import platform
import signal
import subprocess
import sys

import pytest
from sparse2dense.inference.format.container import write_clip

from .conftest import until_stage

BODY_FILES = ["body.npz", "clip.json", "mannequin.png"]


@pytest.fixture(scope="module")
def long_file(make_motion, tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "long.s2d"
    write_clip(make_motion(1200), path)
    return path


def visible(folder):
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def test_job_reports_progress_stage_by_stage_and_one_result(start_worker, motion_file, tmp_path):
    process = start_worker("decode", motion_file, "-o", tmp_path / "out put")
    events = [json.loads(line) for line in process.stdout]

    assert process.wait(30) == 0
    assert [event["type"] for event in events[-3:]] == ["progress", "part", "result"]
    assert [event["part"] for event in events if event["type"] == "part"] == ["body", "mesh", "skeleton"]
    assert events[0] == {"type": "part", "part": "body"}, "before any keypoint is decoded"
    progress = [event for event in events if event["type"] == "progress"]
    assert list(dict.fromkeys(event["stage"] for event in progress)) == ["keypoints", "vertices", "skeleton"]
    last = {event["stage"]: (event["done"], event["total"]) for event in progress}
    assert last == dict.fromkeys(last, (30, 30))
    assert sorted(events[-1]["files"].values()) == sorted(os.listdir(tmp_path / "out put"))


def test_bad_file_is_one_error_event(start_worker, tmp_path):
    (tmp_path / "bad.s2d").write_bytes(b"no clip")
    process = start_worker("decode", tmp_path / "bad.s2d", "-o", tmp_path / "out")
    (event,) = [json.loads(line) for line in process.stdout]

    assert process.wait(30) == 2
    assert (event["type"], event["code"]) == ("error", "not_s2d")
    assert str(tmp_path / "bad.s2d") in event["message"]


def test_killed_worker_leaves_whole_parts_alone_under_final_names(start_worker, long_file, tmp_path):
    process = start_worker("decode", long_file, "-o", tmp_path / "out")
    until_stage(process, "vertices")
    process.kill()
    process.wait(30)
    assert visible(tmp_path / "out") == BODY_FILES
    files = json.loads((tmp_path / "out" / "clip.json").read_text())["files"]
    assert files == {"body": "body.npz", "mannequin": "mannequin.png"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without telling it")
def test_terminated_worker_cleans_up(start_worker, long_file, tmp_path):
    process = start_worker("decode", long_file, "-o", tmp_path / "out")
    until_stage(process, "vertices")
    process.send_signal(signal.SIGTERM)
    *_, last = [json.loads(line) for line in process.stdout]
    assert process.wait(30) == 1
    assert (last["type"], last["code"]) == ("error", "cancelled")
    assert sorted(os.listdir(tmp_path / "out")) == BODY_FILES


def test_worker_ends_when_its_parent_dies(long_file, tmp_path):
    """A parent that starts a worker and is killed: the pipe closes, and the worker goes too."""
    arguments = ["worker", "decode", str(long_file), "-o", str(tmp_path / "out")]
    program = (
        "import subprocess, sys\n"
        "command = [sys.executable, '-m', 'sparse2dense.inference', *sys.argv[1:]]\n"
        "worker = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "worker.wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until_stage(parent, "vertices")
    parent.kill()
    *_, last = parent.stdout.read().splitlines()  # ends when the worker, which holds the pipe, ends
    parent.communicate()
    assert json.loads(last)["code"] == "cancelled"
    assert sorted(os.listdir(tmp_path / "out")) == BODY_FILES


def test_probe_says_what_this_python_decodes_with(start_worker):
    """The add-on asks a Python that its user points it to, before it relies on it."""
    process = start_worker("probe")
    (event,) = [json.loads(line) for line in process.stdout]
    assert process.wait(60) == 0
    assert event["type"] == "result"
    assert event["python"] == platform.python_version()
    assert set(event["missing"]) <= {"torch", "safetensors"}, "the rest is installed with this package"
    assert bool(event["torch"]) == ("torch" not in event["missing"])
    assert event["device"] in ("cpu", "cuda", "mps")
