# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip as the real engine decodes it, and an engine that does what a test's clips say."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from sparse2dense.s2d_addon.engine.job import ClipTask, Engine, ImportJob


@dataclass(frozen=True)
class ScriptedEngine(Engine):
    """An engine whose worker runs the clip it is given as a Python script, see ``scripted_worker.py``.

    ``made`` is a decoded clip, whose parts the scripts hand out; ``log`` lists the workers that were started.
    """

    made: Path = Path()
    log: Path = Path()

    def command(self, *arguments):
        script = Path(__file__).with_name("scripted_worker.py")
        return [sys.executable, "-I", "-S", str(script), str(self.made), str(self.log), *arguments]

    def started(self):
        """The arguments of each worker that was started, in their order."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture(scope="session")
def decoded(filmed_clip, tmp_path_factory):
    """The job in which the real engine has decoded the filmed clip, alone; its one task has the clip."""
    job = ImportJob([ClipTask(filmed_clip)], tmp_path_factory.mktemp("decoded"), Engine())
    job.start()
    job.wait()
    return job


@pytest.fixture
def engine(decoded, tmp_path):
    return ScriptedEngine(made=decoded.tasks[0].folder, log=tmp_path / "started.txt")
