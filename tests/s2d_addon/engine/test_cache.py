# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of decoded clips: which one a clip goes to, which may go, how saving takes them along."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading

import pytest
from sparse2dense.s2d_addon.engine import cache


@pytest.fixture
def folder(tmp_path):
    """Make a decoded clip of some bytes that was last used at a time."""

    def make(name="clip", size=1000, used=1000, root="cache"):
        made = tmp_path / root / name
        (made / "inside").mkdir(parents=True)
        (made / "clip.json").write_bytes(b"x" * 100)
        (made / "inside" / "mesh.pc2").write_bytes(b"x" * (size - 100))
        os.utime(made / "clip.json", (used, used))
        return made

    return make


def decoded(*roots):
    return cache.decoded_folders(roots)


# ---- which folder ----------------------------------------------------------------------------


def test_a_folder_is_named_by_the_clip_and_what_its_decoding_depends_on(tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "generator.onnx").write_bytes(b"one")
    (weights / "generator.json").write_bytes(b"nothing that decoding depends on")
    monkeypatch.setattr(cache, "WEIGHTS", weights)
    clip, bodies = tmp_path / "dance.s2d", tmp_path / "bodies"
    clip.write_bytes(b"a clip")
    (bodies / "own").mkdir(parents=True)

    def key(path=clip, body_folder=""):
        found = cache.clip_folder(tmp_path / "cache", path, body_folder)
        assert found.parent == tmp_path / "cache"
        name, _, key = found.name.rpartition("-")
        assert name == path.stem
        assert re.fullmatch("[0-9a-f]{12}", key)
        return key

    first = key()
    assert key() == first
    same = clip.with_name("renamed.s2d")
    same.write_bytes(b"a clip")
    assert key(same) == first
    keys = {first, key(body_folder=str(bodies))}
    network = bodies / "own" / "smplx_vertex_predictor.onnx"
    network.write_bytes(b"trained")
    keys.add(key(body_folder=str(bodies)))
    os.utime(network, ns=(5, 5))  # trained again
    keys.add(key(body_folder=str(bodies)))
    (weights / "generator.json").write_bytes(b"other words")
    assert key() == first
    (weights / "generator.onnx").write_bytes(b"two")
    keys.add(key())
    (weights / "anny.npz").write_bytes(b"")
    keys.add(key())
    clip.write_bytes(b"another clip")
    keys.add(key())
    assert len(keys) == 7


def test_a_clips_long_name_is_cut(tmp_path):
    for stem, kept in (
        ("x" * 48, "x" * 48),
        ("x" * 60, "x" * 48),
        ("x" * 45 + " . . .", "x" * 45),
        ("a b", "a b"),
    ):
        (tmp_path / f"{stem}.s2d").write_bytes(b"")
        assert cache.clip_folder(tmp_path, tmp_path / f"{stem}.s2d").name[:-13] == kept


def test_a_clip_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.s2d"):
        cache.clip_folder(tmp_path, tmp_path / "gone.s2d")


def test_weights_are_told_by_their_digests(tmp_path, monkeypatch):
    assert {"generator.onnx", "vertex_predictor.onnx", "anny.npz"} <= cache.weights().keys()
    monkeypatch.setattr(cache, "WEIGHTS", tmp_path)
    for name in ("b.onnx", "a.npz", "notes.md"):
        (tmp_path / name).write_bytes(name.encode())
    assert cache.weights() == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.npz", "b.onnx")
    }
    assert list(cache.weights()) == ["a.npz", "b.onnx"]


# ---- which may go ----------------------------------------------------------------------------


def test_only_decoded_clips_are_listed_with_their_last_use(folder, tmp_path):
    old, new, elsewhere = folder("old"), folder("new", used=2000), folder("other", root="chosen")
    (tmp_path / "cache" / "no clip").mkdir()
    (tmp_path / "cache" / "a file").write_bytes(b"")
    listed = decoded(tmp_path / "cache", tmp_path / "chosen", tmp_path / "not there")
    assert listed == {old: 1000 * 10**9, new: 2000 * 10**9, elsewhere: 1000 * 10**9}


def test_the_clips_used_longest_ago_go_first(folder, tmp_path):
    middle, old, new = folder("a", used=2000), folder("b", used=1000), folder("c", used=3000)
    idle = decoded(tmp_path / "cache")
    assert cache.remove_oldest(idle, 3000) == 0
    assert cache.remove_oldest(idle, 2999) == 1000
    assert not old.exists() and middle.exists() and new.exists()
    assert cache.remove_oldest(decoded(tmp_path / "cache"), 1999) == 1000
    assert not middle.exists() and new.exists()


def test_clips_in_use_count_but_stay(folder, tmp_path):
    used, idle = folder("used", size=5000), folder("idle", used=2000)
    assert cache.remove_oldest({idle: 2000 * 10**9}, 5500) == 1000
    assert used.exists() and not idle.exists()


