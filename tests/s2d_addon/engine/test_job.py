# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs as the window sees them: real child processes that decode, fail, say rubbish, hang and are killed."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.models.errors import InputError, S2DError
from sparse2dense.s2d_addon.engine import job as job_module
from sparse2dense.s2d_addon.engine.decoded import open_point_cache
from sparse2dense.s2d_addon.engine.job import (
    CLIP_FILE,
    ClipTask,
    Engine,
    ImportJob,
    Job,
    LastJob,
    WorkerJob,
    is_complete,
)

PATIENCE = 30  # seconds, on a busy machine


@pytest.fixture
def clip(tmp_path):
    """Write a clip that is decoded by a script."""

    def write(script="decode()", name="clip", folder="clips"):
        path = tmp_path / folder / f"{name}.s2d"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {name}\n{script}")
        return path

    return write


@pytest.fixture
def run(engine, tmp_path):
    """Import clips to the cache ``tmp_path / "cache"`` and wait for it."""

    def run_import(*paths, **options):
        tasks = [path if isinstance(path, ClipTask) else ClipTask(path) for path in paths]
        job = ImportJob(tasks, tmp_path / "cache", options.get("engine", engine))
        job.start()
        if options.get("wait", True):
            job.wait()
        return job

    return run_import


def until(condition):
    started = time.perf_counter()
    while not condition():
        assert time.perf_counter() - started < PATIENCE
        time.sleep(0.002)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


# ---- decoding --------------------------------------------------------------------------------


def test_real_engine_decodes_a_clip_whole(decoded, filmed_clip):
    (task,) = decoded.tasks
    assert decoded.errors == []
    assert task.finished and task.over and not task.lost
    assert task.clip.name == filmed_clip.stem
    assert re.fullmatch(r"balance_short-[0-9a-f]{12}", task.folder.name)
    assert (task.folder / CLIP_FILE).read_bytes() == filmed_clip.read_bytes()
    assert hidden(task.folder) == []
    points = open_point_cache(task.clip.mesh)
    assert points.shape == (20, len(task.clip.rest), 3)
    assert np.allclose([points.min(axis=(0, 1)), points.max(axis=(0, 1))], task.clip.bounds, atol=1e-5)
    assert (decoded.stage, decoded.done, decoded.total, decoded.fraction) == ("video", 20, 20, 1.0)
    assert not decoded.running


def test_one_clip_is_decoded_by_one_worker_as_the_engine_is_told(clip, run, engine):
    path = clip()
    job = run(path)
    assert engine.started() == [
        ["decode", str(path), "-o", str(job.tasks[0].folder), "--force", "--device", "cpu"]
    ]
    assert job.tasks[0].finished and job.tasks[0].clip.video.is_file()


def test_a_decoded_clip_is_not_decoded_again_but_noted_as_used(clip, run, engine):
    path = clip()
    folder = run(path).tasks[0].folder
    os.utime(folder / "clip.json", (1000, 1000))
    (task,) = run(path).tasks
    assert task.finished and task.folder == folder
    assert len(engine.started()) == 1
    assert time.time() - (folder / "clip.json").stat().st_mtime < 60


def test_a_begun_clip_is_finished_and_what_it_has_is_kept(clip, run, engine):
    path = clip("part('body'); part('mesh'); part('skeleton'); sys.exit(1)")
    first = run(path).tasks[0]
    assert first.error and not first.lost
    path.write_text("decode()")  # another file, so another folder
    begun = run(path).tasks[0].folder
    description = json.loads((begun / "clip.json").read_text())
    del description["files"]["video"]
    (begun / "clip.json").write_text(json.dumps(description))
    (task,) = run(path).tasks
    assert task.finished
    assert [only_of(arguments) for arguments in engine.started()] == [None, None, "video"]


def held(path):
    return ClipTask(path, edits={"foot_lock": 1.0}, edited="edit-held")


