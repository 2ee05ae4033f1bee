# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking to keyframes."""

import bpy
import numpy as np
from session import (
    DESCRIPTION,
    START,
    VERTICES,
    cache_gone,
    check,
    import_clip,
    new_scene,
    part,
    shown_vertices,
    vertex_error,
)


@check
def bake_keeps_every_position_without_the_cache():
    for kind, fps in (("EXPORTABLE", 24), ("FAST", 30), ("EXPORTABLE", 25), ("FAST", 60)):
        new_scene(fps)
        import_clip()
        bpy.ops.ed.undo_push(message="imported")
        assert bpy.ops.s2d.bake("EXEC_DEFAULT", True, kind=kind, tolerance=0) == {"FINISHED"}
        assert not part("mesh").modifiers
        assert part("mesh").data.shape_keys.use_relative == (kind == "EXPORTABLE")
        with cache_gone():
            assert vertex_error() < 1e-5, f"{kind}: {vertex_error()}"
        bpy.ops.ed.undo()
        assert [modifier.type for modifier in part("mesh").modifiers] == ["MESH_CACHE"]
        assert part("mesh").data.shape_keys is None
        assert vertex_error() < 1e-5


@check
def bake_thins_keys_within_the_tolerance():
    for kind in ("EXPORTABLE", "FAST"):
        new_scene(25)
        import_clip()
        bpy.ops.s2d.bake(kind=kind, tolerance=50)
        assert 2 < len(part("mesh").data.shape_keys.key_blocks) < DESCRIPTION["frames"]
        distances = [
            np.linalg.norm(shown_vertices(START + frame) - VERTICES[frame], axis=1).max()
            for frame in range(DESCRIPTION["frames"])
        ]
        assert 1e-3 < max(distances) <= 0.05 + 1e-5
