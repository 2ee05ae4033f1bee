# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that runs the clip (or movie) it is given as a Python script, with what is defined here.

Its arguments are ``MADE``, a decoded clip whose parts ``part`` and ``decode`` hand out, and ``LOG``, where it
notes that it was started, and then those of the worker.
"""

import json
import pathlib
import shutil
import sys
import time

MADE, LOG, *ARGUMENTS = sys.argv[1:]
FILES = {
    "body": ("body", "reference"),
    "mesh": ("mesh", "keypoints", "mesh_data", "texture"),
    "skeleton": ("skeleton",),
    "video": ("video",),
}
given = pathlib.Path(ARGUMENTS[1])
folder = pathlib.Path(ARGUMENTS[ARGUMENTS.index("-o") + 1]) if "-o" in ARGUMENTS else None
only = ARGUMENTS[ARGUMENTS.index("--only") + 1] if "--only" in ARGUMENTS else None


def say(kind, **content):
    print(json.dumps({"type": kind, **content}), flush=True)


def put(name, into):
    """Copy a file of the decoded clip to the folder ``into``, where it appears whole."""
    shutil.copy(pathlib.Path(MADE, name), into / ".aside")
    (into / ".aside").replace(into / name)


def part(name, **changed):
    """Finish a part of the clip; ``changed`` is what its description says otherwise."""
    description = json.loads(pathlib.Path(MADE, "clip.json").read_text())
    before = folder / "clip.json"
    try:
        files = json.loads(before.read_text())["files"]
    except (OSError, ValueError):
        files = {}
    for what in FILES[name]:
        files[what] = description["files"][what]
        put(files[what], folder)
    aside = folder / ".clip.json"
    aside.write_text(json.dumps({**description, "files": files, **changed}))
    aside.replace(before)
    say("part", part=name)


def edited(into):
    """Finish a cleaned-up motion in the folder ``into``: the clip's, without its video."""
    description = json.loads(pathlib.Path(MADE, "clip.json").read_text())
    into.mkdir(parents=True, exist_ok=True)
    files = {what: name for what, name in description["files"].items() if what not in ("texture", "video")}
    for name in files.values():
        put(name, into)
    aside = into / ".clip.json"
    aside.write_text(json.dumps({**description, "files": files}))
    aside.replace(into / "clip.json")
    say("part", part="edited")


def leave_unfinished():
    """Leave what a worker leaves that is killed."""
    left = folder / ".s2d-partial-0123456789ab"
    left.mkdir()
    (left / "owner").touch()


def wait_for(path):
    while not pathlib.Path(path).exists():
        time.sleep(0.005)


def hang():
    time.sleep(600)


def decode(**changed):
    """Decode the clip as it should be."""
    if "--edits" in ARGUMENTS and "--edited" not in ARGUMENTS:
        edited(folder)
        say("result", files={})
        return
    parts = {"mesh": ("body", "mesh", "skeleton"), "video": ("video",), None: tuple(FILES)}[only]
    for name in parts:
        part(name, **changed)
        if name == "body" and "--edited" in ARGUMENTS:
            edited(folder / ARGUMENTS[ARGUMENTS.index("--edited") + 1])
    say("result", files={})


with open(LOG, "a") as log:
    log.write(json.dumps(ARGUMENTS) + "\n")
exec(compile(given.read_text(), str(given), "exec"))