def test_room_is_made_over_all_roots_together(folder, tmp_path):
    one, other = folder("one"), folder("other", root="chosen", used=2000)
    assert cache.remove_oldest(decoded(tmp_path / "cache", tmp_path / "chosen"), 1500) == 1000
    assert not one.exists() and other.exists()


def test_clearing_removes_all_that_is_idle_and_says_how_much(folder, tmp_path):
    folder("one"), folder("two", size=500)
    assert cache.remove_oldest(decoded(tmp_path / "cache")) == 1500
    assert list((tmp_path / "cache").iterdir()) == []
    assert cache.remove_oldest({}) == 0


def test_a_clip_that_was_claimed_since_it_was_listed_stays(folder, tmp_path):
    claimed, idle = folder("claimed"), folder("idle", used=2000)
    listed = decoded(tmp_path / "cache")
    assert cache.claim(claimed)
    assert cache.remove_oldest(listed) == 1000
    assert claimed.exists() and not idle.exists()


def test_a_clip_that_has_gone_since_it_was_listed_is_passed_over(folder, tmp_path):
    gone, idle = folder("gone"), folder("idle", used=2000)
    listed = decoded(tmp_path / "cache")
    shutil.rmtree(gone)
    assert cache.remove_oldest(listed) == 1000
    assert not idle.exists()


def test_claiming_says_whether_something_is_decoded_there(folder, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "a file").write_bytes(b"")
    assert not cache.claim(tmp_path / "cache" / "new")
    assert not cache.claim(tmp_path / "a file" / "new")
    clip = folder()
    assert cache.claim(clip)
    assert decoded(tmp_path / "cache")[clip] > 10**18


def test_a_folder_that_is_being_removed_is_claimed_when_it_is_gone(folder, tmp_path, monkeypatch):
    clip, rmtree, claimed = folder(), shutil.rmtree, []

    def claim_meanwhile(path, **options):
        thread.start()
        thread.join(0.1)
        assert claimed == [], "it waits"
        rmtree(path, **options)

    thread = threading.Thread(target=lambda: claimed.append(cache.claim(clip)))
    monkeypatch.setattr(shutil, "rmtree", claim_meanwhile)
    cache.remove_oldest(decoded(tmp_path / "cache"))
    thread.join()
    assert claimed == [False]


def test_the_size_is_that_of_all_files_that_are_there(folder, tmp_path):
    one, other = folder("one"), folder("other", size=500)
    (one / "goes meanwhile").symlink_to(tmp_path / "gone")
    assert cache.size([one, other]) == 1500
    assert cache.size([one.parent]) == 1500
    assert cache.size([tmp_path / "not there"]) == 0


# ---- in use ----------------------------------------------------------------------------------


def idle(*roots, busy=()):
    return set(cache.idle_folders(roots, busy))


def test_what_is_busy_is_known_by_any_spelling(folder, tmp_path):
    clip, other, root = folder(), folder("other"), tmp_path / "cache"
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "link").symlink_to(root, target_is_directory=True)
    (tmp_path / "a" / "deep").symlink_to(clip / "inside", target_is_directory=True)
    for spelling in (
        tmp_path / "a" / "b" / ".." / ".." / "cache" / "clip" / "inside" / "mesh.pc2",
        tmp_path / "a" / "link" / "clip" / "gone.webm",
        tmp_path / "a" / "deep" / ".." / "clip.json",  # as the system reads it, not as the text looks
        clip,
    ):
        assert idle(root, busy=[spelling]) == {other}, spelling
        assert idle(tmp_path / "a" / "link", busy=[spelling]) == {tmp_path / "a" / "link" / "other"}
        assert cache.belongs_to(spelling, [tmp_path / "not there", root]) == clip
    assert idle(root, busy=[tmp_path / "clip", tmp_path]) == {clip, other}
    assert cache.belongs_to(root, [root]) is None


def test_case_counts_where_the_disk_says_so(folder, tmp_path):
    clip = folder("Clip")
    lower = clip.with_name("clip")
    assert idle(tmp_path / "cache", busy=[lower / "clip.json"]) == (set() if lower.exists() else {clip})


def test_what_a_saved_blend_plays_stays_until_it_is_gone_or_plays_it_no_more(folder, tmp_path):
    clip, other, root, blend = folder(), folder("other"), tmp_path / "cache", tmp_path / "scene.blend"
    blend.write_bytes(b"")
    spelling = tmp_path / "cache" / ".." / "cache" / "clip" / "clip.json"
    cache.note_users([clip, other], [spelling], blend)
    assert idle(root) == {other}
    assert cache.remove_oldest(decoded(root)) == 1000
    assert clip.exists() and not other.exists()
    blend.rename(tmp_path / "moved.blend")
    assert idle(root) == {clip}
    (tmp_path / "moved.blend").rename(blend)
    assert idle(root) == set()
    second = tmp_path / "second.blend"
    second.write_bytes(b"")
    cache.note_users([clip], [clip], second)
    cache.note_users([clip], [], blend)
    assert idle(root) == set()
    cache.note_users([clip], [], second)
    assert idle(root) == {clip}