def test_a_cleaned_up_motion_comes_with_the_clip_and_before_its_own_mesh(clip, run, engine, tmp_path):
    path = clip(f"part('body'); edited(folder / 'edit-held'); wait_for({str(tmp_path / 'go')!r}); decode()")
    job = run(held(path), wait=False)
    (task,) = job.tasks
    until(lambda: task.motion and task.motion.mesh)
    assert task.clip.mesh is None and not task.lost and not task.finished
    (tmp_path / "go").touch()
    job.wait()
    assert task.finished and task.motion.folder == task.folder / "edit-held"
    (started,) = engine.started()
    assert started[started.index("--edits") :][:4] == [
        "--edits",
        '{"foot_lock": 1.0}',
        "--edited",
        "edit-held",
    ]
    assert run(held(path)).tasks[0].finished and len(engine.started()) == 1, "nothing is left to do"


def test_a_clip_that_was_decoded_as_it_is_gets_its_cleaned_up_motion(clip, run, engine):
    path = clip()
    folder = run(path).tasks[0].folder
    (task,) = run(held(path)).tasks
    assert task.finished and task.motion.mesh.parent == folder / "edit-held"
    assert engine.started()[1][:5] == ["decode", str(path), "-o", str(folder / "edit-held"), "--only"]
    shutil.rmtree(folder / "edit-held")
    description = json.loads((folder / "clip.json").read_text())
    del description["files"]["video"]
    (folder / "clip.json").write_text(json.dumps(description))
    assert run(held(path)).tasks[0].finished
    assert [only_of(arguments) for arguments in engine.started()[2:]] == ["mesh", "video"]


def test_cancelling_a_cleaned_up_motion_leaves_the_clip_that_was_decoded(clip, run):
    path = clip("if '--edits' in ARGUMENTS: hang()\ndecode()")
    folder = run(path).tasks[0].folder
    job = run(held(path), wait=False)
    until(lambda: job.worker_pid)
    job.cancel()
    job.wait()
    assert (folder / "clip.json").is_file() and (folder / "mesh.pc2").is_file()


def only_of(arguments):
    return arguments[arguments.index("--only") + 1] if "--only" in arguments else None


def test_a_clip_without_its_skeleton_is_decoded_whole(clip, run, engine):
    path = clip()
    folder = run(path).tasks[0].folder
    (folder / "skeleton.npz").unlink()
    assert run(path).tasks[0].finished
    assert [only_of(arguments) for arguments in engine.started()] == [None, None]


