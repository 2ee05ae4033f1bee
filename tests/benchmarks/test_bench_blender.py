# SPDX-License-Identifier: GPL-3.0-or-later
"""The Blender bench measures every way to play a clip, through the add-on's own operators."""

import pytest

pytest.importorskip("anny")

from sparse2dense.benchmarks import bench_blender
from sparse2dense.release import bpy_env


@pytest.mark.slow
@pytest.mark.blender
def test_every_way_to_play_is_measured(filmed_clip):
    found = bench_blender.measure(bpy_env.newest(), filmed_clip, seconds=300)
    assert found["error"] is None
    ways = found["ways"]
    assert {"point cache", "Exportable Shape Keys", "Fast Shape Keys", "Armature"} <= set(ways)
    assert all(way["make_s"] > 0 and way["bytes"] > 100_000 for way in ways.values())
    assert ways["Fast Shape Keys"]["keys"] > 2
    assert 0 < ways["point cache"]["play_ms"] < 1000


@pytest.mark.slow
@pytest.mark.blender
def test_what_takes_too_long_is_stopped_and_said(filmed_clip):
    found = bench_blender.measure(bpy_env.newest(), filmed_clip, seconds=0.5)
    assert found == {"ways": {}, "error": "stopped after 0.00833333 minutes"}