def test_what_another_blender_has_in_use_stays_until_it_ends(folder, tmp_path):
    clip = folder()
    code = "from pathlib import Path; import sys; from sparse2dense.s2d_addon.engine import cache; "
    code += "cache.claim(Path(sys.argv[1])); print('claimed', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(clip)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"claimed\n"
        assert idle(tmp_path / "cache") == set()
        assert cache.remove_oldest(decoded(tmp_path / "cache")) == 0
        assert clip.exists()
        other.kill()
    assert idle(tmp_path / "cache") == {clip}
    assert sorted(path.name for path in clip.iterdir()) == ["clip.json", "inside"], "nothing of it is left"
    assert cache.remove_oldest(decoded(tmp_path / "cache")) == 1000


def test_what_another_blender_claims_while_it_is_removed_comes_back(folder, tmp_path, monkeypatch):
    clip, asked = folder(), []
    used_elsewhere = cache.used_elsewhere

    def claimed_meanwhile(place):
        asked.append(place)
        return len(asked) > 1 or used_elsewhere(place)

    monkeypatch.setattr(cache, "used_elsewhere", claimed_meanwhile)
    assert cache.remove(clip) == 0
    assert len(asked) == 2
    assert (clip / "inside" / "mesh.pc2").is_file()
    assert [path.name for path in clip.parent.iterdir()] == ["clip"]


def test_ones_own_hold_keeps_nobody_from_removing_it(folder, tmp_path):
    clip = folder()
    cache.claim(clip)
    assert idle(tmp_path / "cache") == {clip}
    assert cache.remove(clip) > 0
    assert not clip.exists()
    folder()
    cache.hold(clip)
    cache.release()
    assert sorted(path.name for path in clip.iterdir()) == ["clip.json", "inside"]


# ---- taking clips along ----------------------------------------------------------------------


@pytest.fixture
def clip(tmp_path):
    """A decoded clip that has its body and motion so far, and what only the cache knows."""
    made = tmp_path / "cache" / "clip"
    made.mkdir(parents=True)
    finish(made, "body", "mesh")
    (made / "clip.s2d").write_bytes(b"the clip")
    (made / "used_by-0123").write_text("somewhere")
    (made / ".s2d-partial-0123456789ab").mkdir()
    return made


def finish(folder, *parts):
    """Write these parts of a clip, and the description that names them."""
    for part in parts:
        (folder / f"{part}.x").write_bytes(part.encode())
    files = {part: f"{part}.x" for part in parts}
    camera = {"fx": 1, "fy": 1, "cx": 0, "cy": 0}
    content = {"clip": "k", "frames": 2, "fps": [25, 1], "width": 8, "height": 8, "camera": camera}
    content |= {"has_video": True, "files": files, "warnings": []}
    (folder / "clip.json").write_text(json.dumps(content))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_beside_a_blend_has_its_name(tmp_path):
    assert cache.beside(tmp_path / "my scene.v2.blend") == tmp_path / "my scene.v2_s2d"


def test_what_is_finished_of_a_clip_is_taken_along(clip, tmp_path):
    moved = cache.take_along(clip, tmp_path / "scene_s2d")
    assert moved == tmp_path / "scene_s2d" / "clip"
    assert names(moved) == ["body.x", "clip.json", "clip.s2d", "mesh.x"]
    assert names(moved.parent) == ["clip"]
    assert clip.is_dir(), "other scenes may play it"


def test_what_is_finished_later_follows_and_what_is_there_stays(clip, tmp_path):
    moved = cache.take_along(clip, tmp_path / "scene_s2d")
    (moved / "mesh.x").write_bytes(b"mine")
    finish(clip, "body", "mesh", "video")
    cache.take_along(clip, tmp_path / "scene_s2d")
    assert names(moved) == ["body.x", "clip.json", "clip.s2d", "mesh.x", "video.x"]
    assert (moved / "clip.json").read_bytes() == (clip / "clip.json").read_bytes()
    assert (moved / "mesh.x").read_bytes() == b"mine"
    finish(clip, "body")  # begun anew, after the cache was cleared
    cache.take_along(clip, tmp_path / "scene_s2d")
    assert "video" in (moved / "clip.json").read_text()


def test_motion_that_was_cleaned_up_since_is_taken_along_too(clip, tmp_path):
    cache.take_along(clip, tmp_path / "scene_s2d")
    (clip / "edit-1").mkdir()
    finish(clip / "edit-1", "mesh")
    moved = cache.take_along(clip, tmp_path / "scene_s2d")
    assert names(moved / "edit-1") == ["clip.json", "mesh.x"]


def test_a_clip_that_cannot_be_copied_leaves_nothing(clip, tmp_path):
    (clip / "mesh.x").unlink()
    with pytest.raises(OSError, match=r"mesh\.x"):
        cache.take_along(clip, tmp_path / "scene_s2d")
    assert not (tmp_path / "scene_s2d").exists()