@pytest.mark.parametrize("name", ["body.npz", "clip.json"])
def test_a_damaged_folder_is_decoded_anew(clip, run, engine, name):
    path = clip()
    folder = run(path).tasks[0].folder
    os.truncate(folder / name, (folder / name).stat().st_size // 2)
    job = run(path)
    assert job.errors == [] and job.tasks[0].finished
    assert len(engine.started()) == 2


def test_all_meshes_come_before_any_video(clip, run, engine):
    paths = [clip(name="one"), clip(name="another")]
    job = run(*paths)
    assert all(task.finished for task in job.tasks)
    runs = [(Path(arguments[1]).stem, only_of(arguments)) for arguments in engine.started()]
    assert runs == [("one", "mesh"), ("another", "mesh"), ("one", "video"), ("another", "video")]


def test_a_motion_without_pictures_has_no_second_run(clip, run, engine):
    paths = [clip("decode(has_video=False)", name="motion"), clip()]
    job = run(*paths)
    assert all(task.finished for task in job.tasks)
    assert [only_of(arguments) for arguments in engine.started()] == ["mesh", "mesh", "video"]


def test_of_clips_decoded_before_only_the_others_are_decoded(clip, run, engine):
    paths = [clip(name="one"), clip(name="another")]
    run(paths[0])
    job = run(*paths)
    assert all(task.finished for task in job.tasks)
    assert [Path(arguments[1]).stem for arguments in engine.started()] == ["one", "another", "another"]


def test_each_part_is_seen_as_it_comes(clip, run, tmp_path):
    go = tmp_path / "go"
    script = (
        f"part('body'); wait_for({str(go)!r}); part('mesh'); part('skeleton'); part('video'); say('result')"
    )
    job = run(clip(script), wait=False)
    (task,) = job.tasks
    until(lambda: task.clip)
    early = task.clip
    assert early.mesh is None and early.bounds is not None
    assert not task.over and job.running and alive(job.worker_pid)
    assert job.current is task
    go.touch()
    job.wait()
    assert task.clip is not early and task.finished
    assert job.worker_pid is None


def test_what_is_decoded_after_saving_follows_to_the_files_home(clip, run, tmp_path):
    go, home = tmp_path / "go", tmp_path / "scene_s2d"
    script = (
        f"part('body'); part('mesh'); wait_for({str(go)!r}); part('skeleton'); part('video'); say('result')"
    )
    job = run(clip(script), wait=False)
    (task,) = job.tasks
    until(lambda: task.clip and task.clip.mesh)
    task.home = home  # as saving does
    go.touch()
    job.wait()
    assert task.finished
    assert task.clip.folder == home / task.folder.name
    assert task.clip.video.is_file() and task.clip.mesh.is_relative_to(home)


# ---- encoding --------------------------------------------------------------------------------


def test_a_movie_is_encoded_first_and_once(clip, run, engine, tmp_path):
    movie, path = tmp_path / "film.mp4", tmp_path / "film.s2d"
    movie.write_text("folder.write_text('decode()'); say('result')")
    task = ClipTask(path, movie, ("--size", "128"))
    assert run(task).tasks[0].finished
    assert run(ClipTask(path, movie)).tasks[0].finished
    assert engine.started()[0] == ["encode", str(movie), "-o", str(path), "--size", "128"]
    assert [arguments[0] for arguments in engine.started()] == ["encode", "decode"]


def test_a_movie_that_cannot_be_encoded_is_named(run, engine, tmp_path):
    movie = tmp_path / "film.mp4"
    movie.write_text("say('error', code='no_person', message='Nobody is seen.')")
    job = run(ClipTask(tmp_path / "film.s2d", movie))
    assert job.errors == [f"{movie}: Nobody is seen."]
    assert not (tmp_path / "cache").exists()


# ---- failing ---------------------------------------------------------------------------------


def test_a_clip_that_fails_leaves_one_line_and_no_folder_and_the_others_go_on(clip, run):
    bad = clip("part('body'); say('error', code='damaged', message='Its motion is damaged.')", name="bad")
    job = run(bad, clip())
    failed, whole = job.tasks
    assert job.errors == [failed.error] == [f"{bad}: Its motion is damaged."]
    assert failed.lost and failed.over and not failed.folder.exists()
    assert whole.finished and whole.folder.is_dir()


def test_a_line_that_names_the_file_does_not_name_it_twice(clip, run):
    bad = clip("say('error', code='damaged', message=f'{given}: It is damaged.')")
    assert run(bad).errors == [f"{bad}: It is damaged."]


def test_a_clip_whose_video_fails_keeps_its_mesh(clip, run):
    script = "part('body'); part('mesh'); part('skeleton'); leave_unfinished(); sys.exit('no video')"
    job = run(clip(f"(folder / '.DS_Store').touch(); {script}"))
    (task,) = job.tasks
    assert len(job.errors) == 1 and not task.lost and task.over and not task.finished
    assert task.clip.mesh.is_file()
    assert hidden(task.folder) == [".DS_Store"], "the system's, which is no folder"


def test_a_missing_file_is_named(run, engine, tmp_path):
    job = run(tmp_path / "gone.s2d")
    assert job.errors == [f"{tmp_path / 'gone.s2d'} is not there: choose a .s2d file."]
    assert engine.started() == []


def test_a_worker_that_crashes_is_reported_with_its_last_words(clip, run):
    path = clip("sys.stderr.write('a warning\\nSegmentation fault\\n'); part('body'); sys.exit(3)")
    assert run(path).errors == [f"{path}: The engine stopped before it was done. Segmentation fault"]


def test_a_worker_that_dies_in_silence_is_reported(clip, run):
    path = clip("pass")
    assert run(path).errors == [f"{path}: The engine stopped before it was done."]


def test_what_is_no_message_is_passed_over(clip, run):
    lines = [b"hello from sitecustomize", b"", b"\xff\xfe", b"5", b"[1]", b'{"no": "type"}', b'"type"']
    job = run(clip(f"for line in {lines}:\n    sys.stdout.buffer.write(line + b'\\n')\ndecode()"))
    assert job.errors == []
    assert job.tasks[0].finished


def test_a_part_that_cannot_be_read_is_an_error_and_ends_the_worker(clip, run):
    script = "part('body'); (folder / 'body.npz').unlink(); say('part', part='mesh'); hang()"
    job = run(clip(script))
    assert len(job.errors) == 1
    assert "body" in job.errors[0]
    assert job.worker_pid is None and not job.running


def test_an_unwritable_cache_is_named(clip, engine, tmp_path):
    (tmp_path / "cache").write_text("a file")
    job = ImportJob([ClipTask(clip())], tmp_path / "cache", engine)
    job.start()
    job.wait()
    assert str(tmp_path / "cache") in job.errors[0]
    assert "Traceback" not in job.errors[0]


def test_words_for_errors(engine, tmp_path):
    job = WorkerJob(engine)
    assert job.fail(InputError("file", "It is bad."), Path("a.s2d")) == "a.s2d: It is bad."
    assert job.fail(S2DError("stopped", "It is bad.")) == "It is bad."
    missing = FileNotFoundError(2, "No such file", "b.npz")
    assert job.fail(missing, Path("a.s2d")) == "b.npz: No such file"
    assert job.fail(OSError("c.npz is damaged"), Path("a.s2d")) == "a.s2d: c.npz is damaged"
    assert job.fail(ValueError("three"), Path("a.s2d")) == "a.s2d: ValueError: three"
    assert len(job.errors) == 5


def test_a_job_that_fails_says_so_and_ends(engine):
    class Failing(Job):
        def work(self):
            raise ValueError("three")

    job = Failing(engine)
    job.start()
    job.wait()
    assert job.errors == ["ValueError: three"]


# ---- ending ----------------------------------------------------------------------------------


def test_cancelling_is_quick_and_removes_what_is_not_finished(clip, run):
    whole = clip(name="whole")
    run(whole)
    hanging = clip("part('body'); part('mesh'); hang()", name="hanging")
    job = run(whole, hanging, clip(name="third"), wait=False)
    done, hanging, third = job.tasks
    until(lambda: hanging.clip and hanging.clip.mesh)
    pid, started = job.worker_pid, time.monotonic()
    job.cancel()
    assert time.monotonic() - started < 0.5
    job.wait()
    assert time.monotonic() - started < 2
    assert job.cancelled and job.errors == [] and hanging.error == ""
    assert not alive(pid)
    assert done.folder.is_dir() and not hanging.folder.exists()
    assert third.folder is None


def test_cancelling_leaves_nothing_beside_the_movie(run, engine, tmp_path):
    movie, begun = tmp_path / "film.mp4", tmp_path / "begun"
    movie.write_text(
        f"folder = folder.parent; leave_unfinished(); pathlib.Path({str(begun)!r}).touch(); hang()"
    )
    job = run(ClipTask(tmp_path / "film.s2d", movie), wait=False)
    until(begun.exists)
    assert hidden(tmp_path)
    job.cancel()
    job.wait()
    assert hidden(tmp_path) == []


def test_ending_keeps_what_is_decoded_by_then(clip, run):
    script = "part('body'); part('mesh'); leave_unfinished(); part('skeleton'); hang()"
    job = run(clip(script), wait=False)
    (task,) = job.tasks
    until(lambda: task.clip and task.clip.skeleton)
    pid = job.worker_pid
    job.end()
    assert not job.running and not alive(pid)
    assert job.errors == []
    assert (task.folder / "mesh.pc2").is_file()
    assert hidden(task.folder) == []


def test_ending_a_job_that_never_began_returns(clip, engine, tmp_path):
    job = ImportJob([ClipTask(clip())], tmp_path / "cache", engine)
    job.end()
    assert not job.running
    job.start()
    job.wait()
    assert engine.started() == []


def test_dropping_a_clip_keeps_its_parts_and_the_others_go_on(clip, run):
    script = "part('body'); part('mesh'); leave_unfinished(); part('skeleton'); hang()"
    job = run(clip(script, name="dropped"), clip(), wait=False)
    dropped, other = job.tasks
    until(lambda: dropped.clip and dropped.clip.skeleton)
    pid = job.worker_pid
    job.drop(dropped)
    until(lambda: not alive(pid))
    job.wait()
    assert job.errors == [] and dropped.error == ""
    assert dropped.over and not dropped.finished
    assert (dropped.folder / "mesh.pc2").is_file() and hidden(dropped.folder) == []
    assert other.finished


def test_dropping_a_clip_lets_the_worker_of_another_be(clip, run, engine, tmp_path):
    go = tmp_path / "go"
    wait = f"part('body'); wait_for({str(go)!r}); decode()"
    job = run(clip(wait), clip(name="dropped"), wait=False)
    at_work, dropped = job.tasks
    until(lambda: at_work.clip)
    job.drop(dropped)
    go.touch()
    job.wait()
    assert job.errors == [] and at_work.finished
    assert dropped.folder is None


def test_no_worker_starts_for_a_clip_that_is_dropped_before(clip, engine, tmp_path):
    class Dropping(type(engine)):
        def command(self, *arguments):
            job.drop(job.tasks[0])  # as late as can be
            return super().command(*arguments)

    job = ImportJob([ClipTask(clip())], tmp_path / "cache", Dropping(made=engine.made, log=engine.log))
    job.start()
    job.wait()
    assert job.errors == [] and engine.started() == []


def test_cancelling_while_the_worker_ends_by_itself(clip, engine, tmp_path):
    """The worker ends, and the job's thread with it, at each step of cancelling in turn."""

    def end_at(step):
        go = tmp_path / f"go {step}"
        script = f"say('progress', stage='x', done=1, total=2); wait_for({str(go)!r})"
        job = WorkerJob(engine, "decode", str(clip(script)))
        job.start()
        until(lambda: job.stage)
        steps = iter(range(1, step + 1))

        def trace(frame, event, _argument):
            if frame.f_code.co_filename != job_module.__file__:
                return None
            if event == "line" and next(steps, None) == step:
                go.touch()
                until(lambda: job.worker_pid is None)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            job.cancel()
        finally:
            sys.settrace(before)
        happened = next(steps, None) is None
        go.touch()
        job.wait()
        return happened

    step = 1
    while end_at(step):
        step += 1
    assert step > 4


def test_what_was_cancelled_before_it_began_starts_no_worker(clip, engine):
    job = WorkerJob(engine, "decode", str(clip()))
    job.cancel()
    job.start()
    job.wait()
    assert engine.started() == [] and job.result is None and job.errors == []


# ---- what a worker says ----------------------------------------------------------------------


def test_a_worker_answers(clip, engine):
    job = WorkerJob(engine, "probe", str(clip("say('result', device='cuda', missing=[])")))
    job.start()
    job.wait()
    assert job.result == {"type": "result", "device": "cuda", "missing": []}
    assert job.errors == []


QUITTING = """
import sys, time
from sparse2dense.s2d_addon.engine.job import Engine, WorkerJob
class Waiting(Engine):
    def command(self, *arguments):
        script = "import sys; sys.stdin.read(); open(sys.argv[1], 'w')"
        return [sys.executable, "-I", "-S", "-c", script, *arguments]
job = WorkerJob(Waiting(), sys.argv[1])
job.start()
while not job.worker_pid:
    time.sleep(0.005)
"""


def test_a_program_that_quits_waits_for_no_job_and_its_worker_learns_of_it(tmp_path):
    ended = tmp_path / "the worker has ended"
    subprocess.run([sys.executable, "-c", QUITTING, str(ended)], timeout=60, check=True)
    until(ended.exists)


def test_progress_is_seen_and_says_how_long_it_will_take(clip, engine, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(job_module.time, "monotonic", lambda: now[0])
    lines = [("pose", 0, 8), ("pose", 2, 8), ("pose", 8, 8), ("fit", 3, 6), ("fit", 4, 6), ("fit", 1, 4)]
    say = "say('progress', stage={!r}, done={}, total={})"
    script = "\n".join(
        f"wait_for({str(tmp_path / f'go {i}')!r}); {say.format(*line)}" for i, line in enumerate(lines)
    )
    job = WorkerJob(engine, "encode", str(clip(script + "\nsay('result')")))
    assert (job.stage, job.done, job.total, job.fraction, job.seconds_left) == ("", 0, 0, 0.0, None)
    job.start()
    seen = []
    for i, line in enumerate(lines):
        (tmp_path / f"go {i}").touch()
        until(lambda line=line: (job.stage, job.done, job.total) == line)
        seen.append((job.fraction, job.seconds_left))
        now[0] += 10.0
        seen.append(job.seconds_left)
    job.wait()
    assert seen == [
        *((0.0, None), None),
        *((0.25, 30.0), 60.0),
        *((1.0, None), None),  # of this stage
        *((0.5, 0.0), 10.0),  # the clock starts anew with a stage
        *((4 / 6, 5.0), 10.0),
        *((0.25, 0.0), 30.0),  # and with a second pass
    ]


def test_each_clip_begins_at_nothing(clip, run, tmp_path):
    go = tmp_path / "go"
    wait = f"wait_for({str(go)!r}); decode()"
    job = run(
        clip("say('progress', stage='vertices', done=3, total=4); decode()"), clip(wait, name="b"), wait=False
    )
    until(lambda: job.current is job.tasks[1])
    assert (job.stage, job.done, job.total) == ("", 0, 0)
    go.touch()
    job.wait()


def test_the_end_of_the_log_is_kept(clip, engine):
    job = WorkerJob(engine, "probe", str(clip("sys.stderr.write('x' * 30_000 + 'the end'); say('result')")))
    job.start()
    job.wait()
    assert len(job.log) == 20_000
    assert job.log.endswith("xthe end")


def test_the_log_need_not_be_text(clip, engine):
    job = WorkerJob(engine, "probe", str(clip("sys.stderr.buffer.write(b'\\xff short')")))
    job.start()
    job.wait()
    assert job.log == "\ufffd short"
    assert job.errors == ["The engine stopped before it was done. \ufffd short"]


# ---- the engine's command line ---------------------------------------------------------------


def test_blenders_own_python_runs_the_engine_apart_from_the_users_packages():
    python, *options, boot, sites, module, worker, command = Engine().command("probe")
    assert python == sys.executable
    assert options == ["-I", "-X", "utf8"]
    assert Path(boot).samefile(Path(job_module.__file__).with_name("boot.py"))
    assert (module, worker, command) == ("inference", "worker", "probe")
    sites = json.loads(sites)
    assert str(Path(np.__file__).parents[1]) in sites
    assert len(set(sites)) == len(sites)


def test_a_python_of_the_users_runs_with_its_own_packages():
    python, *options, _boot, sites, module, worker, command = Engine("/opt/python").command("probe")
    assert (python, options, sites) == ("/opt/python", ["-P", "-X", "utf8"], "[]")
    assert (module, worker, command) == ("inference", "worker", "probe")


def test_a_package_is_found_where_it_lies(monkeypatch):
    monkeypatch.setattr(job_module, "WORKER_PACKAGES", ("json", "textwrap"))  # a package and a single module
    assert json.loads(Engine().command()[5]) == [str(Path(json.__file__).parents[1])]


@pytest.mark.parametrize("package", ["no_such_package", "an_empty_folder"])
def test_a_package_that_is_missing_is_named(monkeypatch, tmp_path, package):
    (tmp_path / "an_empty_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(job_module, "WORKER_PACKAGES", (package,))
    with pytest.raises(S2DError, match=rf"{package} is missing: install this platform's zip"):
        Engine().command("probe")


def test_every_clip_is_decoded_on_the_chosen_device_with_the_users_bodies(clip, run, engine):
    chosen = type(engine)("", "cuda", "/bodies", engine.made, engine.log)
    assert chosen.decode_options() == ["--device", "cuda", "--body-file", "/bodies"]
    assert Engine().decode_options() == ["--device", "cpu"]
    run(clip(), engine=chosen)
    assert engine.started()[0][-4:] == ["--device", "cuda", "--body-file", "/bodies"]


# ---- the last job ----------------------------------------------------------------------------


def test_the_last_job_of_a_kind_is_kept_until_it_is_ended(clip, engine):
    jobs = LastJob()
    assert not jobs.running()
    jobs.end()
    first = WorkerJob(engine, "probe", str(clip("say('result')")))
    jobs.start(first)
    first.wait()
    assert jobs.current is first and first.result and not jobs.running()
    hanging = WorkerJob(engine, "probe", str(clip("hang()")))
    jobs.start(hanging)
    assert jobs.running()
    until(lambda: hanging.worker_pid)
    jobs.end()
    assert jobs.current is None and not hanging.running and hanging.ended


def test_a_clip_is_complete_with_its_skeleton_and_the_video_it_should_have(decoded):
    from dataclasses import replace

    clip = decoded.tasks[0].clip
    assert is_complete(clip)
    assert not is_complete(replace(clip, skeleton=None))
    assert not is_complete(replace(clip, video=None))
    assert is_complete(replace(clip, video=None, has_video=False))
